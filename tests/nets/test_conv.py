"""Convolutions by matrix products against XLA's own, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from explorax.nets.conv import Conv, ConvTranspose


def alike(ours, theirs, shape):
    """Raise unless both layers have the same parameters, values and gradients."""
    key_x, key, key_out = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(key_x, shape)
    params = jax.jit(ours.init)(key, x)
    other = jax.jit(theirs.init)(key, x)
    jax.tree.map(np.testing.assert_array_equal, params, other)
    weights = jax.random.normal(key_out, jax.eval_shape(ours.apply, params, x).shape)

    def value(layer, params, x):
        return (jnp.sin(layer.apply(params, x)) * weights).sum()

    results = []
    for layer in (ours, theirs):
        found = jax.jit(jax.value_and_grad(lambda p, x, layer=layer: value(layer, p, x), (0, 1)))
        results.append((jax.jit(layer.apply)(params, x), *found(params, x)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *results)


@pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [
        (8, 4, (2, 43, 38, 3)),
        (4, 2, (2, 9, 12, 5)),
        (3, 1, (3, 7, 5, 2)),
        (5, 2, (2, 12, 11, 2)),
        (3, 3, (2, 10, 9, 1)),
        (2, 3, (1, 9, 9, 2)),
    ],
)
def test_a_convolution_is_xlas(size, stride, shape):
    theirs = nn.Conv(4, (size, size), stride, padding="VALID")
    alike(Conv(4, size, stride), theirs, shape)


def test_one_that_keeps_the_size_is_xlas():
    alike(Conv(3, 3, same=True), nn.Conv(3, (3, 3)), (2, 6, 7, 2))


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (6, 2), (3, 3), (3, 1)])
def test_a_transposed_convolution_is_xlas(size, stride):
    theirs = nn.ConvTranspose(3, (size, size), (stride, stride), "VALID")
    alike(ConvTranspose(3, size, stride), theirs, (2, 4, 5, 2))

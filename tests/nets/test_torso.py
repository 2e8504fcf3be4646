"""The torso against plain NumPy, and that it can be drawn for many seeds at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.nets.torso import Torso
from explorax.ops.images import is_image


def test_flat_observations_go_through_dense_layers():
    net = Torso(3, (5, 4), (2, 2))
    x = np.random.default_rng(0).normal(size=(6, 2, 2)).astype(np.float32)
    params = jax.jit(net.init)(jax.random.key(0), x)
    layers = {name: jax.tree.map(np.asarray, of) for name, of in params["params"].items()}
    h = x.reshape(6, 4)
    for name in ("Dense_0", "Dense_1"):
        h = np.maximum(h @ layers[name]["kernel"] + layers[name]["bias"], 0.0)
    want = h @ layers["Dense_2"]["kernel"] + layers["Dense_2"]["bias"]
    np.testing.assert_allclose(jax.jit(net.apply)(params, x), want, rtol=1e-4, atol=1e-5)


def test_images_are_convolved_first():
    """Each convolution of DQN as a slow loop over its windows."""
    net = Torso(2, (), (36, 36, 1))
    x = np.random.default_rng(1).normal(size=(2, 36, 36, 1)).astype(np.float32)
    params = jax.jit(net.init)(jax.random.key(0), x)
    layers = {name: jax.tree.map(np.asarray, of) for name, of in params["params"].items()}
    h = x
    for name, size, stride in (("Conv_0", 8, 4), ("Conv_1", 4, 2), ("Conv_2", 3, 1)):
        kernel, side = layers[name]["kernel"], (h.shape[1] - size) // stride + 1
        out = np.zeros((2, side, side, kernel.shape[-1]), np.float32)
        for row in range(side):
            for column in range(side):
                top, left = row * stride, column * stride
                window = h[:, top : top + size, left : left + size]
                out[:, row, column] = np.tensordot(window, kernel, 3) + layers[name]["bias"]
        h = np.maximum(out, 0.0)
    want = h.reshape(2, -1) @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
    np.testing.assert_allclose(jax.jit(net.apply)(params, x), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((36, 36, 4), True), ((84, 84, 1), True), ((35, 84, 3), False), ((40, 40), False)],
)
def test_what_counts_as_an_image(shape, image):
    assert is_image(shape) is image


def test_weights_have_the_size_that_keeps_signals_alive():
    params = Torso(400, (), (500,)).init(jax.random.key(0), jnp.zeros((1, 500)))
    kernel = np.asarray(params["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 500), rtol=0.02)


def test_drawing_it_for_many_seeds_calls_nothing_outside_the_compiler():
    """A decomposition would: LAPACK's, called for seeds side by side, can wait for ever."""
    net, keys = Torso(8, (8,), (4,)), jax.random.split(jax.random.key(0), 3)
    drawn = jax.jit(jax.vmap(lambda key: net.init(key, jnp.zeros((1, 4)))))
    assert "custom_call" not in drawn.lower(keys).as_text()

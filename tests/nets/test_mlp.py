"""The MLP against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.nets.mlp import MLP


@pytest.mark.parametrize(("activation", "lead"), [("tanh", ()), ("relu", (4,)), ("tanh", (3, 4))])
def test_equals_matrix_products_on_any_leading_axes(activation, lead):
    net = MLP((8, 6), 2, activation)
    x = np.random.default_rng(0).normal(size=(*lead, 3)).astype(np.float32)
    params = jax.jit(net.init)(jax.random.key(0), x)
    layers = params["params"]
    h = x
    for name in ("Dense_0", "Dense_1"):
        h = h @ np.asarray(layers[name]["kernel"]) + np.asarray(layers[name]["bias"])
        h = np.tanh(h) if activation == "tanh" else np.maximum(h, 0.0)
    want = h @ np.asarray(layers["output"]["kernel"]) + np.asarray(layers["output"]["bias"])
    out, last_hidden = jax.jit(net.run)(params, x)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last_hidden, h, rtol=1e-4, atol=1e-5)


def test_output_scale_scales_the_first_output_and_zero_silences_it():
    x = jnp.ones((5, 3))
    outs = {}
    for scale in (1.0, 0.1, 0.0):
        net = MLP((8,), 2, output_scale=scale)
        outs[scale] = np.asarray(net.run(net.init(jax.random.key(0), x), x)[0])
    np.testing.assert_allclose(outs[0.1], 0.1 * outs[1.0], rtol=1e-4)
    assert np.abs(outs[1.0]).max() > 0.01
    np.testing.assert_array_equal(outs[0.0], 0.0)


def test_without_hidden_layers_it_is_linear():
    net = MLP((), 2)
    x = jnp.arange(6.0).reshape(2, 3)
    params = net.init(jax.random.key(0), x)
    one, two = (np.asarray(net.run(params, each)[0]) for each in (x, 2.0 * x))
    np.testing.assert_allclose(two, 2.0 * one, rtol=1e-5)

"""Convolutions against loops in NumPy, written from the papers and not from the code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.nets.mlp import MLP, sees_images
from explorax.nets.visual import ENCODERS, Images

RNG = np.random.default_rng(0)


def images(side, channels, count=2):
    return RNG.integers(0, 256, (count, side, side, channels)).astype(np.uint8)


def strided(image, layer, stride):
    """One image [H, W, C] under a filter [h, w, C, F] that stays within it."""
    kernel, bias = np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)
    size = kernel.shape[0]
    rows, columns = ((length - size) // stride + 1 for length in image.shape[:2])
    out = np.zeros((rows, columns, kernel.shape[3]))
    for r in range(rows):
        for c in range(columns):
            patch = image[r * stride : r * stride + size, c * stride : c * stride + size]
            out[r, c] = np.tensordot(patch, kernel, 3) + bias
    return out


def same(image, layer):
    """A 3×3 filter with a border of zeros, so that the image keeps its size."""
    return strided(np.pad(image, ((1, 1), (1, 1), (0, 0))), layer, 1)


def pooled(image):
    """The maximum over 3×3, every second place; XLA's SAME puts the odd border pixel last."""
    height, width = image.shape[:2]
    rows, columns = -(-height // 2), -(-width // 2)
    out = np.full((rows, columns, image.shape[2]), -np.inf)
    top, left = (
        max((many - 1) * 2 + 3 - length, 0) // 2
        for many, length in ((rows, height), (columns, width))
    )
    for r in range(rows):
        for c in range(columns):
            for y in range(max(2 * r - top, 0), min(2 * r - top + 3, height)):
                for x in range(max(2 * c - left, 0), min(2 * c - left + 3, width)):
                    out[r, c] = np.maximum(out[r, c], image[y, x])
    return out


def relu(x):
    return np.maximum(x, 0.0)


@pytest.mark.parametrize(
    ("encoder", "strides", "filters"),
    [("dqn", (4, 2, 1), (32, 64, 64)), ("a3c", (4, 2), (16, 32))],
)
def test_strided_convolutions_are_those_of_the_papers(encoder, strides, filters):
    net, x = Images(encoder), images(37, 3)
    params = jax.jit(net.init)(jax.random.key(0), x)
    layers = params["params"]
    assert [layers[f"Conv_{i}"]["bias"].shape[0] for i in range(len(layers))] == list(filters)
    assert [layers[f"Conv_{i}"]["kernel"].shape[0] for i in range(len(layers))] == [8, 4, 3][
        : len(filters)
    ]
    want = []
    for image in x / 255.0:
        for i, stride in enumerate(strides):
            image = relu(strided(image, layers[f"Conv_{i}"], stride))
        want.append(image.ravel())
    out = jax.jit(net.apply)(params, x)
    np.testing.assert_allclose(out, want, rtol=1e-3, atol=1e-4)


def test_impala_is_three_residual_sections():
    net, x = Images("impala"), images(36, 1, 1)
    params = jax.jit(net.init)(jax.random.key(0), x)
    image = x[0] / 255.0
    for section, filters in enumerate((16, 32, 32)):
        layers = params["params"][f"_Section_{section}"]
        assert len(layers) == 5 and layers["Conv_0"]["kernel"].shape[-1] == filters
        image = pooled(same(image, layers["Conv_0"]))
        for block in (1, 3):
            inner = same(relu(image), layers[f"Conv_{block}"])
            image = image + same(relu(inner), layers[f"Conv_{block + 1}"])
    out = jax.jit(net.apply)(params, x)
    assert image.shape == (5, 5, 32)
    np.testing.assert_allclose(out[0], relu(image).ravel(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_whole_numbers_are_shares_of_255_and_other_values_themselves(encoder):
    net, x = Images(encoder), images(36, 2)
    params = jax.jit(net.init)(jax.random.key(0), x)
    apply = jax.jit(net.apply)
    shares = jnp.asarray(x / 255.0, jnp.float32)
    np.testing.assert_allclose(apply(params, x), apply(params, shares), rtol=1e-3, atol=1e-3)


def test_an_mlp_convolves_images_and_joins_what_stands_beside_them():
    net = MLP((8,), 2, "relu", encoder="a3c")
    x = images(36, 2, 6).reshape(2, 3, 36, 36, 2)
    beside = RNG.normal(size=(4, 2, 3, 5)).astype(np.float32)
    params = jax.jit(net.init)(jax.random.key(0), x, beside)
    assert sees_images(params)
    layers = params["params"]
    rows, weights = x.reshape(6, 36, 36, 2), {"params": layers["images"]}
    features = np.asarray(jax.jit(Images("a3c").apply)(weights, rows))
    features = np.broadcast_to(features.reshape(1, 2, 3, -1), (4, 2, 3, features.shape[-1]))
    joined = np.concatenate([features, beside], -1)
    dense, last = layers["Dense_0"], layers["output"]
    hidden = relu(joined @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]))
    want = hidden @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    out, latent = jax.jit(net.run)(params, x, beside)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(latent, hidden, rtol=1e-4, atol=1e-4)
    flat = MLP((8,), 2, "relu")
    assert not sees_images(flat.init(jax.random.key(0), jnp.ones((1, 3))))

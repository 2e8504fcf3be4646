"""From observations to grey levels, against loops over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.protocols import Box
from explorax.densities import grey


def levels_of(box, obs, size, levels):
    values = grey.range_of(box, "test")
    return np.asarray(jax.jit(grey.levels_of, static_argnums=(2, 3))(values, obs, size, levels))


def area_mean(image, size):
    """Average over cells that may cut through pixels, one pixel and one cell at a time."""
    out = np.zeros(size)
    tall, wide = image.shape[0] / size[0], image.shape[1] / size[1]
    for (i, j), _ in np.ndenumerate(out):
        for (r, c), value in np.ndenumerate(image):
            down = max(0.0, min(r + 1, (i + 1) * tall) - max(r, i * tall))
            across = max(0.0, min(c + 1, (j + 1) * wide) - max(c, j * wide))
            out[i, j] += value * down * across / (tall * wide)
    return out


@pytest.mark.parametrize("size", [(4, 5), (3, 7), (12, 10)])
def test_shrinking_averages_over_areas(size):
    image = np.random.default_rng(0).random((12, 15)).astype(np.float32)
    wanted = np.floor(area_mean(image, (size[0], min(size[1], 15))) * 64)
    found = levels_of(Box((12, 15), 0.0, 1.0), jnp.asarray(image), size, 64)
    assert (
        np.abs(found - wanted).max() <= 1 and (found == wanted).mean() > 0.95
    )  # rounding at edges
    assert found.dtype == np.int32


def test_eight_levels_of_bytes_are_their_first_three_bits():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = levels_of(Box((16, 16), 0, 255, "uint8"), jnp.asarray(every), (42, 42), 8)
    np.testing.assert_array_equal(found, every >> 5)


def test_floats_between_their_bounds():
    image = jnp.asarray([[-1.0, -0.51, -0.49, 0.0, 0.99, 1.0, 7.0, -7.0]])
    found = levels_of(Box((1, 8), -1.0, 1.0), image, None, 4)
    np.testing.assert_array_equal(found, [[0, 0, 1, 2, 3, 3, 3, 0]])


def test_colours_become_grey_and_of_a_stack_the_last_frame_counts():
    rng = np.random.default_rng(1)
    colours = rng.integers(256, size=(6, 7, 3)).astype(np.uint8)
    luma = (colours @ [0.299, 0.587, 0.114]) // 4
    box = Box((6, 7, 3), 0, 255, "uint8")
    assert np.abs(levels_of(box, jnp.asarray(colours), None, 64) - luma).max() <= 1
    for channels in (1, 2, 4):
        stack = rng.integers(256, size=(6, 7, channels)).astype(np.uint8)
        last = levels_of(Box(stack.shape, 0, 255, "uint8"), jnp.asarray(stack), None, 256)
        np.testing.assert_array_equal(last, stack[..., -1])
        first = np.ascontiguousarray(np.moveaxis(stack, -1, 0))
        same = levels_of(Box(first.shape, 0, 255, "uint8"), jnp.asarray(first), None, 256)
        np.testing.assert_array_equal(same, last)


def test_small_images_keep_their_size():
    assert grey.grid((13, 13), (42, 42)) == (13, 13)
    assert grey.grid((84, 20, 4), (42, 42)) == (42, 20)
    assert grey.grid((210, 160, 3), None) == (210, 160)


@pytest.mark.parametrize(
    ("box", "image"),
    [
        (Box((84, 84, 4), 0, 255, "uint8"), True),
        (Box((3, 84, 84), 0, 255, "uint8"), True),
        (Box((13, 13), 0.0, 1.0, one_hot=(169,)), True),  # where in a grid somebody is
        (Box((7, 7, 4), 0.0, 1.0, one_hot=(4,) * 49), False),  # a memory maze's
        (Box((7, 7, 21), 0.0, 1.0), False),  # MiniGrid's
        (Box((5,)), False),
    ],
)
def test_codes_of_cells_are_no_colours(box, image):
    """Else the last kind alone would count, or the first row would pass for a channel."""
    assert grey.is_image(box) is image

"""Images as small grids of few grey levels."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from explorax.core.errors import Incompatible
from explorax.core.protocols import Box
from explorax.core.pytree import pytree
from explorax.ops.frame import UNBOUNDED

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)


@pytree
class Range:
    """The values between black and white."""

    low: Any  # float32 []
    width: Any  # float32 []


def is_image(box: Box) -> bool:
    """Return whether observations have rows and columns: [H, W], [H, W, C] or [C, H, W].

    Codes of what is in each cell of a grid, [H, W, kinds], are no colours: of two kinds that are
    equally grey one could not tell them apart. They are known by `one_hot`, or by more channels
    than there are rows or columns.
    """
    if len(box.shape) == 3:
        coded = box.one_hot is not None or min(box.shape[0], box.shape[2]) >= min(_plane(box.shape))
        return min(box.shape) > 0 and not coded
    return len(box.shape) == 2 and min(box.shape) > 0


def range_of(box: Box, owner: str) -> Range:
    """Return the range of the image `box`, for a part called `owner`.

    Whole numbers fill 0 .. 255 as bins of width 1, so that 256 levels are one each. Raises
    Incompatible for values without bounds: nothing would say what is black and what is white.
    """
    low, high = float(np.min(box.low)), float(np.max(box.high))
    if low < -UNBOUNDED or high > UNBOUNDED or low >= high:
        raise Incompatible(
            f"{owner} divides grey values into levels, and images of values in [{low:g}, {high:g}] "
            f"have no finite range. Scale them, and say so in the bounds of Spec.obs."
        )
    width = high - low + (1.0 if np.issubdtype(np.dtype(box.dtype), np.integer) else 0.0)
    return Range(jnp.float32(low), jnp.float32(width))


def grid(shape: tuple[int, ...], size: tuple[int, int] | None) -> tuple[int, int]:
    """Return (rows, columns) of the grid for images of `shape`: at most `size`, never enlarged."""
    rows, columns = _plane(shape)
    return (rows, columns) if size is None else (min(rows, size[0]), min(columns, size[1]))


def levels_of(
    values: Range, obs: Shaped[Array, "..."], size: tuple[int, int] | None, levels: int
) -> Int[Array, "rows columns"]:
    """Return one image [*obs_shape] as levels 0 .. `levels` − 1, int32 of the size of `grid`.

    Three channels are red, green and blue; of any other number, a stack of frames, the last counts.
    The shorter of the first and last axis is that of the channels. A larger image is shrunk by the
    mean over the area of each cell.
    """
    image = _one_channel(obs).astype(jnp.float32)
    rows, columns = grid(obs.shape, size)
    if (rows, columns) != image.shape:
        down, across = (_area(*pair) for pair in zip(image.shape, (rows, columns), strict=True))
        exactly = jax.lax.Precision.HIGHEST
        image = jnp.matmul(jnp.matmul(down, image, precision=exactly), across.T, precision=exactly)
    share = (image - values.low) / values.width
    return jnp.clip(jnp.floor(share * levels), 0, levels - 1).astype(jnp.int32)


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) == 3:
        shape = shape[1:] if shape[0] < shape[2] else shape[:2]
    rows, columns = shape
    return rows, columns


def _one_channel(obs: jax.Array) -> jax.Array:
    if obs.ndim == 2:
        return obs
    stack = obs if obs.shape[0] < obs.shape[2] else jnp.moveaxis(obs, 2, 0)
    if stack.shape[0] != len(_LUMA):
        return stack[-1]
    parts = [weight * plane.astype(jnp.float32) for weight, plane in zip(_LUMA, stack, strict=True)]
    return parts[0] + parts[1] + parts[2]


@lru_cache
def _area(source: int, target: int) -> np.ndarray:
    """Return the share of each of `source` pixels in each of `target` cells, [target, source]."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    begin = np.maximum(edges[:-1, None], pixels[None])
    end = np.minimum(edges[1:, None], pixels[None] + 1)
    return (np.maximum(end - begin, 0.0) * (target / source)).astype(np.float32)

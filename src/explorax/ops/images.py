"""What counts as an image, and how it stays one on its way to a network."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

LEAST_IMAGE = 36  # pixels per side from which the convolutions have something to see


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether observations of `shape` are images [H, W, C] large enough to convolve."""
    return len(shape) == 3 and min(shape[:2]) >= LEAST_IMAGE


def unit_range(images: Shaped[Array, "..."]) -> Float[Array, "..."]:
    """Return images as float32: whole numbers 0 .. 255 as 0 .. 1, any other values as they are."""
    scale = 1.0 / 255.0 if jnp.issubdtype(images.dtype, jnp.integer) else 1.0
    return images.astype(jnp.float32) * jnp.float32(scale)

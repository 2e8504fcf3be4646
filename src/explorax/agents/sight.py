"""Observations as an agent's networks take them: images as they are, all else flat."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import Incompatible
from explorax.core.protocols import Spec
from explorax.nets.mlp import sees_images
from explorax.ops import moments as running
from explorax.ops.frame import UNBOUNDED
from explorax.ops.images import LEAST_IMAGE, is_image

LEAST_FRAME = 24  # pixels per side from which whole numbers [H, W, C] are frames, and no grid
LARGEST_FLOAT = 10.0  # of images that are not whole numbers; standardised ones are within it


class Settings(Protocol):
    """The settings of an agent that are read here."""

    @property
    def encoder(self) -> str: ...
    @property
    def normalize_obs(self) -> bool: ...


def encoder_for(settings: Settings, spec: Spec) -> str | None:
    """Return the encoder of a network that is to see `spec.obs`; None: flat observations.

    Raises Incompatible for frames [C, H, W] and [H, W] and for those too small to convolve, which
    would pass for flat observations, and for images of floats from 0 to 255, which no network would
    divide by 255.
    """
    shape = spec.obs.shape
    large = sum(side >= LEAST_IMAGE for side in shape) == 2 and len(shape) in (2, 3)
    if large and spec.obs.dtype == "uint8" and not is_image(shape):
        cure = "frame[..., None]" if len(shape) == 2 else "np.moveaxis(frame, 0, -1)"
        raise Incompatible(
            f"Images are [height, width, channels] here, and these observations, {shape} of uint8, "
            f"have their channels elsewhere or none. Wrap the environment so that it gives {cure} "
            "(gymnasium.wrappers.TransformObservation)."
        )
    if not is_image(shape):
        sides = shape[:2] if len(shape) == 3 else (0,)
        if min(sides) >= LEAST_FRAME and spec.obs.dtype == "uint8":
            raise Incompatible(
                f"Images need {LEAST_IMAGE} pixels per side to be convolved, and these are {shape} "
                f"of uint8. Enlarge them (gymnasium.wrappers.ResizeObservation), or have them "
                f"taken as flat numbers (gymnasium.wrappers.FlattenObservation)."
            )
        return None
    most = max(float(np.max(np.abs(bound))) for bound in (spec.obs.low, spec.obs.high))
    whole = jnp.issubdtype(jnp.dtype(spec.obs.dtype), jnp.integer)
    if not whole and LARGEST_FLOAT < most < UNBOUNDED:
        raise Incompatible(
            f"Images are uint8 from 0 to 255, or floats of about 1, and these, {shape} of "
            f"{spec.obs.dtype}, go to {most:g}. Wrap the environment so that it gives "
            f"frame.astype(np.uint8), or frame / {most:g} "
            "(gymnasium.wrappers.TransformObservation)."
        )
    return settings.encoder


def encoder_of(settings: Settings, params: Any) -> str | None:
    """Return the encoder of a network with weights `params`: only `init` is told the spec."""
    return settings.encoder if sees_images(params) else None


def example(spec: Spec) -> jax.Array:
    """Return one observation [1, H, W, C] or [1, D] as networks take it, to draw weights for."""
    shape = spec.obs.shape
    return jnp.zeros((1, *shape) if is_image(shape) else (1, math.prod(shape)))


def moments(spec: Spec) -> running.Moments:
    """Return the moments of no observations; images, which are not standardised, get those of one
    number."""
    return running.empty(() if is_image(spec.obs.shape) else spec.obs.shape)


def seen(settings: Settings, moments: running.Moments, params: Any, obs: jax.Array) -> jax.Array:
    """Return what a network with weights `params` takes of observations [..., *obs_shape]."""
    if sees_images(params):
        return obs
    return running.features(moments, obs, settings.normalize_obs)


def noted(
    settings: Settings, moments: running.Moments, params: Any, obs: jax.Array
) -> running.Moments:
    """Return the moments with observations [..., *obs_shape] added, where they are standardised."""
    if settings.normalize_obs and not sees_images(params):
        return running.update(moments, obs)
    return moments

"""Values in units that follow the targets' size (PopArt)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.pytree import pytree, replace


@pytree
class Scale:
    """The running size of the targets of V value heads, which predict (value − mean)/std."""

    mean: Any  # [V]
    std: Any  # [V]
    updates: Any  # float32 []


def start(heads: int) -> Scale:
    """Return the scale of targets not yet seen: none."""
    return Scale(jnp.zeros(heads), jnp.ones(heads), jnp.float32(0))


def rescaled(
    scale: Scale, layer: dict[str, Any], target: Float[Array, "T E V"], least_rate: float
) -> tuple[Scale, dict[str, Any]]:
    """Return (the scale moved towards that of `target`, the output layer changed so that the heads
    predict what they did) (van Hasselt et al. 2016, arXiv 1602.07714, section 2.2).

    A new batch weighs `least_rate`, and more as long as there are few: then the scale is a mean.
    """
    rate = jnp.maximum(least_rate, 1.0 / (scale.updates + 1.0))
    mean = scale.mean + rate * (target.mean((0, 1)) - scale.mean)
    apart = jnp.square(target - mean[None, None]).mean((0, 1))
    std = jnp.maximum(jnp.sqrt((1.0 - rate) * jnp.square(scale.std) + rate * apart), 1e-6)
    ratio = scale.std / std
    changed = {
        "kernel": layer["kernel"] * ratio[None],
        "bias": layer["bias"] * ratio + (scale.mean - mean) / std,
    }
    return replace(scale, mean=mean, std=std, updates=scale.updates + 1.0), changed

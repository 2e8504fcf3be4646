"""Running mean and variance of a stream that comes in batches, and standardising with them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from explorax.core.pytree import pytree


@pytree
class Moments:
    """Mean and sum of squared deviations of all rows so far."""

    count: Any  # float32 [], rows
    mean: Any  # [*shape]
    squares: Any  # [*shape], Σ (x − mean)²


def empty(shape: tuple[int, ...]) -> Moments:
    """Return the moments of no rows."""
    return Moments(jnp.float32(0), jnp.zeros(shape), jnp.zeros(shape))


def update(moments: Moments, rows: Shaped[Array, "..."]) -> Moments:
    """Return the moments with `rows` [..., *shape] added, each row with the same weight.

    Chan, Golub & LeVeque 1983, Eq. 2.1: with d = mean_b − mean_a and n = n_a + n_b,
    mean = mean_a + d n_b/n and squares = squares_a + squares_b + d² n_a n_b/n.
    """
    rows = rows.astype(jnp.float32).reshape(-1, *moments.mean.shape)
    added = rows.shape[0]
    mean = rows.mean(0)
    squares = jnp.square(rows - mean[None]).sum(0)
    count = moments.count + added
    apart = mean - moments.mean
    return Moments(
        count=count,
        mean=moments.mean + apart * (added / count),
        squares=moments.squares + squares + apart * apart * (moments.count * added / count),
    )


def variance(moments: Moments) -> jax.Array:
    """Return the population variance [*shape]; 0 for no rows."""
    return moments.squares / jnp.maximum(moments.count, 1.0)


def std(moments: Moments) -> jax.Array:
    """Return the standard deviation [*shape], 1 where nothing has varied yet.

    A deviation below a millionth of the mean's size is rounding, not variation: dividing by it
    would blow noise up to the size of a signal.
    """
    spread = variance(moments)
    constant = spread <= 1e-12 * (1e-12 + moments.mean * moments.mean)  # false of NaN, which stays
    return jnp.sqrt(jnp.where(constant, 1.0, spread))


def standardise(moments: Moments, rows: Shaped[Array, "..."], clip: float) -> Float[Array, "..."]:
    """Return (rows − mean)/std, clipped to [−clip, clip]; before the first update, `rows` clipped.

    `rows` is [..., *shape].
    """
    lead = (1,) * (rows.ndim - moments.mean.ndim)
    mean, scale = moments.mean.reshape(*lead, *moments.mean.shape), std(moments)
    centred = rows.astype(jnp.float32) - mean
    return jnp.clip(centred / scale.reshape(mean.shape), -clip, clip)


OBS_CLIP = 10.0  # standard deviations; observations further out say nothing more


def features(moments: Moments, obs: Shaped[Array, "..."], normalize: bool) -> Float[Array, "... D"]:
    """Return observations [..., *shape] as what a network sees [..., D], standardised if so set."""
    lead = obs.shape[: obs.ndim - moments.mean.ndim]
    if normalize:
        obs = standardise(moments, obs, OBS_CLIP)
    return obs.astype(jnp.float32).reshape(*lead, -1)


def forget(moments: Moments, keep: float) -> Moments:
    """Return the moments as if a share 1 − `keep` of the rows had never been, mean and variance
    the same. Called before each update it makes old rows fade away geometrically."""
    return Moments(moments.count * keep, moments.mean, moments.squares * keep)

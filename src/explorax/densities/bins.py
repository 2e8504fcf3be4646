"""Vectors as the numbers of the bins into which their entries fall."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from explorax.core.protocols import Box
from explorax.core.pytree import pytree
from explorax.densities.grey import UNBOUNDED
from explorax.ops import moments as running

REACH = 3.0  # deviations from the mean to either side that the bins of an unbounded entry cover


@pytree
class Bins:
    """Where the bins of each entry lie."""

    low: Any  # float32 [D]; of entries without bounds, in deviations from the mean
    width: Any  # float32 [D], of all bins together
    bounded: Any  # bool [D]
    moments: running.Moments  # of flat observations, until they are settled


def bins_of(box: Box) -> Bins:
    """Return the bins of observations of `box`: over its bounds, or ±3 deviations without."""
    low, high = (np.broadcast_to(bound, box.shape).ravel() for bound in (box.low, box.high))
    bounded = (low > -UNBOUNDED) & (high < UNBOUNDED) & (high > low)
    return Bins(
        low=jnp.asarray(np.where(bounded, low, -REACH), jnp.float32),
        width=jnp.asarray(np.where(bounded, high - low, 2 * REACH), jnp.float32),
        bounded=jnp.asarray(bounded),
        moments=running.empty(low.shape),
    )


def settled(bins: Bins, obs: Float[Array, "N D"], rows: int) -> Bins:
    """Return the bins after looking at `obs` for their scale, until `rows` have been looked at.

    Bins that went on moving would make old counts those of other values.
    """
    looked = running.update(bins.moments, obs)
    young = bins.moments.count < rows
    moments = jax.tree.map(lambda new, old: jnp.where(young, new, old), looked, bins.moments)
    return Bins(bins.low, bins.width, bins.bounded, moments)


def bin_of(bins: Bins, obs: Float[Array, " D"], number: int) -> Int[Array, " D"]:
    """Return the bin of each entry, int32: 1 .. `number` inside, 0 below and `number` + 1 above."""
    deviations = (obs - bins.moments.mean) / running.std(bins.moments)
    share = (jnp.where(bins.bounded, obs, deviations) - bins.low) / bins.width
    inside = 1.0 + jnp.clip(jnp.floor(share * number), 0, number - 1)
    place = jnp.where(share < 0, 0.0, jnp.where(share > 1, number + 1.0, inside))
    return place.astype(jnp.int32)

"""Vectors measured by the bounds of their entries, or, without bounds, by a deviation that settles.

What counts visits must measure with a scale that stays: after it moved, old counts would be those
of other states.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from explorax.core.protocols import Box
from explorax.core.pytree import pytree, replace
from explorax.ops import moments as running

UNBOUNDED = 1e6  # a bound beyond it says only which numbers a float can hold


@pytree
class Frame:
    """Where each entry has its place between 0 and 1."""

    low: Any  # float32 [D], the place 0; of entries without bounds, in deviations from the mean
    width: Any  # float32 [D], from there to the place 1
    bounded: Any  # bool [D]
    moments: running.Moments  # of flat observations, until they are settled


def frame_of(box: Box, reach: float) -> Frame:
    """Return the frame of observations of `box`, as many entries as it has numbers.

    Entries without bounds reach from −`reach` to `reach` deviations.
    """
    low, high = (np.broadcast_to(bound, box.shape).ravel() for bound in (box.low, box.high))
    bounded = (low > -UNBOUNDED) & (high < UNBOUNDED) & (high > low)
    return Frame(
        low=jnp.asarray(np.where(bounded, low, -reach), jnp.float32),
        width=jnp.asarray(np.where(bounded, high - low, 2 * reach), jnp.float32),
        bounded=jnp.asarray(bounded),
        moments=running.empty(low.shape),
    )


def is_settled(frame: Frame, rows: int) -> Bool[Array, ""]:
    """Return whether all entries have bounds or `rows` observations have been looked at."""
    return frame.bounded.all() | (frame.moments.count >= rows)


def look(frame: Frame, obs: Float[Array, "... D"], rows: int) -> Frame:
    """Return the frame after looking at the rows of `obs`, unless `rows` have been before."""
    young = frame.moments.count < rows
    looked = running.update(frame.moments, obs)
    moments = jax.tree.map(lambda new, old: jnp.where(young, new, old), looked, frame.moments)
    return replace(frame, moments=moments)


def place(frame: Frame, obs: Float[Array, "... D"]) -> Float[Array, "... D"]:
    """Return where entries lie: in [0, 1] within the bounds or the reach, and beyond outside."""
    low, width, bounded, mean, std = (
        leaf.reshape(*(1,) * (obs.ndim - 1), -1)
        for leaf in (frame.low, frame.width, frame.bounded, frame.moments.mean,
                     running.std(frame.moments))
    )  # fmt: skip
    return (jnp.where(bounded, obs, (obs - mean) / std) - low) / width

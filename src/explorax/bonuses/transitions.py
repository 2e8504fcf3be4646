"""Transitions as a regression problem, raw in a pool and standardised by the moments of all seen.

Not a bonus: what MaxInfo and Surprise have in common.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.protocols import Key, Rollout
from explorax.core.pytree import pytree
from explorax.encoders.encoder import action_code
from explorax.ops import moments, replay


@pytree
class Transitions:
    pool: replay.Ring  # rows {"x": [I], "y": [O]}, raw
    x: moments.Moments  # of all seen, also those that the pool has lost
    y: moments.Moments


def empty(inputs: int, outputs: int, capacity: int) -> Transitions:
    """Return no transitions, and room for `capacity`."""
    row = {
        "x": jax.ShapeDtypeStruct((inputs,), jnp.float32),
        "y": jax.ShapeDtypeStruct((outputs,), jnp.float32),
    }
    pool = replay.empty(row, capacity)
    return Transitions(pool, moments.empty((inputs,)), moments.empty((outputs,)))


def states(rows: Rollout) -> tuple[Float[Array, "N D"], Float[Array, "N D"]]:
    """Return (s, s') of a rollout [T, E] or of rows [N], flattened, in time order."""
    count = rows.reward.size
    return tuple(obs.reshape(count, -1).astype(jnp.float32) for obs in (rows.obs, rows.next_obs))


def inputs(rows: Rollout, size: int) -> Float[Array, "N {size}"]:
    """Return (s, a) of a rollout [T, E] or of rows [N], `size` numbers each, raw."""
    before, _ = states(rows)
    lead = rows.reward.shape
    code = action_code(rows.action, lead, size - before.shape[1])
    return jnp.concatenate([before, code.reshape(before.shape[0], -1)], -1)


def add(known: Transitions, x: Float[Array, "N I"], y: Float[Array, "N O"]) -> Transitions:
    """Return `known` and raw rows more."""
    pool = replay.add(known.pool, {"x": x, "y": y})
    return Transitions(pool, moments.update(known.x, x), moments.update(known.y, y))


def scaled(
    known: Transitions, x: Float[Array, "N I"], y: Float[Array, "N O"], clip: float
) -> tuple[Float[Array, "N I"], Float[Array, "N O"]]:
    """Return raw rows in deviations from the means of all seen, clipped."""
    return moments.standardise(known.x, x, clip), moments.standardise(known.y, y, clip)


def sample(
    known: Transitions, key: Key, count: int, clip: float
) -> tuple[Float[Array, "{count} I"], Float[Array, "{count} O"]]:
    """Return rows of the pool, drawn with replacement, `scaled`."""
    rows = replay.sample(known.pool, key, count)
    return scaled(known, rows["x"], rows["y"], clip)

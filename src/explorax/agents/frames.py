"""Images in a replay: each frame is kept once, and stacks and successors are put together again.

A row keeps the newest frame of what was seen, and no successor: that of a step is the next row's.
With a stack of k frames the others are those of the k − 1 rows before; where an episode begins, its
first frame stands for the frames before it, as Gymnasium's `FrameStackObservation` pads. So neither
the oldest k − 1 rows nor the newest one can be drawn.

What an episode ended in is in no row. Nothing follows a terminal state, and what was seen last
stands in for it, also where a bonus looks at it. After a time-out the value of that successor would
count: such a step is not learned from, and returns that run into it end one step earlier, with the
value of what was seen there.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from explorax.core.errors import Incompatible
from explorax.core.protocols import Rollout, Spec
from explorax.core.pytree import replace
from explorax.ops import replay
from explorax.ops.images import is_image


def frame_shape(spec: Spec) -> tuple[int, ...]:
    """Return [H, W, channels of one frame].

    Raises Incompatible where the channels are not as many for each frame of the stack.
    """
    height, width, channels = spec.obs.shape
    if spec.obs.stack < 1 or channels % spec.obs.stack:
        raise Incompatible(
            f"Images of {channels} channels are no stack of {spec.obs.stack} frames. Give the "
            f"environment's Box the number of frames along its last axis, stack=1 for one."
        )
    return height, width, channels // spec.obs.stack


def rows_needed(spec: Spec, length: int) -> int:
    """Return how many rows the replay must hold for a window of `length` steps."""
    return length + spec.obs.stack if is_image(spec.obs.shape) else length


def kept_once(ring: replay.Ring) -> bool:
    """Return whether the ring's rows have frames, and no successors."""
    return isinstance(ring.data.next_obs, tuple)


def stack_of(ring: replay.Ring, rollout: Rollout) -> int:
    """Return k, the frames of which the rollout's observations consist: the ring has one of each.

    Methods other than `init` are not given the spec.
    """
    return rollout.obs.shape[-1] // ring.data.obs.shape[-1]


def newest(rollout: Rollout, channels: int) -> Rollout:
    """Return the rows as they are kept: the last `channels` of what was seen, and no successor."""
    return replace(rollout, obs=rollout.obs[..., -channels:], next_obs=())


def stacked(
    frames: Shaped[Array, "B W H V C"], first: Bool[Array, "B W"], stack: int
) -> Shaped[Array, "B L H V K"]:
    """Return stacks [B, L, ..., k · channels] from kept rows [B, k − 1 + L, ...]."""
    place = jnp.arange(first.shape[1], dtype=jnp.int32)
    # Where each row's episode begins; before the rows at hand, where no frame would be too old.
    begin = jax.lax.cummax(jnp.where(first, place[None], 0), axis=1)[:, stack - 1 :]
    seen, windows = place[None, stack - 1 :], jnp.arange(len(first))[:, None]
    each = [frames[windows, jnp.maximum(seen - back, begin)] for back in reversed(range(stack))]
    return jnp.concatenate(each, axis=-1)


def rebuilt(rows: Rollout, stack: int) -> Rollout:
    """Return windows [B, L, ...] of stacks and successors from kept rows [B, k − 1 + L + 1, ...].

    In place of the successor of a step that ended an episode is what was seen in that step.
    """
    stacks = stacked(rows.obs, rows.first, stack)

    def steps(leaf: jax.Array) -> jax.Array:
        return leaf[:, stack - 1 : -1]

    rows = jax.tree.map(steps, replace(rows, obs=()))
    ended = (rows.terminated | rows.truncated)[..., None, None, None]
    obs = stacks[:, :-1]
    return replace(rows, obs=obs, next_obs=jnp.where(ended, obs, stacks[:, 1:]))


def cut_before_time_outs(windows: Rollout) -> tuple[Rollout, Bool[Array, "B L"]]:
    """Return (windows [B, L] whose returns end before a time-out, which steps can be learned from).

    The step before one that timed out gets to be the truncated one: its successor is known.
    """
    later = jnp.pad(windows.truncated[:, 1:], ((0, 0), (0, 1)))
    ends = windows.truncated | (later & ~windows.terminated)
    return replace(windows, truncated=ends), ~windows.truncated

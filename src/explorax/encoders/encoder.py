"""What an encoder is, and what encoders share."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from explorax.core.errors import Incompatible
from explorax.core.protocols import Discrete, Key, Metrics, Rollout, Spec, State
from explorax.core.pytree import pytree, replace
from explorax.ops import moments
from explorax.ops.moments import Moments


@pytree
class Pairs:
    """A rollout as an encoder sees it, leaves [..., F] and [...] for rows [...]."""

    before: Any  # of the observation in which was acted
    after: Any  # of its true successor
    known: Any  # bool: whether `after` is; where it is not, it is `before`


class Encoder(Protocol):
    """Turns observations into the features in which a bonus measures novelty.

    A frozen dataclass of settings with pure methods. Nothing an encoder gives carries a gradient.
    """

    @property
    def replayable(self) -> bool:
        """Whether the features of a row can be had again from the row alone."""
        ...

    @property
    def drift(self) -> str:
        """How the features of one observation change: "none", "settles" as observations are
        measured, or "learns"."""
        ...

    def size(self, spec: Spec) -> int:
        """Return F, the number of features. Raises Incompatible."""
        ...

    def init(self, key: Key, spec: Spec) -> State: ...

    def pairs(self, state: State, rollout: Rollout) -> Pairs:
        """Return the features of a rollout [T, E], or of rows [N] where `replayable`."""
        ...

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (state, metrics) after learning from the rollout, where there is to learn."""
        ...


def observed_size(spec: Spec) -> int:
    """Return the numbers in an observation. Raises Incompatible where there are none."""
    size = math.prod(spec.obs.shape)
    if size == 0:
        raise Incompatible(f"There is nothing to encode: observations have the shape {spec.obs}.")
    return size


def action_size(spec: Spec) -> int:
    """Return the width of `action_code`."""
    if isinstance(spec.action, Discrete):
        return spec.action.n
    return math.prod(spec.action.shape)


def action_code(action: jax.Array, lead: tuple[int, ...], width: int) -> jax.Array:
    """Return actions [*lead] or [*lead, ...] as [*lead, width]: one-hot, or what is executed.

    Environments clip continuous actions to [-1, 1], and an agent should not be able to raise its
    own bonus by asking for more than is done.
    """
    if jnp.issubdtype(action.dtype, jnp.integer):
        return jax.nn.one_hot(action, width)
    return jnp.clip(action.reshape(*lead, width), -1.0, 1.0)


def flat_rows(rollout: Rollout) -> Rollout:
    """Return a rollout [T, E, ...] as rows [T · E, ...] in time order, without extras and carry."""
    kept = replace(rollout, extras=(), carry=())
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept)


def seen_pairs(
    state: Moments, rollout: Rollout, standardize: bool, clip: float
) -> tuple[jax.Array, jax.Array]:
    """Return (obs, next_obs) [..., *obs_shape] as float32, standardised and clipped if so set."""

    def seen(obs: jax.Array) -> jax.Array:
        if not standardize:
            return obs.astype(jnp.float32)
        return moments.standardise(state, obs, clip)

    return seen(rollout.obs), seen(rollout.next_obs)

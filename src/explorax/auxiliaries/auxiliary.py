"""What an auxiliary loss is told: what it may know before it starts, and a scene out of the replay.

A scene is drawn once for all of them, and the network runs over it once. What nobody looks at
costs nothing, since the compiler drops it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import jax

from explorax.core.protocols import Box, Discrete, Key, Metrics, Rollout
from explorax.core.pytree import pytree


@dataclass(frozen=True)
class About:
    """What an auxiliary loss may know of the world and the network before it starts."""

    obs: Box
    action: Discrete | Box
    latent: int  # numbers that the policy's head sees, the memory's output
    encoded: int  # numbers that are made of one observation, before the memory


@pytree
class Scene:
    """What was replayed, and what the network says of it, as a function of what is being learned.

    Windows are L + 1 consecutive steps of B draws; the last is there for what follows the others.
    The memory is empty where a window begins. Rows have no `next_obs`: the next row has it, and of
    an episode's last observation nothing is kept. Their bonus is as scored when they were new.
    """

    rows: Rollout  # [L + 1, B, ...]
    newest: Any  # [L + 1, B, ...], of each observation that is a stack of frames the last one
    latent: Any  # [L + 1, B, H]
    encoded: Any  # [L + 1, B, F]
    value: Any  # [L + 1, B, V], in the reward's units
    streams: Any  # [L + 1, B, V], what each value head is paid
    ended: Any  # bool [L + 1, B, V], whether nothing more is paid after this step
    unknown: Any  # bool [L + 1, B, V], whether what follows counts and was not kept
    discounts: Any  # V numbers
    std: Any  # [V], the size of the returns, by which errors of values are divided
    skewed: Rollout  # [3, N, ...], of which half end in a reward
    skewed_encoded: Any  # [3, N, F]
    skewed_known: Any  # bool [N], whether the three belong together


class Auxiliary(Protocol):
    """A loss on what is replayed."""

    @property
    def weight(self) -> float:
        """λ, what the loss is multiplied by."""
        ...

    def init(self, key: Key, about: About) -> Any:
        """Return the parameters of its own heads. Raises Incompatible."""
        ...

    def loss(self, params: Any, scene: Scene) -> tuple[jax.Array, Metrics]:
        """Return (loss [], metrics), differentiable in `params` and in what the network says."""
        ...

"""The observation itself."""

from dataclasses import dataclass

import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.settings import check_types
from explorax.encoders.encoder import Pairs, observed_size, seen_pairs
from explorax.ops import moments
from explorax.ops.moments import Moments


@dataclass(frozen=True)
class Raw:
    """Gives the observation flattened, standardised by the moments of all observations so far."""

    standardize: bool = True  # False: as it is
    clip: float = 5.0  # in deviations, as RND

    def __post_init__(self) -> None:
        check_types(self)
        require(self.clip > 0, self, "clip", "positive")

    @property
    def replayable(self) -> bool:
        return True

    @property
    def drift(self) -> str:
        return "settles" if self.standardize else "none"

    def size(self, spec: Spec) -> int:
        return observed_size(spec)

    def init(self, key: Key, spec: Spec) -> Moments:
        observed_size(spec)
        return moments.empty(spec.obs.shape)

    def pairs(self, state: Moments, rollout: Rollout) -> Pairs:
        before, after = seen_pairs(state, rollout, self.standardize, self.clip)
        lead = rollout.reward.shape
        flat = (seen.reshape(*lead, -1) for seen in (before, after))
        return Pairs(*flat, known=jnp.ones(lead, bool))

    def update(self, state: Moments, key: Key, rollout: Rollout) -> tuple[Moments, Metrics]:
        return moments.update(state, rollout.next_obs), {}

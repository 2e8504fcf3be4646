"""A network that is drawn once and never trained."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.encoder import Pairs, observed_size, seen_pairs
from explorax.nets.torso import Torso
from explorax.ops import moments


@pytree
class RandomState:
    params: Any
    moments: Any  # of observations


@dataclass(frozen=True)
class RandomEncoder:
    """Gives what a random network makes of the observation (RE3, arXiv 2102.09430, section 3).

    Random features keep distances about as they are and do not drift, except with the moments by
    which observations are standardised, which settle soon. Images are convolved first.
    """

    features: int = 64  # numbers that come out
    hidden: tuple[int, ...] = (64,)  # widths of the layers before; images are convolved first
    standardize: bool = True  # observations, by the moments of all so far
    clip: float = 5.0  # in deviations

    def __post_init__(self) -> None:
        check_types(self)
        require(self.features >= 1, self, "features", "at least 1")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        require(self.clip > 0, self, "clip", "positive")

    @property
    def replayable(self) -> bool:
        return True

    @property
    def drift(self) -> str:
        return "settles" if self.standardize else "none"

    def size(self, spec: Spec) -> int:
        return self.features

    def init(self, key: Key, spec: Spec) -> RandomState:
        observed_size(spec)
        params = self._torso(spec.obs.shape).init(key, jnp.zeros((1, *spec.obs.shape)))
        return RandomState(params, moments.empty(spec.obs.shape))

    def _torso(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.hidden, shape)

    def pairs(self, state: RandomState, rollout: Rollout) -> Pairs:
        lead, shape = rollout.reward.shape, state.moments.mean.shape

        def encoded(seen: jax.Array) -> jax.Array:
            out = self._torso(shape).apply(state.params, seen.reshape(-1, *shape))
            return jnp.asarray(out).reshape(*lead, self.features)

        before, after = seen_pairs(state.moments, rollout, self.standardize, self.clip)
        return Pairs(encoded(before), encoded(after), jnp.ones(lead, bool))

    def update(self, state: RandomState, key: Key, rollout: Rollout) -> tuple[RandomState, Metrics]:
        return replace(state, moments=moments.update(state.moments, rollout.next_obs)), {}

"""A bonus that wears off within an episode."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.combine import may_be_negative
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.ops import episodic, hashing, moments

RULES = ("sqrt", "first")
FURTHEST = 10.0  # deviations; an outlier must not drown the other coordinates


@pytree
class EpisodicState:
    bonus: Any
    trail: episodic.Trail  # codes of observations
    projection: Any  # [D + 1, bits] of SimHash; () for exact codes
    moments: Any  # of observations; () for exact codes


@dataclass(frozen=True)
class Episodic:
    """Pays `bonus` less the more often the episode has been at s'.

    N counts the visits to s' in the episode, this one and the episode's first observation included.
    rule="sqrt" pays bonus/√N, as RIDE does (Raileanu & Rocktäschel 2020, arXiv 2002.12292);
    "first" pays it where N = 1 and nothing afterwards, the episodic restriction of BeBold and
    NovelD (Zhang et al. 2020, arXiv 2012.08621).

    Observations are the same where they are equal, or with `bits` where they have the same SimHash
    code, sgn(A g(s)) of the standardised observation and a constant 1: more bits make finer cells.
    Codes of an episode under way stay as they were when the moments move on. Of an episode longer
    than `capacity` the oldest observations are forgotten, and are new again.

    Not replayable: what the episode had shown by then is gone.
    """

    bonus: Bonus  # what wears off
    rule: str = "sqrt"  # or "first"
    bits: int | None = None  # of SimHash, for observations that never come twice; None: exact
    capacity: int = 1000  # observations of an episode that are remembered, per environment

    def __post_init__(self) -> None:
        check_types(self)
        require(self.rule in RULES, self, "rule", f"one of {RULES}")
        bits = self.bits is None or 1 <= self.bits <= 31
        require(bits, self, "bits", "in 1 .. 31, or None for exact counts")
        require(self.capacity >= 1, self, "capacity", "at least 1")

    @property
    def replayable(self) -> bool:
        return False

    @property
    def may_be_negative(self) -> bool:
        return may_be_negative(self.bonus)

    def init(self, key: Key, spec: Spec) -> EpisodicState:
        size = math.prod(spec.obs.shape)
        dtype, projection, seen = jnp.uint32, (), ()
        if self.bits is not None:
            dtype, seen = jnp.int32, moments.empty((size,))
            drawn = jax.random.fold_in(key, 1)  # the bonus keeps the key that it has alone
            projection = jax.random.normal(drawn, (size + 1, self.bits))
        code = jax.ShapeDtypeStruct((), dtype)
        trail = episodic.empty(spec.num_envs, self.capacity, code)
        return EpisodicState(self.bonus.init(key, spec), trail, projection, seen)

    def score(
        self, state: EpisodicState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, EpisodicState]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)
        before, after = (
            self._codes(state, obs.reshape(*rollout.reward.shape, -1))
            for obs in (rollout.obs, rollout.next_obs)
        )
        visits, trail = episodic.visits(state.trail, before, after, rollout.first)
        if self.rule == "first":
            paid = jnp.where(visits == 1, paid, 0.0)
        else:
            paid = paid * jax.lax.rsqrt(visits.astype(jnp.float32))
        return paid, replace(state, bonus=inner, trail=trail)

    def _codes(self, state: EpisodicState, obs: jax.Array) -> jax.Array:
        """Return codes [T, E] of observations [T, E, D]."""
        if self.bits is None:
            return hashing.exact_code(obs)
        scaled = moments.standardise(state.moments, obs, FURTHEST)
        constant = jnp.ones((*scaled.shape[:-1], 1))
        return hashing.simhash(state.projection, jnp.concatenate([scaled, constant], -1))

    def update(
        self, state: EpisodicState, key: Key, rollout: Rollout
    ) -> tuple[EpisodicState, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        seen = state.moments
        if self.bits is not None:
            seen = moments.update(seen, rollout.next_obs)
        return replace(state, bonus=inner, moments=seen), metrics

    def rescore(self, state: EpisodicState, key: Key, rows: Rollout) -> jax.Array:
        return rows.bonus

"""A size of the bonus that follows what the task pays."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.combine import may_be_negative
from explorax.bonuses.running_std import RunningStd, RunningStdState
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types


@pytree
class ReturnShareState:
    bonus: RunningStdState
    filtered: Any  # [E], discounted rewards of the episode under way
    largest: Any  # [], R: the largest |filtered| so far, at least `goal`


@dataclass(frozen=True)
class ReturnShare:
    """Pays `bonus` so that its discounted returns vary by `share` of what the task pays.

    With x the bonus divided by the running deviation of its own discounted returns (`RunningStd`)
    and R the largest discounted return of rewards in an episode so far, at least `goal`, it pays

        R · min(share · x, (1 − discount) · limit),

    and the same from below where x may be negative. So whatever the bonus does, the discounted sum
    of all that is paid after a step is at most limit · R: a spike cannot outweigh the task. R only
    grows, and a task that pays 1 at its goal and nothing before needs no setting. For rewards much
    smaller than 1 give `goal`. The bonus itself must fade: nothing here makes it.
    """

    bonus: Bonus  # what is paid
    share: float = 0.1  # deviation of the bonus's discounted returns, in R
    discount: float = 0.99  # of both returns, the agent's
    limit: float = 1.0  # of the discounted sum of bonuses, in R
    goal: float = 1.0  # R until the task has paid more, in rewards

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("share", "limit", "goal"):
            require(0 < getattr(self, name) < float("inf"), self, name, "positive and finite")
        require(0 <= self.discount < 1, self, "discount", "at least 0 and below 1")

    @property
    def _normalized(self) -> RunningStd:
        return RunningStd(self.bonus, self.discount)

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return may_be_negative(self.bonus)

    def init(self, key: Key, spec: Spec) -> ReturnShareState:
        inner = self._normalized.init(key, spec)
        return ReturnShareState(inner, jnp.zeros(spec.num_envs), jnp.float32(self.goal))

    def score(
        self, state: ReturnShareState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, ReturnShareState]:
        paid, inner = self._normalized.score(state.bonus, key, rollout)

        def one(before: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            reward, first = row
            after = self.discount * jnp.where(first, 0.0, before) + reward
            return after, after

        rows = (rollout.reward, rollout.first)
        filtered, returns = jax.lax.scan(one, state.filtered, rows)
        largest = jnp.maximum(state.largest, jnp.abs(returns).max())
        state = ReturnShareState(inner, filtered, largest)
        return self._sized(state, paid), state

    def _sized(self, state: ReturnShareState, paid: jax.Array) -> jax.Array:
        most = (1.0 - self.discount) * self.limit
        return state.largest * jnp.clip(self.share * paid, -most, most)

    def update(
        self, state: ReturnShareState, key: Key, rollout: Rollout
    ) -> tuple[ReturnShareState, Metrics]:
        inner, metrics = self._normalized.update(state.bonus, key, rollout)
        metrics = {**metrics, "largest_return": state.largest}
        return ReturnShareState(inner, state.filtered, state.largest), metrics

    def rescore(self, state: ReturnShareState, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self._sized(state, self._normalized.rescore(state.bonus, key, rows))

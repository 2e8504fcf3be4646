"""A size of the bonus that follows what the task pays."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.combine import may_be_negative
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.ops import moments
from explorax.ops.returns import filtered


@pytree
class ReturnShareState:
    bonus: Any
    mean: Any  # float32 [], the running mean of what the bonus paid; 0 without `center`
    bonuses: Any  # [E], discounted sum of what was above that mean, over the ends of episodes
    rewards: Any  # [E], discounted sum of rewards in the episode under way
    spread: moments.Moments  # of the sums of bonuses
    returns: moments.Moments  # of the sums of rewards
    seen: Any  # float32 [], rows


@dataclass(frozen=True)
class ReturnShare:
    """Pays `bonus` so that its discounted returns vary by `share` of what the task pays.

    Let m be the running mean of the bonus x, σ the standard deviation of the discounted sums of
    x − m (computed forwards, over the ends of episodes, as in `RunningStd`), and R the standard
    deviation of the discounted sums of rewards within an episode, but at least `goal`. It pays

        R · clip(share · (x − m)/σ, −(1 − discount) · limit, (1 − discount) · limit).

    No step is paid, or charged, more than (1 − discount) · limit · R, by default 3 % of R, so that
    a spike cannot outweigh the task. Bonuses that stay at the bound add up to limit · R. A task
    that pays 1 at its goal and nothing before has R = 1 and needs no setting. For rewards much
    smaller than 1 give `goal`. The bonus itself must fade: nothing here makes it.

    The mean is subtracted for two reasons. After a terminal state no more bonus is earned, so a
    bonus that is never negative rewards the agent for avoiding a goal that ends the episode. And
    as a bonus fades, its value falls faster than a critic can track, so that every action looks
    worse than expected. The mean is exponentially weighted with a time constant of `center` env
    steps; the rollout being scored is included. Once as many steps have been paid, what enters m is
    clipped where what is paid is, so that a spike does not charge all other steps. It stays in σ,
    and what follows is small beside it.

    Rollouts that begin within the first `warmup` env steps are paid nothing, and their bonuses are
    not measured: to an untrained model everything is new, and later bonuses would look small by
    comparison for a long time.
    """

    bonus: Bonus  # what is paid
    share: float = 0.1  # standard deviation of the bonus's discounted sums, in units of R
    discount: float = 0.99  # of both returns, the agent's
    limit: float = 3.0  # bound on the discounted sum of bonuses, in units of R
    goal: float = 1.0  # the least R, in rewards: what a goal is worth that nobody has found
    warmup: int = 1_000  # env steps before the first rollout that is paid
    center: int | None = 1_000  # env steps over which m decays to 1/e; None: m = 0

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("share", "limit", "goal"):
            require(0 < getattr(self, name) < float("inf"), self, name, "positive and finite")
        require(0 <= self.discount < 1, self, "discount", "at least 0 and below 1")
        require(self.warmup >= 0, self, "warmup", "at least 0")
        able = self.center is None or self.center >= 1
        require(able, self, "center", "at least 1 env step, or None")

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return self.center is not None or may_be_negative(self.bonus)

    def init(self, key: Key, spec: Spec) -> ReturnShareState:
        nothing, none = jnp.zeros(spec.num_envs), jnp.float32(0)
        return ReturnShareState(
            bonus=self.bonus.init(key, spec),
            mean=none,
            bonuses=nothing,
            rewards=nothing,
            spread=moments.empty(()),
            returns=moments.empty(()),
            seen=none,
        )

    def score(
        self, state: ReturnShareState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, ReturnShareState]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)
        warm = state.seen >= self.warmup
        mean = jnp.where(warm, self._mean(state, paid), 0.0)
        sums = filtered(state.bonuses, jnp.where(warm, paid - mean, 0.0), self.discount)
        rewards = filtered(state.rewards, rollout.reward, self.discount, rollout.first)
        spread = moments.update(state.spread, sums)
        state = ReturnShareState(
            bonus=inner,
            mean=mean,
            bonuses=sums[-1],
            rewards=rewards[-1],
            spread=jax.tree.map(lambda new, old: jnp.where(warm, new, old), spread, state.spread),
            returns=moments.update(state.returns, rewards),
            seen=state.seen + rollout.reward.size,
        )
        return self._sized(state, paid), state

    def _mean(self, state: ReturnShareState, paid: jax.Array) -> jax.Array:
        """Return the running mean after a rollout [T, E]."""
        if self.center is None:
            return state.mean
        count, rows = state.spread.count, paid.size
        # Differences are averaged, since those of a constant bonus are exactly 0.
        before = jnp.where(count > 0, state.mean, paid.ravel()[0])
        above, most = paid - before, self._most / self.share * moments.std(state.spread)
        above = jnp.where(count >= self.center, jnp.clip(above, -most, most), above)
        # A plain average at first: one row must not be the mean of the next thousand.
        weight = jnp.maximum(-jnp.expm1(-rows / jnp.float32(self.center)), rows / (count + rows))
        return before + weight * above.mean()

    @property
    def _most(self) -> float:
        """The most that a step is paid, in units of R."""
        return (1.0 - self.discount) * self.limit

    def _sized(self, state: ReturnShareState, paid: jax.Array) -> jax.Array:
        above = self.share * (paid - state.mean) / moments.std(state.spread)
        sized = self._task(state) * jnp.clip(above, -self._most, self._most)
        return jnp.where(state.spread.count > 0, sized, 0.0)

    def _task(self, state: ReturnShareState) -> jax.Array:
        """Return R."""
        deviation = jnp.sqrt(moments.variance(state.returns))  # 0 where nothing was paid yet
        return jnp.maximum(deviation, self.goal)

    def update(
        self, state: ReturnShareState, key: Key, rollout: Rollout
    ) -> tuple[ReturnShareState, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        told = {"spread": moments.std(state.spread), "return_spread": self._task(state)}
        if self.center is not None:
            told["mean"] = state.mean
        return replace(state, bonus=inner), {**metrics, **told}

    def rescore(self, state: ReturnShareState, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self._sized(state, self.bonus.rescore(state.bonus, key, rows))

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

    With x the bonus over the deviation of its forward-filtered returns (as `RunningStd`), m its
    running mean in the same unit and R the deviation of the same returns of rewards, in an episode,
    at least `goal`, it pays

        R · clip(share · (x − m), −(1 − discount) · limit, (1 − discount) · limit).

    So whatever the bonus does, no step is paid more than (1 − discount) · limit · R, 3 % of R by
    default: a spike cannot outweigh the task. A task that pays 1 at its goal and nothing before has
    R = 1 and needs no setting. For rewards much smaller than 1 give `goal`. The bonus itself must
    fade: nothing here makes it.

    The mean is taken off for two reasons. A step in a terminal state is paid 0, so that a bonus
    that is never negative pays for not reaching a goal that ends the episode. And while a bonus
    fades, its mean over the discounted future falls faster than a critic can follow, which then
    takes the fall for a fault of all actions. The mean runs over the last `center` env steps.

    Rollouts that begin within the first `warmup` env steps are paid nothing and not measured: to a
    model that knows nothing all is new, and what is paid later would be small beside it for long.
    A spike that the bound cuts off stays in the deviation, and what follows is small beside it too.
    """

    bonus: Bonus  # what is paid
    share: float = 0.1  # deviation of the bonus's discounted returns, in R
    discount: float = 0.99  # of both returns, the agent's
    limit: float = 3.0  # of the discounted sum of bonuses, in R
    goal: float = 1.0  # the least R, in rewards: what a goal is worth that nobody has found
    warmup: int = 1_000  # env steps before the first rollout that is paid
    center: int | None = 1_000  # env steps of the running mean taken off; None: nothing is

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
        """Return the running mean after a rollout [T, E], the first of which counts alone."""
        if self.center is None:
            return state.mean
        weight = -jnp.expm1(-paid.size / jnp.float32(self.center))
        weight = jnp.where(state.spread.count > 0, weight, 1.0)
        return state.mean + weight * (paid.mean() - state.mean)

    def _sized(self, state: ReturnShareState, paid: jax.Array) -> jax.Array:
        most = (1.0 - self.discount) * self.limit
        above = self.share * (paid - state.mean) / moments.std(state.spread)
        sized = self._task(state) * jnp.clip(above, -most, most)
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

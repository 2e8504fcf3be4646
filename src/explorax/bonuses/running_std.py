"""RND's normaliser: a bonus in units of the spread of its own returns."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.combine import may_be_negative
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.ops import moments
from explorax.ops.returns import filtered


@pytree
class RunningStdState:
    bonus: Any
    filtered: Any  # [E], the discounted sum of what was paid so far
    returns: moments.Moments  # of all those sums
    paid: moments.Moments  # of the bonus itself


@dataclass(frozen=True)
class RunningStd:
    """Pays `bonus` divided by the running standard deviation of its forward-filtered returns.

    R_t = discount · R_{t−1} + bonus_t in each environment, over the ends of episodes, and the bonus
    is divided by the deviation of all R so far, those of the rollout under way included (Burda et
    al., arXiv 1810.12894, section 2.4, and the authors' code). The sum only measures: what is paid
    is the bonus. `discount=0` divides by the deviation of the bonus itself. With `center` the mean
    of all bonuses so far is taken off first (MaxInfoRL, arXiv 2412.12098): what is paid is then
    negative where less is learnt than usual.
    """

    bonus: Bonus  # what is normalised
    discount: float = 0.99  # of the filter, the agent's discount of the bonus
    center: bool = False  # take off the mean of all bonuses so far

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.discount < 1, self, "discount", "at least 0 and below 1")

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return self.center or may_be_negative(self.bonus)

    def init(self, key: Key, spec: Spec) -> State:
        nothing = moments.empty(())
        filtered = jnp.zeros(spec.num_envs)
        return RunningStdState(self.bonus.init(key, spec), filtered, nothing, nothing)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)

        returns = filtered(state.filtered, paid, self.discount)
        state = RunningStdState(
            inner,
            returns[-1],
            moments.update(state.returns, returns),
            moments.update(state.paid, paid),
        )
        return self._scaled(state, paid), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        metrics = {**metrics, "running_std": moments.std(state.returns)}
        return RunningStdState(inner, state.filtered, state.returns, state.paid), metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self._scaled(state, self.bonus.rescore(state.bonus, key, rows))

    def _scaled(self, state: RunningStdState, paid: jax.Array) -> jax.Array:
        centred = paid - state.paid.mean if self.center else paid
        return centred / moments.std(state.returns)

"""No bonus, and bonuses made of one bonus.

A wrapper passes `update` on unchanged, so it never alters what its part learns, and is replayable
exactly when its parts are.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import InvalidSetting, require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.ops.schedules import SHAPES, annealed


def may_be_negative(bonus: Bonus) -> bool:
    """Return whether a bonus may pay less than 0, as it declares itself; undeclared it may not."""
    return bool(getattr(bonus, "may_be_negative", False))


def refuse_negative(owner: object, bonus: Bonus) -> None:
    """Raise InvalidSetting where `bonus`, which `owner` divides by its usual size, may be negative:
    what is usual may then be 0, or less."""
    if may_be_negative(bonus):
        name = type(owner).__name__
        raise InvalidSetting(
            f"{name} divides by what is usually paid, and {bonus!r} may pay less than 0, so that "
            f"this may be nothing or change its sign. Take RunningStd(..., center=True) in place "
            f"of {name}, or put Clip(..., 0.0, high) inside."
        )


@dataclass(frozen=True)
class NoBonus:
    """Pays nothing."""

    @property
    def replayable(self) -> bool:
        return True

    def init(self, key: Key, spec: Spec) -> State:
        return ()

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        return jnp.zeros_like(rollout.reward), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        return state, {}

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        return jnp.zeros_like(rows.reward)


@dataclass(frozen=True)
class Scale:
    """Pays `factor` times what `bonus` pays; `factor` is VIME's η (arXiv 1605.09674, Eq. 3)."""

    bonus: Bonus  # what is scaled
    factor: float  # η; the agent's `bonus_scale` multiplies it once more

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.factor < float("inf"), self, "factor", "at least 0 and finite")

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return may_be_negative(self.bonus)

    def init(self, key: Key, spec: Spec) -> State:
        return self.bonus.init(key, spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, state = self.bonus.score(state, key, rollout)
        return self.factor * paid, state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        return self.bonus.update(state, key, rollout)

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:  # the stored bonus was scaled when it was paid
            return rows.bonus
        return self.factor * self.bonus.rescore(state, key, rows)


@dataclass(frozen=True)
class Clip:
    """Pays what `bonus` pays, kept between `low` and `high`."""

    bonus: Bonus  # what is clipped
    low: float  # the least that is paid
    high: float  # the most that is paid

    def __post_init__(self) -> None:
        check_types(self)
        require(self.low <= self.high, self, "high", f"at least low={self.low!r}")

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return self.high < 0 or (self.low < 0 and may_be_negative(self.bonus))

    def init(self, key: Key, spec: Spec) -> State:
        return self.bonus.init(key, spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, state = self.bonus.score(state, key, rollout)
        return jnp.clip(paid, self.low, self.high), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        return self.bonus.update(state, key, rollout)

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return jnp.clip(self.bonus.rescore(state, key, rows), self.low, self.high)


@pytree
class DecayState:
    bonus: Any
    env_steps: Any  # int32 [], scored so far


@dataclass(frozen=True)
class Decay:
    """Pays `bonus` times a factor that falls from 1 to `end` within `env_steps` steps.

    `shape` is "linear", "cosine" or "exponential" (`ops.schedules`). Steps are counted over all
    environments, as everywhere. Finding a goal wants a large bonus, staying there a small one.
    """

    bonus: Bonus  # what fades
    env_steps: int  # of all environments, until the factor is `end`
    end: float = 0.0  # the last factor; above 0 for "exponential"
    shape: str = "linear"  # or "cosine", "exponential"

    def __post_init__(self) -> None:
        check_types(self)
        require(self.env_steps > 0, self, "env_steps", "positive")
        require(0 <= self.end < float("inf"), self, "end", "at least 0 and finite")
        require(self.shape in SHAPES, self, "shape", f"one of {SHAPES}")
        positive = self.shape != "exponential" or self.end > 0
        require(positive, self, "end", "positive for an exponential decay, which never reaches 0")

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    @property
    def may_be_negative(self) -> bool:
        return may_be_negative(self.bonus)

    def factor(self, env_steps: jax.Array) -> jax.Array:
        """Return the factor [] once `env_steps` (int32 []) have been scored."""
        return annealed(1.0, self.end, self.env_steps, self.shape)(env_steps)

    def init(self, key: Key, spec: Spec) -> State:
        return DecayState(self.bonus.init(key, spec), jnp.int32(0))

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)
        after = DecayState(inner, state.env_steps + rollout.reward.size)
        return self.factor(state.env_steps) * paid, after

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        metrics = {**metrics, "decay": self.factor(state.env_steps)}
        return DecayState(inner, state.env_steps), metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self.factor(state.env_steps) * self.bonus.rescore(state.bonus, key, rows)

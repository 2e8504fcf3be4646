"""Bonuses in units of their own recent size. Information gain falls by orders of magnitude as a
model learns; divided by what is usual now, it stays near 1 per step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.combine import refuse_negative
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.ops import median as order


@pytree
class MedianRatioState:
    bonus: Any
    medians: Any  # [window], newest last; 0 = none yet


@dataclass(frozen=True)
class MedianRatio:
    """Pays `bonus` divided by the mean of the medians of the last `window` rollouts.

    The rollout under way is counted first, as in the VIME authors' code (openai/vime,
    `kl_previous`). A rollout whose median is zero (nothing learnt yet, nothing paid) is not
    counted, and pays zero while there is nothing to divide by. Constant factors of the bonus
    (VIME's λ², its ½) cancel, and so would a `Scale` inside; a `Decay` inside would cancel while it
    lasts. Put them outside: Scale(MedianRatio(VIME()), 1e-4). What may be negative, such as
    Surprise, is refused: take RunningStd(..., center=True). Only the median is near 1: where most
    transitions have become alike, the others are paid many times that (`Clip` bounds it).
    """

    bonus: Bonus  # what is normalised
    window: int = 10  # rollouts whose medians count

    def __post_init__(self) -> None:
        check_types(self)
        require(self.window >= 1, self, "window", "at least 1")
        refuse_negative(self, self.bonus)

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    def init(self, key: Key, spec: Spec) -> State:
        return MedianRatioState(self.bonus.init(key, spec), jnp.zeros(self.window))

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)
        median = order.median(paid)
        appended = jnp.concatenate([state.medians[1:], median[None]])
        medians = jnp.where(median > 0, appended, state.medians)
        return paid * _inverse(_usual(medians)), MedianRatioState(inner, medians)

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        metrics = {**metrics, "median_mean": _usual(state.medians)}
        return MedianRatioState(inner, state.medians), metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self.bonus.rescore(state.bonus, key, rows) * _inverse(_usual(state.medians))


@pytree
class RunningMeanState:
    bonus: Any
    mean: Any  # [], exponentially weighted
    weight: Any  # [], of all that was averaged; below 1 while the average is young


@dataclass(frozen=True)
class RunningMean:
    """Pays `bonus` divided by the running mean of what it paid per rollout.

    m ← decay · m + (1 − decay) · mean(rollout), with the weight of the zero start divided out
    (as in Adam). The rollout under way is counted first; one that pays nothing is not counted.
    What may be negative, such as Surprise, is refused: take RunningStd(..., center=True).
    """

    bonus: Bonus  # what is normalised
    decay: float = 0.99  # weight of the mean so far, per rollout

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.decay < 1, self, "decay", "at least 0 and below 1")
        refuse_negative(self, self.bonus)

    @property
    def replayable(self) -> bool:
        return self.bonus.replayable

    def init(self, key: Key, spec: Spec) -> State:
        return RunningMeanState(self.bonus.init(key, spec), jnp.float32(0), jnp.float32(0))

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, inner = self.bonus.score(state.bonus, key, rollout)
        counts = paid.mean() > 0
        mean = self.decay * state.mean + (1 - self.decay) * paid.mean()
        weight = self.decay * state.weight + (1 - self.decay)
        state = RunningMeanState(
            inner, jnp.where(counts, mean, state.mean), jnp.where(counts, weight, state.weight)
        )
        return paid * _inverse(_debiased(state)), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        inner, metrics = self.bonus.update(state.bonus, key, rollout)
        metrics = {**metrics, "running_mean": _debiased(state)}
        return RunningMeanState(inner, state.mean, state.weight), metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self.bonus.rescore(state.bonus, key, rows) * _inverse(_debiased(state))


def _usual(medians: jax.Array) -> jax.Array:
    return medians.sum() / jnp.maximum((medians > 0).sum(), 1).astype(jnp.float32)


def _debiased(state: RunningMeanState) -> jax.Array:
    return state.mean * _inverse(state.weight)


def _inverse(value: jax.Array) -> jax.Array:
    """Return 1/value, and 0 for 0: nothing usual yet, nothing paid."""
    return jnp.where(value > 0, 1.0 / jnp.where(value > 0, value, 1.0), 0.0)

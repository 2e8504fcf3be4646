"""Bonuses made of several bonuses, each with a state and a key of its own.

Replayable exactly when all parts are: a stored sum or product cannot be taken apart again.
"""

import operator
from dataclasses import dataclass
from functools import reduce

import jax

from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State
from explorax.core.settings import check_types


@dataclass(frozen=True)
class Sum:
    """Pays the sum of what `bonuses` pay."""

    bonuses: tuple[Bonus, ...]  # what is added up

    def __post_init__(self) -> None:
        _check(self, self.bonuses)

    @property
    def replayable(self) -> bool:
        return all(bonus.replayable for bonus in self.bonuses)

    def init(self, key: Key, spec: Spec) -> State:
        return _init(self.bonuses, key, spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, state = _score(self.bonuses, state, key, rollout)
        return reduce(operator.add, paid), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (state, metrics); metrics of part i are called `i/name`."""
        return _update(self.bonuses, state, key, rollout)

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return reduce(operator.add, _rescore(self.bonuses, state, key, rows))


@dataclass(frozen=True)
class Product:
    """Pays the product of what `bonuses` pay.

    Such as a novelty within the episode times one over the whole training, as NGU's: where either
    is 0, nothing is paid.
    """

    bonuses: tuple[Bonus, ...]  # what is multiplied

    def __post_init__(self) -> None:
        _check(self, self.bonuses)

    @property
    def replayable(self) -> bool:
        return all(bonus.replayable for bonus in self.bonuses)

    def init(self, key: Key, spec: Spec) -> State:
        return _init(self.bonuses, key, spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        paid, state = _score(self.bonuses, state, key, rollout)
        return reduce(operator.mul, paid), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (state, metrics); metrics of part i are called `i/name`."""
        return _update(self.bonuses, state, key, rollout)

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return reduce(operator.mul, _rescore(self.bonuses, state, key, rows))


def _check(owner: object, bonuses: tuple[Bonus, ...]) -> None:
    check_types(owner)
    words = f"a tuple of at least one bonus: {type(owner).__name__}((VIME(), NoBonus()))"
    require(isinstance(bonuses, tuple) and len(bonuses) > 0, owner, "bonuses", words)


def _keys(bonuses: tuple[Bonus, ...], key: Key) -> list[Key]:
    # The first part keeps the key itself, so that Sum((b,)) pays exactly what b pays.
    return [key, *(jax.random.fold_in(key, i) for i in range(1, len(bonuses)))]


def _init(bonuses: tuple[Bonus, ...], key: Key, spec: Spec) -> State:
    keys = _keys(bonuses, key)
    return tuple(bonus.init(key, spec) for bonus, key in zip(bonuses, keys, strict=True))


def _score(
    bonuses: tuple[Bonus, ...], state: State, key: Key, rollout: Rollout
) -> tuple[list[jax.Array], State]:
    keys = _keys(bonuses, key)
    scored = [
        bonus.score(part, key, rollout)
        for bonus, part, key in zip(bonuses, state, keys, strict=True)
    ]
    return [paid for paid, _ in scored], tuple(part for _, part in scored)


def _update(
    bonuses: tuple[Bonus, ...], state: State, key: Key, rollout: Rollout
) -> tuple[State, Metrics]:
    keys = _keys(bonuses, key)
    updated = [
        bonus.update(part, key, rollout)
        for bonus, part, key in zip(bonuses, state, keys, strict=True)
    ]
    metrics = {
        f"{index}/{name}": value
        for index, (_, part) in enumerate(updated)
        for name, value in part.items()
    }
    return tuple(part for part, _ in updated), metrics


def _rescore(bonuses: tuple[Bonus, ...], state: State, key: Key, rows: Rollout) -> list[jax.Array]:
    keys = _keys(bonuses, key)
    return [
        bonus.rescore(part, key, rows)
        for bonus, part, key in zip(bonuses, state, keys, strict=True)
    ]

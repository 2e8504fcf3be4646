"""Bonuses made of several bonuses, each with a state and a key of its own.

Replayable exactly when all parts are: a stored sum or product cannot be taken apart again.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce

import jax

from explorax.bonuses.combine import may_be_negative
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State
from explorax.core.settings import check_types


class _Several(ABC):
    """What is done alike for each of several bonuses; a subclass says how to put them together."""

    bonuses: tuple[Bonus, ...]

    @abstractmethod
    def _together(self, one: jax.Array, other: jax.Array) -> jax.Array:
        """Return what two parts pay together."""

    def __post_init__(self) -> None:
        check_types(self)
        words = f"a tuple of at least one bonus: {type(self).__name__}((VIME(), NoBonus()))"
        require(isinstance(self.bonuses, tuple) and self.bonuses != (), self, "bonuses", words)

    @property
    def replayable(self) -> bool:
        return all(bonus.replayable for bonus in self.bonuses)

    @property
    def may_be_negative(self) -> bool:
        return any(map(may_be_negative, self.bonuses))

    def _keys(self, key: Key) -> list[Key]:
        # The first part keeps the key itself, so that Sum((b,)) pays exactly what b pays.
        return [key, *(jax.random.fold_in(key, i) for i in range(1, len(self.bonuses)))]

    def init(self, key: Key, spec: Spec) -> State:
        keys = self._keys(key)
        return tuple(bonus.init(key, spec) for bonus, key in zip(self.bonuses, keys, strict=True))

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        scored = [
            bonus.score(part, key, rollout)
            for bonus, part, key in zip(self.bonuses, state, self._keys(key), strict=True)
        ]
        paid, parts = zip(*scored, strict=True)
        return reduce(self._together, paid), parts

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (state, metrics); metrics of part i are called `i/name`."""
        updated = [
            bonus.update(part, key, rollout)
            for bonus, part, key in zip(self.bonuses, state, self._keys(key), strict=True)
        ]
        metrics = {
            f"{index}/{name}": value
            for index, (_, told) in enumerate(updated)
            for name, value in told.items()
        }
        return tuple(part for part, _ in updated), metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        paid = [
            bonus.rescore(part, key, rows)
            for bonus, part, key in zip(self.bonuses, state, self._keys(key), strict=True)
        ]
        return reduce(self._together, paid)


@dataclass(frozen=True)
class Sum(_Several):
    """Pays the sum of what `bonuses` pay."""

    bonuses: tuple[Bonus, ...]  # what is added up

    def _together(self, one: jax.Array, other: jax.Array) -> jax.Array:
        return one + other


@dataclass(frozen=True)
class Product(_Several):
    """Pays the product of what `bonuses` pay.

    Such as a novelty within the episode times one over the whole training, as NGU's: where either
    is 0, nothing is paid.
    """

    bonuses: tuple[Bonus, ...]  # what is multiplied

    def _together(self, one: jax.Array, other: jax.Array) -> jax.Array:
        return one * other

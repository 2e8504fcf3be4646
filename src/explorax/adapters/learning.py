"""Scoring and learning on the device: the compiled functions behind a wrapper."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Bonus, Metrics, Rollout
from explorax.core.pytree import pytree
from explorax.core.settings import check_types


@dataclass(frozen=True)
class Schedule:
    """How a bonus is paid and when it learns."""

    scale: float  # times the bonus is added to the reward
    update_every: int  # env steps, rounded up to whole steps of all environments
    seed: int  # of the bonus's networks and draws

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.scale < float("inf"), self, "scale", "at least 0 and finite")
        require(self.update_every >= 1, self, "update_every", "at least 1")
        require(0 <= self.seed < 2**32, self, "seed", "in 0 .. 2^32 - 1")


@pytree
class Learned:
    """What changes on the device."""

    bonus: Any
    key: Any  # never changes; draws are fold_in(key, 2 n) for score n and 2 n + 1 for update n


def _score(bonus: Bonus, learned: Learned, number: Any, rows: Rollout) -> tuple[jax.Array, Learned]:
    key = jax.random.fold_in(learned.key, 2 * number)
    paid, state = bonus.score(learned.bonus, key, rows)
    return paid, Learned(state, learned.key)


def _score_some(
    bonus: Bonus,
    axes: tuple[int | None, ...],
    learned: Learned,
    number: Any,
    rows: Rollout,
    envs: jax.Array,
) -> tuple[jax.Array, Learned]:
    leaves, structure = jax.tree.flatten(learned.bonus)
    taken = [
        leaf if axis is None else jnp.take(leaf, envs, axis)
        for leaf, axis in zip(leaves, axes, strict=True)
    ]
    some = Learned(jax.tree.unflatten(structure, taken), learned.key)
    paid, some = _score(bonus, some, number, rows)
    put = [
        new if axis is None else old.at[(slice(None),) * axis + (envs,)].set(new)
        for old, new, axis in zip(leaves, jax.tree.leaves(some.bonus), axes, strict=True)
    ]
    return paid, Learned(jax.tree.unflatten(structure, put), learned.key)


def _update(bonus: Bonus, learned: Learned, number: Any, rows: Rollout) -> tuple[Metrics, Learned]:
    key = jax.random.fold_in(learned.key, 2 * number + 1)
    state, metrics = bonus.update(learned.bonus, key, rows)
    return metrics, Learned(state, learned.key)


# Each takes a uint32 `number`, of the step or of the update. The state that is given is used up:
# tables and pools of millions of rows are not copied at every step.
# score(bonus, learned, number, rows [1, E]) -> (bonus [1, E], learned)
score = jax.jit(_score, static_argnums=0, donate_argnums=1)
# score_some(bonus, axes, learned, number, rows [1, n], envs [n]) -> (bonus [1, n], learned): the
# rows of the environments `envs` alone. `axes` say which axis of each leaf of the bonus's state
# has an entry for each environment; the entries of the other environments stay as they are.
score_some = jax.jit(_score_some, static_argnums=(0, 1), donate_argnums=2)
# update(bonus, learned, number, rows [T, E]) -> (metrics, learned)
update = jax.jit(_update, static_argnums=0, donate_argnums=1)

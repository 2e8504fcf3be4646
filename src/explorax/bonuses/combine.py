"""No bonus, and bonuses made of bonuses. A wrapper never changes the order in which parts learn."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from explorax.core.protocols import Key, Metrics, Rollout, Spec, State


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

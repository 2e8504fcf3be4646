"""A bonus of one's own: a frozen dataclass with four pure methods, here a count of visited cells.

Pays 1/√n for the n-th visit of a cell of the state space, n counted within one training run.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import explorax as ex
from explorax.core.protocols import Key, Metrics, Rollout, Spec


@dataclass(frozen=True)
class CellCount:
    """Pays 1/√n(cell of next_obs); cells are `bins` per dimension between `low` and `high`."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    bins: int = 20

    @property
    def replayable(self) -> bool:
        return True  # a row's bonus depends on the counts and on the row, not on its neighbours

    def init(self, key: Key, spec: Spec) -> jax.Array:
        return jnp.zeros((self.bins,) * len(self.low))

    def score(self, state: jax.Array, key: Key, rollout: Rollout) -> tuple[jax.Array, jax.Array]:
        counts = state.at[self._cell(rollout.next_obs)].add(1.0)
        return self.rescore(counts, key, rollout), counts

    def update(self, state: jax.Array, key: Key, rollout: Rollout) -> tuple[jax.Array, Metrics]:
        return state, {"cells_visited": (state > 0).sum().astype(jnp.float32)}

    def rescore(self, state: jax.Array, key: Key, rows: Rollout) -> jax.Array:
        return 1.0 / jnp.sqrt(jnp.maximum(state[self._cell(rows.next_obs)], 1.0))

    def _cell(self, obs: Any) -> tuple[jax.Array, ...]:
        def along(i: int) -> jax.Array:
            share = (obs[..., i] - self.low[i]) / (self.high[i] - self.low[i])
            return jnp.clip(jnp.floor(share * self.bins).astype(jnp.int32), 0, self.bins - 1)

        return tuple(along(i) for i in range(len(self.low)))


if __name__ == "__main__":
    result = ex.train(
        env="mountain_car_sparse(power=0.0008)",
        agent=ex.TRPO(),
        bonus=ex.Scale(CellCount(low=(-1.2, -0.07), high=(0.6, 0.07)), 1e-3),
        env_steps=100_000,
        seeds=5,
        overwrite=True,
    )
    print(result)

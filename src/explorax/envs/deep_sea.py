"""Deep sea: one treasure, and a cost on every step towards it."""

from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types

MOVE_COST, TREASURE = 0.01, 1.0


@pytree
class SeaState:
    row: jax.Array  # int32 []; equal to the size when the episode is over
    column: jax.Array  # int32 []


@lru_cache
def _right(size: int, mapping_seed: int) -> np.ndarray:
    """Return which action moves right in each cell, int32 [size, size], as bsuite draws it."""
    mapping = np.random.RandomState(mapping_seed).binomial(1, 0.5, [size, size])
    return mapping.astype(np.int32)


@dataclass(frozen=True)
class DeepSea:
    """Sink through an N×N grid, left or right, to the one treasure: +1, and −0.01/N per step right.

    bsuite's deep_sea (arXiv 1908.03568; Osband et al., arXiv 1703.07608). Which action means right
    differs from cell to cell, by `mapping_seed`; always 1 unless `randomize_actions`. An episode
    has N steps and ends, with an observation of zeros, at the bottom. Uniformly random actions find
    the treasure with probability 2⁻ᴺ; the best return is 0.99. Not `deterministic`: moving right
    fails with probability 1/N, and the two lowest corner cells add N(0, 1) to the reward.
    """

    size: int
    mapping_seed: int = 42
    randomize_actions: bool = True
    deterministic: bool = True

    action = Discrete(2)

    def __post_init__(self) -> None:
        check_types(self)
        require(self.size >= 2, self, "size", "at least 2")
        require(0 <= self.mapping_seed < 2**32, self, "mapping_seed", "in 0 .. 2³² − 1")

    @property
    def obs(self) -> Box:
        return Box((self.size, self.size), low=0.0, high=1.0, one_hot=(self.size**2,))

    @property
    def max_episode_steps(self) -> int:
        return self.size

    @property
    def success_return(self) -> float | None:
        return 0.9 if self.deterministic else None  # noise can pay without the treasure

    @property
    def view(self) -> View:
        return View(
            labels=("column", "row"),
            low=(0.0, 0.0),
            high=(float(self.size), float(self.size)),
            bins=(self.size, self.size),
            grid=(self.size, self.size),
        )

    def reset(self, key: Key) -> SeaState:
        return SeaState(jnp.int32(0), jnp.int32(0))

    def observe(self, state: SeaState) -> jax.Array:
        cells = jnp.arange(self.size)
        here = (cells == state.row)[:, None] & (cells == state.column)[None, :]
        return here.astype(jnp.float32)

    def step(
        self, state: SeaState, key: Key, action: jax.Array
    ) -> tuple[SeaState, jax.Array, jax.Array]:
        last = self.size - 1
        if self.randomize_actions:
            right = (
                action == jnp.asarray(_right(self.size, self.mapping_seed))[state.row, state.column]
            )
        else:
            right = action == 1
        found = right & (state.column == last)
        reward = jnp.where(found, TREASURE, 0.0) - jnp.where(right, MOVE_COST / self.size, 0.0)
        moves = right
        if not self.deterministic:
            key_noise, key_wind = jax.random.split(key)
            end = (state.row == last) & ((state.column == 0) | (state.column == last))
            reward = reward + jnp.where(end, jax.random.normal(key_noise), 0.0)
            moves = right & (jax.random.uniform(key_wind) > 1 / self.size)
        # where moving right fails, the column stays as it is
        shift = jnp.where(moves, 1, jnp.where(right, 0, -1))
        row, column = state.row + 1, jnp.clip(state.column + shift, 0, last)
        return SeaState(row, column), reward.astype(jnp.float32), row == self.size

    def draw(self, state: SeaState) -> np.ndarray:
        from explorax.envs.drawing import YELLOW, draw_grid

        n, row, column = self.size, int(state.row), int(state.column)
        unreachable = {r * n + c for r in range(n) for c in range(r + 1, n)}
        place = row * n + column if row < n else None
        return draw_grid(n * n, n, place, {n * n - 1: (YELLOW, "+1")}, unreachable)

    def place(self, point: jax.Array) -> SeaState:
        column, row = jnp.clip(jnp.floor(point), 0, self.size - 1).astype(jnp.int32)
        return SeaState(row, column)

"""Chain: a small reward nearby, a large one far away."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types

SMALL, LARGE = 0.001, 1.0


@pytree
class ChainState:
    place: jax.Array  # int32 [], 0 at the left end


@dataclass(frozen=True)
class Chain:
    """Walk along N states: staying at the left end pays 0.001 per step, at the right end 1.

    The chain of Bootstrapped DQN (Osband et al., arXiv 1602.04621, figure 3): the start is the
    second state, actions are left (0) and right (1), and an episode has N + 9 steps. The rewards
    are on the loops at the ends: left in the first state, right in the last. Always going right
    takes N − 2 steps to the last state and then returns 1 for each of the 11 left. The observation
    is one-hot (of the paper's two kinds the simpler), [1, N].
    """

    length: int

    action = Discrete(2)
    success_return = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        # above 900 states the small reward could add up to the large one
        require(3 <= self.length <= 900, self, "length", "in 3 .. 900")

    @property
    def obs(self) -> Box:
        return Box((1, self.length), low=0.0, high=1.0, one_hot=(self.length,))

    @property
    def max_episode_steps(self) -> int:
        return self.length + 9

    @property
    def view(self) -> View:
        return View(
            labels=("state", ""),
            low=(0.0, 0.0),
            high=(float(self.length), 1.0),
            bins=(self.length, 1),
            grid=(1, self.length),
        )

    def reset(self, key: Key) -> ChainState:
        return ChainState(jnp.int32(1))

    def observe(self, state: ChainState) -> jax.Array:
        return (jnp.arange(self.length) == state.place)[None, :].astype(jnp.float32)

    def step(
        self, state: ChainState, key: Key, action: jax.Array
    ) -> tuple[ChainState, jax.Array, jax.Array]:
        last = self.length - 1
        right = action == 1
        small = ~right & (state.place == 0)
        large = right & (state.place == last)
        reward = jnp.where(small, SMALL, 0.0) + jnp.where(large, LARGE, 0.0)
        place = jnp.clip(state.place + jnp.where(right, 1, -1), 0, last)
        return ChainState(place), reward.astype(jnp.float32), jnp.bool_(False)

    def draw(self, state: ChainState) -> np.ndarray:
        from explorax.envs.drawing import SKY_BLUE, YELLOW, draw_grid

        marks = {0: (SKY_BLUE, ".001"), self.length - 1: (YELLOW, "+1")}
        return draw_grid(self.length, min(self.length, 20), int(state.place), marks)

    def place(self, point: jax.Array) -> ChainState:
        return ChainState(jnp.clip(jnp.floor(point[0]), 0, self.length - 1).astype(jnp.int32))

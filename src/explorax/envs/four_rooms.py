"""Four rooms: a goal two hallways away, and nothing on the way that tells where."""

from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.maze import MOVES, nearest_free, successors, walls_of

PLAN = """
#############
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#.....#.....#
##.####.....#
#.....###.###
#.....#.....#
#.....#.....#
#...........#
#.....#.....#
#############
"""
SIDE = 13  # cells, the outer walls included
START, GOAL = 1 * SIDE + 1, 11 * SIDE + 11


@lru_cache
def _walls() -> np.ndarray:
    return walls_of(PLAN)


@lru_cache
def _successors() -> np.ndarray:
    return successors(_walls())


@pytree
class RoomsState:
    """Where the walker is."""

    cell: jax.Array  # int32 [], in reading order


@dataclass(frozen=True)
class FourRooms:
    """Walk up, down, left or right through four rooms: +1 at the goal and 0 elsewhere, in 60 steps.

    The gridworld of Sutton, Precup and Singh (1999, Artificial Intelligence 112, figure 2): 13×13
    cells of which 104 are free, four hallways. Walking into a wall changes nothing. Here every
    episode starts in the upper left corner and ends at the goal in the lower right one, 20 steps
    away at least; in the paper walkers start anywhere, moves fail (`slip=1/3` there) and goals are
    hallways. Of 100,000 episodes of uniformly random actions, 59 reached the goal (63 are expected;
    with 100 steps it would be 657). The observation is one-hot, [13, 13].
    """

    slip: float = 0.0  # probability that a move goes in one of the three other directions instead

    action = Discrete(len(MOVES))
    max_episode_steps = 60
    success_return = 1.0
    obs = Box((SIDE, SIDE), low=0.0, high=1.0, one_hot=(SIDE * SIDE,))
    view = View(
        labels=("column", "row"),
        low=(0.0, 0.0),
        high=(float(SIDE), float(SIDE)),
        bins=(SIDE, SIDE),
        grid=(SIDE, SIDE),
    )

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.slip < 1, self, "slip", "at least 0 and below 1")

    @property
    def walls(self) -> np.ndarray:
        """Which cells are walls, bool [13, 13]."""
        return _walls()

    def reset(self, key: Key) -> RoomsState:
        return RoomsState(jnp.int32(START))

    def observe(self, state: RoomsState) -> jax.Array:
        here = jnp.arange(SIDE * SIDE) == state.cell
        return here.astype(jnp.float32).reshape(SIDE, SIDE)

    def step(
        self, state: RoomsState, key: Key, action: jax.Array
    ) -> tuple[RoomsState, jax.Array, jax.Array]:
        if self.slip:
            key_slips, key_where = jax.random.split(key)
            other = (action + jax.random.randint(key_where, (), 1, len(MOVES))) % len(MOVES)
            action = jnp.where(jax.random.uniform(key_slips) < self.slip, other, action)
        cell = jnp.asarray(_successors())[state.cell, action]
        arrived = cell == GOAL
        return RoomsState(cell), arrived.astype(jnp.float32), arrived

    def draw(self, state: RoomsState) -> np.ndarray:
        from explorax.envs.drawing_maze import draw_maze

        return draw_maze(self.walls, divmod(int(state.cell), SIDE), goal=divmod(GOAL, SIDE))

    def place(self, point: jax.Array) -> RoomsState:
        """Return the walker in the cell of `point`, or the free cell nearest to it."""
        column, row = jnp.clip(jnp.floor(point), 0, SIDE - 1).astype(jnp.int32)
        return RoomsState(jnp.asarray(nearest_free(self.walls))[row * SIDE + column])

"""Key and door: nothing pays until a key was fetched, a door opened and a goal found behind it."""

from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.maze import MOVES, nearest_free, successors

Cell = tuple[int, int]  # (row, column)


@pytree
class KeyDoorState:
    """Where the walker is, and what it has done."""

    cell: jax.Array  # int32 [], in reading order
    has_key: jax.Array  # bool []
    door_open: jax.Array  # bool []


@dataclass(frozen=True)
class Layout:
    """Where everything stands."""

    wall_column: int
    door: Cell
    start: Cell
    key: Cell
    goal: Cell


@lru_cache
def layout_of(size: int, layout_seed: int) -> Layout:
    """Return the layout of a world of `size`²: by hand for seed 0, else drawn.

    Drawn are the wall's column (the near side has at least two), the door's row, and two different
    cells of the near side and one of the far side, all uniformly.
    """
    last = size - 1
    if layout_seed == 0:
        middle = size // 2
        return Layout(middle, door=(0, middle), start=(0, 0), key=(last, 0), goal=(last, last))
    rng = np.random.RandomState(layout_seed)
    column = int(rng.randint(2, last))
    door = (int(rng.randint(size)), column)
    start, key = (divmod(int(n), column) for n in rng.permutation(size * column)[:2])
    goal = (int(rng.randint(size)), int(rng.randint(column + 1, size)))
    return Layout(column, door, start, key, goal)


@lru_cache
def walls_of_layout(size: int, layout_seed: int) -> np.ndarray:
    """Return which cells are walls, bool [size, size]; the door is none."""
    layout = layout_of(size, layout_seed)
    walls = np.zeros((size, size), bool)
    walls[:, layout.wall_column] = True
    walls[layout.door] = False
    return walls


@lru_cache
def _successors(size: int, layout_seed: int) -> np.ndarray:
    return successors(walls_of_layout(size, layout_seed))


@dataclass(frozen=True)
class KeyDoor:
    """Fetch the key, open the door, walk to the goal: +1 there and 0 elsewhere, in 10 N steps.

    N×N cells, of which one column is a wall with a locked door. Actions are up, down, left, right.
    Walking onto the key picks it up; walking into the locked door opens it for whoever has the key,
    and the next step leads through. Everything else solid leaves the walker where it is. The start
    is in the upper left corner, the door at the upper end of the wall, the key in the lower left
    corner and the goal in the lower right one. After MiniGrid's DoorKey (arXiv 2306.13831), but
    fully observed, without turning, picking up and toggling, and with the same layout every time.

    The shortest way has 21 steps for N = 6 and 29 for N = 8. Of 100,000 episodes of uniformly
    random actions, 37 reached the goal for N = 6 and none for N = 8 (29 and 2 are expected). The
    observation is flat: one-hot codes of the cell (N², the wall's included), of having the key (no,
    yes) and of the door (locked, open).
    """

    size: int
    layout_seed: int = 0  # 0: the layout described; any other number draws another

    action = Discrete(len(MOVES))
    success_return = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        require(self.size >= 4, self, "size", "at least 4")
        require(0 <= self.layout_seed < 2**32, self, "layout_seed", "in 0 .. 2³² − 1")

    @property
    def obs(self) -> Box:
        cells = self.size**2
        return Box((cells + 4,), low=0.0, high=1.0, one_hot=(cells, 2, 2))

    @property
    def max_episode_steps(self) -> int:
        return 10 * self.size

    @property
    def view(self) -> View:
        return View(
            labels=("column", "row"),
            low=(0.0, 0.0),
            high=(float(self.size), float(self.size)),
            bins=(self.size, self.size),
            grid=(self.size, self.size),
        )

    @property
    def layout(self) -> Layout:
        """Where everything stands."""
        return layout_of(self.size, self.layout_seed)

    @property
    def walls(self) -> np.ndarray:
        """Which cells are walls, bool [N, N]; the door is none."""
        return walls_of_layout(self.size, self.layout_seed)

    def _number(self, cell: Cell) -> int:
        return cell[0] * self.size + cell[1]

    def reset(self, key: Key) -> KeyDoorState:
        start = jnp.int32(self._number(self.layout.start))
        return KeyDoorState(start, jnp.bool_(False), jnp.bool_(False))

    def observe(self, state: KeyDoorState) -> jax.Array:
        here = jnp.arange(self.size**2) == state.cell
        flags = jnp.stack([~state.has_key, state.has_key, ~state.door_open, state.door_open])
        return jnp.concatenate([here, flags]).astype(jnp.float32)

    def step(
        self, state: KeyDoorState, key: Key, action: jax.Array
    ) -> tuple[KeyDoorState, jax.Array, jax.Array]:
        layout = self.layout
        there = jnp.asarray(_successors(self.size, self.layout_seed))[state.cell, action]
        locked = (there == self._number(layout.door)) & ~state.door_open
        cell = jnp.where(locked, state.cell, there)
        has_key = state.has_key | (cell == self._number(layout.key))
        door_open = state.door_open | (locked & state.has_key)
        arrived = cell == self._number(layout.goal)
        return KeyDoorState(cell, has_key, door_open), arrived.astype(jnp.float32), arrived

    def draw(self, state: KeyDoorState) -> np.ndarray:
        from explorax.envs.drawing_maze import draw_maze

        has_key, layout = bool(state.has_key), self.layout
        return draw_maze(
            self.walls,
            divmod(int(state.cell), self.size),
            goal=layout.goal,
            key=None if has_key else layout.key,
            door=layout.door,
            door_open=bool(state.door_open),
            has_key=has_key,
            fenced=True,
        )

    def place(self, point: jax.Array) -> KeyDoorState:
        """Return the walker in the cell of `point`, or the free cell nearest to it.

        On the near side it has no key, unless it stands on it; behind the door it must have had it.
        """
        column, row = jnp.clip(jnp.floor(point), 0, self.size - 1).astype(jnp.int32)
        cell = jnp.asarray(nearest_free(self.walls))[row * self.size + column]
        through = cell % self.size >= self.layout.wall_column
        return KeyDoorState(cell, through | (cell == self._number(self.layout.key)), through)

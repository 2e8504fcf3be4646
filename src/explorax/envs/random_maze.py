"""Mazes drawn inside the compiled program: rooms in a square, joined by a random tree of passages.

A maze of odd size N has N×N cells, counted in reading order. Those with an odd row and an odd
column are rooms, n² of them for n = (N − 1)/2, counted in reading order too. The cell between two
neighbouring rooms is a passage or a wall, and all other cells are walls.
"""

from functools import lru_cache
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from explorax.core.errors import require
from explorax.core.keys import key_of
from explorax.core.protocols import Key, View
from explorax.core.settings import check_types


class Settings(Protocol):
    """The settings of a task in a random maze that are read here."""

    @property
    def size(self) -> int: ...
    @property
    def maze_seed(self) -> int: ...
    @property
    def apples(self) -> int: ...
    @property
    def loops(self) -> float: ...
    @property
    def max_episode_steps(self) -> int: ...


def validate(task: Settings, largest: int) -> None:
    """Raise InvalidSetting for a type that a field, or a value that one read here, cannot take."""
    check_types(task)
    odd = task.size % 2 == 1
    require(odd and 5 <= task.size <= largest, task, "size", f"odd and in 5 .. {largest}")
    require(0 <= task.maze_seed < 2**32, task, "maze_seed", "in 0 .. 2³² − 1")
    require(0 <= task.loops <= 1, task, "loops", "between 0 and 1")
    most = (task.size // 2) ** 2 - 1
    wanted = f"in 0 .. {most}, one in each room but the goal's"
    require(0 <= task.apples <= most, task, "apples", wanted)
    require(task.max_episode_steps >= 1, task, "max_episode_steps", "at least 1")


def view_of(size: int) -> View:
    """Return the map of a maze, in which no observation says where one is."""
    side = float(size)
    return View(
        ("column", "row"), (0.0, 0.0), (side, side), (size, size), grid=(size, size), hidden=True
    )


World = tuple[jax.Array, jax.Array, jax.Array]  # walls, the goal's cell, the apples'


def world_of_seed(task: Settings) -> World:
    """Return the maze of `maze_seed`."""
    return _world(task, key_of(task.maze_seed))


def world_of_episode(task: Settings, key: Key) -> World:
    """Return the maze of an episode: drawn from `key`, or always that of `maze_seed` but for 0."""
    return world_of_seed(task) if task.maze_seed else _world(task, key)


def _world(task: Settings, key: Key) -> World:
    key_walls, key_things = jax.random.split(key)
    shuffled = jax.random.permutation(key_things, jnp.asarray(rooms(task.size)))
    walls = draw_walls(key_walls, task.size, task.loops)
    return walls, shuffled[0], shuffled[1 : 1 + task.apples]


@lru_cache
def rooms(size: int) -> np.ndarray:
    """Return the cells that are rooms, int32 [n²]."""
    odd = np.arange(1, size, 2)
    return (odd[:, None] * size + odd).reshape(-1).astype(np.int32)


@lru_cache
def _borders(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (room, room, the cell between them) of all neighbours, int32 [2n(n − 1)] each."""
    side = size // 2
    number = np.arange(side * side).reshape(side, side)
    first = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    second = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    between = (rooms(size)[first] + rooms(size)[second]) // 2
    return first.astype(np.int32), second.astype(np.int32), between.astype(np.int32)


def draw_walls(key: Key, size: int, loops: float) -> Bool[Array, "N N"]:
    """Return which cells of a random maze of odd `size` ≥ 5 are walls.

    The passages are the minimum spanning tree of independent random weights (Prim's algorithm), so
    every room can be reached from every other; then each wall between two rooms that is left
    becomes a passage with probability `loops`.
    """
    first, second, between = (jnp.asarray(each) for each in _borders(size))
    key_weights, key_loops = jax.random.split(key)
    weights = jax.random.uniform(key_weights, first.shape)

    def join(_: jax.Array, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reached, is_open = found
        leads_out = reached[first] != reached[second]
        taken = jnp.argmin(jnp.where(leads_out, weights, 2.0))
        reached = reached.at[first[taken]].set(True).at[second[taken]].set(True)
        return reached, is_open.at[taken].set(True)

    count = len(rooms(size))
    nowhere = jnp.zeros(count, bool).at[0].set(True), jnp.zeros(first.shape, bool)
    _, is_open = jax.lax.fori_loop(0, count - 1, join, nowhere)
    is_open = is_open | (jax.random.uniform(key_loops, first.shape) < loops)
    walls = jnp.ones(size * size, bool).at[rooms(size)].set(False).at[between].set(~is_open)
    return walls.reshape(size, size)


def another_room(share: Float[Array, ""], size: int, not_here: Int[Array, ""]) -> Int[Array, ""]:
    """Return the cell of a room, any but the one that is the cell `not_here`.

    Each is as likely as the others if `share` is uniform in [0, 1).
    """
    cells = jnp.asarray(rooms(size))
    drawn = (share * (len(cells) - 1)).astype(jnp.int32)
    return cells[drawn + (cells[drawn] >= not_here).astype(jnp.int32)]


def nearest_free_cell(walls: Bool[Array, "N N"], point: Float[Array, "2"]) -> Int[Array, ""]:
    """Return the free cell whose middle is nearest to that of the cell of `point` (column, row).

    Of several, the first in reading order.
    """
    size = walls.shape[0]
    column, row = jnp.clip(jnp.floor(point), 0, size - 1).astype(jnp.int32)
    apart = (
        jnp.square(jnp.arange(size) - row)[:, None] + jnp.square(jnp.arange(size) - column)[None]
    )
    return jnp.argmin(jnp.where(walls, 2 * size**2, apart)).astype(jnp.int32)

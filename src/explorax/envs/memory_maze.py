"""Memory maze: a goal to be found, remembered, and found again from elsewhere in the same maze."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree, replace
from explorax.envs import random_maze
from explorax.envs.random_maze import another_room, nearest_free_cell

FLOOR, WALL, GOAL, APPLE = range(4)  # the channels
LEFT, RIGHT, FORWARD = range(3)  # the actions
AHEAD = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # (rows, columns) when facing N, E, S, W
VIEWS = (5, 7)


@lru_cache
def offsets_of(view: int) -> np.ndarray:
    """Return (rows, columns) from the walker to each cell seen, int32 [4 headings, view², 2].

    In reading order of the picture, whose upper edge lies ahead: the walker is in the middle column
    of the row before the last.
    """
    down, right = np.indices((view, view)).reshape(2, -1)
    ahead, aside = view - 2 - down, right - view // 2
    to_the_right = np.roll(AHEAD, -1, axis=0)
    seen = ahead[None, :, None] * AHEAD[:, None] + aside[None, :, None] * to_the_right[:, None]
    return seen.astype(np.int32)


@lru_cache
def blockers_of(view: int) -> np.ndarray:
    """Return which cells of the picture lie between the walker and each other, bool [view², view²].

    Row i names the cells whose inside the straight line from the middle of the walker's cell to
    the middle of cell i crosses, without these two. It may touch corners.
    """
    cells = np.argwhere(np.ones((view, view)))
    walker = np.array([view - 2, view // 2])
    lines = np.zeros((view * view, view * view), bool)
    for number, cell in enumerate(cells):
        along = (np.arange(160) + 0.5) / 160  # so many that no point lies on an edge
        points = walker + along[:, None] * (cell - walker)
        crossed = np.unique(np.round(points).astype(int), axis=0)
        lines[number, crossed[:, 0] * view + crossed[:, 1]] = True
        lines[number, [number, walker[0] * view + walker[1]]] = False
    return lines


@pytree
class MemoryMazeState:
    """The maze of this episode and the walker in it. Cells count in reading order."""

    walls: jax.Array  # bool [N, N]
    goal: jax.Array  # int32 [], its cell
    apples: jax.Array  # int32 [apples], their cells
    left: jax.Array  # bool [apples], which of them are still there
    cell: jax.Array  # int32 []
    heading: jax.Array  # int32 [], 0 north, 1 east, 2 south, 3 west
    trail: jax.Array  # bool [N²], the cells walked since the last start; for the picture alone


@dataclass(frozen=True)
class MemoryMaze:
    """Find the goal of a maze never seen before, from new starts again and again: +1 each time.

    N×N cells, N odd, with walls around: a random tree of passages (`envs/random_maze.py`), drawn
    anew for each episode. Actions: turn left, turn right, walk one cell forward, which a wall
    prevents. The goal is in a random room; who walks onto it is put into a random other room, with
    a random heading, of the same maze, and the goal stays where it is: it pays to remember. Nothing
    ends the episode but its step limit. Each of `apples`, in random rooms, pays 0.1 once, and all
    are back when the goal was reached.

    The observation is what lies around and ahead of the walker, one-hot: [sight, sight, channels],
    the direction it faces at the top, itself in the middle column of the row before the last
    (so it sees sight − 2 cells ahead and one behind). Channels are floor, wall, goal and, if there
    are any, apples. A cell is seen if no wall lies across the straight line from the middle of the
    walker's cell to its own (walls seen are drawn, touching a corner hides nothing); one that is
    not seen has zeros in all channels. Nothing tells the walker where north is.

    Return of an episode of 250 steps, without apples, for sizes 7, 9 and 11: 0.80, 0.39 and 0.24
    by uniformly random actions (10,000 episodes; standard errors 0.01), and 32.4, 22.6 and 16.8 by
    who knows maze, place and goal and takes a shortest way (100 episodes).

    After the Memory Maze of Pasukonis et al. (arXiv 2210.13383), which has three dimensions, and in
    which the goal is one of several coloured things, another one each time.
    """

    size: int
    sight: int = 5  # cells seen along and across: 5 or 7
    maze_seed: int = 0  # 0: a new maze each episode; another number: always its maze and goal
    loops: float = 0.0  # probability that a wall between rooms is opened beyond the tree
    apples: int = 0  # each pays 0.1 once, until the goal is reached
    max_episode_steps: int = 250

    action = Discrete(3)
    success_return = None
    costly = True

    def __post_init__(self) -> None:
        random_maze.validate(self, largest=63)
        require(self.sight in VIEWS, self, "sight", f"one of {VIEWS}")

    @property
    def obs(self) -> Box:
        side, channels = self.sight, 3 + (self.apples > 0)
        return Box((side, side, channels), 0.0, 1.0, one_hot=(channels,) * side**2)

    @property
    def view(self) -> View:
        return random_maze.view_of(self.size)

    @property
    def walls(self) -> np.ndarray:
        """The maze of `maze_seed`, bool [N, N]; if mazes change, the one that `place` takes."""
        return np.asarray(random_maze.world_of_seed(self)[0])

    def reset(self, key: Key) -> MemoryMazeState:
        key_world, key_start = jax.random.split(key)
        world = random_maze.world_of_episode(self, key_world)
        return self._entered(world, *self._start(key_start, world[1]))

    def _entered(self, world: random_maze.World, cell: Any, heading: Any) -> MemoryMazeState:
        walls, goal, apples = world
        left, trail = jnp.ones(self.apples, bool), jnp.arange(self.size**2) == cell
        return MemoryMazeState(walls, goal, apples, left, cell, heading, trail)

    def _start(self, key: Key, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.uniform(key) * 4  # one number for both: drawing is what takes time
        heading = jnp.floor(drawn)
        return another_room(drawn - heading, self.size, goal), heading.astype(jnp.int32)

    def observe(self, state: MemoryMazeState) -> jax.Array:
        walls, cells = self._seen(state)
        is_goal = cells == state.goal
        is_apple = ((cells[:, None] == state.apples[None]) & state.left[None]).any(1)
        channels = [~(walls | is_goal | is_apple), walls, is_goal, is_apple]
        hidden = jnp.asarray(blockers_of(self.sight), jnp.float32) @ walls.astype(jnp.float32)
        seen = jnp.stack(channels[: self.obs.shape[-1]], -1) & (hidden == 0)[:, None]
        return seen.astype(jnp.float32).reshape(self.obs.shape)

    def _seen(self, state: MemoryMazeState) -> tuple[Bool[Array, " view2"], Int[Array, " view2"]]:
        """Return (which cells of the picture are walls, their numbers; −1 beyond the edge)."""
        offsets = jnp.asarray(offsets_of(self.sight))[state.heading]
        row, column = (
            state.cell // self.size + offsets[:, 0],
            state.cell % self.size + offsets[:, 1],
        )
        inside = (row >= 0) & (row < self.size) & (column >= 0) & (column < self.size)
        cells = jnp.where(inside, row * self.size + column, -1)
        return state.walls.reshape(-1)[cells] | ~inside, cells

    def step(
        self, state: MemoryMazeState, key: Key, action: jax.Array
    ) -> tuple[MemoryMazeState, jax.Array, jax.Array]:
        turn = (action == RIGHT).astype(jnp.int32) - (action == LEFT).astype(jnp.int32)
        heading = (state.heading + turn) % 4
        ahead = jnp.asarray(AHEAD @ [self.size, 1], jnp.int32)[heading]
        there = state.cell + jnp.where(action == FORWARD, ahead, 0)
        cell = jnp.where(state.walls.reshape(-1)[there], state.cell, there)
        arrived = cell == state.goal
        eaten = (state.apples == cell) & state.left
        reward = arrived.astype(jnp.float32) + 0.1 * eaten.any().astype(jnp.float32)
        new_cell, new_heading = self._start(key, state.goal)
        cell = jnp.where(arrived, new_cell, cell)
        here = jnp.arange(self.size**2) == cell
        after = replace(
            state,
            left=(state.left & ~eaten) | arrived,
            cell=cell,
            heading=jnp.where(arrived, new_heading, heading),
            trail=jnp.where(arrived, here, state.trail | here),
        )
        return after, reward, jnp.bool_(False)

    def where(self, state: MemoryMazeState) -> jax.Array:
        """Return the walker's (column, row), float32 [2]."""
        return jnp.stack([state.cell % self.size, state.cell // self.size]).astype(jnp.float32)

    def draw(self, state: MemoryMazeState) -> np.ndarray:
        from explorax.envs.drawing_labyrinth import draw_memory_maze

        seen, cells = _pictured(self, state)
        kinds = np.where(np.any(seen, -1), np.argmax(seen, -1), -1)
        return draw_memory_maze(state, kinds, np.asarray(cells))

    def place(self, point: jax.Array) -> MemoryMazeState:
        """Return the walker in the free cell nearest to `point`, facing north, in `walls`."""
        world = random_maze.world_of_seed(self)
        return self._entered(world, nearest_free_cell(world[0], point), jnp.int32(0))


@partial(jax.jit, static_argnums=0)
def _pictured(task: MemoryMaze, state: MemoryMazeState) -> tuple[jax.Array, jax.Array]:
    return task.observe(state), task._seen(state)[1]

"""Labyrinth: a maze in three dimensions, seen through the eyes of who walks in it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree, replace
from explorax.envs import random_maze, raycasting
from explorax.envs.random_maze import another_room, nearest_free_cell

LOOK_LEFT, LOOK_RIGHT, FORWARD, BACKWARD, STRAFE_LEFT, STRAFE_RIGHT = range(6)  # the actions
TURN = float(np.deg2rad(22.5))  # rad per step
WALK, ASIDE = 0.3, 0.2  # cells per step
BODY = 0.2  # cells, how near the walker comes to a wall
REACH = 0.45  # cells, from which an apple or the goal is taken
GAP = 1e-3  # cells, between a body and the wall that stops it
TRAIL = 100  # places that the picture remembers


@pytree
class LabyrinthState:
    """The maze of this episode and the walker in it. Cells count in reading order."""

    walls: jax.Array  # bool [N, N]
    goal: jax.Array  # int32 [], its cell
    apples: jax.Array  # int32 [apples], their cells
    left: jax.Array  # bool [apples], which of them are still there
    place: jax.Array  # float32 [2], (x, y) in cells: x along columns, y down rows
    heading: jax.Array  # float32 [], radians clockwise from east
    trail: jax.Array  # float32 [TRAIL, 2], the last places since the last start; for the picture


@dataclass(frozen=True)
class Labyrinth:
    """Walk through a maze seen in first person: apples pay 1 each, the goal 10 and a new start.

    N×N cells, N odd, with walls around: a random tree of passages with a few loops
    (`envs/random_maze.py`), drawn anew for each episode, with apples and a goal in random rooms.
    An apple is collected once. Who comes to the goal, a yellow and green pillar, is put into a
    random other room, with a random heading, of the same maze: the goal stays where it is and all
    apples come back. Nothing ends the episode but its step limit. `maze_seed` fixes maze, apples
    and goal for all episodes, and only starts are random.

    Six actions: look left or right by 22.5°, forward and backward by 0.3 cells, strafe left and
    right by 0.2; places and headings are continuous. The walker is a square of 0.4 cells that walls
    stop along each axis on its own, so that it slides along them; it takes what lies within 0.45
    cells of it.

    The observation is a frame, uint8 [pixels, pixels, 3], by ray casting (`envs/raycasting.py`): a
    field of view of 85°, walls one cell high whose colours change with the region of the maze,
    shaded by orientation and distance, panels on the walls and tiles on the floor by which one sees
    oneself move. The colours are those of the place in the square, the same in every maze, so they
    tell roughly where one is. Of several apples in one column of pixels only the nearest is drawn.

    After the Labyrinth of Jaderberg et al. (UNREAL, arXiv 1611.05397; apples +1, goal +10), in
    which steps are frames of a physical engine with momentum, and one also looks up and down.
    """

    size: int
    pixels: int = 42  # of a frame, along and across
    maze_seed: int = 0  # 0: a new maze each episode; another number: always its maze and things
    apples: int = 3
    loops: float = 0.15  # probability that a wall between rooms is opened beyond the tree
    max_episode_steps: int = 900

    action = Discrete(6)
    costly = True

    def __post_init__(self) -> None:
        random_maze.validate(self, largest=31)
        require(36 <= self.pixels <= 256, self, "pixels", "in 36 .. 256, for convolutions to fit")

    @property
    def success_return(self) -> float:
        """What the goal pays, or more where all apples together pay as much without it."""
        return max(10.0, self.apples + 1.0)

    @property
    def obs(self) -> Box:
        return Box((self.pixels, self.pixels, 3), 0.0, 255.0, "uint8")

    @property
    def view(self) -> View:
        return random_maze.view_of(self.size)

    @property
    def walls(self) -> np.ndarray:
        """The maze of `maze_seed`, bool [N, N]; if mazes change, the one that `place` takes."""
        return np.asarray(random_maze.world_of_seed(self)[0])

    def reset(self, key: Key) -> LabyrinthState:
        key_world, key_start = jax.random.split(key)
        world = random_maze.world_of_episode(self, key_world)
        return self._entered(world, *self._start(key_start, world[1]))

    def _entered(self, world: random_maze.World, place: Any, heading: Any) -> LabyrinthState:
        walls, goal, apples = world
        left, trail = jnp.ones(self.apples, bool), jnp.broadcast_to(place, (TRAIL, 2))
        return LabyrinthState(walls, goal, apples, left, place, heading, trail)

    def _start(self, key: Key, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
        share, turn = jax.random.uniform(key, (2,))
        return self._middle(another_room(share, self.size, goal)), turn * (2 * np.pi)

    def _middle(self, cell: jax.Array) -> jax.Array:
        """Return the middles [..., 2] of cells."""
        return jnp.stack([cell % self.size, cell // self.size], -1).astype(jnp.float32) + 0.5

    def observe(self, state: LabyrinthState) -> jax.Array:
        ray = raycasting.rays(state.heading, self.pixels)
        hits = raycasting.cast(state.walls, state.place, ray)
        eye = (state.place, state.heading)
        apple = raycasting.nearest(
            self._middle(state.apples), state.left, *eye, raycasting.APPLE_RADIUS, self.pixels
        )
        pillar = raycasting.nearest(
            self._middle(state.goal[None]), jnp.ones(1, bool), *eye, raycasting.PILLAR_RADIUS,
            self.pixels,
        )  # fmt: skip
        hue = jnp.asarray(raycasting.HUES, jnp.float32)[_region(hits.row, hits.column)]
        return raycasting.paint(hits, apple, pillar, state.place, ray, hue)

    def step(
        self, state: LabyrinthState, key: Key, action: jax.Array
    ) -> tuple[LabyrinthState, jax.Array, jax.Array]:
        turn = _sign(action, LOOK_RIGHT, LOOK_LEFT) * TURN
        heading = jnp.mod(state.heading + turn, 2 * np.pi)
        forward, right = raycasting.directions(heading)
        ahead = _sign(action, FORWARD, BACKWARD) * WALK
        aside = _sign(action, STRAFE_RIGHT, STRAFE_LEFT) * ASIDE
        place = slide(state.walls, state.place, ahead * forward + aside * right)
        eaten = (_far(self._middle(state.apples) - place[None]) < REACH) & state.left
        arrived = _far(self._middle(state.goal) - place) < REACH
        reward = eaten.sum().astype(jnp.float32) + 10.0 * arrived.astype(jnp.float32)
        new_place, new_heading = self._start(key, state.goal)
        place = jnp.where(arrived, new_place, place)
        trail = jnp.concatenate([state.trail[1:], place[None]])
        after = replace(
            state,
            left=(state.left & ~eaten) | arrived,
            place=place,
            heading=jnp.where(arrived, new_heading, heading),
            trail=jnp.where(arrived, place, trail),
        )
        return after, reward, jnp.bool_(False)

    def where(self, state: LabyrinthState) -> jax.Array:
        """Return the walker's (x, y), float32 [2]."""
        return state.place

    def draw(self, state: LabyrinthState) -> np.ndarray:
        from explorax.envs.drawing_labyrinth import draw_labyrinth

        colours = np.asarray(raycasting.HUES)[_region(*np.indices((self.size, self.size)))]
        return draw_labyrinth(state, np.asarray(_seen(self, state)), colours)

    def place(self, point: jax.Array) -> LabyrinthState:
        """Return the walker in the middle of the free cell nearest to `point`, in `walls`."""
        world = random_maze.world_of_seed(self)
        middle = self._middle(nearest_free_cell(world[0], point))
        return self._entered(world, middle, jnp.float32(0.0))


def slide(
    walls: Bool[Array, "N N"], place: Float[Array, "2"], move: Float[Array, "2"]
) -> Float[Array, "2"]:
    """Return where a body at `place` ends that walls stop along each axis on its own, x first."""
    for axis in (0, 1):
        sign = jnp.sign(move[axis])
        front = place[axis] + move[axis] + sign * BODY
        cell = jnp.floor(front).astype(jnp.int32)
        sides = jnp.floor(place[1 - axis] + jnp.array([-BODY, BODY])).astype(jnp.int32)
        blocked = (walls[sides, cell] if axis == 0 else walls[cell, sides]).any()
        face = cell.astype(jnp.float32) + (sign < 0).astype(jnp.float32)
        stopped = face - sign * (BODY + GAP)
        end = jnp.where(blocked & (sign != 0), stopped, place[axis] + move[axis])
        place = place.at[axis].set(end)
    return place


def _region(row: Any, column: Any) -> Any:
    """Return which of HUES the walls of cells have: one for each 3×3 of them."""
    return (row // 3 * 3 + column // 3) % len(raycasting.HUES)


def _sign(action: jax.Array, plus: int, minus: int) -> jax.Array:
    return (action == plus).astype(jnp.float32) - (action == minus).astype(jnp.float32)


def _far(away: Float[Array, "... 2"]) -> Float[Array, "..."]:
    return jnp.sqrt(jnp.square(away).sum(-1))


@partial(jax.jit, static_argnums=0)
def _seen(task: Labyrinth, state: LabyrinthState) -> jax.Array:
    return task.observe(state)

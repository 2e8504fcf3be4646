"""Something that moves: first anywhere, as fast as it can, then through a maze to a goal."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.maze import walls_of

# S is where it starts, G the goal; a cell is 2 units wide, and S lies at (0, 0).
PLANS = {
    "plane": None,
    "hallway": """
#########
#...S...#
#########
""",
    "maze": """
#####
#S..#
###.#
#G..#
#####
""",
}
STEPS = 100
CELL, RADIUS, STRIDE, DRAG, START_STD, GOAL_WIDTH = 2.0, 0.3, 0.5, 0.1, 0.1, 1.0
PLANE_LIMIT = 12.0


def _cell_of(plan: str, mark: str) -> tuple[int, int] | None:
    """Return (row, column) of `mark`."""
    for row, line in enumerate(plan.strip().split("\n")):
        if mark in line:
            return row, line.index(mark)
    return None


@pytree
class MoverState:
    """Where it is and how fast it goes."""

    position: jax.Array  # float32 [2]
    velocity: jax.Array  # of the top speed along an axis, float32 [2]


@dataclass(frozen=True)
class Mover:
    """Push a body across a plane, along a hallway, or through a maze to a goal: 100 steps.

    The two halves of soft Q-learning's pretraining (arXiv 1702.08165, section 5.2): an undirected
    mover learns to go fast in any direction, and goes on learning where the direction matters. A
    body with inertia stands in for the paper's quadruped: v' = 0.9 v + 0.1 a, x' = x + ½ v', so
    that a push must be kept up for ten steps, and random pushes lead nowhere. Walls stop it.

    "plane" and "hallway" pay the speed ‖v'‖/√2, whatever its direction. "maze" pays
    exp(−d²/2), d the distance from the goal, which lies 4 units from the start behind a wall and 12
    units away along the way around it. Observed are the place, from the start, and v. An episode
    succeeds in the maze with a return of 25.

    Deviation from the paper: the body. Its quadruped, in MuJoCo, is another task.
    """

    world: str = "plane"  # or "hallway", "maze"

    obs = Box((4,), low=-float("inf"), high=float("inf"))
    action = Box((2,))
    max_episode_steps = STEPS
    looks_at = ((0.0, 0.0),)

    def __post_init__(self) -> None:
        check_types(self)
        require(self.world in PLANS, self, "world", f"one of {tuple(PLANS)}")

    @property
    def success_return(self) -> float | None:
        return STEPS / 4 if self.world == "maze" else None

    @property
    def view(self) -> View:
        low, high = self._corners()
        return View(labels=("x", "y"), low=low, high=high)

    def reset(self, key: Key) -> MoverState:
        return MoverState(START_STD * jax.random.normal(key, (2,)), jnp.zeros(2))

    def observe(self, state: MoverState) -> jax.Array:
        return jnp.concatenate([state.position, state.velocity])

    def step(
        self, state: MoverState, key: Key, action: jax.Array
    ) -> tuple[MoverState, jax.Array, jax.Array]:
        push = jnp.clip(action, -1.0, 1.0)
        velocity = (1.0 - DRAG) * state.velocity + DRAG * push
        position = state.position
        for axis in (0, 1):  # one after the other, so that it slides along walls
            position, velocity = self._moved(position, velocity, axis)
        after = MoverState(position, velocity)
        if self.world == "maze":
            reward = self._pay(position)
        else:
            reward = jnp.sqrt(jnp.square(velocity).sum() / 2 + 1e-12)
        return after, reward, jnp.bool_(False)

    @property
    def goal(self) -> tuple[float, float] | None:
        """The goal's place, where there is one."""
        plan = PLANS[self.world]
        cell = None if plan is None else _cell_of(plan, "G")
        return None if cell is None else self._middle(*cell)

    @property
    def goals(self) -> tuple[tuple[float, float], ...]:
        return () if self.goal is None else (self.goal,)

    def field(self, position: Float[Array, "*rest 2"]) -> Float[Array, "*rest"]:
        """Return what the reward says of a place alone, NaN in walls: the map to draw paths on."""
        pay = jnp.zeros(position.shape[:-1]) if self.goal is None else self._pay(position)
        walls = self._walls()
        if walls is None:
            return pay
        row0, column0 = self._start()
        steps = jnp.floor(position / CELL + 0.5).astype(jnp.int32)
        row = jnp.clip(row0 - steps[..., 1], 0, walls.shape[0] - 1)
        column = jnp.clip(column0 + steps[..., 0], 0, walls.shape[1] - 1)
        return jnp.where(jnp.asarray(walls)[row, column], jnp.nan, pay)

    def _pay(self, position: jax.Array) -> jax.Array:
        """Return what the maze pays at `position` [..., 2]."""
        goal = jnp.asarray(self.goal).reshape(*(1,) * (position.ndim - 1), 2)
        return jnp.exp(-0.5 * jnp.square((position - goal) / GOAL_WIDTH).sum(-1))

    def _moved(
        self, position: jax.Array, velocity: jax.Array, axis: int
    ) -> tuple[jax.Array, jax.Array]:
        """Return (position, velocity) after the step along one axis, up to a wall."""
        wanted = position[axis] + STRIDE * velocity[axis]
        low, high = self._free(position, axis)
        reached = jnp.clip(wanted, low, high)
        velocity = velocity.at[axis].set(jnp.where(reached == wanted, velocity[axis], 0.0))
        return position.at[axis].set(reached), velocity

    def _free(self, position: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
        """Return how far down and up one axis the body may go from the cell that it is in."""
        walls = self._walls()
        if walls is None:
            return jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
        row0, column0 = self._start()
        column = jnp.floor(position[0] / CELL + 0.5).astype(jnp.int32) + column0
        row = row0 - jnp.floor(position[1] / CELL + 0.5).astype(jnp.int32)
        grid = jnp.asarray(walls)
        before, after = (
            (grid[row, column - 1], grid[row, column + 1])
            if axis == 0
            else (grid[row + 1, column], grid[row - 1, column])
        )
        index = column - column0 if axis == 0 else row0 - row
        middle, reach = CELL * index.astype(jnp.float32), CELL / 2 - RADIUS
        return (
            jnp.where(before, middle - reach, -jnp.inf),
            jnp.where(after, middle + reach, jnp.inf),
        )

    def _walls(self) -> np.ndarray | None:
        plan = PLANS[self.world]
        return None if plan is None else walls_of(plan)

    def _start(self) -> tuple[int, int]:
        cell = _cell_of(PLANS[self.world] or "S", "S")
        assert cell is not None
        return cell

    def _middle(self, row: int, column: int) -> tuple[float, float]:
        row0, column0 = self._start()
        return CELL * (column - column0), CELL * (row0 - row)

    def _corners(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the lower left and the upper right corner of what is worth looking at."""
        walls = self._walls()
        if walls is None:
            return (-PLANE_LIMIT, -PLANE_LIMIT), (PLANE_LIMIT, PLANE_LIMIT)
        rows, columns = walls.shape
        (left, low), (right, high) = self._middle(rows - 1, 0), self._middle(0, columns - 1)
        return (left, low), (right, high)

    def draw(self, state: MoverState) -> np.ndarray:
        from explorax.envs.drawing_control import draw_mover

        walls, (low, high) = self._walls(), self._corners()
        if walls is None:  # nearer than the map
            low, high = (low[0] / 2, low[1] / 2), (high[0] / 2, high[1] / 2)
        blocks = [] if walls is None else [self._middle(*cell) for cell in np.argwhere(walls)]
        x, y = np.asarray(state.position)
        push = np.asarray(state.velocity)
        return draw_mover(
            (float(x), float(y)), (float(push[0]), float(push[1])), RADIUS, (low, high),
            blocks, CELL, self.goal,
        )  # fmt: skip

    def place(self, point: jax.Array) -> MoverState:
        return MoverState(point, jnp.zeros(2))

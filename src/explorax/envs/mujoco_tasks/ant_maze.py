"""An ant in a maze that is paid at the end of it."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.protocols import View
from explorax.envs.mujoco_tasks.ant import (
    QUATERNION,
    ant_observation,
    ant_start,
    rllab_ant,
    rotation,
)
from explorax.envs.mujoco_tasks.maze import U_MAZE, add_walls, sense, squares
from explorax.envs.mujoco_tasks.model import add_camera
from explorax.envs.mujoco_tasks.task import NOTHING, Ball, Moment, Rows

SIDE, TOP = 3.0, 1.5  # m: of a square, and the height of the walls
WALLS, GOALS = squares(U_MAZE, "#", SIDE), squares(U_MAZE, "G", SIDE)


@dataclass(frozen=True)
class AntMaze:
    """Walk through a U-shaped maze: +1 in the last square of seven, within 500 steps of 0.02 s.

    rllab's hierarchical task (arXiv 1604.06778): squares of 3 m, the goal 6 m away behind a wall,
    12 m along the corridor. Walking pays and costs nothing. An episode terminates at the goal, or,
    unpaid, when the torso leaves 0.2 to 1 m of height. Observed are positions, velocities, forces
    of contacts, the torso's rotation and the centre of mass, and 20 rays ahead that tell how near a
    wall or the goal is (`maze.sense`): 165 numbers.

    The body is Gymnasium's ant with rllab's step (one of 0.02 s, fourth-order Runge-Kutta) and
    contacts.

    Deviations: walls of 1.5 m instead of 6, so that a picture shows the ant; the rays look where
    the torso's x-axis points (rllab takes one entry of its quaternion for the angle); today's
    MuJoCo.
    """

    success_return = 1.0
    reads = "contacts"
    frame_skip = 1

    @property
    def view(self) -> View:
        return View(
            labels=("x of the torso (m)", "y of the torso (m)"),
            low=(-1.5, -1.5),
            high=(7.5, 7.5),
            rooms=(3, 3),
        )

    def xml(self) -> Element:
        root = rllab_ant()
        add_walls(root, U_MAZE, SIDE, TOP)
        add_camera(root, (3.0, 3.0, 24.0))
        return root

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return *ant_start(rng, qvel), NOTHING

    def observe(self, now: Moment, memory: Rows) -> Rows:
        ahead = rotation(now.qpos[:, QUATERNION])[:, :, 0]
        heading = np.arctan2(ahead[:, 1], ahead[:, 0])
        readings = sense(now.com[:, :2], heading, WALLS, GOALS)
        return np.concatenate([ant_observation(now), readings], axis=1)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        low, high = GOALS[0, :2], GOALS[0, 2:]
        inside: Rows = (now.com[:, :2] >= low) & (now.com[:, :2] <= high)
        arrived = np.all(inside, axis=1)
        height = now.qpos[:, 2]
        fallen = (height < 0.2) | (height > 1.0)
        return arrived.astype(np.float64), arrived | fallen, memory

    def place(self, now: Moment) -> Rows:
        return now.qpos[:, :2]

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        x0, y0, x1, y1 = GOALS[0].tolist()
        return (Ball(((x0 + x1) / 2, (y0 + y1) / 2, 0.5), 0.5, (0.2, 0.7, 0.2, 1.0)),)

"""A quadruped that goes anywhere first, and then along a hallway or through a maze."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import View
from explorax.core.settings import check_types
from explorax.envs.mujoco_tasks.ant import (
    QUATERNION,
    ant_observation,
    ant_start,
    clipped_contacts,
    rllab_ant,
    rotation,
)
from explorax.envs.mujoco_tasks.maze import U_MAZE, add_walls, squares
from explorax.envs.mujoco_tasks.model import add_box, add_camera
from explorax.envs.mujoco_tasks.task import NOTHING, Ball, Moment, Rows

WORLDS = ("plane", "wide_hallway", "narrow_hallway", "maze")
WIDTHS = {"wide_hallway": 8.0, "narrow_hallway": 3.0}  # m, along x
LENGTH, WALL, TOP = 40.0, 0.5, 1.5  # m: of a hallway, of its walls' thickness and height
SIDE = 4.0  # m, of a square of the maze
GOAL = squares(U_MAZE, "G", SIDE)[0].reshape(2, 2).mean(axis=0)  # its middle, m from the start
BUMP, NARROWNESS = 1.0, 0.1  # a and b of the maze's reward a·exp(−b d²), b in 1/m²


@dataclass(frozen=True)
class Quadruped:
    """Walk fast in any direction, in the open, along a hallway, or to the end of a maze.

    The quadruped of soft Q-learning's pretraining (arXiv 1702.08165, section 5.2): learnt on the
    "plane", it goes on learning in a "wide_hallway" or a "narrow_hallway" along x, or in a
    U-shaped "maze". r = ‖v‖ − ½ 10⁻³ ‖a‖² − ½ 10⁻⁴ ‖f‖² + 0.05, v the horizontal velocity of the
    centre of mass in m/s, a in [−1, 1], f the forces of contacts, each in [−1, 1]. In the maze
    exp(−0.1 d²) stands for ‖v‖, d the distance of the centre of mass from the goal in m. 500 steps
    of 0.02 s; an episode terminates when it has turned over or its torso is more than 1 m high.
    Observed are positions, velocities, forces of contacts, the torso's rotation and the centre of
    mass: 125 numbers.

    The body is Gymnasium's ant with rllab's step and contacts, as the authors' own.

    Deviations: the hallways' widths (8 and 3 m), the maze's squares (4 m) and the width of its
    reward are ours, since the paper does not print them; today's MuJoCo.
    """

    world: str = "plane"  # or "wide_hallway", "narrow_hallway", "maze"

    success_return = None
    reads = "contacts"
    frame_skip = 1

    def __post_init__(self) -> None:
        check_types(self)
        require(self.world in WORLDS, self, "world", f"one of {WORLDS}")

    @property
    def view(self) -> View:
        low, high = (-2.0, 10.0) if self.world == "maze" else (-10.0, 10.0)
        return View(
            labels=("x of the torso (m)", "y of the torso (m)"), low=(low, low), high=(high, high)
        )

    def xml(self) -> Element:
        root = rllab_ant()
        if self.world == "maze":
            add_walls(root, U_MAZE, SIDE, TOP)
            add_camera(root, (SIDE, SIDE, 28.0))
        elif self.world in WIDTHS:
            half, end = WIDTHS[self.world] / 2, LENGTH / 2
            for near, far in ((-half - WALL, -half), (half, half + WALL)):
                add_box(root, (-end, near), (end, far), TOP, solid=True)
            add_camera(root, (0.0, 0.0, 16.0))
        return root

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return *ant_start(rng, qvel), NOTHING

    def observe(self, now: Moment, memory: Rows) -> Rows:
        return ant_observation(now)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        if self.world == "maze":
            distance = np.linalg.norm(now.com[:, :2] - GOAL, axis=1)
            paid = BUMP * np.exp(-NARROWNESS * distance**2)
        else:
            paid = np.linalg.norm(now.velocity[:, :2], axis=1)
        effort = 0.5e-3 * np.square(action).sum(axis=1)
        impact = 0.5e-4 * np.square(clipped_contacts(now)).sum(axis=1)
        over = rotation(now.qpos[:, QUATERNION])[:, 2, 2] < 0.0
        return paid - effort - impact + 0.05, over | (now.qpos[:, 2] > 1.0), memory

    def place(self, now: Moment) -> Rows:
        return now.qpos[:, :2]

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        if self.world != "maze":
            return ()
        x, y = GOAL.tolist()
        return (Ball((x, y, 0.5), 0.5, (0.2, 0.7, 0.2, 1.0)),)

"""A swimmer that gathers apples and avoids bombs, which it senses and does not see."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.protocols import View
from explorax.envs.mujoco_tasks.model import add_box, add_camera
from explorax.envs.mujoco_tasks.swimmer import FRAME_SKIP, map_of, rllab_swimmer
from explorax.envs.mujoco_tasks.task import Ball, Moment, Rows, rllab_start

APPLES, BOMBS = 8, 8
REACH = 1.0  # m: what is nearer is taken
BINS, RANGE, SPAN = 10, 6.0, np.pi  # of each of the two sensors: bins, m, rad
# Even coordinates from -6 to 4 m, as rllab draws them (the upper end is excluded), but the start.
CELLS = [(x, y) for x in range(-6, 5, 2) for y in range(-6, 5, 2) if (x, y) != (0, 0)]
X, Y, LEFT = 0, 1, 2  # the columns of an object in the memory; LEFT: not taken yet


def sense(com: Rows, heading: Rows, objects: Rows) -> Rows:
    """Return both sensors' readings [E, 2 · BINS], of apples and then of bombs, in [0, 1].

    A bin looks at a tenth of the half-circle before the swimmer, from its right to its left, and
    tells 1 − d / RANGE of the nearest object there, d its distance from the centre of mass `com`
    [E, 3]; 0 for none within RANGE. `objects` [E, APPLES + BOMBS, 3] are x, y, and whether they are
    left. An apple does not hide a bomb, nor the other way round.
    """
    away = objects[:, :, [X, Y]] - com[:, None, :2]
    distance = np.linalg.norm(away, axis=2)
    angle = np.arctan2(away[:, :, 1], away[:, :, 0]) - heading[:, None]
    angle = np.mod(angle + np.pi, 2 * np.pi) - np.pi
    inside = (objects[:, :, LEFT] > 0) & (distance <= RANGE) & (np.abs(angle) <= SPAN / 2)
    bins = np.clip(((angle + SPAN / 2) / (SPAN / BINS)).astype(int), 0, BINS - 1)
    bins[:, APPLES:] += BINS
    readings = np.zeros((len(com), 2 * BINS))
    row, which = np.nonzero(inside)
    np.maximum.at(readings, (row, bins[row, which]), 1.0 - distance[row, which] / RANGE)
    return readings


@dataclass(frozen=True)
class SwimmerGather:
    """Swim to 8 apples, +1 each, and around 8 bombs, −1 each, within 500 steps of 0.05 s.

    rllab's hierarchical task (arXiv 1604.06778), which VIME and #Exploration report. What comes
    within 1 m of the centre of mass is taken; swimming itself pays and costs nothing. An episode
    terminates when nothing is left. Objects lie at even coordinates from −6 to 4 m, not at the
    start. Observed are five positions, five velocities and the centre of mass, and what two sensors
    tell of the half-circle ahead: ten bins for apples, ten for bombs (`sense`), 33 numbers.

    The body is Gymnasium's swimmer with rllab's step (Euler, 50 of 0.001 s) and torques (50 N m),
    and without armature. The walls 7 m away are only seen: rllab's swimmer touches nothing.

    Deviations: today's MuJoCo.
    """

    success_return = 1.0
    reads = "com"
    frame_skip = FRAME_SKIP

    @property
    def view(self) -> View:
        return map_of(7.0)

    def xml(self) -> Element:
        root = rllab_swimmer()
        inner, outer = 6.5, 7.5
        for low, high in (
            ((-outer, -outer), (outer, -inner)),
            ((-outer, inner), (outer, outer)),
            ((-outer, -inner), (-inner, inner)),
            ((inner, -inner), (outer, inner)),
        ):
            add_box(root, low, high, 0.5, solid=False)
        add_camera(root, (0.0, 0.0, 19.0))
        return root

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cells = rng.choice(CELLS, APPLES + BOMBS, replace=False)
        objects = np.concatenate([cells, np.ones((len(cells), 1))], axis=1)
        return *rllab_start(rng, qpos, qvel), objects

    def observe(self, now: Moment, memory: Rows) -> Rows:
        readings = sense(now.com, now.qpos[:, 2], memory)
        return np.concatenate([now.qpos, now.qvel, now.com, readings], axis=1)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        away = memory[:, :, [X, Y]] - now.com[:, None, :2]
        taken = (np.square(away).sum(axis=2) < REACH**2) & (memory[:, :, LEFT] > 0)
        reward = taken[:, :APPLES].sum(axis=1) - taken[:, APPLES:].sum(axis=1)
        memory = memory.copy()
        memory[:, :, LEFT] = np.where(taken, 0.0, memory[:, :, LEFT])
        done: Rows = (memory[:, :, LEFT] == 0).all(axis=1)
        return reward.astype(np.float64), done, memory

    def place(self, now: Moment) -> Rows:
        return now.com[:, :2]

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        green, red = (0.2, 0.7, 0.2, 1.0), (0.8, 0.2, 0.2, 1.0)
        return tuple(
            Ball((x, y, 0.3), 0.3, green if index < APPLES else red)
            for index, (x, y, left) in enumerate(memory.tolist())
            if left
        )

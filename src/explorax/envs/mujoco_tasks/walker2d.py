"""A walker in a plane: paid for its speed, or only beyond a line."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.protocols import View
from explorax.core.settings import check_types
from explorax.envs.mujoco_tasks.model import asset, child, set_all, simulated_as
from explorax.envs.mujoco_tasks.task import NOTHING, Ball, Moment, Rows, rllab_start

GOAL = 1.0  # m
# N m of thigh, leg and foot at full control
_TORQUES = {"thigh": 150.0, "leg": 100.0, "foot": 100.0}


@dataclass(frozen=True)
class Walker2d:
    """Walk forwards without falling, for 500 steps of 0.005 s: paid v_x, or +1 while x > 1 m.

    rllab's Walker2D, the hardest dense task of VIME (arXiv 1605.09674, Fig. 3): r = v_x − ½ 10⁻²
    ‖a‖², v_x the velocity of the centre of mass in m/s and a in [−1, 1]. An episode terminates
    where the torso is not between 0.8 and 2 m high or pitches by 1 rad. Observed are positions
    with x, velocities and the centre of mass: 21 numbers. With `sparse`, r = 1 for each step that
    ends with the centre of mass beyond 1 m and 0 before, and actions cost nothing.

    The body is Gymnasium's Walker2d-v5 with rllab's step (Euler, 0.005 s, one for each action),
    friction of the feet (0.9, the left one 1.9) and torques (thighs 150 N m, all else 100).

    Deviations: x is observed before the height; today's MuJoCo.
    """

    sparse: bool = False  # pay +1 beyond x = 1 m, and nothing for speed

    reads = "com"
    frame_skip = 1

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def success_return(self) -> float | None:
        return 1.0 if self.sparse else None

    @property
    def view(self) -> View:
        return View(labels=("x of the walker (m)", "height (m)"), low=(-2.0, 0.6), high=(6.0, 1.6))

    def xml(self) -> Element:
        root = asset("walker2d_v5")
        simulated_as(root, 0.005, "Euler")
        set_all(root, ".//geom[@name='foot_geom']", friction="0.9")
        for motor in child(root, "actuator"):
            limb = motor.attrib["joint"].partition("_")[0]
            motor.attrib["gear"] = str(_TORQUES[limb])
        return root

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return *rllab_start(rng, qpos, qvel), NOTHING

    def observe(self, now: Moment, memory: Rows) -> Rows:
        return np.concatenate([now.qpos, now.qvel, now.com], axis=1)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        if self.sparse:
            reward = (now.com[:, 0] > GOAL).astype(np.float64)
        else:
            reward = now.velocity[:, 0] - 0.5e-2 * np.square(action).sum(axis=1)
        height, pitch = now.qpos[:, 1], now.qpos[:, 2]
        upright = (height > 0.8) & (height < 2.0) & (np.abs(pitch) < 1.0)
        return reward, ~upright, memory

    def place(self, now: Moment) -> Rows:
        return now.qpos[:, :2]

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        return ()

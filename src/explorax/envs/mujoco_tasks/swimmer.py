"""A swimmer of three links that may go anywhere, and is paid for its speed."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from explorax.core.protocols import View
from explorax.envs.mujoco_tasks.model import asset, child, set_all, simulated_as
from explorax.envs.mujoco_tasks.task import NOTHING, Ball, Moment, Rows

FINISH = 1.5  # m
TORQUE = 50.0  # N m
FRAME_SKIP = 50  # of 0.001 s


def rllab_swimmer() -> Element:
    """Return rllab's swimmer: Gymnasium's body, without armature, and stepped as rllab's.

    It touches nothing: neither the floor, nor walls, nor itself.
    """
    root = asset("swimmer")
    simulated_as(root, 0.001, "Euler")
    SubElement(child(root, "option"), "flag", warmstart="disable")
    child(root, "default/joint").attrib["armature"] = "0"
    set_all(root, "actuator/motor", gear="1", ctrlrange=f"{-TORQUE} {TORQUE}")
    return root


def map_of(half: float) -> View:
    """Return the map of the centre of mass, which both swimmers observe, ± `half` m wide."""
    return View(
        labels=("x of the centre of mass (m)", "y of the centre of mass (m)"),
        low=(-half, -half),
        high=(half, half),
        dims=(10, 11),
    )


@dataclass(frozen=True)
class SwimmerUndirected:
    """Swim fast in any direction, 500 steps of 0.05 s: paid ‖v‖, and +1 for each step beyond 1.5 m.

    The swimming snake of soft Q-learning (arXiv 1702.08165, section 5.1), whose best policies go
    forwards and backwards alike until they find the finish: r = ‖v‖ − ½ 10⁻² ‖a‖² + [x > 1.5 m],
    v and x of the centre of mass, a in [−1, 1]. An episode begins at rest, and does not terminate.
    Observed are five positions, five velocities and the centre of mass: 13 numbers.

    Deviations: the authors' environment charges max(|a| − 1, 0)² for actions beyond the bounds,
    which are clipped here; today's MuJoCo.
    """

    success_return = None
    reads = "com"
    frame_skip = FRAME_SKIP

    @property
    def view(self) -> View:
        return map_of(6.0)

    def xml(self) -> Element:
        return rllab_swimmer()

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return qpos.copy(), qvel.copy(), NOTHING

    def observe(self, now: Moment, memory: Rows) -> Rows:
        return np.concatenate([now.qpos, now.qvel, now.com], axis=1)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        speed = np.linalg.norm(now.velocity[:, :2], axis=1)
        finished = (now.com[:, 0] > FINISH).astype(np.float64)
        reward = speed - 0.5e-2 * np.square(action).sum(axis=1) + finished
        return reward, np.zeros(len(speed), bool), memory

    def place(self, now: Moment) -> Rows:
        return now.com[:, :2]

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        return ()

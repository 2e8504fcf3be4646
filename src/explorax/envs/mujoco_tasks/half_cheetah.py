"""The half-cheetah that is paid only far from where it starts."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import View
from explorax.core.settings import check_types
from explorax.envs.mujoco_tasks.model import asset
from explorax.envs.mujoco_tasks.task import NOTHING, Ball, Moment, Rows, rllab_start

GOAL = 5.0  # m
VERSIONS = ("gymnasium", "rllab")


@dataclass(frozen=True)
class HalfCheetahSparse:
    """Run until x > 5 m: +1 for each of the 500 steps that end beyond, 0 before.

    The sparse task of VIME (arXiv 1605.09674, section 3.2). Nothing terminates; actions cost
    nothing. Of its two versions in print, "gymnasium" is the one of vime-pytorch: Gymnasium's
    HalfCheetah with five simulated steps of 0.01 s for each action, thus 25 s for an episode;
    observed are positions without x, and velocities, 17 numbers; x is the root's; positions begin
    within ±0.1 and velocities with a deviation of 0.1. "rllab" is VIME's own: one simulated step
    for each action, 5 s for an episode, so the goal needs more than 1 m/s; observed is the centre
    of mass too, 20 numbers, and its x counts; positions begin with a deviation of 0.01, velocities
    with one of 0.1. EX2 and EMI paid on both sides, |x| > 5.

    Deviations: today's MuJoCo, whose contacts are not those of 2016's.
    """

    both_sides: bool = False  # pay for |x| > 5 m, as EX2 and EMI do
    version: str = "gymnasium"  # or "rllab": VIME's own, with a fifth of the time

    success_return = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        require(self.version in VERSIONS, self, "version", f"one of {VERSIONS}")

    @property
    def _early(self) -> bool:
        return self.version == "rllab"

    @property
    def reads(self) -> str:
        return "com" if self._early else "state"

    @property
    def frame_skip(self) -> int:
        return 1 if self._early else 5

    @property
    def view(self) -> View:
        return View(
            labels=("x of the cheetah (m)", "pitch (rad)"),
            low=(-15.0, -np.pi),
            high=(15.0, np.pi),
            periodic=(False, True),
            hidden=True,
        )

    def xml(self) -> Element:
        return asset("half_cheetah")

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._early:
            return *rllab_start(rng, qpos, qvel), NOTHING
        moved = rng.uniform(-0.1, 0.1, qpos.shape)
        return qpos + moved, qvel + rng.normal(0.0, 0.1, qvel.shape), NOTHING

    def observe(self, now: Moment, memory: Rows) -> Rows:
        parts = [now.qpos[:, 1:], now.qvel]
        return np.concatenate([*parts, now.com] if self._early else parts, axis=1)

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        x = self._x(now)
        far = (np.abs(x) if self.both_sides else x) > GOAL
        return far.astype(np.float64), np.zeros(len(x), bool), memory

    def _x(self, now: Moment) -> Rows:
        return now.com[:, 0] if self._early else now.qpos[:, 0]

    def place(self, now: Moment) -> Rows:
        place = np.empty((len(now.qpos), 2))
        place[:, 0] = self._x(now)
        place[:, 1] = np.mod(now.qpos[:, 2] + np.pi, 2 * np.pi) - np.pi
        return place

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        return ()

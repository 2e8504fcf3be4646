"""What a task in MuJoCo is: one definition on [E] rows, whether for one environment or many."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias
from xml.etree.ElementTree import Element

import numpy as np

from explorax.core.protocols import View

HORIZON = 500  # control steps of an episode, in every paper that these tasks are from
Rows: TypeAlias = np.ndarray  # float64 [E, ...]
NOTHING = np.zeros(0)  # the memory of a task that keeps none


def rllab_start(
    rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (qpos, qvel) with rllab's noise: deviations of 0.01 and of 0.1."""
    return qpos + rng.normal(0.0, 0.01, qpos.shape), qvel + rng.normal(0.0, 0.1, qvel.shape)


class Moment(NamedTuple):
    """E worlds at one time."""

    qpos: Rows  # MuJoCo's generalised positions, [E, nq]
    qvel: Rows  # and velocities, [E, nv]
    com: Rows  # centre of mass of everything that moves, m, [E, 3]; zeros unless read
    velocity: Rows  # of the centre of mass, m/s, [E, 3]; zeros unless read
    contacts: Rows  # MuJoCo's cfrc_ext, [E, bodies, 6]; zeros unless read

    def rows(self, index: Any) -> "Moment":
        """Return some of the worlds."""
        return Moment(*(part[index] for part in self))


@dataclass(frozen=True)
class Ball:
    """Something to draw that MuJoCo does not simulate."""

    position: tuple[float, float, float]
    radius: float
    color: tuple[float, float, float, float]


class MuJoCoTask(Protocol):
    """A task: settings with pure methods on rows of worlds."""

    @property
    def reads(self) -> str:
        """What `Moment` must hold: "state", positions and velocities, which cost nothing; "com",
        also the centre of mass and its velocity; "contacts", also the forces of contacts."""
        ...

    @property
    def frame_skip(self) -> int:
        """Steps of the simulator in one control step."""
        ...

    @property
    def success_return(self) -> float | None: ...

    @property
    def view(self) -> View: ...

    def xml(self) -> Element:
        """Return the model."""
        ...

    def start(
        self, rng: np.random.Generator, qpos: np.ndarray, qvel: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (qpos, qvel, memory) of one world where an episode begins, from the model's."""
        ...

    def observe(self, now: Moment, memory: Rows) -> Rows:
        """Return observations [E, D]."""
        ...

    def judge(self, now: Moment, action: Rows, memory: Rows) -> tuple[Rows, Rows, Rows]:
        """Return (reward [E], terminated [E], memory) of a step; `action` is in [-1, 1]."""
        ...

    def place(self, now: Moment) -> Rows:
        """Return the points [E, 2] of the map."""
        ...

    def balls(self, memory: np.ndarray) -> tuple[Ball, ...]:
        """Return what to draw beside the model for one world's memory."""
        ...

"""The papers' tasks in MuJoCo behind our protocol, many stepped at once.

MuJoCo is the extra `mujoco`, and is imported when such a task is made.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from explorax.core.errors import BadEnvironmentData, require, unknown_name
from explorax.core.protocols import Box, Key, Spec, Step
from explorax.core.settings import check_types
from explorax.envs import mujoco_tasks
from explorax.envs.border import Running, check_draws
from explorax.envs.mujoco_simulation import Simulation, picture
from explorax.envs.mujoco_tasks.task import HORIZON, MuJoCoTask

PREFIX = "mujoco:"


@dataclass(frozen=True)
class MuJoCoVector:
    """`num_envs` worlds of a task in MuJoCo, which reset in the step that ends an episode.

    All are stepped by one call of MuJoCo's `rollout`, in as many threads as there are cores, and a
    task's observation, reward and end are computed for all of them together. Observations are
    float32; actions in [-1, 1] are clipped and scaled to the model's range of controls. Episodes
    have 500 steps, and that end is a truncation. What is not finite is refused with
    BadEnvironmentData, which names the task, the environment and the step.

    `reset` makes new worlds, each with a generator of its own that is seeded from the key, so that
    the same key gives the same episodes whatever the number of threads; `step` moves them in place
    and ignores its key. Raises Incompatible where MuJoCo is not installed.
    """

    task: MuJoCoTask
    num_envs: int
    render: bool = False  # whether `draw` will be called

    def __post_init__(self) -> None:
        check_types(self)
        require(self.num_envs >= 1, self, "num_envs", "at least 1")

    @property
    def name(self) -> str:
        return PREFIX + type(self.task).__name__

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        observed, acted = _sizes(self.task)
        return Spec(
            obs=Box((observed,), low=-np.inf, high=np.inf),
            action=Box((acted,)),
            num_envs=self.num_envs,
            max_episode_steps=HORIZON,
            success_return=self.task.success_return,
            view=self.task.view,
        )

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        seeds = np.asarray(jax.random.bits(key, (self.num_envs,), "uint32"))
        generators = [np.random.default_rng(int(seed)) for seed in seeds]
        worlds = Simulation(self.name, self.task, generators)
        return Running(worlds), self._checked(worlds, worlds.observe())

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        worlds: Simulation = state.vector
        taken: Any = worlds.advance(np.asarray(action))
        reward, terminated = taken
        next_obs = obs = self._checked(worlds, worlds.observe())
        place: Any = ()
        if worlds.hidden:
            place = self.task.place(worlds.moment()).astype(np.float32)
        truncated: Any = worlds.ended & ~terminated
        ended = terminated | truncated
        if ended.any():
            rows = np.flatnonzero(ended)
            worlds.reset(rows)
            obs = next_obs.copy()
            obs[rows] = worlds.observe_rows(rows)
        return state, Step(
            obs=obs,
            next_obs=next_obs,
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            place=place,
        )

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        check_draws(self)
        return picture(state.vector, index)

    def _checked(self, worlds: Simulation, obs: np.ndarray) -> Any:
        """Return observations as float32. Raises BadEnvironmentData where one is not finite."""
        told = obs.astype(np.float32)
        if not math.isfinite(float(told.sum())):
            row = int(np.flatnonzero(~np.isfinite(told).all(axis=1))[0])
            raise BadEnvironmentData(
                f"{self.name}, environment {row}, step {worlds.total}: the observation is not "
                f"finite in float32: {obs[row]}."
            )
        return told


def task_names() -> tuple[str, ...]:
    """Return the tasks as they are written after `mujoco:`."""
    return tuple(mujoco_tasks.__all__)


def task_of(name: str) -> type:
    """Return the class of a task by its name. Raises UnknownName."""
    if name not in mujoco_tasks.__all__:
        cure = f"They are written {PREFIX}HalfCheetahSparse; `explorax list mujoco` says more."
        raise unknown_name("task in MuJoCo", name, mujoco_tasks.__all__, cure)
    return getattr(mujoco_tasks, name)


@lru_cache(maxsize=64)
def _sizes(task: MuJoCoTask) -> tuple[int, int]:
    """Return (numbers in an observation, numbers in an action)."""
    worlds = Simulation(PREFIX, task, [np.random.default_rng(0)])
    observed, acted = worlds.observe().shape[1], len(worlds.low)
    worlds.close()
    return observed, acted

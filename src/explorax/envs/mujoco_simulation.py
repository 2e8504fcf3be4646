"""Worlds of one task in MuJoCo, stepped together by MuJoCo's own threads."""

import math
import os
from typing import Any

import numpy as np

from explorax.core.errors import BadEnvironmentData
from explorax.envs.border import to_units
from explorax.envs.mujoco_tasks.model import compiled, imported
from explorax.envs.mujoco_tasks.task import HORIZON, Moment, MuJoCoTask

TIME, QPOS = 0, 1  # where MuJoCo's vector of a whole state begins to tell them


class Simulation:
    """Worlds of one task, which change in place. Each draws from a generator of its own.

    The step is MuJoCo's `rollout`: the physics of all worlds in one call, without Python's lock.
    It begins each call without the warm start of the constraint solver, so that a step depends on
    the state alone: not on which thread takes it, how many there are, or what came before.
    """

    def __init__(
        self,
        name: str,
        task: MuJoCoTask,
        generators: list[np.random.Generator],
        threads: int | None = None,
        horizon: int = HORIZON,
        size: tuple[int, int] = (240, 320),  # of a picture, pixels: height and width
    ) -> None:
        mujoco = imported()
        self.horizon, self.size = horizon, size
        self.name, self.task, self.generators = name, task, generators
        self.model = compiled(task.xml())
        worlds = len(generators)
        threads = min(worlds, threads or _cores())
        self._data = [mujoco.MjData(self.model) for _ in range(threads)]
        self._pool = mujoco.rollout.Rollout(nthread=threads if threads > 1 else 0)
        self._models = [self.model] * worlds
        nq, nv = self.model.nq, self.model.nv
        self._qvel = QPOS + nq
        whole = mujoco.mjtState.mjSTATE_FULLPHYSICS
        assert mujoco.mj_stateSize(self.model, whole) == QPOS + nq + nv, "a state with more parts"
        self.state = np.zeros((worlds, QPOS + nq + nv))
        self._told = np.zeros((worlds, task.frame_skip, QPOS + nq + nv))
        # seconds of a control step
        self.span = task.frame_skip * self.model.opt.timestep
        self._com, self._velocity = np.zeros((worlds, 3)), np.zeros((worlds, 3))
        self._contacts = np.zeros((worlds, self.model.nbody, 6))
        self._now = self._moment()
        start = mujoco.MjData(self.model)
        self._start = start.qpos.copy(), start.qvel.copy()
        self.hidden = task.view.hidden
        self.memory: Any = None
        self.camera: Any = None
        # what the motors do in each step of the simulator, the middle of their range and half of it
        self._control = np.zeros((worlds, task.frame_skip, self.model.nu))
        self._middle, self._half = (self.low + self.high) / 2, (self.high - self.low) / 2
        self.steps = np.zeros(worlds, np.int64)  # of the episode that is under way
        self.total = 0  # calls of `advance`
        self.reset(np.arange(worlds))

    @property
    def low(self) -> np.ndarray:
        """The lowest controls, in the model's units."""
        return self.model.actuator_ctrlrange[:, 0]

    @property
    def high(self) -> np.ndarray:
        """The highest controls."""
        return self.model.actuator_ctrlrange[:, 1]

    def moment(self) -> Moment:
        """Return what the worlds are like now; it changes with them until the next step."""
        return self._now

    def _moment(self) -> Moment:
        return Moment(
            self.state[:, QPOS : self._qvel],
            self.state[:, self._qvel :],
            self._com,
            self._velocity,
            self._contacts,
        )

    def reset(self, rows: np.ndarray) -> None:
        """Begin new episodes in these worlds."""
        for row in rows:
            qpos, qvel, memory = self.task.start(self.generators[row], *self._start)
            self.state[row] = np.concatenate([[0.0], qpos, qvel])
            if self.memory is None:
                self.memory = np.zeros((len(self.generators), *memory.shape))
            self.memory[row] = memory
        self.steps[rows] = 0
        self._control[rows] = 0.0
        self._look(rows)

    def observe(self) -> np.ndarray:
        """Return observations, float64 [E, D]."""
        return self.task.observe(self.moment(), self.memory)

    def observe_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of some worlds."""
        return self.task.observe(self.moment().rows(rows), self.memory[rows])

    def advance(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (reward [E], terminated [E]) of one control step; actions are clipped to [-1, 1].

        Raises BadEnvironmentData where MuJoCo gives a world up, and for actions that are not finite
        or of another shape than [E, A].
        """
        wanted = (len(self.state), len(self.low))
        if action.shape != wanted:
            raise BadEnvironmentData(
                f"{self.name}: the actions have shape {action.shape} and must have {wanted}: a row "
                f"for each world."
            )
        # NaN is the one number that a sum cannot lose, and infinity the one that it keeps
        if not math.isfinite(float(action.sum())):
            to_units(self.name, action, self.low, self.high)  # raises, and says where
        # not in the model's units yet, since tasks charge for actions in the agent's
        action = np.minimum(np.maximum(action, -1.0), 1.0).astype(np.float64)
        self._control[:] = (self._middle + action * self._half)[:, None]
        self._pool.rollout(
            self._models,
            self._data,
            self.state,
            self._control,
            skip_checks=True,
            nstep=self._told.shape[1],
            state=self._told,
        )
        told = self._told[:, -1].copy()
        self.steps += 1
        self.total += 1
        self._check(told)
        self.state = told
        self._now = self._moment()
        if self.task.reads != "state":
            self._look(np.arange(len(told)))
        reward, terminated, self.memory = self.task.judge(self._now, action, self.memory)
        return reward, terminated

    @property
    def ended(self) -> np.ndarray:
        """Where the time is over, bool [E]."""
        return self.steps >= self.horizon

    def _check(self, told: np.ndarray) -> None:
        """Raise where a state is not finite, or where MuJoCo began it anew: its clock stands."""
        late = np.abs(told[:, TIME] - self.state[:, TIME] - self.span)
        if not (late.max() <= self.span / 2 and math.isfinite(float(told.sum()))):
            broken = (late > self.span / 2) | ~np.isfinite(told).all(axis=1)
            row = int(np.flatnonzero(broken)[0])
            raise BadEnvironmentData(
                f"{self.name}, environment {row}, step {self.total}: MuJoCo found the simulation "
                "unstable and gave it up. Its positions before were "
                f"{self.state[row, QPOS : self._qvel]}."
            )

    def _look(self, rows: np.ndarray) -> None:
        """Read what the task wants of these worlds besides their state."""
        if self.task.reads == "state":
            return
        for row in rows:
            data = self.data_of(int(row))
            self._com[row], self._velocity[row] = data.subtree_com[1], data.subtree_linvel[1]
            if self.task.reads == "contacts":
                self._contacts[row] = data.cfrc_ext

    def data_of(self, row: int) -> Any:
        """Return MuJoCo's MjData with one world in it, its positions worked out; it is shared."""
        mujoco, data = imported(), self._data[0]
        data.time = self.state[row, TIME]
        data.qpos, data.qvel = self.state[row, QPOS : self._qvel], self.state[row, self._qvel :]
        if self.task.reads == "contacts":
            data.ctrl, data.qacc_warmstart = self._control[row, 0], 0.0
            mujoco.mj_forward(self.model, data)
            mujoco.mj_rnePostConstraint(self.model, data)
        else:
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)
            mujoco.mj_comVel(self.model, data)
        mujoco.mj_subtreeVel(self.model, data)
        return data

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def picture(worlds: Simulation, row: int) -> np.ndarray:
    """Return a frame of one world, uint8 [H, W, 3], without shadows and reflections.

    Raises Incompatible where nothing can draw.
    """
    from explorax.envs.mujoco_camera import Camera

    if worlds.camera is None:
        worlds.camera = Camera(worlds.name, worlds.model, *worlds.size, costly=False)
    data = worlds.data_of(row)
    imported().mj_forward(worlds.model, data)  # cameras and lights that follow a body
    return worlds.camera.frame(data, worlds.task.balls(worlds.memory[row]))

"""The DeepMind control suite behind our protocol: its own simulator, stepped from Python.

dm_control and MuJoCo are the extra `dm_control`, and are imported when such a task is made.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from explorax.core.errors import BadEnvironmentData, Incompatible, require
from explorax.core.protocols import Box, Key, Spec, Step
from explorax.envs.border import GL, Running, check_draws, to_units, unlisted, without_opengl
from explorax.envs.cart_pole_swing_up import CartPoleSwingUp
from explorax.envs.control_suite import EPISODE_STEPS
from explorax.envs.pendulum_swing_up import PendulumSwingUp
from explorax.envs.point_mass import PointMass
from explorax.envs.reacher import Reacher

PREFIX = "dm_control:"
CURE = "pip install 'explorax[dm_control]'"
WITHOUT_WHEELS = (3, 13)  # the first Python for which labmaze, which dm_control needs, has none
NO_BOUND = 1e10  # how dm_control writes that an action has none: MuJoCo's largest number
# Where one of our tasks is the same one, its map holds.
_TWINS = {
    "cartpole-swingup": CartPoleSwingUp(),
    "cartpole-swingup_sparse": CartPoleSwingUp(sparse=True),
    "pendulum-swingup": PendulumSwingUp(),
    "point_mass-easy": PointMass(),
    "reacher-easy": Reacher(),
    "reacher-hard": Reacher("hard"),
}


@dataclass(frozen=True)
class DMControlVector:
    """`num_envs` tasks of dm_control's suite, which reset in the step that ends an episode.

    Observations are dm_control's, flattened in its own order to float32; actions in [-1, 1] are
    scaled to the task's bounds and clipped. An episode lasts the suite's 1,000 steps, and that end
    is a truncation: it terminates only where dm_control's discount is 0. Success is not defined.
    What is not finite is refused with BadEnvironmentData, which names the task, the environment and
    its step.

    `reset` makes new environments, seeded from its key, so that the same key gives the same
    episodes; `step` moves them in place and ignores its key. Raises Incompatible where dm_control
    is not installed or a task's actions have no bounds (lqr), UnknownName for a task that is not in
    the suite.
    """

    id: str  # domain-task, as in cheetah-run
    num_envs: int
    render: bool = False  # whether `draw` will be called

    def __post_init__(self) -> None:
        require(self.num_envs >= 1, self, "num_envs", "at least 1")

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        size, low, _ = _describe(self.id)
        twin = _TWINS.get(self.id)
        return Spec(
            obs=Box((size,), low=-np.inf, high=np.inf),
            action=Box(low.shape),
            num_envs=self.num_envs,
            max_episode_steps=EPISODE_STEPS,
            view=None if twin is None else twin.view,
        )

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        seeds = np.asarray(jax.random.bits(key, (self.num_envs,), "uint32"))
        worlds = tuple(_World(self.id, index, int(seed)) for index, seed in enumerate(seeds))
        return Running(worlds), _checked(worlds, "observation", [each.reset() for each in worlds])

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        _, low, high = _describe(self.id)
        units = to_units(PREFIX + self.id, np.asarray(action), low, high)
        worlds = state.vector
        given = [world.step(each) for world, each in zip(worlds, units, strict=True)]
        next_obs = _checked(worlds, "observation", [_flat(each) for each in given])
        last: Any = np.array([each.last() for each in given])
        terminated = last & np.array([each.discount == 0.0 for each in given])
        obs = next_obs.copy()
        for index in np.flatnonzero(last):
            obs[index] = _checked(worlds[index:], "observation", [worlds[index].reset()])[0]
        return state, Step(
            obs=obs,
            next_obs=next_obs,
            reward=_checked(worlds, "reward", [each.reward for each in given]),
            terminated=terminated,
            truncated=last & ~terminated,
        )

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        check_draws(self)
        return state.vector[index].draw()


class _World:
    """One environment of dm_control, which changes in place."""

    def __init__(self, id: str, index: int, seed: int) -> None:
        self.id, self.index, self.steps = id, index, 0
        self.env, self.camera = _load(id, seed), None

    def reset(self) -> np.ndarray:
        return _flat(self._called(self.env.reset))

    def step(self, action: np.ndarray) -> Any:
        """Return dm_control's TimeStep."""
        self.steps += 1
        return self._called(self.env.step, action)

    def draw(self) -> np.ndarray:
        if self.camera is None:
            from explorax.envs.mujoco_camera import Camera

            self.camera = Camera(PREFIX + self.id, self.env.physics.model.ptr)
        return self.camera.frame(self.env.physics.data.ptr)

    def told(self, wrong: str) -> str:
        return f"{PREFIX}{self.id}, environment {self.index}, step {self.steps}: {wrong}."

    def _called(self, method: Any, *arguments: np.ndarray) -> Any:
        try:
            return method(*arguments)
        except Exception as error:  # whatever it is, what was learned must be saved
            # quadruped-escape cannot be reset without: it draws its terrain first
            cure = f" Set {GL}=egl before explorax starts." if "OpenGL" in str(error) else ""
            wrong = f"{method.__name__} raised {type(error).__name__}: {error}".removesuffix(".")
            raise BadEnvironmentData(self.told(wrong) + cure) from error


def _flat(given: Any) -> np.ndarray:
    (obs,) = given.observation.values()
    return obs


def _checked(worlds: tuple[_World, ...], what: str, rows: list[Any]) -> Any:
    """Return `rows`, one of each world, as float32. Raises where that is not finite."""
    with np.errstate(over="ignore"):
        array = np.asarray(rows).astype(np.float32)
    if not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array).reshape(len(rows), -1).all(1))[0])
        raise BadEnvironmentData(
            worlds[index].told(f"the {what} is not finite in float32: {rows[index]}")
        )
    return array


def task_names() -> tuple[str, ...]:
    """Return the suite's tasks as domain-task, in its order. Raises Incompatible without it."""
    return tuple("-".join(pair) for pair in _suite().ALL_TASKS)


def _load(id: str, seed: int) -> Any:
    """Return the task with dm_control's own flattening of observations."""
    suite = _suite(id)
    pairs = {"-".join(pair): pair for pair in suite.ALL_TASKS}
    if id not in pairs:
        raise unlisted("task", id, "dm_control's suite", pairs, f"{PREFIX}cheetah-run")
    flat = {"flat_observation": True}
    try:
        with _quiet():
            return suite.load(*pairs[id], task_kwargs={"random": seed}, environment_kwargs=flat)
    except Exception as error:  # as dm_control 1.0.50 under MuJoCo 4: an AttributeError
        raise Incompatible(
            f"{PREFIX}{id}: dm_control cannot load it: {error}. Have the versions that fit: {CURE}"
        ) from error


@lru_cache(maxsize=64)
def _describe(id: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Return (numbers in an observation, lowest action, highest action)."""
    env = _load(id, 0)
    (obs,), action = env.observation_spec().values(), env.action_spec()
    low, high = (
        np.broadcast_to(each, action.shape).astype(np.float64)
        for each in (action.minimum, action.maximum)
    )
    if max(-low.min(), high.max()) >= NO_BOUND:
        raise Incompatible(
            f"{PREFIX}{id} has actions without bounds, which [-1, 1] cannot be scaled to. "
            "`explorax list dm_control` shows the other tasks."
        )
    return int(obs.shape[0]), low, high


def _suite(id: str = "") -> Any:
    """Return dm_control's module `suite`, imported `without_opengl`."""
    what = f"{PREFIX}{id}" if id else "The list"
    try:
        with without_opengl():
            from dm_control import suite
    except ModuleNotFoundError as error:
        cure = f"Install it: {CURE}"
        if sys.version_info >= WITHOUT_WHEELS:
            cure = (
                "dm_control needs labmaze, which has no wheels for Python 3.13 and newer: make an "
                f"environment with Python 3.11 or 3.12, and there {CURE}"
            )
        raise Incompatible(
            f"{what} needs a package that is not installed: {error}. {cure}"
        ) from error
    except Exception as error:  # PyOpenGL raises whatever it pleases where a library is missing
        wrong = (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
        raise Incompatible(
            f"{what}: dm_control cannot be imported: {wrong}. Leave {GL} unset, and have the "
            f"versions that fit: {CURE}"
        ) from error
    return suite


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MuJoCo's remarks about the suite's models, which no user can mend, off the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

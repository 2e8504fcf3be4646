"""Env steps/s of the half-cheetah, stepped in five ways, and what a picture of it costs.

Ours is HalfCheetahSparse, Gymnasium's HalfCheetah-v5: the same body, five steps of the simulator
for each action. Actions are uniform and the same for all; episodes begin anew when they end.
"""

import importlib
import importlib.util
import os
import tempfile
import time
from importlib.metadata import version
from typing import Any

import common
import gymnasium
import jax
import numpy as np

from explorax.envs.mujoco_camera import Camera
from explorax.envs.mujoco_simulation import Simulation
from explorax.envs.mujoco_tasks import HalfCheetahSparse
from explorax.envs.mujoco_tasks.model import imported
from explorax.envs.mujoco_vector import MuJoCoVector

ROUNDS, FRAMES, SIZE = 15, 40, 6  # SIZE: of an action
KEY = jax.random.key(0)
SIZES = ((240, 320), (64, 64))
mujoco: Any = imported()
ENVPOOL = "envpool"


class Ours:
    """Our vector environment."""

    def __init__(self, num_envs: int) -> None:
        self.env = MuJoCoVector(HalfCheetahSparse(), num_envs)
        self.state, _ = self.env.reset(KEY)

    def step(self, action: np.ndarray) -> None:
        self.state, _ = self.env.step(self.state, KEY, action)


class Raw:
    """MuJoCo's rollout and nothing else: no observation, no reward, no end."""

    def __init__(self, num_envs: int) -> None:
        self.worlds = Simulation("", HalfCheetahSparse(), [np.random.default_rng(0)] * num_envs)
        self.state, self.told = self.worlds.state, self.worlds._told

    def step(self, action: np.ndarray) -> None:
        control = np.repeat(action[:, None].astype(np.float64), 5, axis=1)
        self.worlds._pool.rollout(
            self.worlds._models,
            self.worlds._data,
            self.state,
            control,
            skip_checks=True,
            nstep=5,
            state=self.told,
        )
        self.state = self.told[:, -1].copy()


class Vector:
    """A vector environment of Gymnasium's interface."""

    def __init__(self, env: Any) -> None:
        self.env = env
        env.reset(seed=0)

    def step(self, action: np.ndarray) -> None:
        self.env.step(action)


class Single(Vector):
    """One environment of Gymnasium's interface."""

    def step(self, action: np.ndarray) -> None:
        _, _, terminated, truncated, _ = self.env.step(action[0])
        if terminated or truncated:
            self.env.reset()


class EnvPool:
    """The same task in envpool, whose actions are float64."""

    def __init__(self, num_envs: int) -> None:
        envpool = importlib.import_module(ENVPOOL)
        self.env = envpool.make("HalfCheetah-v4", env_type="gymnasium", num_envs=num_envs)
        self.env.reset()

    def step(self, action: np.ndarray) -> None:
        self.env.step(action.astype(np.float64))


def competitors() -> dict[str, tuple[Any, int, int]]:
    """Return {name: (what steps, environments, steps in a round)}."""
    cheetah = "HalfCheetah-v5"
    parts: dict[str, tuple[Any, int, int]] = {
        "Gymnasium's environment, 1": (Single(gymnasium.make(cheetah)), 1, 500),
        "Gymnasium's `SyncVectorEnv`, 8": (Vector(gymnasium.make_vec(cheetah, 8, "sync")), 8, 150),
        "ours, 8": (Ours(8), 8, 300),
        "ours, 64": (Ours(64), 64, 60),
        "MuJoCo's `rollout` alone, 8": (Raw(8), 8, 300),
        "MuJoCo's `rollout` alone, 64": (Raw(64), 64, 60),
        "ours through `gymnasium.make_vec`, 8": (
            Vector(gymnasium.make_vec("explorax.envs.mujoco:explorax/HalfCheetahSparse-v0", 8)),
            8,
            300,
        ),
    }
    if importlib.util.find_spec(ENVPOOL) is not None:
        parts["envpool, 8"] = (EnvPool(8), 8, 300)
        parts["envpool, 64"] = (EnvPool(64), 64, 60)
    return parts


def clock(part: Any, num_envs: int, steps: int, seed: int) -> float:
    """Return env steps/s."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (steps, num_envs, SIZE)).astype(np.float32)
    begun = time.perf_counter()
    for action in actions:
        part.step(action)
    return steps * num_envs / (time.perf_counter() - begun)


def speed() -> list[list[str]]:
    """Return a row for each way. All take turns in each round, as the machine's pace varies."""
    parts = competitors()
    rates: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(ROUNDS + 1):
        for name, (part, num_envs, steps) in parts.items():
            rates[name].append(clock(part, num_envs, steps, number))
    measured = {name: np.asarray(each[1:]) for name, each in rates.items()}  # the first warms up
    base = measured["Gymnasium's `SyncVectorEnv`, 8"]
    ratios = {name: each / base for name, each in measured.items()}
    return [
        [
            name,
            f"{np.median(each):,.0f}",
            f"{each.min():,.0f} to {each.max():,.0f}",
            f"{np.median(ratios[name]):.2f} ({ratios[name].min():.2f} to {ratios[name].max():.2f})",
        ]
        for name, each in measured.items()
    ]


def pictures() -> list[list[str]]:
    """Return a row for each size of picture: milliseconds with the costly effects and without."""
    worlds = Simulation("", HalfCheetahSparse(), [np.random.default_rng(0)])
    data = worlds.data_of(0)
    mujoco.mj_forward(worlds.model, data)
    rows = []
    for height, width in SIZES:
        cost = {}
        for costly in (True, False):
            model = Simulation("", HalfCheetahSparse(), [np.random.default_rng(0)]).model
            camera = Camera("", model, height, width, costly=costly)
            times = []
            for _ in range(FRAMES + 1):
                begun = time.perf_counter()
                camera.frame(data)
                times.append(time.perf_counter() - begun)
            cost[costly] = 1000 * float(np.median(times[1:]))
        rows.append(
            [
                f"{width} × {height}",
                f"{cost[True]:.1f}",
                f"{cost[False]:.2f}",
                f"{cost[True] / cost[False]:.0f}",
            ]
        )
    return rows


def main() -> None:
    os.chdir(tempfile.mkdtemp())  # where MuJoCo may leave its remarks on Gymnasium's model
    installed = importlib.util.find_spec(ENVPOOL) is not None
    names = ("mujoco", "gymnasium", *([ENVPOOL] if installed else []))
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    load = os.getloadavg()[0]
    common.write(
        "mujoco_speed",
        "The half-cheetah in MuJoCo: env steps/s",
        ["stepped by", "env steps/s", "all rounds", "of `SyncVectorEnv`'s"],
        speed(),
        f"{versions}. Medians of {ROUNDS} rounds in which all take their turn, ratios taken round "
        "by round;\nno agent. envpool is measured where it is installed (with its assets 570 MB). "
        f"The load was\n{load:.1f} on {os.cpu_count()} cores.",
        (
            "A picture, in milliseconds, drawn by the processor (EGL, Mesa):",
            ["pixels", "as MuJoCo draws it", "without shadows, reflections, smoothing", "ratio"],
            pictures(),
        ),
    )


if __name__ == "__main__":
    main()

"""Env steps/s of dm_control's tasks: eight in our adapter, one by itself, and MuJoCo without it.

Actions are uniform and the same for all three; episodes begin anew after their 1,000 steps.
"""

import time
from importlib import import_module
from importlib.metadata import version
from typing import Any

import common
import jax
import numpy as np

from explorax.envs.dm_control import DMControlVector, _load

TASKS = ("cheetah-run", "cartpole-swingup_sparse")
NUM_ENVS, STEPS, EPISODE, ROUNDS = 8, 500, 1000, 9
ENV_STEPS = NUM_ENVS * STEPS  # of each of the three in a round
KEY = jax.random.key(0)


class Ours:
    """The adapter with all its environments, and the time that it spends in dm_control's step."""

    def __init__(self, id: str) -> None:
        self.env, self.inside = DMControlVector(id, NUM_ENVS), 0.0
        self.state, _ = self.env.reset(KEY)
        for world in self.state.vector:
            world.env.step = self.timed(world.env.step)

    def timed(self, step: Any) -> Any:
        def call(action: Any) -> Any:
            begun = time.perf_counter()
            given = step(action)
            self.inside += time.perf_counter() - begun
            return given

        return call

    def run(self, actions: np.ndarray) -> None:
        for each in actions.reshape(STEPS, NUM_ENVS, -1):
            self.state, _ = self.env.step(self.state, KEY, each)


class Alone:
    """One task of dm_control, called as its users do."""

    def __init__(self, id: str) -> None:
        self.env = _load(id, 0)
        self.env.reset()

    def run(self, actions: np.ndarray) -> None:
        for action in actions:
            if self.env.step(action).last():
                self.env.reset()


class Simulator(Alone):
    """The simulator of such a task: one call of MuJoCo's mj_step for an env step, and no more."""

    def run(self, actions: np.ndarray) -> None:
        mujoco: Any = import_module("mujoco")  # late, since the adapter sees to OpenGL first
        physics = self.env.physics
        model, data, substeps = physics.model.ptr, physics.data.ptr, self.env._n_sub_steps
        for count, action in enumerate(actions):
            if count % EPISODE == 0:
                self.env.reset()
            data.ctrl[:] = action
            mujoco.mj_step(model, data, substeps)


def clock(part: Any, actions: np.ndarray) -> float:
    begun = time.perf_counter()
    part.run(actions)
    return time.perf_counter() - begun


def row(id: str) -> list[str]:
    ours, parts = Ours(id), {"alone": Alone(id), "simulator": Simulator(id)}
    rng, shape = np.random.default_rng(0), parts["alone"].env.action_spec().shape
    taken: dict[str, list[float]] = {name: [] for name in ("ours", "inside", *parts)}
    for _ in range(ROUNDS + 1):  # in turn, so that a slow minute of the machine hits all of them
        actions = rng.uniform(-1, 1, (ENV_STEPS, *shape)).astype(np.float32)
        ours.inside = 0.0
        taken["ours"].append(clock(ours, actions))
        taken["inside"].append(ours.inside)
        for name, part in parts.items():
            taken[name].append(clock(part, actions))
    times = {name: np.asarray(each[1:]) for name, each in taken.items()}  # the first warms up
    rates = {name: f"{ENV_STEPS / np.median(each):,.0f}" for name, each in times.items()}
    low, high = ENV_STEPS / times["ours"].max(), ENV_STEPS / times["ours"].min()
    return [
        f"`{id}`",
        f"{rates['ours']} ({low:,.0f} to {high:,.0f})",
        f"{np.median(times['inside'] / times['ours']):.0%}",
        rates["alone"],
        f"{np.median(times['alone'] / times['ours']):.2f}",
        rates["simulator"],
        f"{np.median(times['simulator'] / times['ours']):.0%}",
    ]


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("dm_control", "mujoco"))
    common.write(
        "dm_control_speed",
        f"dm_control's tasks from Python: env steps/s, {NUM_ENVS} environments in one process",
        [
            "task",
            f"ours, {NUM_ENVS} (all rounds)",
            "of its time inside dm_control's step",
            "one task by itself",
            "ours / by itself",
            "`mj_step` alone",
            "of our time `mj_step` takes",
        ],
        [row(id) for id in TASKS],
        f"{versions}. Medians of {ROUNDS} rounds of {ENV_STEPS:,} env steps each with the same "
        "uniform actions, ratios\ntaken round by round; no agent. Nothing here is compiled by us, "
        "and all of it is one thread.",
    )


if __name__ == "__main__":
    main()

"""Frames/s of worlds seen in part: 64 environments, uniformly random actions, whole steps.

A step of the labyrinth is moving, drawing the frame that is seen, and a new maze where an episode
ends; one of the memory maze the same with its small picture. All steps are one program.
"""

import time
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Discrete
from explorax.envs import suite

NUM_ENVS, ROUNDS = 64, 9
# Steps in a program: at least one episode, so that new mazes are part of what is measured.
WORLDS = {
    "labyrinth/9": 900,
    "labyrinth/9(maze_seed=1)": 900,
    "labyrinth/15": 900,
    "labyrinth/9(pixels=84)": 900,
    "memory_maze/9": 10_000,
    "memory_maze/9(sight=7)": 10_000,
    "memory_maze/15": 10_000,
}


def program(name: str, steps: int) -> Any:
    """Return a compiled function of a key, which sums what the steps show and pay."""
    env = suite.make(name, NUM_ENVS)
    space = env.spec.action
    assert isinstance(space, Discrete)
    actions = space.n

    def run(key: jax.Array) -> Any:
        def one(loop: Any, t: jax.Array) -> Any:
            state, _ = loop
            key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(key_act, (NUM_ENVS,), 0, actions, jnp.int32)
            state, out = env.step(state, key_env, action)
            return (state, out.obs), out.reward.sum()  # the frame is carried, so it must be made

        (_, last), rewards = jax.lax.scan(one, env.reset(key), jnp.arange(steps))
        return last, rewards.sum()

    return jax.jit(run).lower(jax.random.key(0)).compile()


def main() -> None:
    programs = {name: program(name, steps) for name, steps in WORLDS.items()}
    wall: dict[str, list[float]] = {name: [] for name in programs}
    cores: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(ROUNDS + 1):  # in turn, so that a slow minute of the machine hits all
        for name, run in programs.items():
            begun, begun_cores = time.perf_counter(), time.process_time()
            jax.block_until_ready(run(jax.random.key(number)))
            if number:  # the first round warms up
                wall[name].append(time.perf_counter() - begun)
                cores[name].append(time.process_time() - begun_cores)
    rows = []
    for name, steps in WORLDS.items():
        total = steps * NUM_ENVS
        rows.append([
            name,
            f"{total / np.median(wall[name]):,.0f}",
            f"{total / min(wall[name]):,.0f}",
            f"{np.median(np.asarray(cores[name]) / wall[name]):.2f}",
            f"{1e6 * np.median(cores[name]) / total:.1f}",
        ])  # fmt: skip
    common.write(
        "labyrinth_frames",
        f"Worlds seen in part: {NUM_ENVS} environments, uniformly random actions",
        ["world", "env steps/s", "env steps/s, fastest round", "cores used", "core µs/env step"],
        rows,
        f"A step draws one frame of each environment. Medians of {ROUNDS} rounds.",
    )


if __name__ == "__main__":
    main()

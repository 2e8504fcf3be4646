"""Ways to play an environment with actions that are known beforehand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Discrete
from explorax.envs.mujoco_simulation import Simulation
from explorax.envs.mujoco_tasks.task import MuJoCoTask

KEY = jax.random.key(0)


def play(env: Any, actions: Any, key: Any = KEY) -> tuple[Any, np.ndarray, list[Any]]:
    """Return (state, first observations, rows) of an environment that Python steps."""
    state, obs = env.reset(key)
    dtype = np.int32 if isinstance(env.spec.action, Discrete) else np.float32
    rows = []
    for action in actions:
        state, out = env.step(state, KEY, np.asarray(action, dtype))
        rows.append(out)
    return state, obs, rows


def scanned(env: Any, actions: Any, key: Any = KEY) -> tuple[jax.Array, Any]:
    """Return (first observations [E, ...], steps [T, E, ...]) of one that JAX steps."""

    @jax.jit
    def run(key: Any, actions: Any) -> Any:
        state, obs = env.reset(jax.random.fold_in(key, 0))

        def one(state: Any, row: Any) -> Any:
            return env.step(state, jax.random.fold_in(key, row[0]), row[1])

        return obs, jax.lax.scan(one, state, (jnp.arange(1, len(actions) + 1), actions))[1]

    return run(key, actions)


def followed(task: Any, state: Any, actions: Any) -> tuple[Any, jax.Array, jax.Array]:
    """Return (states, rewards, ends) after each of the actions [T, A] of one world alone."""

    def one(state: Any, action: Any) -> Any:
        state, reward, terminated = task.step(state, KEY, action)
        return state, (state, reward, terminated)

    run = jax.jit(lambda state, actions: jax.lax.scan(one, state, actions)[1])
    return run(state, jnp.asarray(actions, jnp.float32))


def simulation(task: MuJoCoTask, worlds: int = 3, threads: int = 2) -> Simulation:
    generators = [np.random.default_rng(seed) for seed in range(worlds)]
    return Simulation("mujoco:Test", task, generators, threads)


def uniform(steps: int, worlds: int, size: int) -> np.ndarray:
    """Return actions [T, E, A], the same each time."""
    return np.random.default_rng(0).uniform(-1, 1, (steps, worlds, size))

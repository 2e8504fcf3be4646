"""paths.npz: where the final policies go, and how their actions are spread at a few places."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import Incompatible
from explorax.core.keys import key_of
from explorax.core.protocols import Agent, Box, Env, Percept, View
from explorax.core.pytree import replace
from explorax.envs import suite
from explorax.envs.task import Batched
from explorax.files import user_path
from explorax.loop import percept_of
from explorax.run.cache import QUICK
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory, write_arrays
from explorax.run.evaluate import longest, opening, restore_agents
from explorax.run.film import trouble, typical_seed

EPISODES = 40  # of each seed
ACTIONS = 4_000  # drawn at each place
ACTION_CELLS = 32  # along each dimension of the actions
FIELD_CELLS = 64  # along each side of the view


def record_paths(
    run_dir: str | Path,
    *,
    env: Any = None,
    extra: tuple[type, ...] = (),
    trust: tuple[str, ...] = (),
) -> Path:
    """Return the file paths.npz of a run, made anew from its newest checkpoint.

    For runs that were trained before there was such a file. env, extra, trust: as for `evaluate`.
    Raises RunDirectoryError, CheckpointError, and Incompatible where the environment has no such
    picture.
    """
    directory = RunDirectory(user_path(run_dir))
    config = directory.read_config(extra, trust, env)
    environment = suite.make(config.env if env is None else env, config.num_envs)
    if not has_paths(environment):
        raise Incompatible(
            f"{config.env} has no picture of paths: that takes a task in JAX with two continuous "
            f"actions, a view and a method `field`, as multi_goal and mover are."
        )
    agents = restore_agents(directory, config, environment)
    _record(directory, config, cast(Batched, environment), agents)
    return directory.paths


def paths_of(directory: RunDirectory, config: RunConfig, env: Env, agents: Any) -> str:
    """Write paths.npz where the environment has one; return what went wrong, or ""."""
    if not has_paths(env):
        return ""
    return trouble(_record, directory, config, env, agents)


def has_paths(env: Env) -> bool:
    """Return whether there is a plane of places to draw paths on and one of actions."""
    if not isinstance(env, Batched) or env.spec.view is None:
        return False
    action = env.task.action
    return isinstance(action, Box) and action.shape == (2,) and hasattr(env.task, "field")


def _record(directory: RunDirectory, config: RunConfig, env: Batched, agents: Any) -> None:
    task: Any = env.task
    view = task.view
    places = np.asarray(getattr(task, "looks_at", ()), np.float32).reshape(-1, 2)
    key = key_of(0)  # the same for every seed: a comparison, not a lottery
    recorded = _recorded(env, config.agent, agents, jnp.asarray(places), key)
    arrays = {name: np.asarray(value) for name, value in recorded.items()}
    arrays["places"] = places
    arrays["goal_places"] = np.asarray(getattr(task, "goals", ()), np.float32).reshape(-1, 2)
    arrays["field"] = np.asarray(task.field(jnp.asarray(_centres(view))))
    arrays["typical_seed"] = np.asarray(typical_seed(directory.metrics))
    write_arrays(directory.paths, arrays)


def _centres(view: View) -> np.ndarray:
    """Return the middles [x, y, 2] of the cells of the field."""
    low, high = np.asarray(view.low), np.asarray(view.high)
    share = (np.arange(FIELD_CELLS) + 0.5) / FIELD_CELLS
    cells = np.stack(np.meshgrid(share, share, indexing="ij"), -1)
    return (low + cells * (high - low)).astype(np.float32)


@partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def _recorded(
    env: Batched, agent: Agent, agents: Any, places: jax.Array, key: Any
) -> dict[str, jax.Array]:
    """Return the paths, densities and numbers of goals of agents [S, ...]."""
    key_paths, key_actions = jax.random.split(key)
    episodes = replace(env, num_envs=EPISODES)
    count_goals = getattr(env.task, "goals_reached", None)

    def of_seed(state: Any) -> dict[str, jax.Array]:
        paths, last = _paths(episodes, agent, state, key_paths)
        found = {"paths": paths, "density": _densities(env, agent, state, places, key_actions)}
        return found if count_goals is None else found | {"goals": count_goals(last)}

    return jax.vmap(of_seed)(agents)


def _paths(env: Batched, agent: Agent, state: Any, key: Any) -> tuple[jax.Array, jax.Array]:
    """Return (places [E, T + 1, 2] of sampled episodes, NaN after the end, last observations)."""
    view = env.task.view
    assert view is not None  # has_paths has asked

    def step(loop: Any, t: jax.Array) -> Any:
        env_state, percept, carry, last, over = loop
        key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
        action, carry, _ = agent.act(state, carry, key_act, percept)
        env_state, out = env.step(env_state, key_env, action)
        place = jnp.where(over[:, None], jnp.nan, view.project(out.next_obs))
        last = jnp.where(over.reshape(-1, *(1,) * (last.ndim - 1)), last, out.next_obs)
        over = over | out.terminated | out.truncated
        return (env_state, percept_of(out), carry, last, over), place

    begun = opening(env, agent, key)
    obs = begun[1].obs
    loop = (*begun, obs, jnp.zeros(env.num_envs, bool))
    (*_, last, _), after = jax.lax.scan(step, loop, jnp.arange(longest(env)))
    return jnp.concatenate([view.project(obs)[:, None], jnp.swapaxes(after, 0, 1)], axis=1), last


def _densities(env: Batched, agent: Agent, state: Any, places: jax.Array, key: Any) -> jax.Array:
    """Return the shares [P, a₁, a₂] of the actions chosen where an episode begins at each place.

    Actions outside of [−1, 1] count where the environment clips them to: in the outermost cells.
    """
    spec = replace(env, num_envs=ACTIONS).spec
    never, first = jnp.zeros(ACTIONS), jnp.ones(ACTIONS, bool)

    def at(place: jax.Array) -> jax.Array:
        seen = env.task.observe(env.task.place(place))
        obs = jnp.broadcast_to(seen, (ACTIONS, *seen.shape))
        action, _, _ = agent.act(state, agent.carry(spec), key, Percept(obs, never, first))
        share = (jnp.clip(action, -1.0, 1.0) + 1.0) / 2
        cell = jnp.minimum((share * ACTION_CELLS).astype(jnp.int32), ACTION_CELLS - 1)
        counts = jnp.zeros((ACTION_CELLS, ACTION_CELLS)).at[cell[:, 0], cell[:, 1]].add(1.0)
        return counts / ACTIONS

    return jax.lax.map(at, places)

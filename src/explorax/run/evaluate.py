"""Playing with what was learned, without learning."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.arguments import argument
from explorax.core.errors import CheckpointError, InvalidSetting
from explorax.core.keys import key_of
from explorax.core.protocols import Agent, Env, Percept
from explorax.envs import suite
from explorax.files import user_path
from explorax.loop import open_episodes, percept_of
from explorax.run import checkpoint
from explorax.run.cache import QUICK
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.drivers import make_driver

LONGEST = 2_000  # steps of an episode where the environment knows no limit


@dataclass(frozen=True)
class Evaluation:
    """The episodes that one seed's policy played. Returns are extrinsic."""

    seed: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    success_rate: float | None  # None where the environment does not say what success is
    goals_reached: int | None = None  # different ones, of all episodes; None where it has no goals

    @property
    def return_mean(self) -> float:
        return float(np.mean(self.returns))


def evaluate(
    run_dir: str | Path,
    seed: int | None = None,
    episodes: int = 10,
    greedy: bool = True,
    *,
    env: Any = None,
    extra: tuple[type, ...] = (),
    trust: tuple[str, ...] = (),
) -> list[Evaluation]:
    """Return one Evaluation per seed (or of `seed` alone) of the newest checkpoint of a run.

    env: the environment itself where its name is not in the catalogue; extra: classes of the
    caller's own that the configuration names; trust: modules that may be imported for others.
    Raises RunDirectoryError, CheckpointError, InvalidSetting.
    """
    if episodes < 1:
        raise InvalidSetting(f"episodes={episodes}: at least 1 is needed.")
    directory = RunDirectory(user_path(run_dir))
    config = directory.read_config(extra, trust, env)
    numbers = config.seed_numbers
    if seed is not None and seed not in numbers:
        raise InvalidSetting(
            f"The run has no seed {seed}. Possible: {numbers[0]} to {numbers[-1]}."
        )
    environment = suite.make(config.env if env is None else env, config.num_envs)
    agents = restore_agents(directory, config, environment)
    chosen = range(config.seeds) if seed is None else [numbers.index(seed)]
    returns, lengths, last = play(environment, config.agent, agents, chosen, episodes, greedy)
    threshold = environment.spec.success_return
    count_goals = getattr(getattr(environment, "task", None), "goals_reached", None)
    return [
        Evaluation(
            numbers[row],
            tuple(float(value) for value in returns[i]),
            tuple(int(value) for value in lengths[i]),
            None if threshold is None else float(np.mean(returns[i] >= threshold - 1e-6)),
            None if count_goals is None else int(count_goals(jnp.asarray(last[i]))),
        )
        for i, row in enumerate(chosen)
    ]


def restore_agents(directory: RunDirectory, config: RunConfig, env: Env) -> Any:
    """Return the agents' states [S, ...] of the newest checkpoint."""
    return restore_learner(directory, config, env).agent


def restore_learner(directory: RunDirectory, config: RunConfig, env: Env) -> Any:
    """Return what learned, leaves [S, ...], from the newest checkpoint."""
    header = checkpoint.latest(directory.checkpoints, config.digest, config.seed)
    if header is None:
        raise CheckpointError(
            f"{directory.path} has no checkpoint yet: it was stopped before the first. Train it "
            f"with {argument('resume')}."
        )
    driver = make_driver(config, env)
    saved = checkpoint.restore(header, {"training": driver.template}, whole=False)
    return driver.saved_learner(saved["training"])


def play(
    env: Env, agent: Agent, agents: Any, rows: Sequence[int], episodes: int, greedy: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (returns, lengths, last observations) [rows, episodes, ...] of states [S, ...]."""
    key = key_of(0)  # the same episodes for every seed: a comparison, not a lottery
    rounds = -(-episodes // env.spec.num_envs)
    keys = jax.random.split(key, rounds)
    results = []
    for row in rows:
        state = jax.tree.map(lambda leaf, row=row: leaf[row], agents)
        if env.traceable:
            played = _play_rounds(env, agent, greedy, state, keys)
        else:
            each = [_play_on_host(env, agent, greedy, state, key) for key in keys]
            played = tuple(np.stack(kind) for kind in zip(*each, strict=True))
        flat = [np.asarray(kind).reshape(-1, *kind.shape[2:])[:episodes] for kind in played]
        results.append(flat)
    returns, lengths, last = (np.stack(kind) for kind in zip(*results, strict=True))
    return returns, lengths, last


def longest(env: Env) -> int:
    """Return how many steps an episode is followed at most."""
    return env.spec.max_episode_steps or LONGEST


def opening(env: Env, agent: Agent, key: Any) -> tuple[Any, Percept, Any]:
    """Return (env state, percept, carry) where the episodes that are played under `key` begin."""
    actor = open_episodes(env, agent, jax.random.fold_in(key, -1 % 2**31))
    return actor.env, actor.percept, actor.carry


@partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=QUICK)
def _play_rounds(env: Env, agent: Agent, greedy: bool, state: Any, keys: Any) -> Any:
    """Return (returns, lengths, last obs) [rounds, E, ...] of each environment's first episode."""

    def one(key: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        def unfinished(loop: Any) -> jax.Array:
            *_, done, t = loop
            return ~done.all() & (t < longest(env))

        def step(loop: Any) -> Any:
            env_state, percept, carry, ret, length, last, done, t = loop
            key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
            action, carry, _ = agent.act(state, carry, key_act, percept, greedy=greedy)
            env_state, out = env.step(env_state, key_env, action)
            ret = ret + jnp.where(done, 0.0, out.counted)
            length = length + jnp.where(done, 0, 1)
            over = done.reshape(-1, *(1,) * (last.ndim - 1))
            last = jnp.where(over, last, out.next_obs)
            done = done | out.terminated | out.truncated
            return env_state, percept_of(out), carry, ret, length, last, done, t + 1

        count = env.spec.num_envs
        begun = opening(env, agent, key)
        nothing = jnp.zeros(count), jnp.zeros(count, jnp.int32), begun[1].obs
        first = (*begun, *nothing, jnp.zeros(count, bool), jnp.int32(0))
        *_, ret, length, last, _, _ = jax.lax.while_loop(unfinished, step, first)
        return ret, length, last

    return jax.lax.map(one, keys)


act = jax.jit(
    lambda agent, greedy, state, carry, key, percept: agent.act(
        state, carry, key, percept, greedy=greedy
    ),
    static_argnums=(0, 1),
)


def _play_on_host(env: Env, agent: Agent, greedy: bool, state: Any, key: Any) -> Any:
    env_state, percept, carry = opening(env, agent, key)
    ret, length = np.zeros(env.spec.num_envs), np.zeros(env.spec.num_envs, int)
    done, last = np.zeros(env.spec.num_envs, bool), np.array(percept.obs)
    for t in range(longest(env)):
        key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
        action, carry, _ = act(agent, greedy, state, carry, key_act, percept)
        env_state, out = env.step(env_state, key_env, np.asarray(action))
        ret += np.where(done, 0.0, np.asarray(out.counted))
        length += ~done
        last[~done] = np.asarray(out.next_obs)[~done]
        done |= np.asarray(out.terminated | out.truncated)
        percept = percept_of(out)
        if done.all():
            break
    return ret, length, last

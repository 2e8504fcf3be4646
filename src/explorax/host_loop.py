"""Collecting from environments that are stepped from Python; what is learned is `loop`'s."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax import loop
from explorax.core.protocols import Agent, Bonus, Env, Key, Metrics, Percept, Rollout, Step
from explorax.core.pytree import pytree, replace
from explorax.loop import Actor, Learner, Training
from explorax.ops import nonfinite

# What a rollout holds of a step as the environments give it; () where they do not.
_GIVEN = ("reward", "next_obs", "terminated", "truncated", "place", "true_reward")


@pytree
class _Noted:
    """What is known before the step; rows [T, E, ...] that stay where `act` is computed."""

    obs: Any
    action: Any
    first: Any
    extras: Any


def _begin(
    agent: Agent, learner: Learner, percept: Percept, carry: Any
) -> tuple[tuple[Key, Key], _Noted]:
    """Return (the keys [T] to act and to step with, as on the device; rows yet to be written)."""
    count = agent.rollout_length
    key_act = loop.keys_of(learner)[0]
    keys = jax.vmap(lambda t: jax.random.split(jax.random.fold_in(key_act, t)))(jnp.arange(count))
    action, _, extras = jax.eval_shape(agent.act, learner.agent, carry, keys[0, 0], percept)
    row = _Noted(percept.obs, action, percept.first, extras)
    rows = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), row)
    return (keys[:, 0], keys[:, 1]), rows


def _act(
    agent: Agent,
    rows: _Noted,
    state: Any,
    keys: tuple[Key, Key],
    percept: Percept,
    carry: Any,
    t: Any,
) -> tuple[_Noted, Any, Any, Key]:
    """Return (rows with row t, action, carry, the key to step with)."""
    key_act, key_env = (key[t] for key in keys)
    action, carry, extras = agent.act(state, carry, key_act, percept)
    row = _Noted(percept.obs, action, percept.first, extras)
    rows = jax.tree.map(lambda each, leaf: each.at[t].set(leaf), rows, row)
    return rows, action, carry, key_env


@lru_cache(maxsize=16)
def _compiled(agent: Agent) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return `_begin` and `_act` compiled. Looked up once a rollout: to hash an agent costs more
    than to call it."""
    return jax.jit(partial(_begin, agent)), jax.jit(partial(_act, agent), donate_argnums=0)


def collect_on_host(
    env: Env, agent: Agent, learner: Learner, actor: Actor
) -> tuple[Actor, Rollout]:
    """Return (actor, rollout [T, E]) by a Python loop over `env.step`, with one compiled `act`.

    Draws the same numbers as `loop.collect_on_device`. Of a step only the action crosses to the
    host and only the percept crosses back: `act` writes what it saw, chose and said into rows of
    its own, and what the environments give is written into NumPy's.
    """
    begin, act = _compiled(agent)
    env_state, percept, carry = actor.env, actor.percept, actor.carry
    keys, noted = begin(learner, percept, carry)
    given: Any = None
    for t in range(agent.rollout_length):
        noted, action, carry, key_env = act(noted, learner.agent, keys, percept, carry, np.int32(t))
        env_state, out = env.step(env_state, key_env, np.asarray(action))
        out = jax.tree.map(np.asarray, out)
        row = {name: getattr(out, name) for name in _GIVEN}
        if given is None:
            given = jax.tree.map(partial(_rows_like, agent.rollout_length), row)
        for rows, leaf in zip(jax.tree.leaves(given), jax.tree.leaves(row), strict=True):
            rows[t] = leaf
        percept = _percept(out)
    rollout = Rollout(
        noted.obs,
        noted.action,
        first=noted.first,
        bonus=np.zeros_like(given["reward"]),
        extras=noted.extras,
        carry=actor.carry,
        **given,
    )
    return Actor(env_state, percept, carry), rollout


def _rows_like(count: int, leaf: np.ndarray) -> np.ndarray:
    return np.empty((count, *leaf.shape), leaf.dtype)


def _percept(out: Step) -> Percept:
    """Return `loop.percept_of`, in NumPy: JAX takes longer outside a compiled program."""
    done = out.terminated | out.truncated
    reward: Any = np.where(done, np.float32(0), out.reward)
    return Percept(out.obs, reward, done)


_improve: Callable[..., Any] = jax.jit(loop.improve_and_count, static_argnums=(0, 1, 2))
_sizes = jax.jit(nonfinite.sizes)


def iterate_on_host(
    env: Env, agent: Agent, bonus: Bonus, training: Training
) -> tuple[Training, Rollout, Metrics]:
    """Return (training, the rollout as it was collected, what was told), `env` stepped from Python.

    What `loop.iterate_on_device` does, of one seed.
    """
    actor, rollout = collect_on_host(env, agent, training.learner, training.actor)
    sizes = _sizes(training.learner.agent)
    learner, tally, _, told = _improve(
        env, agent, bonus, training.learner, training.tally, sizes, rollout
    )
    return Training(learner, actor, tally), rollout, told


def chunk_on_host(
    env: Env, agent: Agent, bonus: Bonus, iterations: int, training: Training
) -> tuple[Training, Metrics]:
    """Return what `loop.chunk_on_device` returns, `env` stepped from Python; of one seed."""
    history = []
    for _ in range(iterations):
        training, _, told = iterate_on_host(env, agent, bonus, training)
        history.append(told)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *history)
    tally, metrics = loop.end_of_chunk(env.spec.view, training.tally, stacked)
    return replace(training, tally=tally), metrics

"""One way to learn, and to collect on the device: here environment, agent and bonus meet.

`host_loop` collects from environments that are stepped from Python, and learns in the same way.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from explorax.core.keys import key_of
from explorax.core.protocols import (
    Agent,
    Bonus,
    Box,
    Env,
    Key,
    Metrics,
    Percept,
    Rollout,
    Spec,
    Step,
    View,
)
from explorax.core.pytree import pytree, replace
from explorax.ops import nonfinite
from explorax.ops import tally as tallies
from explorax.ops.tally import Tally

# Rows from which on seeds score and learn one after another under vmap: one seed's rows fill the
# cores and stay in cache, where all seeds' rows together neither do nor make good matrix products.
LARGE_ROLLOUT = 1000
# Among what an iteration tells: what `ops.nonfinite.broken` says of it, bool [Q]; among a chunk's
# metrics: what `ops.nonfinite.first` says of all its iterations, int32.
NONFINITE = "nonfinite"


@pytree
class Learner:
    """Everything that learns."""

    agent: Any
    bonus: Any
    key: Any  # never changes; all draws are fold_in(key, iteration, ...)
    iteration: Any  # int32 []


@pytree
class Actor:
    """Everything that acts."""

    env: Any
    percept: Percept
    carry: Any  # the agent's memory


@pytree
class Training:
    """One seed's whole state: what a checkpoint holds."""

    learner: Learner
    actor: Actor
    tally: Tally


def start(env: Env, agent: Agent, bonus: Bonus, key: Key) -> Training:
    """Return the state before the first step."""
    learner, key_env = start_learner(env.spec, agent, bonus, key)
    return Training(learner, open_episodes(env, agent, key_env), tallies.empty(env.spec))


def start_learner(spec: Spec, agent: Agent, bonus: Bonus, key: Key) -> tuple[Learner, Key]:
    """Return (what learns, before the first step; the key to reset the environments with).

    Raises Incompatible where agent or bonus cannot be used in `spec`, or with one another.
    """
    key_agent, key_bonus, key_env, key_run = jax.random.split(key, 4)
    agent_state = agent.init(key_agent, spec)
    told = dataclasses.replace(spec, **_latents(agent, agent_state, spec))
    return Learner(agent_state, bonus.init(key_bonus, told), key_run, jnp.int32(0)), key_env


def open_episodes(env: Env, agent: Agent, key: Key) -> Actor:
    """Return what acts where an episode begins in every environment."""
    spec = env.spec
    env_state, obs = env.reset(key)
    percept = Percept(obs, jnp.zeros(spec.num_envs), jnp.ones(spec.num_envs, bool))
    return Actor(env_state, percept, agent.carry(spec))


def _latents(agent: Agent, state: Any, spec: Spec) -> dict[str, Box]:
    """Return what extras["latent"] and extras["encoded"] are like, found by tracing `act`.

    Nothing where rollouts have one step: a latent's successor is that of the next one's.
    """
    if agent.rollout_length < 2:
        return {}
    envs = spec.num_envs
    percept = Percept(
        jnp.zeros((envs, *spec.obs.shape), spec.obs.dtype), jnp.zeros(envs), jnp.ones(envs, bool)
    )
    extras = jax.eval_shape(agent.act, state, agent.carry(spec), key_of(0), percept)[2]
    names = ("latent", "encoded") if isinstance(extras, dict) else ()
    return {
        name: Box(extras[name].shape[1:], -math.inf, math.inf, str(extras[name].dtype))
        for name in names
        if name in extras
    }


def keys_of(learner: Learner) -> tuple[Key, Key]:
    """Return the keys of this iteration for acting and for learning."""
    key_act, key_learn = jax.random.split(jax.random.fold_in(learner.key, learner.iteration))
    return key_act, key_learn


def _act(
    agent: Agent, learner: Learner, percept: Percept, carry: Any, t: Any
) -> tuple[Any, Any, Any, Key]:
    key_act, key_env = jax.random.split(jax.random.fold_in(keys_of(learner)[0], t))
    action, carry, extras = agent.act(learner.agent, carry, key_act, percept)
    return action, carry, extras, key_env


def row_of(percept: Percept, action: Any, out: Step, extras: Any) -> Rollout:
    """Return one step of a rollout, leaves [E, ...]; nobody was paid a bonus for it yet."""
    return Rollout(
        obs=percept.obs,
        action=action,
        reward=out.reward,
        next_obs=out.next_obs,
        terminated=out.terminated,
        truncated=out.truncated,
        first=percept.first,
        bonus=jnp.zeros_like(out.reward),
        extras=extras,
        place=out.place,
        true_reward=out.true_reward,
    )


def percept_of(out: Step) -> Percept:
    """Return what the agent perceives after a step."""
    done = out.terminated | out.truncated
    return Percept(out.obs, jnp.where(done, 0.0, out.reward), done)


def collect_on_device(
    env: Env, agent: Agent, learner: Learner, actor: Actor
) -> tuple[Actor, Rollout]:
    """Return (actor, rollout [T, E]) by a scan over `env.step`."""

    def one(actor: Actor, t: jax.Array) -> tuple[Actor, Rollout]:
        action, carry, extras, key_env = _act(agent, learner, actor.percept, actor.carry, t)
        env_state, out = env.step(actor.env, key_env, action)
        return Actor(env_state, percept_of(out), carry), row_of(actor.percept, action, out, extras)

    carry = actor.carry
    actor, rollout = jax.lax.scan(one, actor, jnp.arange(agent.rollout_length))
    return actor, replace(rollout, carry=carry)


def improve(
    agent: Agent, bonus: Bonus, learner: Learner, rollout: Rollout
) -> tuple[Learner, Rollout, Metrics]:
    """Score, then learn, then update: the order of VIME's Algorithm 1, fixed here and nowhere else.

    The bonus of iteration n uses the model fitted through n - 1.
    """
    key_score, key_learn, key_update = jax.random.split(keys_of(learner)[1], 3)

    def learn(state: Any, key: Key, rollout: Rollout, bonus_state: Any) -> tuple[Any, Metrics]:
        return agent.learn(state, key, rollout, partial(bonus.rescore, bonus_state))

    score = bonus.score
    if rollout.reward.size >= LARGE_ROLLOUT:
        score, learn = sequential_vmap(score), sequential_vmap(learn)
    paid, bonus_state = score(learner.bonus, key_score, rollout)
    rollout = replace(rollout, bonus=paid)
    agent_state, agent_metrics = learn(learner.agent, key_learn, rollout, bonus_state)
    bonus_state, bonus_metrics = bonus.update(bonus_state, key_update, rollout)
    metrics = {
        "reward_mean": rollout.reward.mean(),
        "bonus_mean": paid.mean(),
        "bonus_max": paid.max(),
        **{f"agent/{name}": value for name, value in agent_metrics.items()},
        **{f"bonus/{name}": value for name, value in bonus_metrics.items()},
    }
    learner = Learner(agent_state, bonus_state, learner.key, learner.iteration + 1)
    return learner, rollout, metrics


def _mean_over_iterations(metrics: Metrics) -> Metrics:
    """Return each metric's mean over iterations [n] -> []; NaN, nothing to say yet, is left out."""
    return {
        name: jnp.nanmax(value) if name.endswith("_max") else jnp.nanmean(value)
        for name, value in metrics.items()
    }


def chunk_on_device(
    env: Env, agent: Agent, bonus: Bonus, iterations: int, training: Training
) -> tuple[Training, Metrics]:
    """Return (training, metrics) after `iterations` rollouts, all inside one compiled program.

    `jax.vmap` over the last argument trains many seeds at once. A run does the same in as many
    calls as it likes: `advance_on_device`, then `end_of_chunk`.
    """

    def one(carry: tuple[Training, jax.Array], _: None) -> tuple[Any, Metrics]:
        training, sizes, told = iterate_on_device(env, agent, bonus, *carry)
        return (training, sizes), told

    start = (training, nonfinite.sizes(training.learner.agent))
    (training, _), history = jax.lax.scan(one, start, None, iterations)
    tally, metrics = end_of_chunk(env.spec.view, training.tally, history)
    return replace(training, tally=tally), metrics


def iterate_on_device(
    env: Env, agent: Agent, bonus: Bonus, training: Training, sizes: jax.Array
) -> tuple[Training, jax.Array, Metrics]:
    """Return (training, sizes, what was told) after one rollout; see `improve_and_count`."""
    actor, rollout = collect_on_device(env, agent, training.learner, training.actor)
    learner, tally, sizes, told = improve_and_count(
        env, agent, bonus, training.learner, training.tally, sizes, rollout
    )
    return Training(learner, actor, tally), sizes, told


def advance_on_device(
    iterate: Callable[[Training, jax.Array], tuple[Training, jax.Array, Metrics]],
    training: Training,
    history: Metrics,
    begin: Any,
    end: Any,
) -> tuple[Training, Metrics]:
    """Return (training, history) of many seeds after the iterations begin .. end - 1 of a chunk.

    iterate: `iterate_on_device` of many seeds. training: leaves [S, ...]; history: what each
    iteration of the chunk told, leaves [n, S, ...], of which rows begin .. end - 1 are written.
    begin, end: int32 []; one program serves all lengths, and what it computes of an iteration does
    not depend on where calls begin and end.
    """

    def one(i: Any, carry: tuple[Training, jax.Array, Metrics]) -> Any:
        training, sizes, history = carry
        training, sizes, told = iterate(training, sizes)
        write = jax.lax.dynamic_update_index_in_dim
        history = {name: write(rows, told[name], i, 0) for name, rows in history.items()}
        return training, sizes, history

    sizes = jax.vmap(nonfinite.sizes)(training.learner.agent)
    training, _, history = jax.lax.fori_loop(begin, end, one, (training, sizes, history))
    return training, history


def improve_and_count(
    env: Env,
    agent: Agent,
    bonus: Bonus,
    learner: Learner,
    tally: Tally,
    sizes: jax.Array,
    rollout: Rollout,
) -> tuple[Learner, Tally, jax.Array, Metrics]:
    """Return (learner, tally, sizes, what was told).

    sizes: `nonfinite.sizes` of the agent. What was told: the metrics, and under NONFINITE which of
    `nonfinite.names` are not finite, bool [Q].
    """
    # what is for people alone is kept from those who learn
    seen = replace(rollout, place=(), true_reward=())
    learner, scored, metrics = improve(agent, bonus, learner, seen)
    after = nonfinite.sizes(learner.agent)
    broken = nonfinite.broken(scored, metrics, sizes, after)
    told = replace(scored, place=rollout.place, true_reward=rollout.true_reward)
    tally = tallies.count(tally, env.spec, told)
    return learner, tally, after, {**metrics, NONFINITE: broken}


def end_of_chunk(view: View | None, tally: Tally, history: Metrics) -> tuple[Tally, Metrics]:
    """Return (tally, metrics) from what each iteration of the chunk told, leaves [n, ...]."""
    tally, episodes = tallies.summary(tally, view)
    metrics = {name: rows for name, rows in history.items() if name != NONFINITE}
    return tally, {
        **episodes,
        **_mean_over_iterations(metrics),
        NONFINITE: nonfinite.first(history[NONFINITE]),
    }

"""Two ways to collect, one way to learn: the only place where environment, agent and bonus meet."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap

from explorax.core.protocols import Agent, Bonus, Box, Env, Key, Metrics, Percept, Rollout, Step
from explorax.core.pytree import pytree, replace
from explorax.ops import tally as tallies
from explorax.ops.tally import Tally

# Rows from which on seeds score and learn one after another under vmap: one seed's rows fill the
# cores and stay in cache, where all seeds' rows together neither do nor make good matrix products.
LARGE_ROLLOUT = 1000


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
    key_agent, key_bonus, key_env, key_run = jax.random.split(key, 4)
    spec = env.spec
    env_state, obs = env.reset(key_env)
    percept = Percept(obs, jnp.zeros(spec.num_envs), jnp.ones(spec.num_envs, bool))
    agent_state, carry = agent.init(key_agent, spec), agent.carry(spec)
    latent = _latent(agent, agent_state, carry, percept)
    bonus_state = bonus.init(key_bonus, dataclasses.replace(spec, latent=latent))
    return Training(
        Learner(agent_state, bonus_state, key_run, jnp.int32(0)),
        Actor(env_state, percept, carry),
        tallies.empty(spec),
    )


def _latent(agent: Agent, state: Any, carry: Any, percept: Percept) -> Box | None:
    """Return what extras["latent"] is like, found by tracing `act`; None where there is none.

    None too where rollouts have one step: a latent's successor is that of the next one's.
    """
    if agent.rollout_length < 2:
        return None
    extras = jax.eval_shape(agent.act, state, carry, jax.random.key(0), percept)[2]
    if not isinstance(extras, dict) or "latent" not in extras:
        return None
    latent = extras["latent"]
    return Box(latent.shape[1:], -math.inf, math.inf, str(latent.dtype))


def _keys(learner: Learner) -> tuple[Key, Key]:
    """Return the keys of this iteration for acting and for learning."""
    key_act, key_learn = jax.random.split(jax.random.fold_in(learner.key, learner.iteration))
    return key_act, key_learn


def _act(
    agent: Agent, learner: Learner, percept: Percept, carry: Any, t: Any
) -> tuple[Any, Any, Any, Key]:
    key_act, key_env = jax.random.split(jax.random.fold_in(_keys(learner)[0], t))
    action, carry, extras = agent.act(learner.agent, carry, key_act, percept)
    return action, carry, extras, key_env


def _row(percept: Percept, action: Any, out: Step, extras: Any) -> Rollout:
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
    )


def _percept(out: Step) -> Percept:
    done = out.terminated | out.truncated
    return Percept(out.obs, jnp.where(done, 0.0, out.reward), done)


def collect_on_device(
    env: Env, agent: Agent, learner: Learner, actor: Actor
) -> tuple[Actor, Rollout]:
    """Return (actor, rollout [T, E]) by a scan over `env.step`."""

    def one(actor: Actor, t: jax.Array) -> tuple[Actor, Rollout]:
        action, carry, extras, key_env = _act(agent, learner, actor.percept, actor.carry, t)
        env_state, out = env.step(actor.env, key_env, action)
        return Actor(env_state, _percept(out), carry), _row(actor.percept, action, out, extras)

    carry = actor.carry
    actor, rollout = jax.lax.scan(one, actor, jnp.arange(agent.rollout_length))
    return actor, replace(rollout, carry=carry)


_act_jitted = jax.jit(_act, static_argnums=0)


def collect_on_host(
    env: Env, agent: Agent, learner: Learner, actor: Actor
) -> tuple[Actor, Rollout]:
    """Return (actor, rollout [T, E]) by a Python loop over `env.step`, with one compiled `act`.

    Draws the same numbers as `collect_on_device`.
    """
    rows, carry = [], actor.carry
    for t in range(agent.rollout_length):
        action, next_carry, extras, key_env = _act_jitted(
            agent, learner, actor.percept, actor.carry, np.int32(t)
        )
        env_state, out = env.step(actor.env, key_env, np.asarray(action))
        rows.append(_row(actor.percept, action, out, extras))
        actor = Actor(env_state, _percept(out), next_carry)
    return actor, replace(jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows), carry=carry)


def improve(
    agent: Agent, bonus: Bonus, learner: Learner, rollout: Rollout
) -> tuple[Learner, Rollout, Metrics]:
    """Score, then learn, then update: the order of VIME's Algorithm 1, fixed here and nowhere else.

    The bonus of iteration n uses the model fitted through n - 1.
    """
    key_score, key_learn, key_update = jax.random.split(_keys(learner)[1], 3)

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

    `jax.vmap` over the last argument trains many seeds at once.
    """
    spec = env.spec

    def one(training: Training, _: None) -> tuple[Training, Metrics]:
        actor, rollout = collect_on_device(env, agent, training.learner, training.actor)
        learner, rollout, metrics = improve(agent, bonus, training.learner, rollout)
        return Training(learner, actor, tallies.count(training.tally, spec, rollout)), metrics

    training, metrics = jax.lax.scan(one, training, None, iterations)
    tally, episodes = tallies.summary(training.tally)
    return replace(training, tally=tally), {**episodes, **_mean_over_iterations(metrics)}


def _improve_and_count(
    env: Env, agent: Agent, bonus: Bonus, learner: Learner, tally: Tally, rollout: Rollout
) -> tuple[Learner, Tally, Metrics]:
    learner, rollout, metrics = improve(agent, bonus, learner, rollout)
    return learner, tallies.count(tally, env.spec, rollout), metrics


_improve_jitted: Callable[..., Any] = jax.jit(_improve_and_count, static_argnums=(0, 1, 2))


def chunk_on_host(
    env: Env, agent: Agent, bonus: Bonus, iterations: int, training: Training
) -> tuple[Training, Metrics]:
    """Return what `chunk_on_device` returns, stepping `env` from Python; one seed at a time."""
    history = []
    for _ in range(iterations):
        actor, rollout = collect_on_host(env, agent, training.learner, training.actor)
        learner, tally, metrics = _improve_jitted(
            env, agent, bonus, training.learner, training.tally, rollout
        )
        training = Training(learner, actor, tally)
        history.append(metrics)
    tally, episodes = tallies.summary(training.tally)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *history)
    return replace(training, tally=tally), {**episodes, **_mean_over_iterations(stacked)}

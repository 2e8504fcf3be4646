"""One step of REINFORCE is one step of gradient ascent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from explorax.agents import on_policy
from explorax.agents.reinforce import REINFORCE
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec

SPECS = {"continuous": Box((2,)), "discrete": Discrete(3)}
STEPS, ENVS = 10, 2


def made_up(agent, state, seed=0):
    rng = np.random.default_rng(seed)
    obs = jnp.asarray(rng.normal(size=(STEPS, ENVS, 3)).astype(np.float32))
    zeros = jnp.zeros((STEPS, ENVS))
    action, _, extras = agent.act(state, (), jax.random.key(seed), Percept(obs, zeros, zeros > 0))
    return Rollout(
        obs=obs,
        action=action,
        reward=jnp.asarray(rng.normal(size=(STEPS, ENVS)).astype(np.float32)),
        next_obs=obs,
        terminated=zeros > 0,
        truncated=zeros > 0,
        first=zeros > 0,
        bonus=zeros,
        extras=extras,
    )


@pytest.mark.parametrize("kind", list(SPECS))
def test_one_step_of_sgd_follows_finite_differences(kind):
    agent = REINFORCE(
        rollout_length=STEPS,
        hidden=(3,),
        value_hidden=(3,),
        optimizer="sgd",
        learning_rate=0.25,
        entropy_coef=0.1,
    )
    spec = Spec(obs=Box((3,)), action=SPECS[kind], num_envs=ENVS)
    state = jax.jit(partial(agent.init, spec=spec))(jax.random.key(0))
    rollout = jax.jit(partial(made_up, agent))(state)
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    after, metrics = learn(state, jax.random.key(1), rollout)

    flat, unravel = ravel_pytree(state.policy)
    batch = jax.jit(partial(on_policy.prepare, agent))(state, rollout)
    np.testing.assert_allclose(batch.advantage.mean(), 0.0, atol=1e-5)

    @jax.jit
    @jax.vmap
    def objective(parameters):
        policy = on_policy.distribution(agent, unravel(parameters), batch.features)
        return (policy.log_prob(batch.action) * batch.advantage + 0.1 * policy.entropy()).mean()

    small = 1e-2 * jnp.eye(flat.size)
    gradient = (objective(flat[None] + small) - objective(flat[None] - small)) / 2e-2
    step = ravel_pytree(after.policy)[0] - flat
    np.testing.assert_allclose(step, 0.25 * gradient, atol=2e-4)
    assert np.linalg.norm(step) > 0.01
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-2)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate():
    agent = REINFORCE(rollout_length=STEPS, hidden=(3,), value_hidden=(3,), learning_rate=0.02)
    spec = Spec(obs=Box((3,)), action=Box((2,)), num_envs=ENVS)
    state = jax.jit(partial(agent.init, spec=spec))(jax.random.key(0))
    rollout = jax.jit(partial(made_up, agent))(state)
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    after, _ = learn(state, jax.random.key(1), rollout)
    step = ravel_pytree(after.policy)[0] - ravel_pytree(state.policy)[0]
    np.testing.assert_allclose(np.abs(step), 0.02, rtol=1e-2)


@pytest.mark.parametrize(("field", "value"), [("learning_rate", 0.0), ("optimizer", "rmsprop")])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(InvalidSetting, match=rf"REINFORCE\({field}="):
        REINFORCE(**{field: value})

"""ERWR's weights, and the weighted maximum likelihood that its fit must reach."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from explorax.agents.erwr import ERWR, positive_weights
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec

STEPS, ENVS = 20, 4


def bandit(action, reward):
    """A rollout of one-step episodes that all look the same."""
    shape = action.shape[:2]
    zeros, obs = jnp.zeros(shape), jnp.ones((*shape, 1))
    yes = jnp.ones(shape, bool)
    return Rollout(obs, action, reward, obs, yes, ~yes, yes, zeros)


def fitted(spec, rollout, **settings):
    agent = ERWR(rollout_length=STEPS, hidden=(), value_hidden=(), **settings)
    state = jax.jit(partial(agent.init, spec=spec))(jax.random.key(0))
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    return state, *learn(state, jax.random.key(1), rollout)


def test_weights_are_advantages_above_the_least():
    weights = positive_weights(jnp.array([[-2.0, 1.0], [0.5, -1.0]]))
    np.testing.assert_array_equal(weights, [[0.0, 3.0], [2.5, 1.0]])


def test_a_gaussian_becomes_the_weighted_mean_and_deviation_of_its_actions():
    rng = np.random.default_rng(0)
    action = rng.normal(0.3, 0.8, size=(STEPS, ENVS, 1)).astype(np.float32)
    reward = (1.0 - (action[..., 0] - 0.5) ** 2).astype(np.float32)
    spec = Spec(obs=Box((1,)), action=Box((1,)), num_envs=ENVS)
    _, after, metrics = fitted(spec, bandit(jnp.asarray(action), jnp.asarray(reward)))
    weight = (reward - reward.min()) / (reward - reward.min()).sum()
    mean = (weight * action[..., 0]).sum()
    std = np.sqrt((weight * (action[..., 0] - mean) ** 2).sum())
    layer = after.policy["network"]["params"]["output"]
    got = layer["kernel"][0, 0] * 1.0 + layer["bias"][0]  # the observation is 1
    np.testing.assert_allclose(got, mean, atol=2e-3)
    np.testing.assert_allclose(np.exp(after.policy["log_std"]), std, rtol=5e-3)
    assert metrics["fit_dropped"] == 0.0 and metrics["objective_improvement"] > 0.0


def test_a_categorical_becomes_the_weighted_frequencies_of_its_actions():
    rng = np.random.default_rng(1)
    action = rng.integers(0, 3, size=(STEPS, ENVS)).astype(np.int32)
    reward = np.array([0.0, 1.0, 2.0], np.float32)[action] + rng.random((STEPS, ENVS)).astype(
        np.float32
    )
    spec = Spec(obs=Box((1,)), action=Discrete(3), num_envs=ENVS)
    _, after, _ = fitted(spec, bandit(jnp.asarray(action), jnp.asarray(reward)))
    weight = reward - reward.min()
    want = np.bincount(action.ravel(), weight.ravel()) / weight.sum()
    layer = after.policy["network"]["params"]["output"]
    got = jax.nn.softmax(layer["kernel"][0] + layer["bias"])
    np.testing.assert_allclose(got, want, atol=3e-3)


def test_entropy_is_climbed_beside_the_fit():
    """Of logits z, W log-likelihood + c H: the best by scipy. W is the mean weight."""
    rng = np.random.default_rng(3)
    action = rng.integers(0, 3, size=(STEPS, ENVS)).astype(np.int32)
    reward = np.array([0.0, 1.0, 4.0], np.float32)[action]
    spec = Spec(obs=Box((1,)), action=Discrete(3), num_envs=ENVS)
    settings: dict[str, Any] = dict(entropy_coef=2.0, normalize_advantages=False)
    _, after, _ = fitted(spec, bandit(jnp.asarray(action), jnp.asarray(reward)), **settings)
    weight = np.bincount(action.ravel(), reward.ravel() - reward.min()) / reward.size

    def loss(logits):
        log_p = scipy.special.log_softmax(logits)
        return -(weight @ log_p) + 2.0 * np.exp(log_p) @ log_p

    want = scipy.special.softmax(scipy.optimize.minimize(loss, np.zeros(3)).x)
    layer = after.policy["network"]["params"]["output"]
    got = jax.nn.softmax(layer["kernel"][0] + layer["bias"])
    np.testing.assert_allclose(got, want, atol=3e-3)
    assert np.abs(want - weight / weight.sum()).max() > 0.1


def test_equal_advantages_change_nothing():
    action = jnp.asarray(np.random.default_rng(2).normal(size=(STEPS, ENVS, 1)), jnp.float32)
    spec = Spec(obs=Box((1,)), action=Box((1,)), num_envs=ENVS)
    reward = jnp.full((STEPS, ENVS), 3.0)
    state, after, metrics = fitted(spec, bandit(action, reward), normalize_advantages=False)
    assert metrics["fit_dropped"] == 1.0
    for old, new in zip(jax.tree.leaves(state.policy), jax.tree.leaves(after.policy), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("field", ["iterations", "memory", "backtrack_steps"])
def test_impossible_settings_are_named(field):
    settings: dict[str, Any] = {field: 0}
    with pytest.raises(InvalidSetting, match=rf"ERWR\({field}="):
        ERWR(**settings)

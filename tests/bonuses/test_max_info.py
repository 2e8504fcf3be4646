"""MaxInfo: the formula, what its models learn, and the noise that they can learn."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import (
    CONTINUOUS,
    DISCRETE,
    check_gradient,
    coded,
    experience,
    first_gradient,
    learnt,
    network,
    paid,
    rollout_of,
    rows_of,
    standardised,
)

from explorax.bonuses import MaxInfo, RunningStd
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.core.pytree import replace

FITTED = MaxInfo(
    models=3, hidden=(6,), learning_rate=1e-2, batch_size=16, updates_per_step=1.0, pool_size=500
)
NOISY = dataclasses.replace(FITTED, learn_noise=True, noise_std=0.05)


def raw_inputs(rollout, spec):
    rows = rows_of(rollout)
    return np.concatenate([np.asarray(rows.obs), coded(rows.action, spec)], -1)


def raw_targets(rollout, reward=True):
    rows = rows_of(rollout)
    change = np.asarray(rows.next_obs, np.float64) - np.asarray(rows.obs)
    return np.concatenate([change, np.asarray(rows.reward)[:, None]], -1) if reward else change


def predictions(params, x, outputs, least=None):
    """Return (f_k(x), σ_k(x)) [K, N, O]; σ is 1 unless `least` is given."""
    models = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(3)]
    out = np.stack([network(model, x, "silu") for model in models])
    if least is None:
        return out, np.ones_like(out)
    return out[..., :outputs], np.clip(np.log1p(np.exp(out[..., outputs:])), least, 100.0)


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("reward", [True, False])
def test_pays_the_mean_log_of_one_plus_variance_over_noise(spec, reward):
    bonus = dataclasses.replace(FITTED, predict_reward=reward)
    state, fresh = learnt(bonus, spec, rollouts=2), experience(spec, seed=50, centre=1.0)
    seen = [raw_inputs(experience(spec, seed), spec) for seed in (0, 1)]
    x = standardised(raw_inputs(fresh, spec), seen, 10.0)
    out, _ = predictions(state.trained.params, x, 3 + reward)
    assert out.shape == (3, 60, 3 + reward)
    wanted = np.log(1 + out.var(0) / 1e-3**2).mean(-1)
    np.testing.assert_allclose(paid(bonus, state, fresh).ravel(), wanted, rtol=2e-4)
    rescored = jax.jit(bonus.rescore)(state, jax.random.key(9), rows_of(fresh))
    np.testing.assert_allclose(rescored, wanted, rtol=2e-4)


def test_with_learnt_noise_it_is_divided_by_the_models_mean_variance():
    state, fresh = learnt(NOISY, rollouts=2), experience(seed=50, centre=1.0)
    seen = [raw_inputs(experience(seed=seed), DISCRETE) for seed in (0, 1)]
    x = standardised(raw_inputs(fresh, DISCRETE), seen, 10.0)
    mean, noise = predictions(state.trained.params, x, 4, least=0.05)
    wanted = np.log(1 + mean.var(0) / np.square(noise).mean(0)).mean(-1)
    np.testing.assert_allclose(paid(NOISY, state, fresh).ravel(), wanted, rtol=5e-4)


@pytest.mark.parametrize("bonus", [FITTED, NOISY], ids=["fixed noise", "learnt noise"])
def test_learns_down_the_slope_of_its_loss_on_standardised_change_and_reward(bonus):
    bonus = dataclasses.replace(bonus, updates_per_step=1e-9, batch_size=1, pool_size=1)
    one = jax.tree.map(lambda leaf: leaf[:, :1], experience(seed=2, steps=1))
    state, least = learnt(bonus), NOISY.noise_std if bonus.learn_noise else None
    x = standardised(
        raw_inputs(one, DISCRETE), [raw_inputs(each, DISCRETE) for each in (experience(), one)], 10
    )
    y = standardised(raw_targets(one), [raw_targets(each) for each in (experience(), one)], 10)

    def loss(params):
        mean, noise = predictions(params, x, 4, least)
        if least is None:
            return np.square(mean - y).mean()
        return (0.5 * np.square((mean - y) / noise) + np.log(noise)).mean()

    gradient, told = first_gradient(bonus, state, one)
    np.testing.assert_allclose(told, loss(state.trained.params), rtol=1e-4)
    check_gradient(gradient, loss, state.trained.params)


def test_all_models_see_the_same_rows():
    alike = learnt(FITTED, rollouts=0)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), alike.trained.params)
    alike = replace(alike, trained=replace(alike.trained, params=params))
    assert (paid(FITTED, learnt(FITTED, state=alike), experience(seed=3)) < 1e-6).all()


def test_what_followed_does_not_enter_the_gain():
    state, rollout = learnt(FITTED), experience(seed=3)
    elsewhere = replace(rollout, next_obs=rollout.next_obs + 100.0, reward=rollout.reward - 9.0)
    np.testing.assert_array_equal(paid(FITTED, state, rollout), paid(FITTED, state, elsewhere))


def test_only_update_learns_and_gain_falls_on_what_is_known():
    rollout = experience(seed=7)
    state = learnt(FITTED, rollouts=0)
    once, again = jax.jit(FITTED.score)(state, jax.random.key(0), rollout)
    assert (np.asarray(once) > 5).all()  # the first rollout is paid: nothing is known yet
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    predictable = replace(rollout, reward=rollout.next_obs[..., 0])
    after = learnt(FITTED, rollouts=60, rollout=predictable)
    known, novel = (paid(FITTED, after, each) for each in (rollout, experience(seed=8, centre=4.0)))
    # In logarithms: a difference of 2 is a variance seven times as large.
    assert known.mean() < np.asarray(once).mean() - 2 < novel.mean() - 2 - 2
    centred = RunningStd(FITTED, discount=0.0, center=True)
    wrapped = jax.jit(lambda key: centred.init(key, DISCRETE))(jax.random.key(0))
    assert (paid(centred, replace(wrapped, bonus=after), rollout) < 0).any()


def test_learnt_noise_is_what_least_squares_leaves():
    """s' − s = 0.5 a + noise: linear models with σ_al find the noise's share of the variance."""
    spec = Spec(Box((1,)), Discrete(2), 4)
    bonus = MaxInfo(
        models=2, hidden=(), learn_noise=True, predict_reward=False, learning_rate=2e-2,
        batch_size=256, updates_per_step=0.1, pool_size=4000,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(500, 4, 1)), rng.integers(0, 2, (500, 4))
    noise = rng.normal(0.0, 0.2, obs.shape)
    after = obs + 0.5 * action[..., None] + noise
    world = rollout_of(obs, action.astype(np.int32), after)
    state = jax.jit(lambda key: bonus.init(key, spec))(jax.random.key(0))
    update = jax.jit(bonus.update)
    for index in range(8):
        state, _ = update(state, jax.random.key(index), world)
    x = np.concatenate([obs.reshape(-1, 1), np.eye(2)[action.ravel()]], -1)
    x = (x - x.mean(0)) / x.std(0)
    share = noise.std() / (after - obs).std()
    for k in range(2):
        model = jax.tree.map(lambda leaf, k=k: leaf[k], state.trained.params)
        learnt_noise = np.log1p(np.exp(network(model, x)[:, 1]))
        np.testing.assert_allclose(learnt_noise.mean(), share, rtol=0.1)


def test_impossible_settings_are_refused():
    wrong: list[dict[str, Any]] = [
        dict(models=1),
        dict(activation="gelu"),
        dict(noise_std=0.0),
        dict(noise_std=1000.0),
        dict(pool_size=10),
        dict(batch_size=0),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            MaxInfo(**each)
    assert MaxInfo.paper().hidden == (256, 256)

"""Surprise: both forms against SciPy's densities, both optimisers, and a linear Gaussian world."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from by_hand import (
    CONTINUOUS,
    DISCRETE,
    check_gradient,
    coded,
    experience,
    first_gradient,
    learning,
    learnt,
    network,
    paid,
    rollout_of,
    rows_of,
    standardised,
)
from scipy.stats import norm

from explorax.bonuses import Surprise
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.core.pytree import replace

FITTED = Surprise(
    hidden=(6,), learning_rate=1e-2, batch_size=16, updates_per_step=1.0, pool_size=500
)
FIXED = dataclasses.replace(FITTED, predict_std=False)
STEP = dataclasses.replace(FITTED, optimizer="trust_region", batch_size=60, max_kl=0.02)


def raw_inputs(rollout, spec):
    rows = rows_of(rollout)
    return np.concatenate([np.asarray(rows.obs, np.float64), coded(rows.action, spec)], -1)


def density(params, x, min_std=0.01):
    """Return (mean, deviation) [N, O] of standardised targets."""
    out = network(params["network"], x, "tanh")
    if "log_std" in params:
        log_std = np.broadcast_to(np.asarray(params["log_std"], np.float64), out.shape)
    else:
        out, log_std = np.split(out, 2, -1)
    return out, np.maximum(np.exp(log_std), min_std)


def log_prob(params, rollout, spec, before):
    """Return log p(s'|s, a) [N] of targets in deviations of the rollouts `before`."""
    seen_x = [raw_inputs(each, spec) for each in before]
    seen_y = [rows_of(each).next_obs for each in before]
    mean, std = density(params, standardised(raw_inputs(rollout, spec), seen_x, 10.0))
    y = standardised(rows_of(rollout).next_obs, seen_y, 10.0)
    return norm.logpdf(y, mean, std).sum(-1)


@pytest.mark.parametrize("bonus", [FITTED, FIXED, STEP], ids=["predicted", "fixed", "step"])
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_surprisal_is_scipys_negative_log_density(bonus, spec):
    state, fresh = learnt(bonus, spec, rollouts=2), experience(spec, seed=50, centre=0.5)
    before = [experience(spec, 0), experience(spec, 1)]
    wanted = -log_prob(state.trained.params, fresh, spec, before)
    np.testing.assert_allclose(paid(bonus, state, fresh).ravel(), wanted, rtol=1e-3, atol=1e-3)
    rescored = jax.jit(bonus.rescore)(state, jax.random.key(9), rows_of(fresh))
    np.testing.assert_allclose(rescored, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lag", [1, 3])
def test_progress_compares_the_model_with_that_of_lag_rollouts_ago(lag):
    bonus = dataclasses.replace(FITTED, form="progress", lag=lag)
    fresh, states = experience(seed=50), [learnt(bonus, rollouts=0)]
    for index in range(lag + 2):
        states.append(learnt(bonus, state=states[-1], rollout=experience(seed=index)))
    for count in range(lag + 1):  # of `lag` rollouts ago there is no fitted model yet
        assert (paid(bonus, states[count], fresh) == 0).all()
    for count in (lag + 1, lag + 2):
        log_probs = []
        for models in (count, count - lag):
            before = [experience(seed=index) for index in range(models)]
            units = np.concatenate([rows_of(each).next_obs for each in before]).std(0)
            one = log_prob(states[models].trained.params, fresh, DISCRETE, before)
            log_probs.append(one - np.log(units).sum())  # of s' itself
        wanted = log_probs[0] - log_probs[1]
        assert np.abs(wanted).mean() > 0.1
        np.testing.assert_allclose(paid(bonus, states[count], fresh).ravel(), wanted, atol=5e-3)


@pytest.mark.parametrize("form", ["surprisal", "progress"])
def test_the_units_of_the_observations_do_not_matter(form):
    bonus = dataclasses.replace(FITTED, form=form, updates_per_step=0.1)

    def in_millimetres(rollout):
        return replace(rollout, obs=1000 * rollout.obs, next_obs=1000 * rollout.next_obs)

    metres = millimetres = None
    for index in range(3):
        rollout = experience(seed=index)
        metres = learnt(bonus, state=metres, rollout=rollout)
        millimetres = learnt(bonus, state=millimetres, rollout=in_millimetres(rollout))
    fresh = experience(seed=9)
    amount = paid(bonus, metres, fresh)
    assert np.abs(amount).mean() > 0.01
    np.testing.assert_allclose(
        paid(bonus, millimetres, in_millimetres(fresh)), amount, rtol=5e-3, atol=5e-3
    )


@pytest.mark.parametrize("bonus", [FITTED, FIXED], ids=["predicted", "fixed"])
def test_learns_down_the_slope_of_the_likelihood_and_the_decay(bonus):
    bonus = dataclasses.replace(
        bonus, updates_per_step=1e-9, batch_size=1, pool_size=1, weight_decay=0.5
    )
    one = jax.tree.map(lambda leaf: leaf[:, :1], experience(seed=2, steps=1))
    state = learnt(bonus)

    def loss(params):
        weights = [layer["kernel"] for layer in params["network"]["params"].values()]
        decay = 0.25 * sum(np.square(np.asarray(each, np.float64)).sum() for each in weights)
        return decay - log_prob(params, one, DISCRETE, [experience(), one]).mean()

    gradient, told = first_gradient(bonus, state, one)
    np.testing.assert_allclose(told, loss(state.trained.params), rtol=1e-3)
    check_gradient(gradient, loss, state.trained.params)


def test_the_trust_region_step_keeps_to_its_kl_and_uses_it_up():
    bonus = dataclasses.replace(STEP, batch_size=1, pool_size=1)
    one = jax.tree.map(lambda leaf: leaf[:, :1], experience(seed=2, steps=1))
    state, before = learnt(STEP, rollouts=1), [experience(), one]
    state = replace(state, known=replace(state.known, pool=learnt(bonus, rollouts=0).known.pool))
    after, told = jax.jit(bonus.update)(state, jax.random.key(0), one)
    seen = [raw_inputs(each, DISCRETE) for each in before]
    x = standardised(raw_inputs(one, DISCRETE), seen, 10.0)
    (m, s), (m_new, s_new) = (density(each.trained.params, x) for each in (state, after))
    kl = (np.log(s_new / s) + (s**2 + (m - m_new) ** 2) / (2 * s_new**2) - 0.5).sum()
    np.testing.assert_allclose(told["kl"], kl, rtol=1e-2)
    assert 0.3 * bonus.max_kl < kl <= bonus.max_kl * 1.001
    old, new = (log_prob(each.trained.params, one, DISCRETE, before) for each in (state, after))
    assert new > old
    np.testing.assert_allclose(told["loss"], -new.item(), rtol=1e-3)


def test_only_update_learns_and_what_is_known_surprises_little():
    assert (paid(FITTED, learnt(FITTED, rollouts=0), experience(seed=7)) == 0).all()
    once, known, novel = learning(FITTED, rollouts=20)
    assert known.mean() < once.mean() - 2  # nats
    assert novel.mean() > known.mean() + 10


SCREEN = Spec(Box((1,)), Discrete(2), 4)
NOISE = 0.3


def linear_world(seed):
    """s' = 0.8 s + a + noise."""
    rng = np.random.default_rng(seed)
    obs, action = rng.normal(size=(250, 4, 1)), rng.integers(0, 2, (250, 4))
    after = 0.8 * obs + action[..., None] + rng.normal(0.0, NOISE, obs.shape)
    return rollout_of(obs, action.astype(np.int32), after)


LINEAR: dict[str, Any] = dict(
    hidden=(), predict_std=False, learning_rate=2e-2, updates_per_step=0.05, pool_size=20_000
)


@pytest.mark.parametrize("optimizer", ["adam", "trust_region"])
def test_in_a_linear_gaussian_world_the_surprisal_ends_at_the_entropy_of_the_noise(optimizer):
    """½ log(2πe σ²) nats, σ the noise in deviations of s'; and progress ends at nothing."""
    step = dict(optimizer="trust_region", max_kl=0.2, batch_size=1000)
    chosen = LINEAR if optimizer == "adam" else {**LINEAR, **step}
    bonus = Surprise(**chosen, form="progress", lag=2)
    surprisal = dataclasses.replace(bonus, form="surprisal")
    state, after = jax.jit(lambda key: bonus.init(key, SCREEN))(jax.random.key(0)), []
    update = jax.jit(bonus.update)
    for index in range(20):
        state, _ = update(state, jax.random.key(index), linear_world(index))
        after.append(np.asarray(linear_world(index).next_obs))
    fresh = linear_world(99)
    entropy = 0.5 * np.log(2 * np.pi * np.e * np.square(NOISE / np.std(after)))
    amount = paid(surprisal, replace(state, old=()), fresh)
    np.testing.assert_allclose(amount.mean(), entropy, atol=0.06)
    assert abs(paid(bonus, state, fresh).mean()) < 0.02 < amount.std()


def test_a_deterministic_world_surprises_no_less_than_its_least_deviation_allows():
    bonus = dataclasses.replace(FITTED, min_std=0.5)
    rollout = experience(seed=7)
    after = learnt(bonus, rollouts=30, rollout=rollout)
    least = -3 * norm.logpdf(0.0, 0.0, 0.5)
    amount = paid(bonus, after, rollout)
    assert amount.min() >= least - 1e-3
    np.testing.assert_allclose(amount.mean(), least, atol=0.5)


def test_impossible_settings_are_refused():
    wrong: list[dict[str, Any]] = [
        dict(form="surprise"),
        dict(optimizer="sgd"),
        dict(lag=0),
        dict(min_std=0.0),
        dict(max_kl=-1.0),
        dict(weight_decay=-1.0),
        dict(pool_size=10),
        dict(activation="gelu"),
        dict(hidden=(0,)),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            Surprise(**each)
    assert Surprise.paper("progress").optimizer == "trust_region"

"""ICM: the error of its forward model, the losses that make its features, and what they ignore."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import (
    CONTINUOUS,
    DISCRETE,
    check_first_rollout_is_free,
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

from explorax.bonuses import ICM
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec

SMALL: dict[str, Any] = dict(features=5, hidden=(6,), batch_size=16)
FITTED = ICM(**SMALL, learning_rate=1e-2, updates_per_step=1.0)
SPECS = {"discrete": DISCRETE, "continuous": CONTINUOUS}


def seen_by(rows, spec, all_before, clip=5.0):
    """Return (s, s', code) [N, ...] of rows as the networks see them."""
    seen = [rollout.next_obs.reshape(-1, 3) for rollout in all_before]
    before, after = (standardised(obs, seen, clip) for obs in (rows.obs, rows.next_obs))
    return before, after, coded(rows.action, spec)


def forward_error(params, before, after, code):
    """Return (f(φ(s), a) − φ(s')) [N, F]."""
    phi, phi_after = (network(params["encoder"], x) for x in (before, after))
    return network(params["forward"], np.concatenate([phi, code], -1)) - phi_after


@pytest.mark.parametrize("kind", SPECS)
def test_pays_half_the_squared_error_in_features(kind):
    spec = SPECS[kind]
    state, fresh = learnt(FITTED, spec, rollouts=2), experience(spec, seed=50, centre=1.0)
    rows = rows_of(fresh)
    seen = seen_by(rows, spec, [experience(spec, 0), experience(spec, 1)])
    squares = np.square(forward_error(state.trained.params, *seen))
    half_sum = paid(FITTED, state, fresh)
    np.testing.assert_allclose(half_sum.ravel(), 0.5 * squares.sum(-1), rtol=5e-4)
    rescored = jax.jit(FITTED.rescore)(state, jax.random.key(9), rows)
    np.testing.assert_allclose(rescored, half_sum.ravel(), rtol=2e-4)
    mean = paid(dataclasses.replace(FITTED, error="mean"), state, fresh)
    np.testing.assert_allclose(mean.ravel(), squares.mean(-1), rtol=5e-4)


def loss_by_hand(params, seen, weight, discrete):
    before, after, code = seen
    phi, phi_after = (network(params["encoder"], x) for x in (before, after))
    told = network(params["inverse"], np.concatenate([phi, phi_after], -1))
    if discrete:
        inverse = np.log(np.exp(told).sum(-1)) - (told * code).sum(-1)
    else:
        inverse = np.square(told - code).mean(-1)
    forward = 0.5 * np.square(forward_error(params, *seen)).sum(-1)
    return (1 - weight) * inverse.mean(), weight * forward.mean()


@pytest.mark.parametrize("trains_encoder", [True, False])
@pytest.mark.parametrize("kind", SPECS)
def test_learns_down_the_slope_of_both_losses(kind, trains_encoder):
    """L = (1 − β) L_I + β L_F, and L_F moves the encoder where it is said to."""
    spec = SPECS[kind]
    bonus = ICM(
        **SMALL, updates_per_step=1e-9, forward_weight=0.3, forward_trains_encoder=trains_encoder
    )
    state = learnt(bonus, spec)
    one = jax.tree.map(lambda leaf: leaf[:, :1], experience(spec, seed=2, steps=1))
    rows = rows_of(one)
    seen = seen_by(rows, spec, [experience(spec, 0), one])
    start, discrete = state.trained.params, spec is DISCRETE

    def loss(params):
        inverse, forward = loss_by_hand(params, seen, 0.3, discrete)
        if not trains_encoder:
            _, forward = loss_by_hand({**params, "encoder": start["encoder"]}, seen, 0.3, discrete)
        return inverse + forward

    gradient, told = first_gradient(bonus, state, one)
    np.testing.assert_allclose(told, loss(start), rtol=1e-4)
    check_gradient(gradient, loss, start)


def test_the_first_rollout_is_paid_nothing():
    check_first_rollout_is_free(FITTED)


def test_only_update_learns_and_what_is_known_is_worth_little():
    once, known, novel = learning(FITTED, rollouts=40)
    assert known.mean() < 0.2 * once.mean()
    assert np.median(novel) > 10 * np.median(known)


def test_asking_for_more_than_is_done_pays_nothing_more():
    state, rollout = learnt(FITTED, CONTINUOUS), experience(CONTINUOUS, seed=3)
    full, beyond = (
        dataclasses.replace(rollout, action=jnp.full_like(rollout.action, size))
        for size in (1.0, 50.0)
    )
    np.testing.assert_array_equal(paid(FITTED, state, full), paid(FITTED, state, beyond))


def test_features_tell_the_action_and_ignore_what_it_does_not_touch():
    """s' = (s_0 + push(a), noise): half of the observation has nothing to do with the agent."""
    spec = Spec(Box((2,)), Discrete(3), 4)
    bonus = ICM(features=8, hidden=(16,), learning_rate=5e-3, batch_size=64, updates_per_step=0.2)

    def world(seed):
        rng = np.random.default_rng(seed)
        obs, action = rng.normal(size=(50, 4, 2)), rng.integers(0, 3, (50, 4))
        after = np.stack([obs[..., 0] + action - 1.0, rng.normal(size=(50, 4))], -1)
        return rollout_of(obs, action.astype(np.int32), after)

    state, told = jax.jit(lambda key: bonus.init(key, spec))(jax.random.key(0)), {}
    update = jax.jit(bonus.update)
    for index in range(40):
        state, told = update(state, jax.random.key(index), world(index))
    assert told["inverse_loss"] < 0.35 < np.log(3)
    start = np.random.default_rng(9).normal(size=(500, 2))

    def response(dimension):
        further = start + 0.5 * np.eye(2)[dimension]
        encoder = state.trained.params["encoder"]
        return np.square(network(encoder, further) - network(encoder, start)).sum(-1).mean()

    assert response(0) > 5 * response(1)


def test_impossible_settings_are_refused():
    wrong: list[dict[str, Any]] = [
        dict(features=0),
        dict(forward_weight=1.5),
        dict(error="sum"),
        dict(hidden=(0,)),
        dict(clip=0.0),
        dict(batch_size=0),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            ICM(**each)

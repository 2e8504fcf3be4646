"""Disagreement: the variance of the ensemble, who learns what, and television."""

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

from explorax.bonuses import Disagreement
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.core.pytree import replace
from explorax.encoders import AgentLatent, InverseEncoder, RandomEncoder, Raw

FITTED = Disagreement(
    Raw(), models=3, hidden=(6,), learning_rate=1e-2, batch_size=16, updates_per_step=1.0
)


def predictions(params, x):
    """Return f_k(x) [K, N, F], one model after the other."""
    count = jax.tree.leaves(params)[0].shape[0]
    models = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(count)]
    return np.stack([network(model, x) for model in models])


def inputs(rows, spec, all_before):
    seen = [rollout.next_obs.reshape(-1, 3) for rollout in all_before]
    return np.concatenate([standardised(rows.obs, seen, 5.0), coded(rows.action, spec)], -1)


@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_pays_the_variance_of_the_models_averaged_over_features(spec):
    state, fresh = learnt(FITTED, spec, rollouts=2), experience(spec, seed=50, centre=1.0)
    rows = rows_of(fresh)
    x = inputs(rows, spec, [experience(spec, 0), experience(spec, 1)])
    wanted = predictions(state.trained.params, x).var(0).mean(-1)
    np.testing.assert_allclose(paid(FITTED, state, fresh).ravel(), wanted, rtol=1e-3)
    rescored = jax.jit(FITTED.rescore)(state, jax.random.key(9), rows)
    np.testing.assert_allclose(rescored, wanted, rtol=1e-3)


def test_each_model_goes_down_the_slope_of_its_own_error():
    bonus = dataclasses.replace(FITTED, updates_per_step=1e-9)
    state = learnt(bonus)
    one = jax.tree.map(lambda leaf: leaf[:, :1], experience(seed=2, steps=1))
    rows, before = rows_of(one), [experience(seed=0), one]
    x = inputs(rows, DISCRETE, before)
    y = standardised(rows.next_obs, [each.next_obs.reshape(-1, 3) for each in before], 5.0)

    def error(params):
        return np.square(predictions(params, x) - y).mean()

    for own_rows in (True, False):  # of one row, the same
        each = dataclasses.replace(bonus, bootstrap=own_rows)
        gradient, loss = first_gradient(each, state, one)
        np.testing.assert_allclose(loss, error(state.trained.params), rtol=1e-4)
        check_gradient(gradient, error, state.trained.params)


def test_with_bootstrap_and_only_then_models_that_start_alike_drift_apart():
    alike = learnt(FITTED, rollouts=0)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), alike.trained.params)
    alike = replace(alike, trained=replace(alike.trained, params=params))
    together = learnt(dataclasses.replace(FITTED, bootstrap=False), state=alike)
    assert (paid(FITTED, together, experience(seed=3)) < 1e-10).all()
    apart = learnt(FITTED, state=alike)
    assert (paid(FITTED, apart, experience(seed=3)) > 1e-5).all()


def test_the_first_rollout_is_paid_nothing():
    check_first_rollout_is_free(FITTED)


def test_only_update_learns_and_models_come_to_agree_on_what_is_known():
    once, known, novel = learning(FITTED, rollouts=30)
    assert known.mean() < 0.1 * once.mean()
    assert np.median(novel) > 10 * np.median(known)


def test_on_television_linear_models_agree_on_least_squares_and_the_error_stays():
    """s' = 0.8 s + push(a) beside a screen of pure noise: what is left is the noise's variance."""
    spec = Spec(Box((2,)), Discrete(2), 4)
    bonus = Disagreement(
        Raw(standardize=False), hidden=(), learning_rate=2e-2, batch_size=512, updates_per_step=0.1
    )
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(500, 4, 2)), rng.integers(0, 2, (500, 4))
    screen = rng.normal(0.0, 0.7, (500, 4))
    after = np.stack([0.8 * obs[..., 0] + 0.5 * action, screen], -1)
    world = rollout_of(obs, action.astype(np.int32), after)

    state = jax.jit(lambda key: bonus.init(key, spec))(jax.random.key(0))
    update, told = jax.jit(bonus.update), {}
    for index in range(8):
        state, told = update(state, jax.random.key(index), world)
    x = np.concatenate([obs.reshape(-1, 2), np.eye(2)[action.ravel()]], -1)
    best, *_ = np.linalg.lstsq(x, after.reshape(-1, 2), rcond=None)
    left = np.square(x @ best - after.reshape(-1, 2)).mean()  # half the noise's variance
    np.testing.assert_allclose(told["loss"], left, rtol=0.1)
    away = predictions(state.trained.params, x) - (x @ best)[None]
    assert np.sqrt(np.square(away).mean((1, 2))).max() < 0.06
    assert paid(bonus, state, world).mean() < 0.02 * left


LATENT = dataclasses.replace(DISCRETE, latent=Box((4,)))


def with_latents(rollout, ends):
    latent = jax.random.normal(jax.random.key(1), (*rollout.reward.shape, 4))
    return replace(rollout, extras={"latent": latent}, terminated=jnp.asarray(ends))


def test_rows_without_a_successor_are_neither_paid_nor_learnt_from():
    bonus = dataclasses.replace(FITTED, encoder=AgentLatent())
    ends = np.zeros((30, 2), bool)
    ends[[4, 11], [0, 1]] = True
    unknown = ends.copy()
    unknown[-1] = True  # what follows the rollout is not there either
    rollout = with_latents(experience(), ends)
    other = replace(rollout, action=jnp.where(unknown, 3 - rollout.action, rollout.action))
    state = learnt(bonus, LATENT, rollout=rollout)
    np.testing.assert_array_equal(paid(bonus, state, rollout) == 0, unknown)
    # What was done there makes no difference to what is learnt.
    for one, another in zip(
        jax.tree.leaves(state.trained),
        jax.tree.leaves(learnt(bonus, LATENT, rollout=other).trained),
        strict=True,
    ):
        np.testing.assert_array_equal(one, another)


def test_is_replayable_when_its_encoder_is():
    for encoder, replayable in ((RandomEncoder(), True), (Raw(), True), (AgentLatent(), False)):
        assert Disagreement(encoder).replayable is replayable
    bonus = Disagreement(AgentLatent())
    rows = replace(rows_of(experience()), bonus=jnp.arange(60.0))
    state = jax.eval_shape(lambda key: bonus.init(key, LATENT), jax.random.key(0))
    np.testing.assert_array_equal(bonus.rescore(state, jax.random.key(0), rows), jnp.arange(60.0))


def test_the_encoder_learns_too_and_says_so():
    bonus = dataclasses.replace(FITTED, encoder=InverseEncoder(4, hidden=(6,)))
    state = learnt(bonus, rollouts=0)
    after, told = jax.jit(bonus.update)(state, jax.random.key(0), experience())
    assert set(told) == {"loss", "encoder/inverse_loss"}
    pairs = zip(
        jax.tree.leaves(state.encoder.trained.params),
        jax.tree.leaves(after.encoder.trained.params),
        strict=True,
    )
    assert any((np.asarray(old) != np.asarray(new)).any() for old, new in pairs)


def test_impossible_settings_are_refused():
    wrong: list[dict[str, Any]] = [
        dict(models=1),
        dict(hidden=(0,)),
        dict(batch_size=3),
        dict(learning_rate=0.0),
        dict(encoder=Raw),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            Disagreement(**each)
    Disagreement(batch_size=1, bootstrap=False)

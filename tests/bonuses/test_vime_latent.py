"""VIME over features, and with a noise head: exact, without gradient, and blind to television."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import DQN, TRPO
from explorax.bonuses import VIME, PredictionError
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.encoders import AgentLatent, InverseEncoder, RandomEncoder, Raw
from explorax.envs.mountain_car import MountainCar
from explorax.envs.task import Batched
from explorax.nets import bayes

STEPS, ENVS = 50, 4
WATCH = 2  # the action that changes the channel
SPEC = Spec(Box((4,)), Discrete(3), ENVS)


def television(seed, watch_share=1 / 3):
    """A world of two numbers that the actions turn, and a screen of two that WATCH redraws."""
    rng = np.random.default_rng(seed)
    odds = [(1 - watch_share) / 2] * 2 + [watch_share]
    action = rng.choice(3, size=(STEPS, ENVS), p=odds)
    world = rng.uniform(-1, 1, (STEPS, ENVS, 2))
    screen = rng.uniform(-1, 1, (STEPS, ENVS, 2))
    turned = np.stack([0.9 * world[..., 1], 0.9 * world[..., 0] - 0.3 * (action == 1)], -1)
    redrawn = rng.uniform(-1, 1, screen.shape)
    watched = (action == WATCH)[..., None]
    after = np.concatenate(
        [np.where(watched, world, turned), np.where(watched, redrawn, screen)], -1
    )
    zeros, no = jnp.zeros((STEPS, ENVS)), jnp.zeros((STEPS, ENVS), bool)
    return Rollout(
        obs=jnp.asarray(np.concatenate([world, screen], -1), jnp.float32),
        action=jnp.asarray(action, jnp.int32),
        reward=zeros,
        next_obs=jnp.asarray(after, jnp.float32),
        terminated=no,
        truncated=no,
        first=no,
        bonus=zeros,
    )


def paid_for(bonus, updates):
    """Return what watching and what moving are paid on average, early and after `updates`."""
    state = jax.jit(partial(bonus.init, spec=SPEC))(jax.random.key(0))
    update, score = jax.jit(bonus.update), jax.jit(bonus.score)
    told = []
    for index in range(updates):
        state, _ = update(state, jax.random.key(index), television(index))
        if index in (2, updates - 1):
            fresh = television(1000 + index)
            amount = np.asarray(score(state, jax.random.key(7), fresh)[0])
            watched = np.asarray(fresh.action) == WATCH
            told.append((amount[watched].mean(), amount[~watched].mean()))
    return told


MODEL: dict[str, Any] = dict(
    hidden=(32,),
    activation="tanh",
    elbo_scale="dataset",
    likelihood_std=1.0,
    learning_rate=1e-2,
    updates_per_step=0.25,
    batch_size=50,
    pool_size=20_000,
)


def test_with_a_noise_head_the_gain_of_watching_television_falls_and_the_error_does_not():
    (early, _), (late, _) = paid_for(VIME(**MODEL, noise_head=True), 60)
    assert late < 0.1 * early
    (early_error, _), (late_error, moving_error) = paid_for(PredictionError(**MODEL), 60)
    assert min(early_error, late_error) > 1.8  # the variance of a screen of two, for ever
    assert late_error > 5 * moving_error  # the most rewarding thing to do


def test_noise_head_finds_the_deviation_of_the_noise():
    # slower than MODEL, whose steps of 1e-2 throw the deviation about by a tenth for ever
    bonus = VIME(**{**MODEL, "learning_rate": 3e-3}, noise_head=True)
    state = jax.jit(partial(bonus.init, spec=SPEC))(jax.random.key(0))
    update = jax.jit(bonus.update)
    for index in range(120):
        state, _ = update(state, jax.random.key(index), television(index))
    rollout = television(999)
    model = bonus._network
    x, _ = model.scaled(state, jax.jit(model.rows)(state, rollout))
    std = np.asarray(jax.jit(model.likelihood)(state.trained, x))
    watched = np.asarray(rollout.action).ravel() == WATCH
    # a uniform screen has the deviation 1 in units of itself; a screen left alone, hardly any
    np.testing.assert_allclose(std[watched, 2:].mean(), 1.0, atol=0.15)
    assert std[~watched].mean() < 0.35


def test_gain_with_a_deviation_for_each_target_is_that_of_each_rows_own_gradient():
    network = bayes.BayesianMLP((6,), 3, "tanh")
    keys = jax.random.split(jax.random.key(0), 5)
    params = bayes.initialise(network, keys[0], 4)
    x, y = jax.random.normal(keys[1], (7, 4)), jax.random.normal(keys[2], (7, 3))
    std = 0.3 + jax.random.uniform(keys[3], (7, 3))
    for samples in (1, 3):
        noise = network.draw_noise(keys[4], samples, 1)

        def loss(params, x, y, std, noise=noise):
            outputs, _ = network.run(params, x[None], noise)
            z = (outputs[:, 0] - y[None]) / std[None]
            return 0.5 * jnp.square(z).sum(-1).mean() + jnp.log(std).sum()

        gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0, 0)))(params, x, y, std)
        want = np.zeros(7)
        for name, layer in params.items():
            sigma = np.asarray(jax.nn.softplus(layer["rho"]))
            slope = np.asarray(jax.nn.sigmoid(layer["rho"]))
            g_mean, g_rho = (np.asarray(gradients[name][part]) for part in ("mean", "rho"))
            curvature = 2 * np.square(slope / sigma)
            want += (np.square(sigma * g_mean) + np.square(g_rho) / curvature).sum((1, 2))
        gain = jax.jit(
            partial(
                bayes.information_gain, network, step_size=0.1, likelihood_std=std, rows_at_once=3
            )
        )(params, x, y, noise)
        np.testing.assert_allclose(gain, 0.5 * 0.01 * want, rtol=2e-4)


def test_over_raw_features_the_gain_is_that_over_observations():
    """Raw without standardisation is the identity, so nothing but the way differs."""
    plain = VIME(hidden=(8,), min_pool_size=50, updates_per_step=0.1)
    through = VIME(
        hidden=(8,), min_pool_size=50, updates_per_step=0.1, latent=Raw(standardize=False)
    )
    amounts = []
    for bonus in (plain, through):
        state = jax.jit(partial(bonus.init, spec=SPEC))(jax.random.key(0))
        for index in range(3):
            state, _ = jax.jit(bonus.update)(state, jax.random.key(index), television(index))
        amounts.append(jax.jit(bonus.score)(state, jax.random.key(9), television(9))[0])
    # the moments of a latent forget what left the pool: 200 of 100,000 rows, three times
    np.testing.assert_allclose(amounts[0], amounts[1], rtol=0.02)


def test_steps_without_a_known_successor_are_paid_nothing_and_not_learnt_from():
    bonus = VIME(hidden=(8,), min_pool_size=50, updates_per_step=0.2, latent=AgentLatent())
    spec = Spec(Box((4,)), Discrete(3), ENVS, latent=Box((3,)))

    def rollout(seed, ended, strange=0.0):
        latent = jax.random.normal(jax.random.key(seed), (STEPS, ENVS, 3))
        # what follows an end is another episode's latent, which must not matter
        latent = latent.at[11, :].add(strange)
        base = television(seed)
        return replace(
            base, terminated=base.terminated.at[10].set(ended), extras={"latent": latent}
        )

    state = jax.jit(partial(bonus.init, spec=spec))(jax.random.key(0))
    for index in range(3):
        state, _ = jax.jit(bonus.update)(state, jax.random.key(index), rollout(index, True))
    score = jax.jit(bonus.score)
    ended = np.asarray(score(state, jax.random.key(5), rollout(5, True))[0])
    assert (ended[10] == 0).all() and (ended[-1] == 0).all()
    assert (np.delete(ended, [10, STEPS - 1], 0) > 0).all()
    going = np.asarray(score(state, jax.random.key(5), rollout(5, False))[0])
    assert (going[10] > 0).all()
    rows = jax.jit(bonus._network.rows)(state, rollout(5, True))
    assert rows["known"].reshape(STEPS, ENVS)[10].sum() == 0
    other = jax.jit(bonus._network.rows)(state, rollout(5, True, strange=3.0))
    at = slice(10 * ENVS, 11 * ENVS)
    np.testing.assert_array_equal(rows["y"][at], other["y"][at])


@pytest.mark.parametrize("agent", [TRPO(rollout_length=60, hidden=(8,)), DQN(hidden=(8,))])
def test_agents_train_with_a_gain_over_their_own_latent(agent):
    bonus = VIME(hidden=(8,), min_pool_size=50, pool_size=2000, latent=AgentLatent())
    assert not bonus.replayable
    env = Batched(MountainCar(), 4)
    training = jax.jit(partial(loop.start, env, agent, bonus))(jax.random.key(0))
    _, metrics = jax.jit(partial(loop.chunk_on_device, env, agent, bonus, 20))(training)
    assert metrics["bonus_max"] > 0 and all(
        np.isfinite(value) for name, value in metrics.items() if name.startswith("bonus/")
    )


def test_no_gradient_reaches_the_features():
    bonus = VIME(hidden=(8,), latent=RandomEncoder(4))
    state = jax.jit(partial(bonus.init, spec=SPEC))(jax.random.key(0))

    def total(params):
        encoder = replace(state.encoder, params=params)
        return bonus._network.rows(replace(state, encoder=encoder), television(0))["y"].sum()

    slopes = jax.jit(jax.grad(total))(state.encoder.params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slopes))


def test_a_learning_encoder_learns_and_its_metrics_are_told():
    bonus = VIME(hidden=(8,), min_pool_size=50, latent=InverseEncoder(4, learning_rate=1e-2))
    state = jax.jit(partial(bonus.init, spec=SPEC))(jax.random.key(0))
    after, metrics = jax.jit(bonus.update)(state, jax.random.key(1), television(0))
    assert np.isfinite(metrics["inverse_loss"])
    before, now = (jax.tree.leaves(each.encoder.trained.params) for each in (state, after))
    assert any((one != other).any() for one, other in zip(before, now, strict=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise_head": True, "learn_likelihood": True}, "False with noise_head=True"),
        ({"latent": Raw(), "cross_episodes": True}, "False with a latent"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        VIME(**settings)

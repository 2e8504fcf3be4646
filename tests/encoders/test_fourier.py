"""Fourier features against NumPy and the kernel that they stand for; what the dynamics tell."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.encoders import DynamicsEncoder, Fourier

KEY = jax.random.key(0)
SPEC = Spec(Box((3,)), Discrete(2), 2)


def rollout_of(obs, next_obs, action=None):
    obs, next_obs = (jnp.asarray(each, jnp.float32) for each in (obs, next_obs))
    shape = obs.shape[:2]
    zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
    action = jnp.zeros(shape, jnp.int32) if action is None else jnp.asarray(action, jnp.int32)
    return Rollout(obs, action, zeros, next_obs, no, no, no, zeros)


def drawn(seed, steps=50, scale=(1.0, 3.0, 0.2)):
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(steps + 1, 2, 3)) * scale
    return rollout_of(obs[:-1], obs[1:])


def test_features_are_cosines_of_standardized_observations():
    encoder = Fourier(features=16, lengthscale=0.7)
    state = encoder.init(KEY, SPEC)
    for seed in range(2):
        state, _ = encoder.update(state, jax.random.fold_in(KEY, seed), drawn(seed))
    told = encoder.pairs(state, drawn(5))
    seen = np.concatenate([np.asarray(drawn(seed).next_obs).reshape(-1, 3) for seed in range(2)])
    x = (np.asarray(drawn(5).next_obs) - seen.mean(0)) / seen.std(0)
    length = 0.7 * np.asarray(state.distances)
    angles = x @ (np.asarray(state.frequencies) / length[:, None]).T
    expected = np.sqrt(2 / 16) * np.cos(angles + 2 * np.pi * np.asarray(state.phases))
    np.testing.assert_allclose(told.after, expected, atol=1e-4)
    assert told.known.all()


def test_the_lengthscale_is_the_median_distance_in_the_dimensions_looked_at():
    encoder = Fourier(features=30, interactions=(1, 2, 0))
    state = encoder.init(KEY, SPEC)
    given = drawn(0, steps=2000)
    state, _ = encoder.update(state, KEY, given)
    looked_at = (np.asarray(state.frequencies) != 0).sum(1)
    np.testing.assert_array_equal(looked_at, [1, 2, 3] * 10)
    rng = np.random.default_rng(1)
    # of two points from a normal distribution in 1, 2 and 3 dimensions
    for size in (1, 2, 3):
        apart = np.linalg.norm(np.sqrt(2) * rng.normal(size=(100_000, size)), axis=1)
        ours = np.asarray(state.distances)[looked_at == size].mean()
        np.testing.assert_allclose(ours, np.median(apart), rtol=0.1)


def test_the_lengthscale_does_not_depend_on_how_long_a_rollout_is():
    # one slow walk, in rollouts of 1, 10 and 1,000 steps
    walk = np.cumsum(np.random.default_rng(2).normal(size=(2001, 1, 3)), 0)
    encoder, spec, lengths = Fourier(features=8), Spec(Box((3,)), Discrete(2), 1), []
    update = jax.jit(encoder.update)
    for steps in (1, 10, 1000):
        state = encoder.init(KEY, spec)
        for t in range(0, 2000, steps):
            given = rollout_of(walk[t : t + steps], walk[t + 1 : t + 1 + steps])
            state, _ = update(state, jax.random.fold_in(KEY, t), given)
        lengths.append(np.asarray(state.distances))
    np.testing.assert_allclose(lengths[0], lengths[2], rtol=0.4)
    np.testing.assert_allclose(lengths[1], lengths[2], rtol=0.4)


def test_products_of_many_features_are_the_gaussian_kernel():
    encoder = Fourier(features=4000, interactions=(0,))
    state = encoder.init(KEY, SPEC)
    state, _ = encoder.update(state, KEY, drawn(0, steps=500))
    phi = np.asarray(encoder.pairs(state, drawn(1)).after).reshape(-1, 4000)
    x = np.asarray(drawn(1).next_obs).reshape(-1, 3)
    moments = state.moments
    x = (x - np.asarray(moments.mean)) / np.sqrt(np.asarray(moments.squares) / moments.count)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    kernel = np.exp(-0.5 * squared / float(state.distances[0]) ** 2)
    # 4,000 features know a kernel to within about 1/√4000
    np.testing.assert_allclose(phi @ phi.T, kernel, atol=0.1)
    assert np.abs(phi @ phi.T - kernel).mean() < 0.02


def test_what_a_feature_does_not_look_at_changes_nothing():
    encoder = Fourier(features=12, interactions=(1,))
    state = encoder.init(KEY, SPEC)
    state, _ = encoder.update(state, KEY, drawn(0))
    given = drawn(1)
    moved = replace(given, next_obs=given.next_obs.at[..., 0].add(1.0))
    change = np.abs(
        np.asarray(encoder.pairs(state, moved).after - encoder.pairs(state, given).after)
    ).max((0, 1))
    looks = np.asarray(state.frequencies)[:, 0] != 0
    assert (change[~looks] == 0).all() and (change[looks] > 0.01).all()


def test_the_dynamics_encoder_learns_what_tells_the_successor():
    encoder = DynamicsEncoder(features=16, hidden=(32,), learning_rate=3e-3, updates_per_step=0.5)
    state, update, losses = encoder.init(KEY, SPEC), jax.jit(encoder.update), []

    def world(seed):
        rng = np.random.default_rng(seed)
        obs, action = rng.normal(size=(100, 2, 3)), rng.integers(0, 2, (100, 2))
        sign = 2 * action - 1
        # entry 2 says nothing of what follows, and is itself noise
        after = np.stack([obs[..., 1] * sign, obs[..., 0], rng.normal(size=(100, 2))], -1)
        return obs, after, action

    for seed in range(40):
        state, metrics = update(state, KEY, rollout_of(*world(seed)))
        losses.append(float(metrics["forward_loss"]))
    obs, after, action = world(100)
    # a third of the squared deviation is noise
    assert 0.3 < np.mean(losses[-5:]) < 0.5 < losses[0]
    phi = encoder.pairs(state, rollout_of(obs, after, action)).before

    def moved(entry):
        other = obs.copy()
        other[..., entry] += 1.0
        told = encoder.pairs(state, rollout_of(other, after, action)).before
        return float(jnp.square(told - phi).mean())

    # what training does not need stays as it was drawn, and does not grow
    assert moved(2) < 0.9 * min(moved(0), moved(1))


def test_impossible_settings_and_images_are_refused():
    impossible: list[dict[str, Any]] = [
        {"features": 0},
        {"interactions": ()},
        {"lengthscale": 0.0},
    ]
    for settings in impossible:
        with pytest.raises(InvalidSetting):
            Fourier(**settings)
    with pytest.raises(InvalidSetting):
        DynamicsEncoder(batch_size=0)
    images = Spec(Box((42, 42, 1), 0, 255, "uint8"), Discrete(2), 2)
    with pytest.raises(Incompatible, match="InverseEncoder"):
        DynamicsEncoder().init(KEY, images)

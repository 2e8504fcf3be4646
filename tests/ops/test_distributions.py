"""The two distributions against SciPy, Monte Carlo and automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from explorax.ops.distributions import Categorical, Gaussian


def gaussian(seed, shape=(5, 3)):
    mean, log_std = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    return Gaussian(jnp.asarray(mean), jnp.asarray(0.5 * log_std))


def categorical(seed, shape=(5, 4)):
    logits = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Categorical(jnp.asarray(2.0 * logits))


def shifted(p, by):
    """The same categorical, its logits `by` higher."""
    return Categorical(p.logits + by)


def test_gaussian_log_prob_and_entropy_equal_scipy():
    p = gaussian(0)
    action = np.random.default_rng(1).normal(size=p.mean.shape).astype(np.float32)
    mean, std = np.asarray(p.mean), np.exp(p.log_std)
    want = scipy.stats.norm.logpdf(action, mean, std).sum(-1)
    np.testing.assert_allclose(p.log_prob(jnp.asarray(action)), want, rtol=1e-5)
    want = scipy.stats.norm.entropy(mean, std).sum(-1)
    np.testing.assert_allclose(p.entropy(), want, rtol=1e-5)


def test_categorical_log_prob_and_entropy_equal_scipy():
    p = categorical(0)
    probabilities = np.exp(p.logits) / np.exp(p.logits).sum(-1, keepdims=True)
    action = np.array([0, 3, 1, 2, 0], np.int32)
    want = np.log(probabilities[np.arange(5), action])
    np.testing.assert_allclose(p.log_prob(jnp.asarray(action)), want, rtol=1e-5)
    np.testing.assert_allclose(p.entropy(), scipy.stats.entropy(probabilities, axis=-1), rtol=1e-5)


def test_samples_follow_the_distribution():
    keys = jax.random.split(jax.random.key(0), 20_000)
    p = gaussian(2, (2,))
    draws = np.asarray(jax.jit(jax.vmap(p.sample))(keys))
    for i in range(2):
        normal = scipy.stats.norm(float(p.mean[i]), float(np.exp(p.log_std[i])))
        fit = scipy.stats.kstest(draws[:, i], normal.cdf)
        assert fit.pvalue > 1e-3
    q = categorical(2, (4,))
    draws = jax.jit(jax.vmap(q.sample))(keys)
    assert draws.dtype == jnp.int32
    expected = np.asarray(jax.nn.softmax(q.logits), np.float64)
    counts = np.bincount(np.asarray(draws), minlength=4)
    assert scipy.stats.chisquare(counts, expected / expected.sum() * len(draws)).pvalue > 1e-3


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_kl_is_the_mean_difference_of_log_probabilities(make):
    p, q = make(3, (3,)), make(4, (3,))
    keys = jax.random.split(jax.random.key(1), 200_000)
    draws = jax.jit(jax.vmap(p.sample))(keys)
    difference = jax.jit(jax.vmap(lambda a: p.log_prob(a) - q.log_prob(a)))(draws)
    error = 5.0 * np.std(difference) / np.sqrt(len(keys))
    assert abs(float(p.kl(q)) - float(difference.mean())) < error
    assert p.kl(q) > 0.1


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_kl_of_equals_is_exactly_zero(make):
    assert np.all(make(5).kl(make(5)) == 0.0)


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_fisher_is_the_hessian_of_the_kl(make):
    p, tangent = make(6, (3,)), make(7, (3,))
    leaves, structure = jax.tree.flatten(p)
    flat = jnp.concatenate(leaves)

    def kl_to(q_flat):
        return p.kl(jax.tree.unflatten(structure, jnp.split(q_flat, len(leaves))))

    got = jnp.concatenate(jax.tree.leaves(p.fisher(tangent)))
    want = jax.jit(jax.hessian(kl_to))(flat) @ jnp.concatenate(jax.tree.leaves(tangent))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_modes():
    p, q = gaussian(8), categorical(8)
    np.testing.assert_array_equal(p.mode(), p.mean)
    np.testing.assert_array_equal(q.mode(), np.argmax(q.logits, -1))
    assert q.mode().dtype == jnp.int32


def test_a_categorical_does_not_depend_on_a_common_shift_of_its_logits():
    p, q, action = categorical(9), categorical(10), jnp.zeros(5, jnp.int32)
    high = shifted(p, 100.0)
    np.testing.assert_allclose(high.log_prob(action), p.log_prob(action), atol=2e-5)
    np.testing.assert_allclose(high.entropy(), p.entropy(), atol=2e-5)
    np.testing.assert_allclose(high.kl(q), p.kl(q), atol=5e-5)

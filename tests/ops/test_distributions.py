"""The distributions against SciPy, Monte Carlo and automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from explorax.ops.distributions import Categorical, FullGaussian, Gaussian, cholesky_factor


def gaussian(seed, shape=(5, 3)):
    mean, log_std = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    return Gaussian(jnp.asarray(mean), jnp.asarray(0.5 * log_std))


def full_gaussian(seed, shape=(5, 3)):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=shape).astype(np.float32)
    entries = rng.normal(size=(*shape[:-1], shape[-1] * (shape[-1] + 1) // 2)).astype(np.float32)
    return FullGaussian(jnp.asarray(mean), cholesky_factor(jnp.asarray(entries)))


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


def test_full_gaussian_log_prob_and_entropy_equal_scipy():
    p = full_gaussian(0)
    action = np.random.default_rng(1).normal(size=p.mean.shape).astype(np.float32)
    log_prob, entropy = jax.jit(FullGaussian.log_prob)(p, action), p.entropy()
    for row, mean in enumerate(np.asarray(p.mean, np.float64)):
        factor = np.asarray(p.factor[row], np.float64)
        parameters = {"mean": mean, "cov": factor @ factor.T}
        assert log_prob[row] == pytest.approx(
            scipy.stats.multivariate_normal.logpdf(action[row], **parameters), rel=1e-5
        )
        assert entropy[row] == pytest.approx(
            scipy.stats.multivariate_normal.entropy(**parameters), rel=1e-5
        )
    # several actions of each state, as MPO weighs them
    many = jax.tree.map(lambda leaf: leaf[:, None], p)
    got = many.log_prob(jnp.stack([p.mean, jnp.asarray(action)], axis=1))
    np.testing.assert_allclose(got[:, 1], log_prob, rtol=1e-5)


def test_a_factor_of_free_numbers_is_lower_triangular_with_a_positive_diagonal():
    entries = jnp.asarray([[-1e3, 0.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, -3.0, -4.0, -5.0]])
    factor = np.asarray(jax.jit(cholesky_factor)(entries))
    low, middle = 1e-4, 1e-4 + np.log(2)
    high, one = 1e-4 + np.log1p(np.exp(2.0)), 1e-4 + np.log1p(np.e)
    np.testing.assert_allclose(factor[0], [[low, 0, 0], [3, middle, 0], [4, 5, high]], rtol=1e-6)
    np.testing.assert_allclose(factor[1], [[one, 0, 0], [-3, one, 0], [-4, -5, one]], rtol=1e-6)
    assert cholesky_factor(jnp.zeros(1)).shape == (1, 1)
    assert jax.jit(jax.jacobian(lambda e: cholesky_factor(e).sum()))(entries)[1, 3:].sum() == 3
    with pytest.raises(ValueError, match="4 numbers fill no triangle"):
        cholesky_factor(jnp.zeros((2, 4)))


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
    f = full_gaussian(2, (3,))
    draws = np.asarray(jax.jit(jax.vmap(f.sample))(keys)) - np.asarray(f.mean)
    covariance = np.asarray(f.factor @ f.factor.T)
    error = np.sqrt((np.outer(*[np.diag(covariance)] * 2) + covariance**2) / len(keys))
    assert (np.abs(np.cov(draws.T) - covariance) < 5 * error).all()
    assert (np.abs(draws.mean(0)) < 5 * np.sqrt(np.diag(covariance) / len(keys))).all()
    q = categorical(2, (4,))
    draws = jax.jit(jax.vmap(q.sample))(keys)
    assert draws.dtype == jnp.int32
    expected = np.asarray(jax.nn.softmax(q.logits), np.float64)
    counts = np.bincount(np.asarray(draws), minlength=4)
    assert scipy.stats.chisquare(counts, expected / expected.sum() * len(draws)).pvalue > 1e-3


@pytest.mark.parametrize("make", [gaussian, full_gaussian, categorical])
def test_kl_is_the_mean_difference_of_log_probabilities(make):
    p, q = make(3, (3,)), make(4, (3,))
    keys = jax.random.split(jax.random.key(1), 200_000)
    draws = jax.jit(jax.vmap(p.sample))(keys)
    difference = jax.jit(jax.vmap(lambda a: p.log_prob(a) - q.log_prob(a)))(draws)
    error = 5.0 * np.std(difference) / np.sqrt(len(keys))
    assert abs(float(p.kl(q)) - float(difference.mean())) < error
    assert p.kl(q) > 0.1


@pytest.mark.parametrize("make", [gaussian, full_gaussian, categorical])
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
    p, f, q = gaussian(8), full_gaussian(8), categorical(8)
    np.testing.assert_array_equal(p.mode(), p.mean)
    np.testing.assert_array_equal(f.mode(), f.mean)
    np.testing.assert_array_equal(q.mode(), np.argmax(q.logits, -1))
    assert q.mode().dtype == jnp.int32


def test_a_categorical_does_not_depend_on_a_common_shift_of_its_logits():
    p, q, action = categorical(9), categorical(10), jnp.zeros(5, jnp.int32)
    high = shifted(p, 100.0)
    np.testing.assert_allclose(high.log_prob(action), p.log_prob(action), atol=2e-5)
    np.testing.assert_allclose(high.entropy(), p.entropy(), atol=2e-5)
    np.testing.assert_allclose(high.kl(q), p.kl(q), atol=5e-5)

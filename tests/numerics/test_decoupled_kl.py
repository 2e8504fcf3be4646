"""The two parts of a Gaussian's KL and likelihood, against matrices in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from explorax.ops import mpo
from explorax.ops.distributions import Categorical, FullGaussian, Gaussian

STATES, DIMS = 6, 4


def diagonal(seed, shift=0.5):
    mean, log_std = np.random.default_rng(seed).normal(size=(2, STATES, DIMS))
    return Gaussian(jnp.asarray(mean, jnp.float32), jnp.asarray(shift * log_std, jnp.float32))


def full(seed):
    rng = np.random.default_rng(seed)
    factor = np.tril(0.4 * rng.normal(size=(STATES, DIMS, DIMS)), -1)
    factor += np.exp(0.3 * rng.normal(size=(STATES, DIMS, 1))) * np.eye(DIMS)
    mean = rng.normal(size=(STATES, DIMS))
    return FullGaussian(jnp.asarray(mean, jnp.float32), jnp.asarray(factor, jnp.float32))


def as_full(p):
    return FullGaussian(p.mean, jnp.exp(p.log_std)[..., None] * jnp.eye(p.mean.shape[-1])[None])


def matrices(p):
    """Return (means, covariances) in float64."""
    factor = np.asarray((p if isinstance(p, FullGaussian) else as_full(p)).factor, np.float64)
    return np.asarray(p.mean, np.float64), factor @ factor.swapaxes(-1, -2)


def slow_parts(old, new):
    """Return C_μ with the old covariance, C_μ with the new one, and C_Σ, of each state."""
    (m, S), (m_new, S_new) = matrices(old), matrices(new)
    by_old, by_new, spread = [], [], []
    for s in range(len(m)):
        shift, inverse = m_new[s] - m[s], np.linalg.inv(S_new[s])
        by_old.append(0.5 * shift @ np.linalg.inv(S[s]) @ shift)
        by_new.append(0.5 * shift @ inverse @ shift)
        log_ratio = np.linalg.slogdet(S_new[s])[1] - np.linalg.slogdet(S[s])[1]
        spread.append(0.5 * (np.trace(inverse @ S[s]) - len(shift) + log_ratio))
    return np.array(by_old), np.array(by_new), np.array(spread)


parts = jax.jit(mpo.decoupled_kl, static_argnames="per_dimension")


@pytest.mark.parametrize("make", [diagonal, full])
def test_parts_equal_matrices_and_add_up_to_the_kl(make):
    old, new = make(0), make(1)
    by_old, by_new, spread = slow_parts(old, new)
    c_mean, c_spread = parts(old, new)
    np.testing.assert_allclose(c_mean, by_old, rtol=1e-5)
    np.testing.assert_allclose(c_spread, spread, rtol=1e-5)
    whole = jax.jit(type(old).kl)(old, new)
    # as derived, with the new covariance under the shift of the mean, the sum is exact
    np.testing.assert_allclose(whole, by_new + c_spread, rtol=1e-5)
    # with the old one it is off by Δᵀ (Σ_old⁻¹ − Σ_new⁻¹) Δ/2
    np.testing.assert_allclose(whole, c_mean + c_spread - (by_old - by_new), rtol=1e-5)
    assert np.abs(whole - (c_mean + c_spread)).max() > 0.1


@pytest.mark.parametrize("make", [diagonal, full])
def test_parts_add_up_where_only_one_has_changed(make):
    old = make(2)
    for only_one in mpo.decoupled(old, make(3)):
        c_mean, c_spread = parts(old, only_one)
        whole = jax.jit(type(old).kl)(old, only_one)
        np.testing.assert_allclose(whole, c_mean + c_spread, rtol=1e-6)
        assert (c_mean == 0).all() != (c_spread == 0).all()


def test_full_equals_diagonal():
    old, new = diagonal(4), diagonal(5)
    for got, want in zip(parts(as_full(old), as_full(new)), parts(old, new), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(as_full(old).kl(as_full(new)), old.kl(new), rtol=1e-5)


def test_dimensions_add_up_and_are_the_kls_of_single_normals():
    old, new = diagonal(6), diagonal(7)
    per_dimension = parts(old, new, per_dimension=True)
    for each, whole in zip(per_dimension, parts(old, new), strict=True):
        assert each.shape == (STATES, DIMS)
        np.testing.assert_allclose(each.sum(-1), whole, rtol=1e-5)
    for i in range(DIMS):
        one_old, one_new = (
            jax.tree.map(lambda leaf, i=i: leaf[:, i : i + 1], p) for p in (old, new)
        )
        by_old, _, spread = slow_parts(one_old, one_new)
        np.testing.assert_allclose(per_dimension[0][:, i], by_old, rtol=1e-5)
        np.testing.assert_allclose(per_dimension[1][:, i], spread, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="does not split"):
        mpo.decoupled_kl(full(6), full(7), per_dimension=True)


@pytest.mark.parametrize("make", [diagonal, full])
def test_equals_are_exactly_0_apart_and_only_the_new_policy_hears(make):
    p = make(8)
    for part in parts(p, make(8)):
        assert (part == 0).all()

    def total(old, new):
        return sum(part.sum() for part in mpo.decoupled_kl(old, new))

    to_old, to_new = jax.jit(jax.grad(total, argnums=(0, 1)))(p, make(9))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(to_old))
    assert all(np.abs(leaf).max() > 0.01 for leaf in jax.tree.leaves(to_new))


@pytest.mark.parametrize("make", [diagonal, full])
def test_each_part_moves_its_own_parameters(make):
    old, new = make(10), make(11)

    @partial(jax.jit, static_argnums=1)
    def slope(new, which):
        return jax.grad(lambda new: mpo.decoupled_kl(old, new)[which].sum())(new)

    by_mean, by_spread = (jax.tree.leaves(slope(new, which)) for which in (0, 1))
    assert (by_mean[1] == 0).all() and (by_spread[0] == 0).all()
    assert np.abs(by_mean[0]).max() > 0.01 and np.abs(by_spread[1]).max() > 0.01


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("size", [1e-2, 1e-3])
def test_covariances_that_hardly_differ_are_told_apart(make, size):
    """The bound on the covariance is 10⁻⁴ to 10⁻⁶, where a trace less its dimension is noise."""
    old, other = make(12), make(13)
    new = jax.tree.map(lambda a, b: a + size * (b - a), old, other)
    np.testing.assert_allclose(parts(old, new)[1], slow_parts(old, new)[2], rtol=2e-3)
    assert slow_parts(old, new)[2].max() < 10 * size**2


def weighted_actions(seed, samples=9):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(STATES, samples, DIMS)).astype(np.float32)
    return action, rng.dirichlet(np.ones(samples), STATES).astype(np.float32)


@pytest.mark.parametrize("make", [diagonal, full])
def test_likelihood_in_two_terms_equals_scipy(make):
    old, new = make(14), make(15)
    action, weights = weighted_actions(16)
    (m, S), (m_new, S_new) = matrices(old), matrices(new)
    want = 0.0
    for s in range(STATES):
        for_mean = scipy.stats.multivariate_normal(m_new[s], S[s]).logpdf(action[s])
        for_spread = scipy.stats.multivariate_normal(m[s], S_new[s]).logpdf(action[s])
        want += weights[s] @ (for_mean + for_spread) / STATES
    got = jax.jit(mpo.decoupled_log_likelihood)(old, new, action, weights)
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("full_covariance", [False, True])
def test_likelihood_is_greatest_at_the_weighted_moments_about_the_old_mean(full_covariance):
    old = (full if full_covariance else diagonal)(17)
    action, weights = weighted_actions(18)
    mean = (weights[..., None] * action).sum(1)
    from_old = action - np.asarray(old.mean)[:, None]
    second = np.einsum("sn,sni,snj->sij", weights, from_old, from_old)
    if full_covariance:
        best = FullGaussian(jnp.asarray(mean), jnp.asarray(np.linalg.cholesky(second)))
    else:
        variance = np.diagonal(second, axis1=1, axis2=2)
        best = Gaussian(jnp.asarray(mean), jnp.asarray(0.5 * np.log(variance)))
    slope = jax.jit(jax.grad(mpo.decoupled_log_likelihood, argnums=1))
    at_best = slope(old, best, action, weights)
    assert np.abs(at_best.mean).max() < 1e-5
    # a factor has nothing above its diagonal to move
    assert np.abs(np.tril(at_best.factor) if full_covariance else at_best.log_std).max() < 3e-5
    assert all(
        np.abs(leaf).max() > 0.1 for leaf in jax.tree.leaves(slope(old, old, action, weights))
    )


def test_weighted_likelihood_of_a_categorical_is_minus_its_kl_and_the_entropy_of_the_weights():
    rng = np.random.default_rng(19)
    target, logits = rng.normal(size=(2, STATES, 5)).astype(np.float32)
    weights = jax.nn.softmax(target)
    got = mpo.weighted_log_likelihood(jax.nn.log_softmax(logits), weights)
    p = Categorical(jnp.asarray(target))
    want = -(p.kl(Categorical(jnp.asarray(logits))) + p.entropy()).mean()
    assert got == pytest.approx(float(want), rel=1e-5)
    slope = jax.grad(lambda w: mpo.weighted_log_likelihood(jax.nn.log_softmax(logits), w))(weights)
    assert (slope == 0).all()

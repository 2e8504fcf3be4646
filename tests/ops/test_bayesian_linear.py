"""The exact posterior of a linear layer: against NumPy in float64, and against what is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops import bayesian_linear as linear


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def posterior(rows, features):
    """P = (I + Σ uuᵀ)⁻¹, float64."""
    return np.linalg.inv(np.eye(features) + rows.T @ rows)


def gaussian_kl(mean, covariance, other_mean, other_covariance):
    """KL[N(mean, covariance) ‖ N(other)], float64."""
    inverse = np.linalg.inv(other_covariance)
    apart = other_mean - mean
    logs = np.linalg.slogdet(other_covariance)[1] - np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.trace(inverse @ covariance) + apart @ inverse @ apart - len(mean) + logs)


def test_the_root_is_one_of_the_posterior_covariance_after_any_batches():
    root = linear.prior(5)
    rows = normal(0, 60, 5)
    for batch in np.split(rows, [1, 7, 30]):
        root = linear.condition(root, jnp.asarray(batch, jnp.float32))
    np.testing.assert_allclose(root @ root.T, posterior(rows, 5), rtol=1e-4, atol=1e-7)


def test_realized_gain_is_the_kl_between_gaussians():
    rows, targets = normal(1, 12, 4), normal(2, 12)
    before = posterior(rows[:-1], 4)
    mean = before @ rows[:-1].T @ targets[:-1]
    after = posterior(rows, 4)
    moved = after @ rows.T @ targets
    ratio = rows[-1] @ before @ rows[-1]
    error = targets[-1] - rows[-1] @ mean
    gain = linear.realized_gain(jnp.float32(ratio), jnp.float32(error**2))
    np.testing.assert_allclose(gain, gaussian_kl(moved, after, mean, before), rtol=1e-5)


@pytest.mark.parametrize("ratio", [1e-3, 0.5, 20.0])
def test_the_expectation_of_the_realized_gain_is_the_expected_one(ratio):
    # e ~ N(0, 1 + r); Gauss and Hermite's quadrature is exact for the square.
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    realized = linear.realized_gain(jnp.float32(ratio), jnp.asarray((1 + ratio) * nodes**2))
    mean = (weights * np.asarray(realized)).sum() / weights.sum()
    np.testing.assert_allclose(mean, linear.expected_gain(jnp.float32(ratio)), rtol=1e-5)


@pytest.mark.parametrize("count", [5, linear.BLOCK, 3 * linear.BLOCK + 7])
def test_in_order_the_gains_of_a_rollout_add_up_to_the_joint_one_in_any_order(count):
    features = 6
    before = normal(3, 9, features)
    root = linear.condition(linear.prior(features), jnp.asarray(before, jnp.float32))
    rows = normal(4, count, features)
    covariance = np.eye(count) + rows @ posterior(before, features) @ rows.T
    joint = 0.5 * np.linalg.slogdet(covariance)[1]
    nothing = jnp.zeros((features, 0)), jnp.zeros((count, 0))
    for order in (np.arange(count), np.random.default_rng(5).permutation(count)):
        ratio, *_ = linear.in_order(root, nothing[0], jnp.asarray(rows[order]), nothing[1])
        np.testing.assert_allclose(linear.expected_gain(ratio).sum(), joint, rtol=1e-5)


def test_in_order_is_one_row_after_another():
    features, count, outputs = 4, linear.BLOCK + 9, 2
    rows, targets = normal(6, count, features), normal(7, count, outputs)
    ratio, squared, root, mean = linear.in_order(
        linear.prior(features),
        jnp.zeros((features, outputs)),
        jnp.asarray(rows, jnp.float32),
        jnp.asarray(targets, jnp.float32),
    )
    covariance, weights = np.eye(features), np.zeros((features, outputs))
    for t in range(count):
        u, error = rows[t], targets[t] - rows[t] @ weights
        np.testing.assert_allclose(ratio[t], u @ covariance @ u, rtol=2e-4)
        np.testing.assert_allclose(squared[t], error**2, rtol=2e-3, atol=1e-5)
        covariance = posterior(rows[: t + 1], features)
        weights = covariance @ rows[: t + 1].T @ targets[: t + 1]
    np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(mean, weights, rtol=1e-3, atol=1e-4)


def test_the_mean_is_that_of_ridge_regression():
    rows, targets = normal(8, 40, 5), normal(9, 40, 3)
    root, mean = linear.prior(5), jnp.zeros((5, 3))
    for batch in (slice(0, 3), slice(3, 40)):
        u = jnp.asarray(rows[batch], jnp.float32)
        root = linear.condition(root, u)
        mean = linear.corrected(mean, root, u, jnp.asarray(targets[batch], jnp.float32))
    np.testing.assert_allclose(mean, posterior(rows, 5) @ rows.T @ targets, rtol=1e-4, atol=1e-5)


def test_on_one_hot_rows_the_gain_is_half_the_log_of_one_and_one_over_the_visits():
    root = linear.prior(3)
    for visits in range(6):
        ratio = linear.unknown(root, jnp.eye(3)[:1])
        expected = 0.5 * np.log1p(1 / (1 + visits))
        np.testing.assert_allclose(linear.expected_gain(ratio)[0], expected, rtol=1e-5)
        root = linear.condition(root, jnp.eye(3)[:1])
    np.testing.assert_allclose(linear.unknown(root, jnp.eye(3)[1:]), 1.0, rtol=1e-6)


def test_evidence_that_is_kept_in_part_counts_that_much():
    rows, more = normal(10, 30, 4), normal(11, 5, 4)
    root = linear.condition(linear.prior(4), jnp.asarray(rows, jnp.float32))
    root = linear.condition(root, jnp.asarray(more, jnp.float32), keep=0.3)
    expected = np.linalg.inv(np.eye(4) + 0.3 * rows.T @ rows + more.T @ more)
    np.testing.assert_allclose(root @ root.T, expected, rtol=1e-4, atol=1e-7)


def test_after_a_million_rows_it_agrees_with_float64():
    # Ten directions are seen a million times, one a single time, and one never.
    features, batches = 12, 1000
    kinds = np.eye(features)[:10] + 0.3 * normal(12, 10, features) * (np.arange(features) < 10)
    counts = np.full(10, batches * 100)
    batch = jnp.asarray(10 * kinds, jnp.float32)  # each a hundred times
    once = np.eye(features)[10]

    def one(root, _):
        return linear.condition(root, batch), None

    root = linear.condition(linear.prior(features), jnp.asarray(once[None], jnp.float32))
    root = jax.jit(lambda root: jax.lax.scan(one, root, None, batches)[0])(root)
    rows = np.concatenate([kinds * np.sqrt(counts)[:, None], once[None]])
    probes = np.concatenate([kinds, np.eye(features)[10:], kinds[:2] + 0.1 * np.eye(features)[11]])
    exact = np.einsum("nf,fg,ng->n", probes, posterior(rows, features), probes)
    np.testing.assert_allclose(linear.unknown(root, jnp.asarray(probes)), exact, rtol=1e-3)


def test_matrices_side_by_side_are_decomposed_like_one_alone():
    rows = jnp.asarray(normal(13, 3, 20, 4), jnp.float32)
    roots = jnp.broadcast_to(linear.prior(4), (3, 4, 4))
    together = jax.jit(jax.vmap(linear.condition))(roots, rows)
    for k in range(3):
        alone = linear.condition(linear.prior(4), rows[k])
        np.testing.assert_allclose(together[k], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("evidence", [1e5, 1e7, 1e9])
def test_much_evidence_at_once_loses_nothing_that_was_not_seen(evidence):
    # Two kinds of rows out of 48 dimensions, each many times: what float32 rounds off must not make
    # the rest known, or a root that is none.
    kinds = normal(14, 2, 48) / np.sqrt(48)
    rows = jnp.asarray(np.repeat(kinds, 50, 0) * np.sqrt(evidence / 100), jnp.float32)
    root = linear.condition(linear.prior(48), rows, pieces=linear.pieces_of(evidence))
    unseen = np.linalg.svd(kinds)[2][2:]
    assert np.isfinite(root).all()
    np.testing.assert_allclose(linear.unknown(root, jnp.asarray(unseen, jnp.float32)), 1, rtol=0.02)
    seen = np.asarray(linear.unknown(root, jnp.asarray(kinds, jnp.float32)))
    assert (seen < 10 / evidence).all()


def test_of_two_states_millions_of_rows_leave_a_root_that_is_finite():
    kinds = jnp.asarray(normal(15, 2, 48) / np.sqrt(48), jnp.float32)
    rows = jnp.tile(kinds, (2048, 1)) * 10  # noise of 0.01

    def one(root, _):
        return linear.condition(root, rows, pieces=linear.pieces_of(4096 / 0.01)), None

    root = jax.jit(lambda root: jax.lax.scan(one, root, None, 500)[0])(linear.prior(48))
    assert np.isfinite(root).all()
    assert float(jnp.square(root).sum()) > 45.9

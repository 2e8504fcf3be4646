"""Soft values against closed forms, and soft Q-iteration against a linear solve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from explorax.ops import soft_values

uniform = jax.jit(soft_values.uniform_soft_value, static_argnames="action_dim")
sampled = jax.jit(soft_values.sampled_soft_value)
value = jax.jit(soft_values.soft_value)
log_policy = jax.jit(soft_values.soft_log_policy)
iterate = jax.jit(soft_values.soft_q_iteration, static_argnums=(2, 4, 5))


@pytest.mark.parametrize("dim", [1, 3, 8])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 20.0])
def test_a_constant_q_is_worth_itself_and_the_entropy_of_the_cube(dim, alpha):
    for samples in (1, 16):
        q = np.full((4, samples), 3.0, np.float32)
        got = uniform(q, alpha, action_dim=dim)
        np.testing.assert_allclose(got, 3.0 + alpha * dim * np.log(2), rtol=1e-6)


def test_value_nears_the_best_q_as_the_temperature_falls():
    q = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    gaps = [
        np.abs(np.asarray(of(q, alpha)) - q.max(1)).max()
        for alpha in (1.0, 1e-1, 1e-2, 1e-4)
        for of in (value, lambda q, alpha: uniform(q, alpha, action_dim=2))
    ]
    assert gaps[0] > 1 and gaps[-1] < 3e-4 and gaps[-2] < 3e-4
    assert gaps[::2] == sorted(gaps[::2], reverse=True)
    best = np.exp(log_policy(q, 1e-3))
    np.testing.assert_array_equal(best.argmax(1), q.argmax(1))
    np.testing.assert_allclose(best.max(1), 1.0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("alpha", [1e-30, 1e-3, 1.0, 1e6])
def test_no_size_of_q_or_temperature_overflows(size, alpha):
    q = (size * np.random.default_rng(1).normal(size=(5, 12))).astype(np.float32)
    log_density = np.random.default_rng(2).normal(size=q.shape).astype(np.float32)
    for of in (
        lambda q: value(q, alpha),
        lambda q: uniform(q, alpha, action_dim=3),
        lambda q: sampled(q, log_density, alpha),
    ):
        got, slope = jax.value_and_grad(lambda q, of=of: of(q).sum())(jnp.asarray(q))
        assert np.isfinite(got) and np.isfinite(slope).all()
        np.testing.assert_allclose(slope.sum(1), 1.0, rtol=1e-5)  # V(Q + c) = V(Q) + c
        reach = alpha * (3 * np.log(2) + np.log(12) + 5)  # what entropy and proposal can add
        low, high = q.max(1) - reach - 1e-5 * size, q.max(1) + reach + 1e-5 * size
        assert ((of(q) >= low) & (of(q) <= high)).all()


def test_discrete_value_and_policy_equal_their_sums():
    q = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
    alpha = 0.3
    sums = np.exp(np.float64(q) / alpha).sum(1)
    np.testing.assert_allclose(value(q, alpha), alpha * np.log(sums), rtol=1e-6)
    policy = np.exp(np.float64(q) / alpha) / sums[:, None]
    got = np.exp(np.float64(log_policy(q, alpha)))
    np.testing.assert_allclose(got, policy, rtol=1e-5)
    # V = E[Q] + α H, and no other policy has more
    np.testing.assert_allclose(value(q, alpha), (got * (q - alpha * np.log(got))).sum(1), rtol=1e-5)
    other = np.random.default_rng(4).dirichlet(np.ones(7), 5)
    assert ((other * (q - alpha * np.log(other))).sum(1) < value(q, alpha)).all()


def test_enumeration_is_the_estimator_with_every_action_drawn_once():
    q = np.random.default_rng(5).normal(size=(5, 7)).astype(np.float32)
    each = np.full_like(q, -np.log(7))
    np.testing.assert_allclose(sampled(q, each, 0.3), value(q, 0.3), rtol=1e-6)
    # a Q of 8 steps on [−1, 1], sampled once each: an integral, 2/8 wide a step
    q = np.random.default_rng(6).normal(size=(5, 8)).astype(np.float32)
    want = 0.3 * np.log((np.exp(np.float64(q) / 0.3) * 0.25).sum(1))
    np.testing.assert_allclose(uniform(q, 0.3, action_dim=1), want, rtol=1e-5)
    np.testing.assert_allclose(uniform(q, 0.3, action_dim=1), value(q, 0.3) + 0.3 * np.log(0.25),
                               rtol=1e-5)  # fmt: skip


def test_estimates_near_the_integral():
    """Q = −3 (a − 0.4)² on [−1, 1]: uniform proposal, and a normal one whose ratio is bounded."""
    alpha, draws = 0.5, 200_000
    exact = scipy.integrate.quad(lambda a: np.exp(-3 * (a - 0.4) ** 2 / alpha), -1, 1)[0]
    a = jax.random.uniform(jax.random.key(0), (draws,), minval=-1.0, maxval=1.0)
    got = uniform(-3 * (a - 0.4) ** 2, alpha, action_dim=1)
    assert got == pytest.approx(alpha * np.log(exact), abs=5e-3)
    # over the whole line, by draws from N(0, 1): α log √(π α/3)
    a = jax.random.normal(jax.random.key(1), (draws,))
    log_density = -0.5 * a**2 - 0.5 * np.log(2 * np.pi)
    got = sampled(-3 * (a - 0.4) ** 2, log_density, alpha)
    assert got == pytest.approx(alpha * np.log(np.sqrt(np.pi * alpha / 3)), abs=5e-3)


def test_a_proposal_of_the_soft_policy_itself_has_no_variance():
    q = np.random.default_rng(7).normal(size=(6, 3)).astype(np.float32)
    shift = np.float32(1.7)  # log of the normaliser: p = exp(Q/α − 1.7)
    got = sampled(q, q / np.float32(0.5) - shift, 0.5)
    np.testing.assert_allclose(got, 0.5 * 1.7, rtol=1e-5)


def test_an_estimate_of_a_logarithm_is_too_low_on_average():
    q = 2 * jax.random.normal(jax.random.key(2), (4000, 4))
    log_density = jnp.zeros_like(q)  # as if p were 1: then exp(V/α) estimates E[exp Q] = e²
    got = np.asarray(sampled(q, log_density, 1.0), np.float64)
    assert got.mean() < 2.0 - 0.3
    assert np.exp(got).mean() == pytest.approx(np.exp(2.0), rel=0.3)


def world(seed, states=6, actions=3, end=0.0):
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(0.5 * np.ones(states), (states, actions)) * (1 - end)
    return transition.astype(np.float32), rng.normal(size=(states, actions)).astype(np.float32)


def evaluated(transition, reward, policy, discount, alpha):
    """Return the soft value of a policy: (I − γ P_π) V = r_π + α H_π, solved in float64."""
    move = np.einsum("sa,sat->st", policy, np.float64(transition))
    pay = (policy * (reward - alpha * np.log(policy))).sum(1)
    return np.linalg.solve(np.eye(len(pay)) - discount * move, pay)


@pytest.mark.parametrize("end", [0.0, 0.2])
@pytest.mark.parametrize(("discount", "alpha"), [(0.9, 0.5), (0.99, 0.05), (0.5, 3.0)])
def test_soft_q_iteration_ends_where_its_policy_is_worth_its_value(discount, alpha, end):
    transition, reward = world(8, end=end)
    q, residual, iterations = iterate(transition, reward, discount, alpha)
    assert residual <= 1e-5 and 1 < iterations < 10_000
    policy = np.exp(np.float64(log_policy(q, alpha)))
    policy /= policy.sum(1, keepdims=True)
    exact = evaluated(transition, reward, policy, discount, alpha)
    allowed = 2e-5 / (1 - discount)
    np.testing.assert_allclose(value(q, alpha), exact, atol=allowed)
    backup = reward + discount * np.float64(transition) @ exact
    np.testing.assert_allclose(q, backup, atol=allowed)
    rng = np.random.default_rng(9)
    for _ in range(20):  # and no other policy is worth more, in any state
        mixed = 0.9 * policy + 0.1 * rng.dirichlet(np.ones(3), 6)
        assert (evaluated(transition, reward, mixed, discount, alpha) < exact + allowed).all()


def test_soft_q_iteration_becomes_value_iteration_without_temperature():
    transition, reward = world(10)
    q, _, _ = iterate(transition, reward, 0.9, 1e-6)
    hard = np.zeros(reward.shape)
    for _ in range(500):
        hard = reward + 0.9 * np.float64(transition) @ hard.max(1)
    np.testing.assert_allclose(q, hard, atol=2e-4)


def test_soft_q_iteration_stops_where_it_is_told_to():
    transition, reward = world(11)
    q, residual, iterations = iterate(transition, reward, 0.9, 0.5, 1e-5, 3)
    assert iterations == 3 and residual > 1e-3
    want = np.zeros(reward.shape)
    for _ in range(3):
        want = reward + 0.9 * np.float64(transition) @ (0.5 * np.log(np.exp(want / 0.5).sum(1)))
    np.testing.assert_allclose(q, want, rtol=1e-5)
    loose = iterate(transition, reward, 0.9, 0.5, 1e-2, 10_000)
    exact = iterate(transition, reward, 0.9, 0.5, 1e-6, 10_000)
    assert loose[2] < exact[2]
    assert np.abs(loose[0] - exact[0]).max() <= 0.9 / 0.1 * loose[1] + 1e-5  # as promised


def test_soft_q_iteration_for_many_temperatures_at_once():
    transition, reward = world(12)
    transition, reward, alphas = (jnp.asarray(each) for each in (transition, reward, [0.1, 1.0]))
    together = jax.jit(
        jax.vmap(lambda alpha: soft_values.soft_q_iteration(transition, reward, 0.9, alpha)[0])
    )(alphas)
    for q, alpha in zip(together, alphas, strict=True):
        alone = iterate(transition, reward, 0.9, alpha)[0]
        np.testing.assert_allclose(q, alone, atol=1e-4)

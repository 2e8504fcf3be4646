"""Retrace against a slow loop, its two limits, and an enumeration of all that can happen."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.q_learning import n_step_sums
from explorax.ops.returns import lambda_returns, retrace

GAMMA, LAMBDA = 0.9, 0.8
jit_retrace = jax.jit(retrace, static_argnames=("discount", "retrace_lambda"))
jit_lambda_returns = jax.jit(lambda_returns, static_argnames=("discount", "return_lambda"))
jit_n_step_sums = jax.jit(n_step_sums, static_argnames="discount")
targets = partial(jit_retrace, discount=GAMMA, retrace_lambda=LAMBDA)
full_targets = partial(jit_retrace, discount=GAMMA, retrace_lambda=1.0)


def experience(seed, shape=(11, 5), end_rate=0.15):
    """Return reward, Q, V(s'), log π, log b, terminated, truncated."""
    rng = np.random.default_rng(seed)
    terminated = rng.random(shape) < end_rate
    truncated = (rng.random(shape) < end_rate) & ~terminated
    reward, q, next_value, log_pi, log_b = rng.normal(size=(5, *shape)).astype(np.float32)
    return reward, q, next_value, log_pi, log_b, terminated, truncated


def slow_retrace(reward, q, next_value, log_pi, log_b, terminated, truncated):
    """Q_t + Σ_k γ^k (Π_{1..k} c) δ_{t+k}, summed forwards from every step."""
    out = np.array(q, np.float64)
    for t, e in np.ndindex(*reward.shape):
        weight = 1.0
        for u in range(t, len(reward)):
            if u > t:
                ratio = np.exp(np.float64(log_pi[u, e]) - np.float64(log_b[u, e]))
                weight *= GAMMA * LAMBDA * min(1.0, ratio)
            successor = 0.0 if terminated[u, e] else GAMMA * next_value[u, e]
            out[t, e] += weight * (reward[u, e] + successor - q[u, e])
            if terminated[u, e] or truncated[u, e]:
                break
    return out


@pytest.mark.parametrize("seed", range(4))
def test_retrace_equals_a_slow_loop(seed):
    rows = experience(seed, end_rate=(0.0, 0.1, 0.2, 0.5)[seed])
    np.testing.assert_allclose(targets(*rows), slow_retrace(*rows), atol=2e-6)


def test_with_one_policy_and_values_of_states_it_is_the_n_step_return():
    reward, _, next_value, log_pi, _, *ends = experience(5)
    value = np.random.default_rng(6).normal(size=reward.shape).astype(np.float32)
    cut = (ends[0] | ends[1])[:-1]
    next_value[:-1] = np.where(cut, next_value[:-1], value[1:])
    got = full_targets(reward, value, next_value, log_pi, log_pi, *ends)
    want = jit_lambda_returns(reward, next_value, *ends, discount=GAMMA, return_lambda=1.0)
    np.testing.assert_allclose(got, want, atol=2e-6)
    # and of the first step, what DQN regresses on
    total, discount, last = jit_n_step_sums(reward.T, ends[0].T, ends[1].T, discount=GAMMA)
    bootstrap = next_value[np.asarray(last), np.arange(len(last))]
    np.testing.assert_allclose(got[0], total + discount * bootstrap, atol=2e-6)


def test_with_one_policy_and_no_values_it_is_the_monte_carlo_return():
    reward, _, _, log_pi, _, *ends = experience(7)
    zero = np.zeros_like(reward)
    got = full_targets(reward, zero, zero, log_pi, log_pi, *ends)
    want = np.zeros_like(reward, np.float64)
    running = np.zeros(reward.shape[1])
    for t in reversed(range(len(reward))):
        running = reward[t] + GAMMA * np.where(ends[0][t] | ends[1][t], 0.0, running)
        want[t] = running
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_with_c_of_1_it_is_the_n_step_return_less_a_control_variate():
    reward, q, _, log_b, _, *_ = experience(8)
    steps = len(reward)
    never = np.zeros(reward.shape, bool)
    value = np.random.default_rng(9).normal(size=(steps + 1, reward.shape[1])).astype(np.float32)
    # π twice as likely as b everywhere: c is 1 there too
    got = full_targets(reward, q, value[1:], log_b + np.float32(np.log(2)), log_b, never, never)
    for t in range(steps):
        power = GAMMA ** np.arange(steps - t)[:, None]
        want = (power * reward[t:]).sum(0) + GAMMA ** (steps - t) * value[steps]
        want += (power * (value[t:steps] - q[t:]))[1:].sum(0)
        np.testing.assert_allclose(got[t], want, atol=3e-6)


def test_lambda_0_is_the_one_step_target():
    reward, q, next_value, log_pi, log_b, *ends = experience(10)
    got = jit_retrace(reward, q, next_value, log_pi, log_b, *ends, GAMMA, 0.0)
    want = reward + GAMMA * np.where(ends[0], 0.0, next_value)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
    ("terminated", "truncated", "want"), [(0, 0, 3.5), (0, 1, 3.5), (1, 0, 1.0)]
)
def test_a_single_step_bootstraps_unless_it_is_terminal(terminated, truncated, want):
    one, five, q = jnp.ones((1, 1)), jnp.full((1, 1), 5.0), jnp.full((1, 1), 7.0)
    ends = jnp.full((1, 1), terminated, bool), jnp.full((1, 1), truncated, bool)
    assert retrace(one, q, five, -one, -five, *ends, 0.5, 0.9) == want


def test_an_action_that_the_policy_never_takes_cuts_the_trace():
    reward, q, next_value, log_pi, log_b, *_ = experience(11)
    never = np.zeros(reward.shape, bool)
    log_pi[4] = -np.inf
    got = targets(reward, q, next_value, log_pi, log_b, never, never)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[3], reward[3] + GAMMA * next_value[3], atol=1e-6)


@pytest.mark.parametrize("retrace_lambda", [0.5, 1.0])
def test_with_exact_values_it_is_unbiased_whoever_acted(retrace_lambda):
    """E_b[G_0] = Q^π(s, a), summed over every trajectory of 4 steps: each δ is 0 on average."""
    rng = np.random.default_rng(12)
    states, actions, steps = 2, 2, 4
    law = rng.dirichlet(np.ones(states), (states, actions))
    pay = rng.normal(size=(states, actions))
    pi, b = rng.dirichlet(np.ones(actions), (2, states))
    under_pi = np.einsum("sat,tb->satb", law, pi).reshape(4, 4)
    exact = np.linalg.solve(np.eye(4) - GAMMA * under_pi, pay.ravel()).reshape(states, actions)
    value = (pi * exact).sum(1)
    for s0, a0 in itertools.product(range(states), range(actions)):
        paths, chances = [], []
        for later in itertools.product(range(states), range(actions), repeat=steps - 1):
            path = [s0, a0, *later]
            for last in range(states):
                s, a = np.array(path[::2]), np.array(path[1::2])
                after = np.append(s[1:], last)
                paths.append((s, a, after))
                chances.append(law[s, a, after].prod() * b[s[1:], a[1:]].prod())
        s, a, after = (np.stack(each, axis=1) for each in zip(*paths, strict=True))
        rows = (pay[s, a], exact[s, a], value[after], np.log(pi[s, a]), np.log(b[s, a]))
        never = np.zeros(s.shape, bool)
        rows = [row.astype(np.float32) for row in rows]
        got = jit_retrace(*rows, never, never, GAMMA, retrace_lambda)[0]
        assert np.std(got) > 0.01
        assert np.sum(chances) == pytest.approx(1.0)
        assert np.dot(chances, got) == pytest.approx(exact[s0, a0], abs=2e-6)

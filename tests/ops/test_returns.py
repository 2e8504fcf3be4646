"""Returns and advantages against slow loops written from the definitions, and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.returns import gae, lambda_returns

GAMMA, LAMBDA = 0.9, 0.7


def experience(seed=0, shape=(13, 4), end_rate=0.2):
    rng = np.random.default_rng(seed)
    terminated = rng.random(shape) < end_rate
    truncated = (rng.random(shape) < end_rate) & ~terminated
    reward, value, next_value = rng.normal(size=(3, *shape)).astype(np.float32)
    return reward, value, next_value, terminated, truncated


def to_the_cut(t, e, terminated, truncated, most):
    """The steps t .. end, end the first cut or the last of `most`."""
    steps = []
    for u in range(t, len(terminated)):
        steps.append(u)
        if terminated[u, e] or truncated[u, e] or len(steps) == most:
            break
    return steps


def slow_n_step(reward, next_value, terminated, truncated, n):
    """G^(n) summed forwards from every step."""
    out = np.zeros_like(reward, dtype=np.float64)
    for t, e in np.ndindex(*reward.shape):
        steps = to_the_cut(t, e, terminated, truncated, n)
        out[t, e] = sum(GAMMA**k * reward[u, e] for k, u in enumerate(steps))
        if not terminated[steps[-1], e]:
            out[t, e] += GAMMA ** len(steps) * next_value[steps[-1], e]
    return out


def slow_gae(reward, value, next_value, terminated, truncated):
    """A_t = Σ (γλ)^k δ_{t+k}, summed forwards until the cut."""
    delta = reward + GAMMA * (1.0 - terminated) * next_value - value
    out = np.zeros_like(reward, dtype=np.float64)
    for t, e in np.ndindex(*reward.shape):
        steps = to_the_cut(t, e, terminated, truncated, None)
        out[t, e] = sum((GAMMA * LAMBDA) ** k * delta[u, e] for k, u in enumerate(steps))
    return out


def slow_lambda_returns(reward, next_value, terminated, truncated):
    """(1 − λ) Σ_{n<N} λ^{n−1} G^(n) + λ^{N−1} G^(N), N the steps to the cut."""
    by_n = [slow_n_step(reward, next_value, terminated, truncated, n + 1) for n in range(13)]
    out = np.zeros_like(reward, dtype=np.float64)
    for t, e in np.ndindex(*reward.shape):
        last = len(to_the_cut(t, e, terminated, truncated, None)) - 1
        out[t, e] = LAMBDA**last * by_n[last][t, e]
        out[t, e] += (1.0 - LAMBDA) * sum(LAMBDA**n * by_n[n][t, e] for n in range(last))
    return out


jit_gae = jax.jit(partial(gae, discount=GAMMA, gae_lambda=LAMBDA))
jit_lambda_returns = jax.jit(partial(lambda_returns, discount=GAMMA, return_lambda=LAMBDA))


@pytest.mark.parametrize("seed", range(3))
def test_gae_and_lambda_returns_equal_slow_loops(seed):
    reward, value, next_value, *ends = experience(seed)
    want = slow_gae(reward, value, next_value, *ends)
    np.testing.assert_allclose(jit_gae(reward, value, next_value, *ends), want, atol=1e-5)
    want = slow_lambda_returns(reward, next_value, *ends)
    np.testing.assert_allclose(jit_lambda_returns(reward, next_value, *ends), want, atol=1e-5)


def test_lambda_returns_are_gae_plus_value_for_values_of_one_function():
    reward, value, next_value, *ends = experience(4)
    cut = (ends[0] | ends[1])[:-1]
    next_value[:-1] = np.where(cut, next_value[:-1], value[1:])
    want = jit_gae(reward, value, next_value, *ends) + value
    np.testing.assert_allclose(jit_lambda_returns(reward, next_value, *ends), want, atol=1e-5)


@pytest.mark.parametrize(("return_lambda", "steps"), [(0.0, 1), (1.0, None)])
def test_lambda_0_is_one_step_and_lambda_1_is_all_of_them(return_lambda, steps):
    reward, _, next_value, terminated, truncated = experience(7)
    extreme = jax.jit(partial(lambda_returns, discount=GAMMA, return_lambda=return_lambda))
    got = extreme(reward, next_value, terminated, truncated)
    want = slow_n_step(reward, next_value, terminated, truncated, steps)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_constant_reward_without_ends_is_a_geometric_series():
    steps = np.arange(30)[:, None]
    ones = jnp.ones((30, 1))
    never = jnp.zeros((30, 1), bool)
    value = ones / (1.0 - GAMMA)  # the exact value of reward 1 for ever
    got = lambda_returns(ones, value, never, never, GAMMA, 1.0)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    got = lambda_returns(ones, jnp.zeros((30, 1)), never, never, GAMMA, 1.0)
    np.testing.assert_allclose(got, (1 - GAMMA ** (30 - steps)) / (1 - GAMMA), rtol=1e-5)
    np.testing.assert_allclose(gae(ones, value, value, never, never, GAMMA, 0.5), 0.0, atol=1e-5)


def test_without_discount_gae_is_what_is_still_to_come():
    reward, value, next_value, *_ = experience(3)
    never = np.zeros(reward.shape, bool)
    undiscounted = jax.jit(partial(gae, discount=1.0, gae_lambda=1.0))
    got = undiscounted(reward, value, next_value, never, never)
    to_come = np.cumsum(reward[::-1], 0)[::-1] + next_value[-1] - value
    # The V(s'_t) and V(s_{t+1}) of a stream without ends are one; here they are unlike on purpose.
    seam = np.cumsum((next_value - np.roll(value, -1, 0))[:-1][::-1], 0)[::-1]
    to_come[:-1] += seam
    np.testing.assert_allclose(got, to_come, atol=1e-5)


def test_truncation_bootstraps_and_termination_does_not():
    one, five = jnp.ones((1, 1)), jnp.full((1, 1), 5.0)
    yes, no = jnp.ones((1, 1), bool), jnp.zeros((1, 1), bool)
    assert lambda_returns(one, five, no, yes, 0.5, 1.0) == 3.5
    assert lambda_returns(one, five, yes, no, 0.5, 1.0) == 1.0
    assert gae(one, one, five, no, yes, 0.5, 1.0) == 2.5
    assert gae(one, one, five, yes, no, 0.5, 1.0) == 0.0

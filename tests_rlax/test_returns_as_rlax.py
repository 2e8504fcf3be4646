"""GAE, λ-returns, Retrace and Q-targets against rlax's, on random rollouts with ends of both kinds.

rlax knows one kind of end, a discount of 0, and takes values of s_0 … s_T in a row. So a rollout is
cut where an episode ends, in the middle of which nothing ends, and each piece is given to rlax with
the value of its true successor; after a terminal step that is multiplied by a discount of 0.
"""

import functools
from typing import Any

import jax
import numpy as np
import pytest
import rlax  # pyright: ignore[reportMissingImports]  (another environment's)

from explorax.ops import q_learning, returns

STEPS, ENVS, DISCOUNT = 40, 6, 0.93
CLOSE: dict[str, Any] = dict(rtol=1e-5, atol=1e-5)


def normal(draw: np.random.Generator, *shape: int) -> Any:
    """Return float32 numbers [*shape]."""
    return draw.normal(size=shape).astype(np.float32)


@functools.cache
def rollout(seed: int) -> Any:
    """Return reward, value, next_value, terminated and truncated [T, E]."""
    draw = np.random.default_rng(seed)
    reward, value, last = (normal(draw, STEPS, ENVS) for _ in range(3))
    kind = draw.choice(3, size=(STEPS, ENVS), p=[0.8, 0.1, 0.1])
    terminated, truncated = kind == 1, kind == 2
    done = terminated | truncated
    next_value = np.concatenate([value[1:], last[-1:]])
    # the true successor's, not that of the next episode's first observation
    next_value = np.where(done, last, next_value)
    assert terminated.any() and truncated.any()
    return reward, value, next_value, terminated, truncated


def pieces(terminated, truncated):
    """Yield (environment, rows of a stretch without an end before its last step)."""
    done = terminated | truncated
    for env in range(ENVS):
        ends = [*(np.flatnonzero(done[:-1, env]) + 1), STEPS]
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            yield env, slice(begin, end)


def by_pieces(one, terminated, truncated):
    """Return [T, E] of what `one(rows, env, discounts)` says of each piece."""
    found = np.full((STEPS, ENVS), np.nan, np.float32)
    discounts = np.where(terminated, 0.0, DISCOUNT).astype(np.float32)
    for env, rows in pieces(terminated, truncated):
        found[rows, env] = one(rows, env, discounts[rows, env])
    return found


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_advantages_are_those_of_rlax(gae_lambda):
    reward, value, next_value, *ends = rollout(0)

    def one(rows, env, discounts):
        values = np.append(value[rows, env], next_value[rows, env][-1])
        return rlax.truncated_generalized_advantage_estimation(
            reward[rows, env], discounts, gae_lambda, values
        )

    ours = jax.jit(returns.gae)(reward, value, next_value, *ends, DISCOUNT, gae_lambda)
    np.testing.assert_allclose(ours, by_pieces(one, *ends), **CLOSE)


@pytest.mark.parametrize("return_lambda", [0.0, 0.7, 1.0])
def test_lambda_returns_are_those_of_rlax(return_lambda):
    reward, _, next_value, *ends = rollout(1)

    def one(rows, env, discounts):
        return rlax.lambda_returns(
            reward[rows, env], discounts, next_value[rows, env], return_lambda
        )

    ours = jax.jit(returns.lambda_returns)(reward, next_value, *ends, DISCOUNT, return_lambda)
    np.testing.assert_allclose(ours, by_pieces(one, *ends), **CLOSE)


@pytest.mark.parametrize("retrace_lambda", [0.0, 0.95, 1.0])
def test_retrace_targets_are_those_of_rlax(retrace_lambda):
    reward, q_value, _, *ends = rollout(2)
    draw = np.random.default_rng(3)
    next_value, log_prob, behavior = (normal(draw, STEPS, ENVS) for _ in range(3))
    trace = retrace_lambda * np.minimum(1.0, np.exp(log_prob - behavior))
    assert (trace < retrace_lambda).any() or retrace_lambda == 0.0

    def one(rows, env, discounts):
        return rlax.general_off_policy_returns_from_q_and_v(
            q_value[rows, env][1:],
            next_value[rows, env],
            reward[rows, env],
            discounts,
            trace[rows, env][1:].astype(np.float32),
        )

    ours = jax.jit(returns.retrace)(
        reward, q_value, next_value, log_prob, behavior, *ends, DISCOUNT, retrace_lambda
    )
    np.testing.assert_allclose(ours, by_pieces(one, *ends), **CLOSE)


def test_retrace_errors_of_discrete_actions_are_those_of_rlax():
    """The same once more by `rlax.retrace`, which makes values and traces from Q and policies."""
    draw = np.random.default_rng(4)
    actions, steps = 3, 12
    q = normal(draw, steps + 1, actions)
    policy, behavior = (
        np.asarray(jax.nn.softmax(normal(draw, steps + 1, actions))) for _ in range(2)
    )
    action = draw.integers(actions, size=steps + 1)
    reward = normal(draw, steps)
    terminated = np.arange(steps) == steps - 1
    at = np.arange(steps + 1)
    theirs = rlax.retrace(
        q[:-1],
        q[1:],
        action[:-1],
        action[1:],
        reward,
        np.where(terminated, 0.0, DISCOUNT).astype(np.float32),
        policy[1:],
        behavior[at, action][1:],
        0.9,
    )
    taken = q[at, action][:-1]
    ours = jax.jit(returns.retrace)(
        reward[:, None],
        taken[:, None],
        (policy * q).sum(-1)[1:, None],
        np.log(policy[at, action])[:-1, None],
        np.log(behavior[at, action])[:-1, None],
        terminated[:, None],
        np.zeros((steps, 1), bool),
        DISCOUNT,
        0.9,
    )[:, 0]
    np.testing.assert_allclose(ours - taken, theirs, **CLOSE)


@pytest.mark.parametrize("double", [False, True])
def test_targets_of_q_learning_are_those_of_rlax(double):
    draw = np.random.default_rng(5)
    online, target = (normal(draw, 50, 4) for _ in range(2))
    discount: Any = np.full(50, DISCOUNT, np.float32)
    reward = normal(draw, 50)
    discount[::7] = 0.0
    zeros, action = np.zeros((50, 4), np.float32), np.zeros(50, np.int32)
    if double:
        theirs = jax.vmap(rlax.double_q_learning)(zeros, action, reward, discount, target, online)
    else:
        theirs = jax.vmap(rlax.q_learning)(zeros, action, reward, discount, target)
    ours = jax.jit(q_learning.q_targets, static_argnums=4)(reward, discount, online, target, double)
    np.testing.assert_allclose(ours, theirs, **CLOSE)
    if double:
        other = q_learning.q_targets(reward, discount, online, target, False)
        assert (ours != other).any()


def test_sums_of_n_steps_are_those_of_rlax():
    """Of the first step of windows of n: rlax's return of n steps where no time limit cuts it."""
    draw = np.random.default_rng(6)
    length = 4
    reward, value = (normal(draw, 50, length) for _ in range(2))
    terminated = draw.random((50, length)) < 0.15
    assert terminated[:, :-1].any() and not terminated.any(1).all()
    total, discount, last = jax.jit(q_learning.n_step_sums)(
        reward, terminated, np.zeros_like(terminated), DISCOUNT
    )
    ours = total + discount * value[np.arange(50), last]
    discounts = np.where(terminated, 0.0, DISCOUNT).astype(np.float32)
    theirs = [
        rlax.n_step_bootstrapped_returns(*row, n=length)[0]
        for row in zip(reward, discounts, value, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, **CLOSE)

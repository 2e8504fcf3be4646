"""Targets against a slow loop and hand-made cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.q_learning import n_step_sums, q_targets


def slow_target(reward, terminated, truncated, next_value, discount):
    """The n-step target of one window, step by step, forwards."""
    total, k = reward[0], 0
    while not (terminated[k] or truncated[k] or k == len(reward) - 1):
        k += 1
        total += discount**k * reward[k]
    return total if terminated[k] else total + discount ** (k + 1) * next_value[k]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_n_step_targets_equal_a_slow_loop(n):
    rng = np.random.default_rng(n)
    reward, next_value = rng.normal(size=(2, 200, n)).astype(np.float32)
    terminated = rng.random((200, n)) < 0.2
    truncated = (rng.random((200, n)) < 0.2) & ~terminated
    total, bootstrap, last = jax.jit(n_step_sums, static_argnums=3)(
        reward, terminated, truncated, 0.9
    )
    value = next_value[np.arange(200), last]
    slow = [
        slow_target(*window, 0.9)
        for window in zip(reward, terminated, truncated, next_value, strict=True)
    ]
    np.testing.assert_allclose(total + bootstrap * value, slow, rtol=1e-5, atol=1e-6)
    if n == 5:  # the cases that matter were there: cut by each, and not cut
        assert ((last < 4) & (bootstrap == 0)).any()
        assert ((last < 4) & (bootstrap > 0)).any()
        assert ((last == 4) & (bootstrap > 0)).any()


def test_reward_after_the_end_of_the_episode_is_another_episodes():
    reward = jnp.asarray([[1.0, 2.0, 1e6], [1.0, 2.0, 1e6]])
    terminated = jnp.asarray([[False, True, False], [False, False, False]])
    truncated = jnp.asarray([[False, False, True], [False, True, False]])
    total, bootstrap, last = jax.jit(n_step_sums, static_argnums=3)(
        reward, terminated, truncated, 0.5
    )
    assert total.tolist() == [2.0, 2.0]
    assert bootstrap.tolist() == [0.0, 0.25]
    assert last.tolist() == [1, 1]


def test_double_q_takes_the_online_networks_choice_at_the_target_networks_value():
    reward, discount = jnp.asarray([1.0, 1.0]), jnp.asarray([0.5, 0.0])
    online = jnp.asarray([[3.0, 1.0, 2.0], [0.0, 9.0, 0.0]])
    target = jnp.asarray([[10.0, 40.0, 20.0], [7.0, 7.0, 7.0]])
    assert q_targets(reward, discount, online, target, True).tolist() == [6.0, 1.0]
    assert q_targets(reward, discount, online, target, False).tolist() == [21.0, 1.0]

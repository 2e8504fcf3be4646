"""The probe of memory: who remembers gets everything, and who does not gets nothing on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import scanned

from explorax.core.errors import InvalidSetting
from explorax.envs import ProbeRecall
from explorax.envs.task import Batched


def played(task: ProbeRecall, sign: float, answer) -> tuple[list[np.ndarray], list[float]]:
    """Return (observations, rewards) of one episode; answer: (t, obs) -> action."""
    step, state = jax.jit(task.step), task.place(jnp.array([sign, 0.0]))
    seen, rewards, done = [], [], False
    while not done:
        seen.append(np.asarray(task.observe(state)))
        action = answer(len(rewards), seen[-1])
        state, reward, done = step(state, jax.random.key(0), jnp.asarray(action))
        rewards.append(float(reward))
    return seen, rewards


def as_action(task: ProbeRecall, value: float):
    return np.array([value], np.float32) if task.continuous else np.int32(value > 0)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("delay", [1, 5, 20])
def test_memory_is_paid_and_nothing_else(delay, continuous):
    task, gamma = ProbeRecall(delay, continuous), 0.9
    first = {sign: np.array([sign, 0.0], np.float32) for sign in (-1.0, 1.0)}
    for sign, shown in first.items():
        best = task.best_action(jnp.asarray(shown))
        seen, rewards = played(task, sign, lambda t, obs, best=best: best)
        assert rewards == [0.0] * delay + [1.0]
        np.testing.assert_array_equal(seen[0], shown)
        np.testing.assert_allclose(
            seen[1:], [[0.0, t / delay] for t in range(1, delay + 1)], rtol=1e-6
        )
        for t, obs in enumerate(seen):
            value = float(task.value(jnp.asarray(obs), gamma))
            assert value == pytest.approx(gamma ** (delay - t), rel=1e-4)
        wrong = as_action(task, -sign)
        assert sum(played(task, sign, lambda t, obs, wrong=wrong: wrong)[1]) == -1.0
        # only the last action counts
        late = [as_action(task, -sign)] * delay + [best]
        assert sum(played(task, sign, lambda t, obs, late=late: late[t])[1]) == 1.0
    # the last observations of both signs are the same, so without memory the mean is 0
    ends = [played(task, sign, lambda t, obs: as_action(task, 0.7))[0][-1] for sign in first]
    np.testing.assert_array_equal(ends[0], ends[1])
    total = sum(
        sum(played(task, sign, lambda t, obs: as_action(task, 0.7 + obs[0]))[1]) for sign in first
    )
    assert total == pytest.approx(0.0)


def test_signs_are_as_likely_and_episodes_end_on_time():
    env = Batched(ProbeRecall(2), 500)
    first, out = scanned(env, jnp.ones((6, 500), jnp.int32))
    assert sorted(set(np.asarray(first)[:, 0])) == [-1.0, 1.0]
    assert abs(np.asarray(first)[:, 0].mean()) < 0.15
    np.testing.assert_array_equal(np.asarray(out.terminated)[:, 0], [0, 0, 1, 0, 0, 1])
    assert not out.truncated.any()
    np.testing.assert_array_equal(out.reward[2], np.asarray(first)[:, 0])
    assert abs(float(out.reward[5].mean())) < 0.15
    assert (np.asarray(out.obs[2])[:, 0] != 0).all() and (
        np.asarray(out.next_obs[2])[:, 0] == 0
    ).all()


@pytest.mark.parametrize("delay", [0, -1])
def test_a_delay_of_nothing_is_refused(delay):
    with pytest.raises(InvalidSetting, match="delay must be at least 1"):
        ProbeRecall(delay)

"""Pulls against their probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import InvalidSetting
from explorax.envs import BernoulliBandit
from explorax.envs.suite import make, name_of
from explorax.envs.task import Batched


@pytest.mark.parametrize("seed", [0, 3])
def test_arms_pay_with_their_probabilities_and_end_the_episode(seed):
    task, pulls = BernoulliBandit(3, best=0.9, gap=0.6, instance_seed=seed), 20_000
    env = Batched(task, 3 * pulls)

    @jax.jit
    def pull(key):
        state, obs = env.reset(key)
        return obs, env.step(state, key, jnp.tile(jnp.arange(3, dtype=jnp.int32), pulls))[1]

    obs, out = pull(jax.random.key(0))
    assert out.terminated.all() and not out.truncated.any()
    np.testing.assert_array_equal(obs, 1.0)
    np.testing.assert_array_equal(out.next_obs, 1.0)
    assert set(np.unique(out.reward)) == {0.0, 1.0}
    paid = np.asarray(out.reward).reshape(pulls, 3).mean(0)
    assert np.abs(paid - task.probabilities).max() < 4 * 0.5 / np.sqrt(pulls)


def test_instances():
    assert BernoulliBandit(4).probabilities == (0.5, 0.5, 0.5, 0.6)
    drawn = BernoulliBandit(50, instance_seed=7).probabilities
    assert drawn == BernoulliBandit(50, instance_seed=7).probabilities
    assert drawn != BernoulliBandit(50, instance_seed=8).probabilities
    assert 0 < min(drawn) < 0.2 and 0.8 < max(drawn) < 1


def test_its_name_holds_its_settings():
    name = "bernoulli_bandit/10(best=0.9, gap=0.2, instance_seed=4)"
    assert make(name, 2) == Batched(BernoulliBandit(10, 0.9, 0.2, 4), 2)
    assert name_of(name) == name and name_of(BernoulliBandit(10)) == "bernoulli_bandit/10"


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(arms=1), "arms must be at least 2"),
        (dict(arms=2, best=1.1), "best must be a probability above 0"),
        (dict(arms=2, gap=0.7), "gap must be above 0 and at most best=0.6"),
        (dict(arms=2, gap=0.0), "gap must be above 0"),
        (dict(arms=2, instance_seed=-1), "instance_seed must be in 0"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        BernoulliBandit(**settings)


def test_the_picture_marks_the_arm_that_was_pulled():
    task = BernoulliBandit(4)
    before = task.draw(task.reset(jax.random.key(0)))
    pulled, _, _ = task.step(task.reset(jax.random.key(0)), jax.random.key(0), jnp.int32(2))
    assert (task.draw(pulled) != before).any()

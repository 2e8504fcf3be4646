"""Does the bonus reach whoever learns from a wrapped vector? DESIGN's wiring test, with Q-learning.

Each check is a function that raises; the mutants at the end must make it raise.
"""

import sys

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from worlds import LENGTH, PaysPlace, vector

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.core.errors import Incompatible

ENVS, STEPS = 4, 300


def learned(env, mode):
    """Return the table [places, actions] of ε-greedy Q-learning on whatever reward it is given."""
    rng, table = np.random.default_rng(0), np.zeros((LENGTH, 2))
    obs, _ = env.reset(seed=2)
    over = np.zeros(ENVS, bool)
    for _ in range(STEPS):
        greedy = table[obs].argmax(1)
        actions = np.where(rng.random(ENVS) < 0.3, rng.integers(2, size=ENVS), greedy)
        after, reward, terminated, truncated, info = env.step(actions)
        done = terminated | truncated
        true = after.copy()
        if mode == "SAME_STEP":
            for index in np.flatnonzero(done):
                true[index] = info["final_obs"][index]
        for index in np.flatnonzero(~over):
            target = reward[index] + 0.9 * table[true[index]].max() * (not terminated[index])
            cell = obs[index], actions[index]
            table[cell] += 0.1 * (target - table[cell])
        if mode == "DISABLED" and done.any():
            after, _ = env.reset(options={"reset_mask": done})
        obs, over = after, done & (mode == "NEXT_STEP")
    return table


def check_the_bonus_reaches_the_learner(mode, wrapper=IntrinsicReward):
    """Reward r with bonus f trains to the bit as an environment that pays r + f."""
    with_bonus = learned(wrapper(vector(ENVS, mode), PaysPlace()), mode)
    np.testing.assert_array_equal(with_bonus, learned(vector(ENVS, mode, extra=True), mode))


@pytest.mark.parametrize("mode", AutoresetMode.__members__)
def test_reward_with_bonus_trains_as_their_sum_does(mode):
    check_the_bonus_reaches_the_learner(mode)


@pytest.mark.parametrize("mode", AutoresetMode.__members__)
def test_the_bonus_moves_the_learner_and_scale_zero_does_not(mode):
    plain = learned(vector(ENVS, mode), mode)
    silent = learned(IntrinsicReward(vector(ENVS, mode), PaysPlace(), 0.0), mode)
    np.testing.assert_array_equal(plain, silent)
    assert (plain != learned(IntrinsicReward(vector(ENVS, mode), PaysPlace()), mode)).any()


class Deaf(IntrinsicReward):
    """Keeps the bonus to itself."""

    def step(self, actions):
        obs, _, terminated, truncated, info = super().step(actions)
        return obs, info["extrinsic_reward"], terminated, truncated, info


class Late(IntrinsicReward):
    """Pays at the end of an episode for where the next one begins."""

    def _finals(self, done, info):
        return {}


@pytest.mark.parametrize(("mutant", "mode"), [(Deaf, "NEXT_STEP"), (Late, "SAME_STEP")])
def test_an_adapter_that_is_wrong_is_found(mutant, mode):
    with pytest.raises(AssertionError):
        check_the_bonus_reaches_the_learner(mode, mutant)


def test_without_stable_baselines3_the_adapter_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, "explorax.adapters.stable_baselines3", raising=False)
    with pytest.raises(Incompatible, match="pip install torch stable-baselines3"):
        __import__("explorax.adapters.stable_baselines3")

"""What a bonus sees of actions of every kind of space, and those that the space does not have."""

from typing import Any

import numpy as np
import pytest
from action_cases import CASES, REFUSED, Acts, counted, with_wrong
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from worlds import PaysOne

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.bonuses import Count
from explorax.core.errors import BadEnvironmentData


def wrapped(space, bonus, envs=3, bounds=None):
    vector = SyncVectorEnv([lambda: Acts(space)] * envs, autoreset_mode=AutoresetMode.SAME_STEP)
    env = IntrinsicReward(vector, bonus, action_bounds=bounds)
    env.reset(seed=0)
    games: Any = [each.unwrapped for each in vector.envs]
    return env, games


@pytest.mark.parametrize("name", CASES)
def test_a_bonus_sees_what_is_sent(name):
    case = CASES[name]
    env, games = wrapped(case.space, PaysOne(), bounds=case.bounds)
    env.step(case.sent)
    seen = env._stream._rows["action"][:3]
    np.testing.assert_allclose(seen, case.seen, rtol=1e-6, atol=1e-6)
    assert seen.dtype == (np.int32 if isinstance(case.space, spaces.Discrete) else np.float32)
    bare = SyncVectorEnv([lambda: Acts(case.space)] * 3)
    bare.reset()
    bare.step(case.sent)  # the environment gets what it would have got without us
    for mine, other in zip(games, bare.envs, strict=True):
        np.testing.assert_equal(mine.got, vars(other)["got"])


@pytest.mark.parametrize("name", REFUSED)
def test_an_action_that_the_space_does_not_have_is_named_before_it_is_taken(name):
    case = CASES[name]
    env, games = wrapped(case.space, PaysOne())
    with pytest.raises(BadEnvironmentData, match=r"step 0, environment 1: action .* where there"):
        env.step(with_wrong(case))
    assert [each.got for each in games] == [[], [], []]


def test_pairs_are_counted_wherever_the_codes_begin():
    """68.8 or so, where codes from -50 paid 1 for each of the 200 steps."""
    env, _ = wrapped(spaces.Discrete(2, start=50), Count(of="state_action", beta=1.0), 1)
    chosen = np.random.default_rng(0).integers(2, size=200)
    paid = [env.step(np.array([50 + code]))[1][0] for code in chosen]
    np.testing.assert_allclose(paid, counted(chosen), rtol=1e-6)
    assert 68 < sum(paid) < 70


def test_an_action_that_is_no_number_is_named():
    env, _ = wrapped(spaces.Discrete(2), PaysOne())
    with pytest.raises(BadEnvironmentData, match="an? action has dtype .* must be a whole number"):
        env.step(np.array(["0", "1", "0"]))

"""What a bonus sees of the actions that Stable-Baselines3's algorithms send."""

import numpy as np
import pytest
from action_cases import (  # pyright: ignore[reportMissingImports]  (tests)
    CASES,
    REFUSED,
    Acts,
    counted,
    with_wrong,
)
from gymnasium import spaces
from stable_baselines3 import A2C, PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import DummyVecEnv  # pyright: ignore[reportMissingImports]
from worlds import PaysOne  # pyright: ignore[reportMissingImports]  (tests/adapters)

from explorax.adapters.stable_baselines3 import IntrinsicReward
from explorax.bonuses import Count
from explorax.core.errors import BadEnvironmentData, Incompatible

NESTED = (spaces.Dict, spaces.Tuple)
FLAT = [name for name, case in CASES.items() if not isinstance(case.space, NESTED)]


def wrapped(space, bonus, envs=3, bounds=None):
    env = IntrinsicReward(DummyVecEnv([lambda: Acts(space)] * envs), bonus, action_bounds=bounds)
    env.reset()
    return env


def from_zero(case):
    """Return what is sent as Stable-Baselines3 counts it."""
    return case.sent - getattr(case.space, "start", case.sent.dtype.type(0))


@pytest.mark.parametrize("name", FLAT)
def test_a_bonus_sees_what_is_sent(name):
    case = CASES[name]
    env = wrapped(case.space, PaysOne(), bounds=case.bounds)
    sent = case.sent if case.sent.dtype == bool else from_zero(case)
    env.step(sent)
    np.testing.assert_allclose(env._stream._rows["action"][:3], case.seen, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal([each.got[0] for each in env.unwrapped.envs], sent)


@pytest.mark.parametrize("name", [name for name in REFUSED if name in FLAT])
def test_an_action_that_no_algorithm_sends_is_named_before_it_is_taken(name):
    case = CASES[name]
    env = wrapped(case.space, PaysOne())
    wrong = with_wrong(case)
    with pytest.raises(BadEnvironmentData, match=r"environment \d: action .* where there") as told:
        env.step(wrong)
    assert ("count actions from 0" in str(told.value)) == np.any(getattr(case.space, "start", 0))
    assert [each.got for each in env.unwrapped.envs] == [[], [], []]


def test_nested_actions_are_refused():
    with pytest.raises(Incompatible, match="no algorithm of Stable-Baselines3"):
        wrapped(CASES["Dict"].space, PaysOne())


class Sums(IntrinsicReward):
    """Keeps the codes that it was sent and what it paid for them."""

    def reset(self):
        self.sent, self.paid = [], []
        return super().reset()

    def step_async(self, actions):
        self.sent += actions.tolist()
        super().step_async(actions)

    def step_wait(self):
        out = super().step_wait()
        self.paid += [info["intrinsic_reward"] for info in out[3]]
        return out


@pytest.mark.parametrize("start", [0, 1, 50, -3])
def test_pairs_are_counted_wherever_the_codes_begin(start):
    """68.8 or so, where codes from -50 paid 1 for each of the 200 steps."""
    vector = DummyVecEnv([lambda: Acts(spaces.Discrete(2, start=start))])
    env = Sums(vector, Count(of="state_action", beta=1.0))
    PPO("MlpPolicy", env, n_steps=200, batch_size=50, n_epochs=1, seed=0, device="cpu").learn(200)
    assert len(env.sent) == 200 and {*env.sent} == {0, 1}
    np.testing.assert_allclose(env.paid, counted(env.sent), rtol=1e-6)
    assert 67 < sum(env.paid) < 71


@pytest.mark.parametrize("name", ["MultiBinary", "MultiDiscrete", "five", "asymmetric", "int8"])
def test_their_algorithms_send_what_is_seen(name):
    env = Sums(DummyVecEnv([lambda: Acts(CASES[name].space)] * 2), PaysOne())
    A2C("MlpPolicy", env, seed=0, device="cpu").learn(40)
    seen = env._stream._rows["action"][:40]
    assert np.unique(seen, axis=0).shape[0] > 3 or name == "MultiBinary"
    assert (np.abs(seen) <= 1).all()

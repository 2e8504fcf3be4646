"""What stands between a bonus and Stable-Baselines3: buffers, casts, processes, statistics."""

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from reusing import LAST, Reuses  # pyright: ignore[reportMissingImports]  (tests)
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.callbacks import (  # pyright: ignore[reportMissingImports]
    EvalCallback,
)
from stable_baselines3.common.monitor import Monitor  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
    DummyVecEnv,
    SubprocVecEnv,
    VecNormalize,
)
from worlds import PaysOne, PaysPlace, Walk  # pyright: ignore[reportMissingImports]

from explorax.adapters.stable_baselines3 import IntrinsicReward
from explorax.bonuses import NoBonus
from explorax.core.errors import BadEnvironmentData


def remembered(env, steps):
    """Return the successors that the bonus remembers of one environment, and what was told."""
    env.reset()
    told = [env.step(np.zeros(1, int)) for _ in range(steps)]
    return env._stream._rows["next_obs"][:steps], told


@pytest.mark.parametrize("shown", ["float32", "float64", "uint8", "dict"])
def test_the_end_of_an_episode_is_remembered(shown):
    env = IntrinsicReward(DummyVecEnv([partial(Reuses, shown)]), PaysOne())
    rows, told = remembered(env, LAST)
    np.testing.assert_array_equal(rows[:, 0], [2, 4, 6, 8])
    last = told[-1][3][0]["terminal_observation"]
    np.testing.assert_array_equal(last["here"] if shown == "dict" else last, [8, 8])


class Cast(gymnasium.Env):
    """Gives observations of `given` where the space has others; an episode has 5 steps."""

    def __init__(self, given):
        self.given, self.count, self.action_space = given, 0, spaces.Discrete(2)
        image = spaces.Box(0, 255, (8, 8, 1), np.uint8)
        self.observation_space = image if given == "float64" else spaces.Box(0, 9, (3,))

    def seen(self):
        if self.given == "float64":
            return np.full((8, 8, 1), self.count + 1.0)
        return np.full((1, 3), self.count + 1, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), 0.0, self.count == 5, False, {}


@pytest.mark.parametrize("given", ["float64", "(1, 3)"])
def test_what_their_vector_casts_is_cast_at_an_episodes_end_too(given):
    env = IntrinsicReward(DummyVecEnv([partial(Cast, given)]), PaysOne())
    rows, _ = remembered(env, 7)
    wanted = np.broadcast_to(np.array([2, 3, 4, 5, 6, 2, 3])[:, None], (7, rows[0].size))
    np.testing.assert_array_equal(rows.reshape(7, -1), wanted)


def processes(make, envs=1):
    return SubprocVecEnv([make] * envs, start_method="forkserver")


def test_what_processes_do_not_cast_is_refused_at_reset():
    env = IntrinsicReward(processes(partial(Cast, "(1, 3)")), PaysOne())
    with pytest.raises(BadEnvironmentData, match=r"SubprocVecEnv, .* have shape \(1, 1, 3\)"):
        env.reset()
    env.close()


def of_a_lambda():
    """Return an environment whose spec cannot be pickled: it holds a lambda."""
    env = gymnasium.make("CartPole-v1")
    return gymnasium.wrappers.TransformReward(env, lambda reward: 2 * float(reward))


def test_environments_in_other_processes_are_not_asked_what_they_are():
    env = IntrinsicReward(processes(of_a_lambda, 2), PaysOne())
    env.reset()
    reward = env.step(np.array([0, 1]))[1]
    np.testing.assert_array_equal(reward, [3, 3])
    env.close()


@pytest.mark.parametrize("made", [of_a_lambda, lambda: gymnasium.make("CartPole-v1")])
def test_environments_of_this_process_are_named(made):
    env = IntrinsicReward(DummyVecEnv([made]), PaysOne())
    with pytest.raises(BadEnvironmentData, match="CartPole-v1: step was called before reset"):
        env.step(np.array([0]))


class Goals(Walk):
    """A walk with a goal."""

    def __init__(self):
        super().__init__("box")
        box = self.observation_space
        names = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = spaces.Dict({name: box for name in names})


def test_relabelled_rows_are_warned_of():
    with pytest.warns(UserWarning, match=r"HerReplayBuffer gives .* no bonus.* 80% of") as told:
        IntrinsicReward(DummyVecEnv([Goals]), PaysOne())
    assert told[0].filename == __file__


def test_evaluation_with_statistics_and_without_the_bonus():
    def monitored():
        return DummyVecEnv([lambda: Monitor(Walk("box"))])

    env = VecNormalize(IntrinsicReward(monitored(), PaysPlace(), 10.0))
    bare = IntrinsicReward(monitored(), NoBonus())
    evaluation = VecNormalize(bare, training=False, norm_reward=False)
    heard = EvalCallback(evaluation, eval_freq=64, n_eval_episodes=4, verbose=0)
    PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(
        128, callback=heard
    )
    np.testing.assert_array_equal(evaluation.obs_rms.mean, env.obs_rms.mean)
    assert env.obs_rms.count > 128
    assert heard.n_calls == 128 and 0.0 <= heard.last_mean_reward <= 1.0  # the walk's own
    assert bare.metrics == {}

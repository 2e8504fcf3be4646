"""What is remembered of an episode's end, where environments write over what they returned."""

import copy
import pickle
from collections import deque
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import Wrapper, spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper
from reusing import LAST, SHOWN, Reuses
from worlds import PaysOne, Walk, vector

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.adapters.spaces import encode_observation, handed_on
from explorax.envs.gymnasium_guard import fault


def reusing(shown="float32", mode="SAME_STEP", **settings) -> Any:
    return SyncVectorEnv(
        [partial(Reuses, shown)] * 2, autoreset_mode=AutoresetMode[mode], **settings
    )


def played(env, steps):
    """Return (what the bonus remembers, what each step returned) of so many steps."""
    env.reset(seed=0)
    told = [env.step(np.zeros(2, int)) for _ in range(steps)]
    rows = env._stream._rows
    return {name: rows[name][: env._stream._filled] for name in ("obs", "next_obs")}, told


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
@pytest.mark.parametrize("copies", [True, False])
def test_the_end_of_an_episode_is_remembered(shown, mode, copies):
    env = IntrinsicReward(reusing(shown, mode, copy=copies), PaysOne())
    rows, told = played(env, LAST)
    np.testing.assert_array_equal(rows["next_obs"][::2, 0], [2, 4, 6, 8])
    np.testing.assert_array_equal(rows["next_obs"][1::2, 1], [2, 4, 6, 8])
    np.testing.assert_array_equal(rows["obs"][::2, 0], [0, 2, 4, 6])
    if mode == "SAME_STEP":  # and the trainer is told
        last = told[-1][4]["final_obs"][1]
        parts = {"dict": lambda: last["here"], "tuple": lambda: last[1]}
        np.testing.assert_array_equal(parts.get(shown, lambda: last)(), [8, 8])


def test_environments_stay_what_they_were():
    below: Any = vector(2, shown="box")
    types = [type(each) for each in below.envs]
    IntrinsicReward(IntrinsicReward(below, PaysOne()), PaysOne())
    assert [type(each) for each in below.envs] == types
    other = copy.deepcopy(below.envs[0])
    below.envs[0].reset(seed=0)
    other.reset(seed=0)
    other.step(1)
    assert other.place == below.envs[0].place + 1  # a copy steps itself
    again = pickle.loads(pickle.dumps(below.envs[0]))
    again.step(1)
    assert again.place == below.envs[0].place + 1
    assert below.envs[0].step.own is None  # once is enough


def test_a_step_that_was_put_into_an_environment_stays():
    below: Any = vector(1, shown="box")
    env, told = below.envs[0], (np.zeros(1, np.float32), 7.0, True, False, {})
    env.step = lambda action: told
    wrapped = IntrinsicReward(below, PaysOne(), 0.0)
    wrapped.reset()
    assert wrapped.step(np.array([1]))[1] == 7.0


class WritesOverRewards(VectorWrapper):
    def step(self, actions) -> Any:
        obs, reward, *rest = self.env.step(actions)
        self.rewards = getattr(self, "rewards", reward)
        self.rewards[:] = reward
        return obs, self.rewards, *rest


def test_rewards_that_are_told_stay_as_they_were():
    _, told = played(IntrinsicReward(WritesOverRewards(reusing()), PaysOne()), 3)
    np.testing.assert_array_equal([out[4]["extrinsic_reward"][0] for out in told], [1, 2, 3])
    np.testing.assert_array_equal([out[1][0] for out in told], [2, 3, 4])


class OutOfReach(SyncVectorEnv):
    """Has its environments where nobody finds them, as if they were in other processes."""

    def __init__(self, makers):
        super().__init__(makers, autoreset_mode=AutoresetMode.SAME_STEP)
        self.envs: Any = deque(self.envs)


def test_ends_that_nobody_can_save_are_suspected():
    env = IntrinsicReward(OutOfReach([Reuses] * 2), PaysOne())
    played(env, 4 * LAST)  # eight episodes
    with pytest.warns(UserWarning, match=r"10 episodes in a row .* let it return copies"):
        played(env, LAST)
    played(env, 10 * LAST)  # once


class Copies(Wrapper):
    def step(self, action) -> Any:
        obs, *rest = self.env.step(action)
        return np.array(obs), *rest


class Rests(Walk):
    """Ends after two steps where it began; `moves`: after a step elsewhere."""

    def __init__(self, moves):
        super().__init__("box")
        self.moves = moves

    def step(self, action):
        self.steps += 1
        self.place = 1 if self.moves and self.steps == 1 else 0
        return self.seen(), 0.0, False, self.steps == 2, {}

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.place = self.steps = 0
        return self.seen(), {}


@pytest.mark.parametrize("made", [lambda: Copies(Reuses()), partial(Rests, False)])
def test_other_ends_are_not_suspected(made):
    played(IntrinsicReward(OutOfReach([made] * 2), PaysOne()), 60)  # warnings are errors


def test_ends_that_were_saved_are_not_suspected():
    made: Any = [partial(Rests, True)] * 2
    env = IntrinsicReward(SyncVectorEnv(made, autoreset_mode=AutoresetMode.SAME_STEP), PaysOne())
    played(env, 60)
    with pytest.warns(UserWarning, match="10 episodes"):
        played(IntrinsicReward(OutOfReach(made), PaysOne()), 60)


class Loose(Walk):
    """A walk that shows more, or in another form, than its space says."""

    def seen(self) -> Any:
        seen: Any = super().seen()
        if self.shown == "dict":
            return {**seen, "debug": self.steps}  # which vectors leave out
        if self.shown == "tuple":
            return [*seen]
        return np.asarray(seen, np.float64).tolist()


@pytest.mark.parametrize("kind", ["dict", "tuple", "box"])
def test_what_a_vector_takes_at_first_it_takes_at_an_episodes_end(kind):
    made: Any = [partial(Loose, kind)] * 2
    env = IntrinsicReward(SyncVectorEnv(made, autoreset_mode=AutoresetMode.SAME_STEP), PaysOne())
    strict = IntrinsicReward(vector(2, shown=kind), PaysOne())
    seen, wanted = played(env, 20)[0], played(strict, 20)[0]
    for name, rows in seen.items():
        np.testing.assert_array_equal(rows, wanted[name])
    assert any("final_obs" in out[4] for out in played(env, 20)[1])


@pytest.mark.parametrize(
    ("space", "given", "wanted"),
    [
        (spaces.Box(0, 255, (2, 2), np.uint8), np.full((2, 2), 7.0), np.full((2, 2), 7, np.uint8)),
        (spaces.Box(0, 1, (3,)), [[0.0, 0.5, 1.0]], [0.0, 0.5, 1.0]),
        (spaces.Box(0, 1, (3,)), 0.5, [0.5, 0.5, 0.5]),
        (spaces.Discrete(3), np.float64(2.0), 2),
        (spaces.MultiBinary(2), np.array([1.0, 0.0]), [1, 0]),
        (spaces.Dict({"a": spaces.Discrete(3)}), {"b": 0, "a": np.array([2])}, {"a": 2}),
        (spaces.Tuple((spaces.Text(4), spaces.Discrete(2))), ["ab", 1], ("ab", 1)),
    ],
)
def test_an_observation_is_taken_as_vectors_write_it(space, given, wanted):
    taken = handed_on(space, given)
    np.testing.assert_equal(taken, wanted)
    assert fault(space, taken) is None
    np.testing.assert_array_equal(
        encode_observation(space, taken), encode_observation(space, wanted)
    )


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (spaces.Box(0, 255, (2,), np.uint8), np.array([np.nan, 0.0])),
        (spaces.Box(0, 1, (3,)), [0.0, 0.5]),
        (spaces.Box(0, 1, (2,)), [[0.0], [0.5, 1.0]]),
        (spaces.Discrete(3), 7.0),
        (spaces.Dict({"a": spaces.Discrete(3)}), {"b": 0}),
        (spaces.Tuple((spaces.Discrete(3),)), [0, 1]),
        (spaces.Text(2), "abc"),
    ],
)
def test_what_no_vector_could_write_is_a_fault(space, given):
    assert fault(space, handed_on(space, given)) is not None

"""What a bonus sees of observations and actions of every kind, and what is refused."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space, iterate
from worlds import PaysOne, PaysPlace, Walk, vector

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.adapters.spaces import (
    encode_actions,
    encode_observation,
    encode_observations,
    spec_of,
)
from explorax.bonuses import RND, Count
from explorax.core.errors import BadEnvironmentData, Diverged, Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete
from explorax.envs.gymnasium_guard import array_space, encode, fault

UNIT = spaces.Box(-1.0, 1.0, (2,))
NESTED = spaces.Dict(
    {
        "b": spaces.Tuple(
            (spaces.Discrete(3, start=-1), spaces.Box(-2.0, 2.0, (2, 3), np.float64))
        ),
        "a": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
        "c": spaces.MultiBinary((2, 2)),
        "image": spaces.Box(0, 255, (2, 2, 1), np.uint8),
    }
)
OBSERVED = [
    UNIT,
    spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(np.zeros((2, 2), np.float32), np.array([[1, 2], [3, 4]], np.float32)),
    spaces.Box(-5, 5, (3,), np.int32),
    spaces.Discrete(4, start=2),
    spaces.MultiDiscrete([2, 3], start=[1, -1]),
    spaces.MultiBinary(3),
    NESTED,
    spaces.Tuple((NESTED, spaces.Discrete(2))),
    spaces.Dict({"said": spaces.Text(4), "place": spaces.Discrete(2)}),
]


@pytest.mark.parametrize("space", OBSERVED, ids=lambda space: type(space).__name__)
def test_many_observations_are_encoded_as_each_alone(space):
    batched = batch_space(space, 5)
    batched.seed(0)
    sample = batched.sample()
    many = encode_observations(space, sample)
    alone = np.stack([encode(space, each) for each in iterate(batched, sample)])
    np.testing.assert_array_equal(many, alone)
    assert many.dtype == alone.dtype
    spec = spec_of(space, UNIT, 5, "test", None)
    flat = array_space(space, "test")
    assert (
        (spec.obs.shape, spec.obs.dtype)
        == (flat.shape, str(flat.dtype))
        == (
            many.shape[1:],
            str(many.dtype),
        )
    )
    low, high = (
        np.broadcast_to(np.asarray(edge), flat.shape) for edge in (spec.obs.low, spec.obs.high)
    )
    assert (low <= flat.low).all() and (high >= flat.high).all()


def test_finitely_many_observations_are_known_as_such():
    assert spec_of(spaces.MultiDiscrete([2, 3]), UNIT, 1, "test", None).obs.one_hot == (2, 3)
    assert spec_of(spaces.MultiBinary(2), UNIT, 1, "test", None).obs.one_hot is None


def test_actions_are_seen_between_minus_one_and_one():
    space = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
    seen = encode_actions(space, np.array([[-2.0, 10.0], [1.0, 5.0], [2.0, 0.0]]))
    np.testing.assert_allclose(seen, [[-1.0, 1.0], [0.5, 0.0], [1.0, -1.0]])
    free = spaces.Box(-np.inf, np.inf, (1,))
    np.testing.assert_allclose(encode_actions(free, np.array([[3.0]]), (1.0, 5.0)), [[0.0]])
    assert spec_of(UNIT, free, 2, "test", (1.0, 5.0)).action == Box((1,))


def test_whole_actions_are_numbers_or_codes():
    np.testing.assert_array_equal(
        encode_actions(spaces.Discrete(3, start=5), np.array([7, 5])), [2, 0]
    )
    assert spec_of(UNIT, spaces.Discrete(3, start=5), 2, "test", None).action == Discrete(3)
    several = spaces.MultiDiscrete([2, 3])
    codes = encode_actions(several, np.array([[1, 0], [0, 2]]))
    np.testing.assert_array_equal(codes, [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]])
    assert spec_of(UNIT, several, 2, "test", None).action == Box((5,))
    mixed = spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 4.0, (1,)), spaces.MultiBinary(2)))
    parts = (np.array([1]), np.array([[3.0]]), np.array([[1, 0]]))
    np.testing.assert_array_equal(encode_actions(mixed, parts), [[0, 1, 0.5, 1, 0]])


class Unheard(spaces.Space):
    """A space of one's own, which Gymnasium does not know."""


@pytest.mark.parametrize(
    ("observed", "acted", "match"),
    [
        (Unheard(), UNIT, "FilterObservation"),
        (spaces.Sequence(UNIT), UNIT, "no fixed size"),
        (UNIT, spaces.Discrete(10**12), "acts in Discrete.*one-hot code has 1,000,000,000,000 ent"),
        (UNIT, spaces.Dict({"a": spaces.MultiDiscrete([2**16, 2])}), r"in \['a'\].* an action may"),
        (UNIT, spaces.Text(5), "MultiDiscrete"),
        (UNIT, spaces.Box(-np.inf, np.inf, (1,)), "action_bounds"),
        (UNIT, spaces.Tuple((spaces.Box(0.0, np.inf, (1,)),)), "action_bounds"),
    ],
)
def test_what_has_no_size_or_no_bounds_is_refused(observed, acted, match):
    with pytest.raises(Incompatible, match=match):
        spec_of(observed, acted, 2, "test", None)


class Faulty(Walk):
    """A walk whose `what` is spoilt in its third step."""

    def __init__(self, what, value, shown="box"):
        super().__init__(shown)
        self.what, self.value, self.spoilt = what, value, 0

    def step(self, action):
        observation, reward, arrived, late, info = super().step(action)
        self.spoilt += 1
        if self.spoilt == 3 and self.what == "obs":
            observation = self.value
        if self.spoilt == 3 and self.what == "reward":
            reward = self.value
        return (
            observation,
            reward,
            arrived or (self.what == "final" and self.spoilt == 3),
            late,
            info,
        )


@pytest.mark.parametrize(
    ("what", "value", "shown", "match"),
    [
        (
            "obs",
            np.array([np.nan], np.float32),
            "box",
            r"environment 1, step 3: the observation is",
        ),
        ("obs", 77, "discrete", r"step 3, environment 1: number 77 where there are 0 to 5"),
        ("reward", np.nan, "box", r"environment 1, step 3: the reward is not finite"),
        ("reward", 1e300, "box", r"environment 1, step 3: the reward is not finite, or too large"),
    ],
)
def test_bad_data_is_named_with_its_environment_and_step(what, value, shown, match):
    makers = [partial(Walk, shown), partial(Faulty, what, value, shown)]
    vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    env = IntrinsicReward(vector, PaysPlace())
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.array([0, 0]))
    with pytest.raises(BadEnvironmentData, match=match):
        env.step(np.array([0, 0]))


def test_a_bad_last_observation_is_found_too():
    class Spoiled(gymnasium.vector.VectorWrapper):
        def step(self, actions):
            *rest, info = self.env.step(actions)
            if "final_obs" in info:
                index = int(np.flatnonzero(info["_final_obs"])[0])
                info["final_obs"][index] = np.array([np.inf], np.float32)
            return *rest, info

    env = IntrinsicReward(Spoiled(vector(2, shown="box")), PaysPlace())
    env.reset(seed=0)
    with pytest.raises(BadEnvironmentData, match="last observation of the episode is not finite"):
        for _ in range(10):
            env.step(np.array([1, 0]))


def test_an_action_that_is_no_number_and_a_step_without_reset_are_refused():
    env = IntrinsicReward(gymnasium.make_vec("Pendulum-v1", 2, "sync"), PaysOne())
    with pytest.raises(BadEnvironmentData, match="before reset"):
        env.step(np.zeros((2, 1), np.float32))
    env.reset(seed=0)
    with pytest.raises(BadEnvironmentData, match="environment 1, step 0: the action"):
        env.step(np.array([[0.0], [np.nan]], np.float32))


def test_a_bonus_that_is_not_finite_stops():
    class Infinite(PaysOne):
        def score(self, state, key, rollout):
            return super().score(state, key, rollout)[0] / 0.0, state

    env = IntrinsicReward(vector(2), Infinite())
    env.reset(seed=0)
    with pytest.raises(Diverged, match=r"environment 0, step 1: the bonus is inf"):
        env.step(np.array([1, 0]))


def test_images_are_kept_as_bytes_and_boxes_keep_their_bounds():
    env = IntrinsicReward(vector(2, shown="image"), RND(hidden=(4,), predictor_hidden=(4,)))
    assert env._stream._rows["obs"].dtype == np.uint8
    spec = spec_of(gymnasium.make("MountainCar-v0").observation_space, UNIT, 2, "test", None)
    np.testing.assert_allclose(spec.obs.low, [-1.2, -0.07])
    with pytest.raises(Incompatible, match="HashCount"):
        IntrinsicReward(vector(2, shown="box"), Count())


@pytest.mark.parametrize(("shape", "seen"), [((3, 40, 50), (40, 50, 3)), ((40, 50), (40, 50, 1))])
def test_a_bonus_sees_the_channels_of_images_last(shape, seen):
    space = spaces.Box(0, 255, shape, np.uint8)
    batch = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    assert spec_of(space, UNIT, 2, "test", None).obs.shape == seen
    many = encode_observations(space, batch)
    assert many.shape == (2, *seen) and many.dtype == np.uint8
    np.testing.assert_array_equal(many[1, 7, 9], batch[1, ..., 7, 9].reshape(-1))
    np.testing.assert_array_equal(encode_observation(space, batch[1]), many[1])


@pytest.mark.parametrize(
    ("space", "batch", "match"),
    [
        (spaces.MultiBinary(2), [[0, 1], [0, 7]], "environment 1: number 7 where there are 0 to 1"),
        (spaces.Box(0, 255, (2,), np.uint8), [[300, 0], [0, 1]], "environment 0: number 300"),
        (spaces.MultiDiscrete([3, 4]), [[0, 1], [5, 0]], "environment 1: number 5"),
    ],
)
def test_whole_numbers_out_of_range_are_refused(space, batch, match):
    with pytest.raises(BadEnvironmentData, match=match):
        encode_observations(space, np.array(batch))
    for row in (0, 1):
        said = fault(space, np.array(batch[row]))
        assert (said is None) == (f"environment {row}" not in match)


@pytest.mark.parametrize(
    "observed",
    [
        spaces.Dict({}),
        spaces.Dict({"inner": spaces.Tuple(()), "place": UNIT}),
        spaces.Box(0.0, 1.0, (0,)),
    ],
)
def test_an_observation_without_entries_is_refused(observed):
    with pytest.raises(Incompatible, match="nothing to see"):
        spec_of(observed, UNIT, 2, "test", None)


@pytest.mark.parametrize("bounds", [(1.0, -1.0), (1.0, 1.0), (0.0, np.inf), (np.nan, 1.0)])
def test_bounds_that_bound_nothing_are_refused(bounds):
    with pytest.raises(InvalidSetting, match="two finite numbers, the lower one first"):
        spec_of(UNIT, spaces.Box(-np.inf, np.inf, (1,)), 2, "test", bounds)


class Misshapen(gymnasium.vector.VectorWrapper):
    """Returns rewards or observations of another shape than is declared."""

    what = ""

    def step(self, actions) -> Any:
        obs, reward, *rest = self.env.step(actions)
        if self.what == "rewards":
            return obs, reward[:, None], *rest
        return obs[:, :0], reward, *rest


@pytest.mark.parametrize("what", ["rewards", "observations"])
def test_arrays_of_another_shape_are_named(what):
    below = Misshapen(vector(2, shown="box"))
    below.what = what
    env = IntrinsicReward(below, PaysPlace())
    env.reset(seed=0)
    with pytest.raises(BadEnvironmentData, match=f"step 1: the {what} have shape"):
        env.step(np.array([1, 0]))


def test_actions_of_another_shape_are_named_before_anything_is_stepped():
    below: Any = vector(2, shown="box")
    env = IntrinsicReward(below, PaysPlace())
    env.reset(seed=0)
    before = [one.place for one in below.envs]
    with pytest.raises(BadEnvironmentData, match=r"the actions have shape \(2, 1\)"):
        env.step(np.array([[1], [0]]))
    assert [one.place for one in below.envs] == before


def test_a_class_is_no_bonus():
    given: Any = Count
    with pytest.raises(InvalidSetting, match="bonus=Count: it must be a bonus, an object such as"):
        IntrinsicReward(vector(2), given)

"""The border to Gymnasium: arrays, ends of episodes, units, and what is refused."""

import itertools
import re
import subprocess
import sys
from functools import partial

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces
from playing import KEY, play
from reusing import LAST, SHOWN, Reuses

from explorax.core.errors import BadEnvironmentData, Incompatible, InvalidSetting, UnknownName
from explorax.core.protocols import Box, Discrete
from explorax.envs.gymnasium import GymnasiumVector
from explorax.ops.finite import state_index

NUMBERS = itertools.count()


class Fake(gymnasium.Env):
    """Counts its steps, and observes, pays and ends as its settings say."""

    def __init__(
        self,
        space=None,
        actions=None,
        observe=lambda count: np.array([count, -count], np.float32),
        reward=1.0,
        end=None,
        render_mode=None,
    ):
        self.observation_space = space or spaces.Box(-100, 100, (2,), np.float32)
        self.action_space = actions or spaces.Discrete(2)
        self.observe, self.reward, self.end = observe, reward, end
        self.render_mode, self.count, self.got = render_mode, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observe(0), {}

    def step(self, action):
        self.got.append(action)
        self.count += 1
        return self.observe(self.count), self.reward, self.count == self.end, False, {}

    def render(self):
        return np.full((8, 9, 3), self.count, np.uint8)


@pytest.fixture
def fake():
    """Return a function that registers a Fake with settings and makes a vector of it."""
    ids = []

    def make(num_envs=2, max_episode_steps=None, render=False, threshold=None, **settings):
        ids.append(f"Fake{next(NUMBERS)}-v0")  # never the same twice: specs are remembered by id
        gymnasium.register(
            ids[-1],
            partial(Fake, **settings),
            max_episode_steps=max_episode_steps,
            reward_threshold=threshold,
        )
        return GymnasiumVector(ids[-1], num_envs, render=render)

    yield make
    for name in ids:
        del gymnasium.registry[name]


@pytest.mark.parametrize(
    ("id", "steps", "action", "success"),
    [
        ("MountainCar-v0", 200, Discrete(3), -199.0),
        ("CartPole-v1", 500, Discrete(2), 475.0),
        ("Pendulum-v1", 200, Box((1,)), None),
    ],
)
def test_real_environments(id, steps, action, success):
    env = GymnasiumVector(id, 3)
    spec = env.spec
    assert not env.traceable
    assert (spec.num_envs, spec.max_episode_steps) == (3, steps)
    assert (spec.action, spec.success_return) == (action, success)
    rng = np.random.default_rng(0)
    if isinstance(action, Discrete):
        actions = rng.integers(action.n, size=(210, 3)).astype(np.int32)
    else:
        actions = rng.uniform(-1.2, 1.2, (210, 3, 1)).astype(np.float32)
    _, obs, rows = play(env, actions)
    _, obs_again, rows_again = play(env, actions)
    np.testing.assert_array_equal(obs, obs_again)  # seeds come from the key
    _, other = env.reset(jax.random.key(1))
    assert (other != obs).any()
    assert len({tuple(row) for row in obs}) == 3
    ended = 0
    for row, again in zip(rows, rows_again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, row, again)
        assert row.obs.dtype == row.next_obs.dtype == row.reward.dtype == np.float32
        assert row.obs.shape == (3, *spec.obs.shape)
        done = row.terminated | row.truncated
        np.testing.assert_array_equal(row.obs[~done], row.next_obs[~done])
        assert (row.obs[done] != row.next_obs[done]).any(-1).all()
        ended += done.sum()
    assert ended >= 3


def test_pendulum_gets_its_torque_in_newton_metres():
    env = GymnasiumVector("Pendulum-v1", 3)
    state, obs = env.reset(KEY)
    angle = np.arctan2(obs[:, 1], obs[:, 0])
    _, out = env.step(state, KEY, np.array([[-1.0], [0.25], [9.0]], np.float32))
    torque = np.array([-2.0, 0.5, 2.0])  # clipped to [-1, 1], then twice that
    expected = -(angle**2 + 0.1 * obs[:, 2] ** 2 + 0.001 * torque**2)
    np.testing.assert_allclose(out.reward, expected, rtol=1e-4, atol=1e-6)
    speed = obs[:, 2] + (15 * np.sin(angle) + 3 * torque) * 0.05
    np.testing.assert_allclose(out.next_obs[:, 2], speed, rtol=1e-4, atol=1e-5)


def test_true_successor_is_rebuilt_where_an_episode_ends(fake):
    env = fake(end=3)
    _, obs, rows = play(env, [np.zeros(2, np.int32)] * 4)
    np.testing.assert_array_equal(obs, [[0, 0], [0, 0]])
    np.testing.assert_array_equal([row.next_obs[0, 0] for row in rows], [1, 2, 3, 1])
    np.testing.assert_array_equal([row.obs[0, 0] for row in rows], [1, 2, 0, 1])
    np.testing.assert_array_equal([row.terminated[0] for row in rows], [0, 0, 1, 0])
    assert not any(row.truncated.any() for row in rows)


@pytest.mark.parametrize("shown", SHOWN)
def test_what_an_environment_writes_over_is_remembered(fake, shown):
    env = fake()
    gymnasium.registry[env.id].entry_point = partial(Reuses, shown)
    _, obs, rows = play(env, [np.zeros(2, np.int32)] * (LAST + 1))
    np.testing.assert_array_equal(obs[:, 0], [0, 0])
    np.testing.assert_array_equal([row.next_obs[1, 0] for row in rows], [2, 4, 6, 8, 2])
    np.testing.assert_array_equal([row.obs[1, 0] for row in rows], [2, 4, 6, 0, 2])


def test_time_limit_truncates_but_an_end_in_the_same_step_terminates(fake):
    zeros = [np.zeros(2, np.int32)] * 3
    _, _, rows = play(fake(max_episode_steps=3), zeros)
    np.testing.assert_array_equal([row.truncated[0] for row in rows], [0, 0, 1])
    assert not rows[-1].terminated.any()
    assert rows[-1].next_obs[0, 0] == 3
    _, _, rows = play(fake(max_episode_steps=3, end=3), zeros)
    assert rows[-1].terminated.all()
    assert not rows[-1].truncated.any()


def worlds_of(state):
    (share,) = state.vector.shares
    return list(share.worlds.values())


def test_actions_start_where_the_space_does(fake):
    env = fake(actions=spaces.Discrete(3, start=5))
    assert env.spec.action == Discrete(3)
    state, _, _ = play(env, [np.array([0, 2], np.int32)])
    assert [one.unwrapped.got for one in worlds_of(state)] == [[5], [7]]


def test_box_actions_are_scaled_per_dimension_and_clipped(fake):
    low, high = np.array([0.0, -3.0], np.float32), np.array([10.0, 1.0], np.float32)
    env = fake(actions=spaces.Box(low, high))
    assert env.spec.action == Box((2,))
    state, _, _ = play(env, [np.array([[-1, 1], [0, -5]], np.float32)])
    np.testing.assert_allclose(worlds_of(state)[0].unwrapped.got, [[0, 1]])
    np.testing.assert_allclose(worlds_of(state)[1].unwrapped.got, [[5, -3]])


def test_observations_become_arrays(fake):
    env = fake(space=spaces.Discrete(4, start=1), observe=lambda count: 1 + count % 4)
    assert env.spec.obs == Box((4,), 0.0, 1.0, one_hot=(4,))
    _, obs, rows = play(env, [np.zeros(2, np.int32)])
    np.testing.assert_array_equal(obs[0], [1, 0, 0, 0])
    np.testing.assert_array_equal(rows[0].obs[0], [0, 1, 0, 0])

    place = spaces.Box(-1, 1, (2,), np.float64)
    env = fake(
        space=spaces.Dict(place=place, flag=spaces.Discrete(2)),
        observe=lambda count: {"place": np.full(2, 0.5), "flag": count % 2},
    )
    assert env.spec.view is None
    assert env.spec.obs.one_hot is None
    _, obs, rows = play(env, [np.zeros(2, np.int32)])
    np.testing.assert_array_equal(obs[0], [0.5, 0.5, 1, 0])
    np.testing.assert_array_equal(rows[0].obs[1], [0.5, 0.5, 0, 1])
    assert obs.dtype == np.float32

    image = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    env = fake(space=image, observe=lambda count: np.full((4, 4, 3), count, np.uint8), end=2)
    assert env.spec.obs == Box((4, 4, 3), 0.0, 255.0, "uint8")
    _, obs, rows = play(env, [np.zeros(2, np.int32)] * 2)
    assert obs.dtype == rows[1].next_obs.dtype == np.uint8
    assert (rows[1].next_obs == 2).all()


@pytest.mark.parametrize(
    ("space", "codes"),
    [
        (spaces.Discrete(5, start=2), (5,)),
        (spaces.MultiDiscrete([2, 4, 3], start=[1, 0, 0]), (2, 4, 3)),
        (spaces.Tuple((spaces.Discrete(3), spaces.MultiDiscrete([2, 2]))), (3, 2, 2)),
        # a Dict is flattened in the alphabetical order of its keys
        (
            spaces.Dict(
                {"b": spaces.Discrete(4), "a": spaces.Tuple((spaces.Discrete(2, start=7),))}
            ),
            (2, 4),
        ),
        (spaces.MultiBinary(3), None),
        (spaces.Box(-1, 1, (2,), np.float32), None),
        (spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (1,), np.float32))), None),
        (spaces.Box(0, 255, (2, 2), np.uint8), None),
    ],
)
def test_codes_are_told_where_there_are_nothing_but_codes(fake, space, codes):
    space.seed(0)
    seen = [space.sample() for _ in range(60)]
    env = fake(space=space, observe=lambda count: seen[count], num_envs=1)
    assert env.spec.obs.one_hot == codes
    if codes is None:
        return
    _, obs, rows = play(env, [np.zeros(1, np.int32)] * 59)
    encoded = np.concatenate([obs, *(row.obs for row in rows)])
    ends = np.cumsum(codes)
    assert encoded.shape[1] == ends[-1] == env.spec.obs.shape[0]
    for end, size in zip(ends, codes, strict=True):
        np.testing.assert_array_equal(encoded[:, end - size : end].sum(1), 1)
    numbers = np.asarray(jax.jit(lambda rows: state_index(env.spec.obs, rows))(encoded))
    different = {str(each) for each in seen}
    assert len(set(numbers.tolist())) == len(different) > 1


def test_frozen_lake_is_a_finite_world():
    env = GymnasiumVector("FrozenLake-v1", 2)
    assert env.spec.obs.one_hot == (16,)
    _, obs = env.reset(KEY)
    numbers = jax.jit(lambda obs: state_index(env.spec.obs, obs))(obs)
    np.testing.assert_array_equal(numbers, [0, 0])


def test_spec_tells_bounds_threshold_and_map(fake):
    low, high = np.array([-1, -2, -np.inf], np.float32), np.array([1, 2, np.inf], np.float32)
    spec = fake(space=spaces.Box(low, high), threshold=7).spec
    assert spec.obs == Box((3,), (-1.0, -2.0, -np.inf), (1.0, 2.0, np.inf))
    assert spec.success_return == 7.0
    assert (spec.view.low, spec.view.high) == ((-1.0, -2.0), (1.0, 2.0))
    assert fake(space=spaces.Box(-np.inf, np.inf, (3,))).spec.view is None
    view = GymnasiumVector("MountainCar-v0", 1).spec.view
    assert view is not None
    assert view.labels[0] == "position (m)"


def late(value):
    """Return an observation that is right until step 2, and `value` then."""
    return lambda count: value if count == 2 else np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"observe": late(np.array([np.nan, 0], np.float32))}, "the observation is not finite"),
        ({"observe": late(np.array([np.inf, 0], np.float32))}, "the observation is not finite"),
        (
            {"observe": late(np.zeros(3, np.float32))},
            "the observation has shape (3,) and must have (2,)",
        ),
        ({"observe": late(np.array(["a", "b"]))}, "the observation has dtype <U1"),
        ({"observe": late([[1.0], [1.0, 2.0]])}, "must be an array of shape (2,)"),
    ],
)
def test_bad_observations_are_named(fake, settings, words):
    env = fake(**settings)
    with pytest.raises(BadEnvironmentData, match=re.escape(words)) as caught:
        play(env, [np.zeros(2, np.int32)] * 3)
    assert f"gymnasium:{env.id}, environment 0, step 2:" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reward": float("nan")}, "the reward is not finite: nan"),
        ({"reward": 1e300}, "the reward is too large for float32: 1e+300"),
        (
            {
                "space": spaces.Box(-np.inf, np.inf, (2,), np.float64),
                "observe": lambda count: np.array([0.0, -1e300]),
            },
            "the observation of reset is too large for float32: [ 0.e+000 -1.e+300]",
        ),
        ({"reward": np.array([1.0])}, "the reward must be one number"),
        ({"reward": "1"}, "the reward must be one number"),
        (
            {"space": spaces.Discrete(3), "observe": lambda count: count + 2},
            "the observation is 3 and must be in 0 .. 2",
        ),
        (
            {"space": spaces.Box(0, 255, (2,), np.uint8), "observe": lambda count: np.ones(2)},
            "the observation of reset has dtype float64 and must have uint8",
        ),
        (
            {"space": spaces.Dict(a=spaces.Discrete(2)), "observe": lambda count: {"b": 0}},
            "must be a dict with the keys a",
        ),
        (
            {
                "space": spaces.Dict(a=spaces.Box(0, 1, (1,))),
                "observe": lambda count: {"a": np.full(1, np.nan)},
            },
            "has an entry ['a'] that is not finite",
        ),
    ],
)
def test_bad_data_is_refused(fake, settings, words):
    env = fake(**settings)
    with pytest.raises(BadEnvironmentData, match=re.escape(words)):
        play(env, [np.zeros(2, np.int32)])


def test_an_error_of_the_environments_own_is_named(fake):
    def observe(count):
        if count == 2:
            raise ValueError("engine on fire")
        return np.zeros(2, np.float32)

    env = fake(observe=observe)
    words = "environment 0, step 2: step raised ValueError: engine on fire. Mend the environment"
    with pytest.raises(BadEnvironmentData, match=words):
        play(env, [np.zeros(2, np.int32)] * 3)


def test_only_the_bad_environment_is_named(fake):
    made = []

    def observe(count):
        made.append(count)
        bad = len(made) == 5  # 2 resets, then the third step of one environment, the last of all
        return np.array([np.nan if bad else 0.0, 0.0], np.float32)

    env = fake(num_envs=3, observe=observe)
    with pytest.raises(BadEnvironmentData, match="environment 1, step 1"):
        play(env, [np.zeros(3, np.int32)])


def test_an_action_that_is_not_finite_is_refused(fake):
    env = fake(actions=spaces.Box(-1, 1, (1,)))
    with pytest.raises(BadEnvironmentData, match="environment 1: the agent's action is not finite"):
        play(env, [np.array([[0.0], [np.nan]], np.float32)])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"actions": spaces.MultiDiscrete([2, 2])}, "actions must be Discrete"),
        ({"actions": spaces.Box(-np.inf, np.inf, (1,))}, "a Box with finite bounds"),
        ({"space": spaces.Sequence(spaces.Discrete(2))}, "which is not an array of numbers"),
    ],
)
def test_spaces_without_a_counterpart_are_refused(fake, settings, words):
    with pytest.raises(Incompatible, match=words):
        _ = fake(**settings).spec


def test_explorax_own_tasks_have_a_shorter_name():
    """In a process of its own: here another test may have registered them."""
    told = {
        "AntMaze-v0": "explorax's own, mujoco:AntMaze here",
        "Walker2dSparse-v0": "explorax's own, mujoco:Walker2d(sparse=True) here",
        "AntMazee-v0": "There is no Gymnasium environment 'explorax/AntMazee-v0'.",
    }
    for name, words in told.items():
        code = f"from explorax.envs.suite import make; make('gymnasium:explorax/{name}', 2).spec"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert words in done.stderr


@pytest.mark.parametrize("use", [lambda env: env.spec, lambda env: env.reset(KEY)])
def test_unknown_ids_and_settings(use):
    with pytest.raises(UnknownName, match=r"'MountanCar-v0'\. Did you mean 'MountainCar-v0'\?"):
        use(GymnasiumVector("MountanCar-v0", 1))
    with pytest.raises(UnknownName, match="CartPole-v1"):
        use(GymnasiumVector("CartPole-v7", 1))
    with pytest.raises(InvalidSetting, match=r"CartPole-v1 refuses {'foo': 1}"):
        use(GymnasiumVector("CartPole-v1", 1, kwargs=(("foo", 1),)))


def test_a_missing_package_is_named_with_its_cure():
    def needs_package(**settings) -> gymnasium.Env:
        raise ImportError("No module named 'lost'")

    gymnasium.register("Lost-v0", needs_package)
    try:
        with pytest.raises(Incompatible, match=r"Lost-v0 needs a package .*'lost'.*pip"):
            _ = GymnasiumVector("Lost-v0", 1).spec
    finally:
        del gymnasium.registry["Lost-v0"]


def test_settings_reach_the_environment():
    env = GymnasiumVector("FrozenLake-v1", 1, kwargs=(("map_name", "8x8"),))
    assert env.spec.obs.shape == (64,)
    _, obs = env.reset(KEY)
    assert obs.shape == (1, 64)
    with pytest.raises(InvalidSetting, match="sorted by name"):
        GymnasiumVector("CartPole-v1", 1, kwargs=(("b", 1), ("a", 1)))


def test_drawing(fake):
    env = fake(render=True)
    state, _, _ = play(env, [np.zeros(2, np.int32)] * 2)
    frame = env.draw(state, 1)
    assert frame.shape == (8, 9, 3)
    assert (frame == 2).all()
    env = fake()
    with pytest.raises(InvalidSetting, match="render=True"):
        env.draw(env.reset(KEY)[0])


def test_the_state_has_no_leaves_to_copy_or_save(fake):
    env = fake()
    state, _ = env.reset(KEY)
    assert jax.tree.leaves(state) == []
    assert jax.tree.map(lambda leaf: leaf, state) is state
    fresh, _ = env.reset(KEY)
    assert fresh is not state
    hash(env)

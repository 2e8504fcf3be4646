"""The television: what changes it, what it leaves alone, and what it costs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete
from explorax.envs import (
    CartPole,
    Chain,
    DeepSea,
    FourRooms,
    KeyDoor,
    MountainCar,
    MountainCarSparse,
    NoisyTV,
)
from explorax.envs.noisy_tv import TelevisionState
from explorax.envs.task import Batched
from explorax.ops.finite import num_states, state_index

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Dice:
    """Shows a number that every reset and every step draws."""

    action: Any
    obs: Any
    max_episode_steps = 9
    success_return = None
    view = None

    def reset(self, key):
        return jax.random.uniform(key)

    def observe(self, state):
        return jnp.full(self.obs.shape, state)

    def step(self, state, key, action):
        return jax.random.uniform(key), jnp.float32(1.0), jnp.bool_(False)

    def draw(self, state):
        return np.zeros((260, 400, 3), np.uint8)

    def place(self, point):
        return point[0]


def follow(task, actions, seed=0):
    """Return (states [T + 1], observations [T + 1], rewards [T], ends [T]) of one long episode."""

    @jax.jit
    def run(key, actions):
        def one(state, row):
            action, key = row
            after, reward, end = task.step(state, key, action)
            return after, (after, task.observe(after), reward, end)

        first = task.reset(key)
        keys = jax.random.split(jax.random.fold_in(key, 1), len(actions))
        states, seen, rewards, ends = jax.lax.scan(one, first, (actions, keys))[1]
        opened = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, states)
        return opened, jnp.concatenate([task.observe(first)[None], seen]), rewards, ends

    return jax.tree.map(np.asarray, run(jax.random.key(seed), jnp.asarray(actions)))


def actions_with_television(world, steps, seed=0):
    """Return random actions of a discrete world, about every third a look at the television."""
    rng = np.random.default_rng(seed)
    watches = rng.random(steps) < 0.35
    return np.where(watches, world.action.n, rng.integers(world.action.n, size=steps)).astype(
        np.int32
    )


@pytest.mark.parametrize(
    "world", [FourRooms(), KeyDoor(5), Chain(6), MountainCar()], ids=lambda world: repr(world)[:10]
)
def test_watching_changes_the_picture_and_nothing_else(world):
    task = NoisyTV(world, 7)
    actions = actions_with_television(world, 300)
    watches = actions == world.action.n
    states, seen, rewards, _ = follow(task, actions)
    pictures = np.asarray(states.picture).reshape(301, -1)
    stays = (pictures[1:] == pictures[:-1]).all(1)
    assert stays[~watches].all()
    # a picture of seven may be drawn twice in a row, numbers are never the same
    again = 1 / 7 if world.obs.one_hot else 0.0
    assert stays[watches].mean() == pytest.approx(again, abs=0.09)
    # the world goes on as if nobody had ever watched
    alone, seen_alone, rewards_alone, _ = follow(world, actions[~watches])
    moved = np.concatenate([[0], np.cumsum(~watches)])
    start_differs = isinstance(world, MountainCar)  # where it starts depends on the key
    if not start_differs:
        for mine, its in zip(jax.tree.leaves(states.task), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(mine, its[moved])
        np.testing.assert_array_equal(rewards[~watches], rewards_alone)
        length = seen_alone[0].size
        np.testing.assert_array_equal(seen[:, :length], seen_alone[moved].reshape(301, -1))
    for leaf in jax.tree.leaves(states.task):
        np.testing.assert_array_equal(leaf[1:][watches], leaf[:-1][watches])


def test_watching_ends_nothing_but_time_runs_on():
    env = Batched(NoisyTV(DeepSea(5), 4), 2)

    @jax.jit
    def run(actions):
        state, _ = env.reset(KEY)
        keys = jax.random.split(KEY, len(actions))
        return jax.lax.scan(lambda state, row: env.step(state, *row), state, (keys, actions))[1]

    actions = np.zeros((5, 2), np.int32)
    actions[2, 0] = 2
    out = run(actions)
    np.testing.assert_array_equal(out.truncated[-1], [True, False])
    np.testing.assert_array_equal(out.terminated[-1], [False, True])
    assert not (out.truncated | out.terminated)[:-1].any()
    rows = np.asarray(out.next_obs)[:, 0, :25].argmax(1) // 5
    np.testing.assert_array_equal(rows, [1, 2, 2, 3, 4])


def test_watching_pays_nothing_and_costs_what_no_action_avoids():
    for world, cost in [(DeepSea(6), 0), (FourRooms(), 0), (CartPole(), 0), (MountainCar(), -1)]:
        task = NoisyTV(world, 3)
        watching = np.full(250, world.action.n, np.int32)
        _, _, rewards, ends = follow(task, watching)
        np.testing.assert_array_equal(rewards, np.float32(cost))
        assert not ends.any()
    # so nobody passes for a good driver by watching television
    assert -1.0 * MountainCar.max_episode_steps < MountainCar.success_return
    # at either end of the chain staying pays, and watching does not
    chain = NoisyTV(Chain(5), 3)
    for cell in (0.5, 4.5):
        state = chain.place(jnp.array([cell, 0.5], jnp.float32))
        assert float(jax.jit(chain.step)(state, KEY, jnp.int32(2))[1]) == 0.0


def test_a_throttle_and_a_switch():
    world = MountainCarSparse()
    task = NoisyTV(world, 3)
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    actions[5, 1] = 0.0  # not above 0
    states, seen, rewards, _ = follow(task, actions)
    stays = (states.picture[1:] == states.picture[:-1]).all(1)
    np.testing.assert_array_equal(stays, actions[:, 1] <= 0)
    np.testing.assert_array_equal(seen[:, 2:], states.picture)
    assert not rewards.any()
    # the car drives as it would without the switch
    step = jax.jit(world.step)
    for t in (0, 5, 50, 199):
        before = jax.tree.map(lambda leaf, t=t: jnp.asarray(leaf[t]), states.task)
        after, _, _ = step(before, KEY, jnp.asarray(actions[t, :1]))
        there = jax.tree.map(lambda leaf, t=t: leaf[t + 1], states.task)
        jax.tree.map(np.testing.assert_array_equal, after, there)


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return np.square(counts - expected).sum() / expected


def test_pictures_are_uniform_whichever_way_they_come():
    task, channels = NoisyTV(DeepSea(4), 16), 16
    keys = jax.random.split(jax.random.key(5), 8000)
    state = task.reset(KEY)
    drawn = jax.jit(jax.vmap(lambda key: task.step(state, key, jnp.int32(2))[0].picture))(keys)
    opened = jax.jit(jax.vmap(lambda key: task.reset(key).picture))(keys)
    for pictures in (drawn, opened):
        counts = np.bincount(np.asarray(pictures), minlength=channels)
        assert len(counts) == channels
        assert chi_square(counts) < 37.7  # the 99.9 % quantile of chi² with 15 degrees
    vector = NoisyTV(MountainCar(), 2)
    state = vector.reset(KEY)
    drawn = jax.jit(jax.vmap(lambda key: vector.step(state, key, jnp.int32(3))[0].picture))(keys)
    assert drawn.shape == (8000, 2)
    for numbers in np.asarray(drawn).T:
        assert chi_square(np.histogram(numbers, 16, (-1.0, 1.0))[0]) < 37.7
    assert abs(np.corrcoef(np.asarray(drawn).T)[0, 1]) < 0.04


@pytest.mark.parametrize("action", [Discrete(2), Box((1,))])
def test_the_world_and_the_picture_draw_from_keys_of_their_own(action):
    task = NoisyTV(Dice(action, Box((1,), 0.0, 1.0)), 1)
    keys = jax.random.split(jax.random.key(3), 4000)
    state = task.reset(KEY)
    switch = jnp.int32(2) if isinstance(action, Discrete) else jnp.array([0.3, 1.0])
    in_world = jnp.int32(0) if isinstance(action, Discrete) else switch
    opened = jax.jit(jax.vmap(task.reset))(keys)
    moved, _, _ = jax.jit(jax.vmap(lambda key: task.step(state, key, in_world)))(keys)
    switched, _, _ = jax.jit(jax.vmap(lambda key: task.step(state, key, switch)))(keys)
    assert len(np.unique(moved.task)) > 3900
    for world, picture in [(opened.task, opened.picture), (moved.task, switched.picture)]:
        # ranks, and the distance from the middle: dependence may be no straight line
        world, picture = np.asarray(world), np.asarray(picture)[:, 0]
        for one, other in [(world, picture), (abs(world - 0.5), abs(picture))]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


@pytest.mark.parametrize("world", [FourRooms(), KeyDoor(6), DeepSea(7), Chain(9)], ids=repr)
def test_codes_stay_codes_and_distinct_states_distinct_numbers(world):
    task = NoisyTV(world, 5)
    states = num_states(world.obs)
    assert states is not None
    assert task.obs.one_hot == (*world.obs.one_hot, 5)
    assert task.obs.shape == (sum(world.obs.one_hot) + 5,)
    assert num_states(task.obs) == states * 6
    env, actions = Batched(task, 4), actions_with_television(world, 800, seed=2).reshape(200, 4)

    @jax.jit
    def run(actions):
        keys = jax.random.split(KEY, len(actions))
        _, out = jax.lax.scan(
            lambda state, row: env.step(state, *row), env.reset(KEY)[0], (keys, actions)
        )
        return out.next_obs.reshape(800, -1)

    seen = run(actions)
    numbers = np.asarray(jax.jit(lambda seen: state_index(task.obs, seen))(seen))
    assert len(np.unique(numbers)) == len(np.unique(seen, axis=0)) > 20
    np.testing.assert_array_equal(seen[:, -5:].sum(1), 1)


@pytest.mark.parametrize(
    "world", [FourRooms(), KeyDoor(6), DeepSea(7), Chain(9), MountainCarSparse(), CartPole()],
    ids=repr,
)  # fmt: skip
def test_maps_read_the_world_and_not_the_picture(world):
    task, view = NoisyTV(world, 32), world.view
    assert task.view == view
    low, high = np.asarray(view.low), np.asarray(view.high)
    points = low + np.random.default_rng(0).random((40, 2)) * (high - low)
    points = jnp.asarray(points, jnp.float32)
    seen = jax.jit(jax.vmap(lambda point: task.observe(task.place(point))))(points)
    alone = jax.jit(jax.vmap(lambda point: world.observe(world.place(point))))(points)
    np.testing.assert_array_equal(view.project(seen), view.project(alone))
    for mine, its in zip(view.cell(seen[:, None]), view.cell(alone[:, None]), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_what_is_said_of_the_task_is_passed_on():
    world = MountainCarSparse()
    task = NoisyTV(world, 2)
    assert task.obs == Box((4,), (-1.2, -0.07, -1.0, -1.0), (0.6, 0.07, 1.0, 1.0))
    assert task.action == Box((2,))
    assert (task.max_episode_steps, task.success_return) == (500, 1.0)
    assert NoisyTV(DeepSea(5)).action == Discrete(3)
    assert NoisyTV(DeepSea(5)).obs == Box((25 + 32,), 0.0, 1.0, one_hot=(25, 32))
    assert NoisyTV(MountainCar(), 1).action == Discrete(4)
    hash(Batched(task, 3))


@pytest.mark.parametrize(("world", "channels"), [(DeepSea(5), 32), (MountainCarSparse(), 4)])
def test_pictures_differ_in_the_corner_alone(world, channels):
    task = NoisyTV(world, channels)
    state = task.place(jnp.array([0.0, 0.0]))
    plain = world.draw(jax.tree.map(np.asarray, state.task))
    frames = []
    for channel in range(6):
        one_hot = world.obs.one_hot is not None
        picture = jnp.int32(channel) if one_hot else jnp.linspace(-1.0, channel / 5, 4)
        shown = TelevisionState(state.task, picture)
        frames.append(task.draw(jax.tree.map(np.asarray, shown)))
        assert frames[-1].dtype == np.uint8 and frames[-1].shape == plain.shape
        changed = np.argwhere((frames[-1] != plain).any(-1))
        assert changed.max(0)[0] < 60 and changed.max(0)[1] < 70
    assert len({frame.tobytes() for frame in frames}) == 6


@pytest.mark.parametrize("channels", [0, -3, 1, True])
def test_wrong_numbers_of_channels_are_refused(channels):
    with pytest.raises(InvalidSetting, match="channels must be"):
        NoisyTV(DeepSea(5), channels)


def test_worlds_that_can_have_no_television_say_so():
    with pytest.raises(Incompatible, match="one is enough"):
        NoisyTV(NoisyTV(DeepSea(5)))
    with pytest.raises(Incompatible, match=r"arrays of shape \(8, 8, 3\) of uint8"):
        NoisyTV(Dice(Discrete(2), Box((8, 8, 3), 0.0, 255.0, "uint8")))
    with pytest.raises(Incompatible, match="adds a dimension to vectors of actions"):
        NoisyTV(Dice(Box((2, 2)), Box((1,))))
    wrong: Any = DeepSea
    with pytest.raises(InvalidSetting, match="a task and not a class"):
        NoisyTV(wrong)

"""The mover: its worlds against a slow loop, its walls, the way to its goal, what speed pays."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import scanned

from explorax.core.errors import InvalidSetting
from explorax.envs import Mover
from explorax.envs.mover import MoverState
from explorax.envs.task import Batched

# The middles of the free cells, 2 wide: the plans, walked by hand. The plane has no walls.
FREE = {
    "plane": None,
    "hallway": {(x, 0) for x in range(-6, 7, 2)},
    "maze": {(0, 0), (2, 0), (4, 0), (4, -2), (4, -4), (2, -4), (0, -4)},
}
GOAL = (0.0, -4.0)
MARGIN = 0.7  # half a cell less the body's radius


def middle_of(place):
    return tuple(2 * math.floor(x / 2 + 0.5) for x in place)


def slow_step(world, place, velocity, action):
    """Return (place, velocity, reward) by the docstring: push, then move across, then up."""
    place, velocity = list(map(float, place)), list(map(float, velocity))
    free = FREE[world]
    for axis in (0, 1):
        push = min(max(float(action[axis]), -1.0), 1.0)
        velocity[axis] = 0.9 * velocity[axis] + 0.1 * push
    for axis in (0, 1):
        middle = middle_of(place)
        place[axis] += 0.5 * velocity[axis]
        for side in (-1, 1):
            neighbour = tuple(middle[each] + 2 * side * (each == axis) for each in (0, 1))
            wall = middle[axis] + side * MARGIN
            if free is not None and neighbour not in free and side * (place[axis] - wall) > 0:
                place[axis], velocity[axis] = wall, 0.0
    if world == "maze":
        reward = math.exp(-(math.dist(place, GOAL) ** 2) / 2)
    else:
        reward = math.hypot(*velocity) / math.sqrt(2)
    return place, velocity, reward


def states_in(world, rng, number):
    """Return places [number, 2], wherever the world is free, and velocities [number, 2]."""
    free = np.array(sorted(FREE[world] or {(0, 0), (8, -6)}), np.float32)
    places = free[rng.integers(len(free), size=number)] + rng.uniform(-1, 1, (number, 2))
    return places.astype(np.float32), rng.uniform(-1, 1, (number, 2)).astype(np.float32)


def rollout(world, places, velocities, actions):
    """Return places, velocities [T, N, 2], rewards and ends [T, N] under actions [T, N, 2]."""
    task = Mover(world)

    def one(state, action):
        after, reward, end = jax.vmap(task.step, (0, None, 0))(state, jax.random.key(0), action)
        return after, (after.position, after.velocity, reward, end)

    start = MoverState(jnp.asarray(places), jnp.asarray(velocities))
    out = jax.jit(lambda start, actions: jax.lax.scan(one, start, actions)[1])(start, actions)
    return tuple(np.asarray(each) for each in out)


def steered(policy):
    """Return (places [100, 2], rewards [100]) of an episode in the maze of `policy`(obs)."""
    task, rewards, places = Mover("maze"), [], []
    reset, observe, step = jax.jit(task.reset), jax.jit(task.observe), jax.jit(task.step)
    state = reset(jax.random.key(1))
    for _ in range(task.max_episode_steps):
        action = jnp.asarray(policy(np.asarray(observe(state))), jnp.float32)
        state, reward, _ = step(state, jax.random.key(0), action)
        rewards.append(float(reward))
        places.append(np.asarray(state.position))
    return np.array(places), np.array(rewards)


@pytest.mark.parametrize("world", FREE)
def test_a_step_pushes_moves_stops_and_pays_as_a_slow_loop_says(world):
    rng = np.random.default_rng(0)
    places, velocities = states_in(world, rng, 500)
    actions = rng.uniform(-1.5, 1.5, (1, 500, 2)).astype(np.float32)
    after, speeds, rewards, ends = rollout(world, places, velocities, actions)
    stopped = 0
    for row, (place, velocity, action) in enumerate(
        zip(places, velocities, actions[0], strict=True)
    ):
        there, speed, pay = slow_step(world, place, velocity, action)
        np.testing.assert_allclose(after[0, row], there, atol=2e-6)
        np.testing.assert_allclose(speeds[0, row], speed, atol=2e-6)
        np.testing.assert_allclose(rewards[0, row], pay, rtol=1e-5, atol=2e-6)
        stopped += 0.0 in speed
    assert not ends.any()
    assert stopped == 0 if world == "plane" else 50 < stopped < 450


@pytest.mark.parametrize("world", ["hallway", "maze"])
def test_walls_are_never_crossed(world):
    rng = np.random.default_rng(1)
    places, velocities = states_in(world, rng, 1000)
    kept = rng.uniform(-1, 1, (1, 1000, 2))  # so that many of them run into something
    actions = np.clip(2 * kept + rng.uniform(-1, 1, (40, 1000, 2)), -1, 1).astype(np.float32)
    paths = np.concatenate([places[None], rollout(world, places, velocities, actions)[0]])
    # It goes across, then up: neither leg ends in a wall, and neither is as long as a cell.
    corners = np.stack([paths[1:, :, 0], paths[:-1, :, 1]], -1)
    for stops in (corners, paths[1:]):
        middles = 2 * np.floor(stops / 2 + 0.5).astype(int)
        assert {tuple(each) for each in middles.reshape(-1, 2).tolist()} <= FREE[world]
    assert np.abs(np.diff(paths, axis=0)).max() < 1
    moved = (middles[0] != middles[-1]).any(-1).mean()
    assert moved > 0.2  # they do not only stand where they began
    if world == "hallway":
        assert np.abs(paths[1:, :, 1]).max() == pytest.approx(MARGIN)
        assert np.abs(paths[1:, :, 0]).max() == pytest.approx(6 + MARGIN)


def test_the_way_around_leads_to_the_goal_and_the_straight_one_does_not():
    turns, reached = [(4.0, 0.0), (4.0, -4.0), GOAL], 0

    def around(obs):
        nonlocal reached
        if math.dist(obs[:2], turns[reached]) < 0.5 and reached < 2:
            reached += 1
        return np.clip(2.0 * (np.array(turns[reached]) - obs[:2]) - 3.0 * obs[2:], -1, 1)

    def straight(obs):
        return np.clip(2.0 * (np.array(GOAL) - obs[:2]) - 3.0 * obs[2:], -1, 1)

    needed = Mover("maze").success_return
    assert needed == 25
    places, rewards = steered(around)
    assert rewards.sum() > needed
    assert math.dist(places[-1], GOAL) < 0.05
    assert rewards[-1] == pytest.approx(1.0, abs=1e-3)
    places, rewards = steered(straight)
    assert rewards.sum() < 1
    assert places[-1, 1] == pytest.approx(-MARGIN)
    assert Mover("maze").goal == GOAL


def test_speed_pays_in_every_direction_alike_and_random_pushes_do_not():
    angles = np.linspace(0, 2 * math.pi, 8, endpoint=False)
    ahead = np.stack([np.cos(angles), np.sin(angles)], -1)
    rng = np.random.default_rng(2)
    chance = np.sign(rng.uniform(-1, 1, (100, 200, 2)))
    still = np.zeros((100, 1, 2))
    kept = np.broadcast_to(ahead, (100, 8, 2))
    actions = np.concatenate([kept, still, chance], 1).astype(np.float32)
    zeros = np.zeros((209, 2), np.float32)
    rewards = rollout("plane", zeros, zeros, actions)[2]
    # Under a push of 1 that is kept up, the speed after t steps is 1 − 0.9ᵗ.
    expected = (1 - 0.9 ** np.arange(1, 101)) / math.sqrt(2)
    np.testing.assert_allclose(rewards[:, :8], expected[:, None].repeat(8, 1), rtol=1e-4)
    np.testing.assert_allclose(rewards[:, 8], 0, atol=1e-5)
    returns = rewards.sum(0)
    # Full pushes at random would pay √(0.1 / 1.9) once under way: a third of what direction pays.
    assert returns[9:].mean() == pytest.approx(100 * math.sqrt(0.1 / 1.9), rel=0.2)
    assert returns[9:].max() < returns[:8].min()
    assert Mover("plane").success_return is None


def test_a_hallway_pays_along_it_and_not_against_its_wall():
    pushes = np.array([[1, 0], [0, 1]], np.float32)
    zeros = np.zeros((2, 2), np.float32)
    pays = rollout("hallway", zeros, zeros, np.broadcast_to(pushes, (40, 2, 2)))[2]
    assert pays[:, 0].max() > 2 * pays[:, 1].max() > 0
    np.testing.assert_allclose(pays[-5:], 0, atol=1e-5)  # and its ends stop whoever goes along


def test_episodes_begin_at_rest_in_the_first_cell_and_end_after_a_hundred_steps():
    env = Batched(Mover("maze"), 4)
    first, out = scanned(env, jnp.ones((205, 4, 2)))
    assert first.shape == (4, 4)
    assert 0 < np.abs(first[:, :2]).max() < MARGIN
    np.testing.assert_array_equal(first[:, 2:], 0)
    assert not np.asarray(out.terminated).any()
    truncated = np.asarray(out.truncated)
    np.testing.assert_array_equal(np.flatnonzero(truncated.all(1)), [99, 199])
    assert truncated.sum() == 8


def test_it_is_placed_at_rest():
    state = Mover().place(jnp.array([3.0, -1.0]))
    np.testing.assert_array_equal(Mover().observe(state), [3, -1, 0, 0])


def test_only_the_three_worlds_are_taken():
    with pytest.raises(InvalidSetting, match="world='cave'.*plane.*hallway.*maze"):
        Mover("cave")

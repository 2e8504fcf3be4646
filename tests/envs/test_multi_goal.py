"""The four goals: both rewards against slow loops, and how goals are counted."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import scanned

from explorax.core.errors import InvalidSetting
from explorax.envs import MultiGoal
from explorax.envs.multi_goal import GOALS, NO_GOAL, MultiGoalState, goal_at, goals_reached
from explorax.envs.task import Batched


def distances(place):
    return [math.dist(place, goal) for goal in ((5, 0), (-5, 0), (0, 5), (0, -5))]


def one_step(task, places, actions):
    def one(place, action):
        after, reward, end = task.step(MultiGoalState(place), jax.random.key(0), action)
        return after.position, reward, end

    run = jax.jit(jax.vmap(one))
    return run(jnp.asarray(places, jnp.float32), jnp.asarray(actions, jnp.float32))


@pytest.mark.parametrize("reward", ["release", "paper"])
def test_a_step_moves_pays_and_ends_as_a_slow_loop_says(reward):
    rng = np.random.default_rng(0)
    places = rng.uniform(-7, 7, (600, 2)).astype(np.float32)
    actions = rng.uniform(-1.5, 1.5, (600, 2)).astype(np.float32)
    after, pay, ends = one_step(MultiGoal(reward), places, actions)
    arrivals = 0
    for row, (place, action) in enumerate(zip(places, actions, strict=True)):
        push = [min(max(float(a), -1.0), 1.0) for a in action]
        there = [min(max(float(p) + a, -7.0), 7.0) for p, a in zip(place, push, strict=True)]
        arrived = min(distances(there)) < 1
        if reward == "release":
            expected = -30 * (push[0] ** 2 + push[1] ** 2) - min(distances(there)) ** 2
            expected += 10 if arrived else 0
        else:
            expected = 25 * sum(math.exp(-0.5 * d**2) for d in distances(place.tolist()))
        np.testing.assert_allclose(after[row], there, atol=1e-6)
        np.testing.assert_allclose(pay[row], expected, rtol=1e-5, atol=1e-5)
        assert bool(ends[row]) == (arrived and reward == "release")
        arrivals += arrived
    assert 20 < arrivals < 580


def test_field_is_the_part_of_the_reward_that_places_make():
    places = jnp.asarray([[0.0, 0.0], [5.0, 0.0], [0.0, -4.0], [2.5, 2.5]])
    release = jax.jit(MultiGoal().field)(places)
    np.testing.assert_allclose(release, [-25, 0, -1, -12.5], atol=1e-5)
    paper = jax.jit(MultiGoal("paper").field)(places.reshape(2, 2, 2))
    assert paper.shape == (2, 2)
    expected = [100 * math.exp(-12.5), 25, 25 * math.exp(-0.5), 50 * math.exp(-6.25)]
    np.testing.assert_allclose(paper.ravel(), expected, rtol=1e-4)


def test_goals_are_counted_within_one():
    places = jnp.asarray([[5.0, 0.9], [5.0, 1.1], [-5.5, 0.0], [0.3, 4.2], [0.0, 0.0], [0.5, -5]])
    found = jax.jit(goal_at)(places)
    np.testing.assert_array_equal(found, [0, NO_GOAL, 1, 2, NO_GOAL, 3])
    count = jax.jit(goals_reached)
    assert int(count(places)) == 4
    assert int(count(places[:3])) == 2
    assert int(count(jnp.broadcast_to(places[0], (10, 2)))) == 1
    assert int(count(places[4:5])) == 0
    assert int(count(places.reshape(3, 2, 2))) == 4  # whole paths [T, N, 2]
    assert goal_at(places[3]).shape == ()
    np.testing.assert_array_equal(jax.jit(goal_at)(jnp.asarray(GOALS)), [0, 1, 2, 3])


@pytest.mark.parametrize(("reward", "limit"), [("release", 30), ("paper", 20)])
def test_episodes_end_at_a_goal_in_the_release_and_in_time_else(reward, limit):
    env = Batched(MultiGoal(reward), 3)
    directions = jnp.array([[1.0, 0.0], [0.0, -0.5], [0.0, 0.0]])  # to a goal, slowly, nowhere
    first, out = scanned(env, jnp.tile(directions, (limit, 1, 1)))
    terminated, truncated = np.asarray(out.terminated), np.asarray(out.truncated)
    if reward == "paper":
        np.testing.assert_array_equal(first, np.zeros((3, 2)))
        assert not terminated.any()
        np.testing.assert_array_equal(np.argwhere(truncated), [[19, 0], [19, 1], [19, 2]])
        assert int(goals_reached(out.next_obs)) == 2  # both were passed ...
        assert int(goals_reached(out.next_obs[-1])) == 0  # ... and left behind
        return
    starts = np.asarray(first)
    assert 0 < np.abs(starts).max() < 0.5
    lasts = [np.flatnonzero(terminated[:, lane]) for lane in range(3)]
    assert lasts[0][0] in (3, 4)  # 4 or 5 steps of 1 from about 0 to beyond 4
    assert lasts[1][0] in (7, 8)
    assert lasts[2].size == 0
    np.testing.assert_array_equal(np.flatnonzero(truncated[:, 2]), [29])
    assert float(out.reward[lasts[0][0], 0]) > -31 + 10 - 1


def test_starts_are_a_tenth_wide():
    draw = jax.vmap(MultiGoal().reset)
    starts = jax.jit(lambda key: draw(jax.random.split(key, 4000)))(jax.random.key(0))
    np.testing.assert_allclose(np.std(starts.position, axis=0), 0.1, rtol=0.05)


def test_only_the_two_rewards_are_taken():
    with pytest.raises(InvalidSetting, match="reward='sandbox'.*release.*paper"):
        MultiGoal("sandbox")

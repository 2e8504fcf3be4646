"""What is counted of a rollout: hidden places, rooms, and returns of the true reward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.protocols import Box, Discrete, Rollout, Spec, View
from explorax.ops import tally as tallies

ROOMS = View(("x", "y"), (0.0, 0.0), (3.0, 2.0), bins=(6, 4), hidden=True, rooms=(3, 2))
SPEC = Spec(Box((5,)), Discrete(2), 2, success_return=2.0, view=ROOMS)


def rollout(place, reward, ends, true_reward=()):
    shape = np.shape(reward)
    zeros = jnp.zeros(shape)
    never = jnp.zeros(shape, bool)
    obs = jnp.zeros((*shape, 5))
    return Rollout(
        obs=obs, action=zeros, reward=jnp.asarray(reward, jnp.float32), next_obs=obs,
        terminated=jnp.asarray(ends, bool), truncated=never, first=never,
        bonus=jnp.full(shape, 0.5), place=place, true_reward=true_reward,
    )  # fmt: skip


def test_hidden_places_and_rooms_are_counted():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, (1.0, 2.0), (7, 2, 2)).astype(np.float32)
    points[3, 1] = (2.75, 0.25)
    still = np.zeros((7, 2))
    count = jax.jit(tallies.count, static_argnums=1)
    tally = count(tallies.empty(SPEC), SPEC, rollout(jnp.asarray(points), still, still))
    expected = np.zeros((6, 4))
    for x, y in points.reshape(-1, 2):
        expected[int(x / 0.5), int(y / 0.5)] += 1
    np.testing.assert_array_equal(tally.visits, expected)
    np.testing.assert_allclose(tally.paid, expected / 2)
    rooms = {(int(x), int(y)) for x, y in points.reshape(-1, 2)}
    tally, metrics = tallies.summary(tally, ROOMS)
    assert metrics["rooms_visited"] == len(rooms) == 3
    again = count(tally, SPEC, rollout(jnp.asarray(points), still, still))
    assert tallies.summary(again, ROOMS)[1]["rooms_visited"] == 3  # since the start, each once
    assert "rooms_visited" not in tallies.summary(tally, None)[1]


def test_returns_are_of_the_true_reward():
    reward = np.ones((3, 2))
    true = jnp.asarray([[1.0, 5.0], [1.0, 0.0], [0.0, 7.0]])
    ends = np.array([[0, 0], [1, 1], [0, 0]])
    places = jnp.zeros((3, 2, 2))
    count = jax.jit(tallies.count, static_argnums=1)
    plain = count(tallies.empty(SPEC), SPEC, rollout(places, reward, ends))
    assert tallies.summary(plain)[1]["return_mean"] == 2.0
    told = count(tallies.empty(SPEC), SPEC, rollout(places, reward, ends, true))
    _, metrics = tallies.summary(told)
    assert metrics["return_mean"] == (2 + 5) / 2
    assert metrics["success_rate"] == 1.0
    np.testing.assert_array_equal(told.running_return, [0, 7])


def test_a_hidden_view_has_no_points_for_observations():
    with pytest.raises(ValueError, match="hidden"):
        ROOMS.project(jnp.zeros((2, 5)))

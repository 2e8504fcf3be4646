"""The k nearest neighbours, against all distances in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.knn import nearest


def everybody(row, place):
    return (row >= 0) & (place >= 0)


def distances(queries, memory):
    """Squared distances [N, M] in float64, by differences."""
    apart = queries[:, None].astype(np.float64) - memory[None].astype(np.float64)
    return np.square(apart).sum(-1)


def rows(seed, count, features):
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


# 300 queries are more than a block of them, and 997 rows no multiple of any group.
@pytest.mark.parametrize(
    ("queries", "memory", "k"), [(300, 997, 5), (7, 40, 3), (5, 10, 10), (256, 64, 1), (1, 1, 1)]
)
def test_the_k_nearest_and_how_far_they_are(queries, memory, k):
    a, b = rows(0, queries, 8), rows(1, memory, 8)
    squared, place = jax.jit(partial(nearest, k=k, allowed=everybody))(a, b)
    expected = distances(a, b)
    np.testing.assert_array_equal(place, np.argsort(expected, 1)[:, :k])
    np.testing.assert_allclose(squared, np.sort(expected, 1)[:, :k], rtol=1e-6)


def test_only_allowed_and_usable_places_are_neighbours():
    a, b = rows(0, 300, 4), rows(1, 150, 4)
    rng = np.random.default_rng(2)
    pair, usable = rng.random((300, 150)) < 0.05, rng.random(150) < 0.7
    allowed = jnp.asarray(pair)

    def in_pair(row, place):
        return allowed[row, jnp.minimum(place, 149)]

    search = jax.jit(partial(nearest, k=4, allowed=in_pair))
    squared, place = search(a, b, usable=jnp.asarray(usable))
    expected = np.where(pair & usable[None], distances(a, b), np.inf)
    found = np.sort(expected, 1)[:, :4]
    assert np.isinf(found).any() and np.isfinite(found).any()  # some have fewer than 4
    np.testing.assert_allclose(squared, found, rtol=1e-6)
    some = np.isfinite(found)
    np.testing.assert_array_equal(np.asarray(place)[some], np.argsort(expected, 1)[:, :4][some])


def test_far_from_the_origin_near_ones_are_as_far_apart_as_they_are():
    """‖a‖² + ‖b‖² − 2aᵀb in float32 would be off by 10⁶ times the distance here, or negative."""
    near = 1e-2 * rows(0, 200, 16)
    offset = np.float32(1000.0)
    moved = near + offset  # rounds; what counts is the distance of the rounded
    squared, _ = jax.jit(partial(nearest, k=4, allowed=everybody))(moved, moved)
    expected = np.sort(distances(moved, moved), 1)[:, :4]
    assert (squared[:, 0] == 0).all()  # itself
    np.testing.assert_allclose(squared, expected, rtol=1e-5)


def test_equal_rows_are_each_a_neighbour_and_exactly_nothing_apart():
    b = np.concatenate([np.repeat(rows(0, 4, 32), 3, 0), 100 * rows(1, 50, 32)])
    squared, place = jax.jit(partial(nearest, k=4, allowed=everybody))(b[:12:3], b)
    assert (squared[:, :3] == 0).all() and (squared[:, 3] > 1).all()
    for index, found in enumerate(np.sort(np.asarray(place)[:, :3], 1)):
        np.testing.assert_array_equal(found, 3 * index + np.arange(3))


def test_under_vmap_each_has_its_own_memory():
    a, b = rows(0, 3 * 20, 4).reshape(3, 20, 4), rows(1, 3 * 60, 4).reshape(3, 60, 4)
    least = np.asarray([0, 30, 57], np.int32)

    def one(queries, memory, least):
        return nearest(queries, memory, 5, lambda row, place: place >= least)[0]

    squared = jax.jit(jax.vmap(one))(a, b, least)
    for index in range(3):
        expected = np.sort(distances(a[index], b[index, least[index] :]), 1)[:, :5]
        np.testing.assert_allclose(squared[index, :, : expected.shape[1]], expected, rtol=1e-6)
    assert np.isinf(squared[2, :, 3:]).all()


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(ValueError, match="no k=4 neighbours in a memory of 3 rows"):
        nearest(jnp.zeros((2, 1)), jnp.zeros((3, 1)), 4, everybody)

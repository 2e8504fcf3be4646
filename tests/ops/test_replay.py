"""The ring against Python's deque."""

from collections import deque
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops import replay

add = jax.jit(replay.add)
sample = jax.jit(replay.sample, static_argnums=2)
sample_windows = jax.jit(replay.sample_windows, static_argnums=(2, 3))


def in_order(ring):
    """All leaves, oldest first; what lies beyond `count` was never added."""
    start = int(ring.index) - int(ring.count)
    return jax.tree.map(lambda leaf: np.roll(leaf, -start, axis=0), ring.data)


def row(*shape):
    return {"x": np.zeros((*shape, 2), np.float32), "n": np.zeros(shape, np.int32)}


def rows(first, n, *shape):
    """Rows whose number n tells when, and where on the other axes, they were written."""
    number = first + np.arange(n).reshape(n, *(1,) * len(shape))
    place = 1000 * np.arange(int(np.prod(shape))).reshape(1, *shape)
    number = np.broadcast_to(number + place, (n, *shape)).astype(np.int32)
    return {"x": np.stack([number, -number], axis=-1).astype(np.float32), "n": number}


@pytest.mark.parametrize("capacity, batch", [(10, 3), (10, 5), (7, 7), (4, 6), (5, 13), (1, 1)])
def test_holds_what_a_deque_holds_after_every_addition(capacity, batch):
    ring, oracle, first = replay.empty(row(), capacity), deque(maxlen=capacity), 0
    for _ in range(9):
        ring = add(ring, rows(first, batch))
        oracle.extend(range(first, first + batch))
        first += batch
        held = in_order(ring)
        count = int(ring.count)
        assert held["n"][:count].tolist() == list(oracle)
        np.testing.assert_array_equal(held["x"][:count, 0], list(oracle))
        np.testing.assert_array_equal(held["x"][:count, 1], [-n for n in oracle])


def test_batches_of_changing_size_wrap_exactly():
    ring, oracle, first = replay.empty(row(), 11), deque(maxlen=11), 0
    for batch in (4, 1, 7, 11, 2, 25, 3):
        ring = add(ring, rows(first, batch))
        oracle.extend(range(first, first + batch))
        first += batch
    assert in_order(ring)["n"].tolist() == list(oracle)


def test_adding_leaves_the_old_ring_alone():
    before = add(replay.empty(row(), 4), rows(0, 3))
    add(before, rows(3, 3))
    assert in_order(before)["n"].tolist()[:3] == [0, 1, 2]


def test_samples_only_what_was_added_and_all_of_it_equally_often():
    ring = add(replay.empty(row(), 10), rows(5, 7))
    drawn = sample(ring, jax.random.key(0), 14_000)
    values, counts = np.unique(drawn["n"], return_counts=True)
    assert values.tolist() == list(range(5, 12))
    # chi-squared with 6 degrees of freedom: 22.5 is the 99.9% point
    assert ((counts - 2000) ** 2 / 2000).sum() < 22.5
    np.testing.assert_array_equal(drawn["x"][:, 0], drawn["n"])


@pytest.mark.parametrize("added", [4, 6, 9, 16, 23])
@pytest.mark.parametrize("length", [1, 3])
def test_windows_are_consecutive_steps_of_one_environment_all_still_held(added, length):
    capacity, num_envs = 9, 3
    ring = replay.empty(row(num_envs), capacity)
    for first in range(0, added, 2):  # the write pointer ends at various places
        ring = add(ring, rows(first, min(2, added - first), num_envs))
    number = np.asarray(sample_windows(ring, jax.random.key(added), 4000, length)["n"])
    assert number.shape == (4000, length)
    np.testing.assert_array_equal(np.diff(number, axis=1), 1)
    oldest = max(0, added - capacity)
    possible = {1000 * e + t for e in range(num_envs) for t in range(oldest, added - length + 1)}
    values, counts = np.unique(number[:, 0], return_counts=True)
    assert set(values.tolist()) == possible
    expected = 4000 / len(possible)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_ring_that_is_empty_or_shorter_than_a_window_gives_zeros():
    ring = replay.empty(row(2), 5)
    key = jax.random.key(0)
    assert not np.asarray(sample_windows(ring, key, 8, 3)["n"]).any()
    assert sample(replay.empty(row(), 5), key, 8)["n"].tolist() == [0] * 8
    one = add(ring, rows(7, 1, 2))
    number = np.asarray(sample_windows(one, key, 8, 3)["n"])
    assert set(number[:, 0].tolist()) <= {7, 1007} and not number[:, 1:].any()


@pytest.mark.parametrize("hits", [True, False])
def test_half_of_the_skewed_draws_are_of_the_one_window_that_is_unlike_the_others(hits):
    """Row 4 follows no other; the window that ends unlike all others is that of rows 2 and 3."""
    ring = add(replay.empty(row(1), 20), rows(0, 12, 1))
    number = np.asarray(ring.data["n"])
    hit, joined = jnp.asarray((number == 3) == hits), jnp.asarray(number != 4)
    draw = jax.jit(partial(replay.sample_skewed, batch_size=400, length=2))
    drawn, known = draw(ring, jax.random.key(0), hit=hit, joined=joined)
    assert known.all()
    first = np.asarray(drawn["n"])[0]
    assert set(first.tolist()) == {0, 1, 2, 4, 5, 6, 7, 8, 9, 10}
    assert abs((first == 2).mean() - 0.5) < 0.1


def test_seeds_under_vmap_agree_with_each_alone():
    def one(key):
        def step(ring, t):
            return replay.add(
                ring, jax.tree.map(lambda x: x + t.astype(x.dtype), rows(0, 3, 2))
            ), None

        ring, _ = jax.lax.scan(step, replay.empty(row(2), 8), jnp.arange(6))
        return replay.sample_windows(ring, key, 16, 2)

    keys = jax.random.split(jax.random.key(3), 4)
    together = jax.jit(jax.vmap(one))(keys)
    for i, key in enumerate(keys):
        alone = jax.jit(one)(key)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), together, alone)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="capacity=0"):
        replay.empty(row(), 0)
    with pytest.raises(ValueError, match="Windows of 6 steps do not fit in a ring of 5"):
        replay.sample_windows(replay.empty(row(2), 5), jax.random.key(0), 1, 6)

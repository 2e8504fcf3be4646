"""Memories of episodes, against lists that a slow loop keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops import episodic

ENVS = 3


def walk(rng, steps, places, ends, now):
    """Return (before, after, first) [T, E] of agents that jump about, and begin anew at place 0."""
    before, after = np.zeros((2, steps, ENVS), np.int32)
    first = np.zeros((steps, ENVS), bool)
    for t in range(steps):
        first[t] = now["ended"]
        now["at"] = np.where(now["ended"], 0, now["at"])
        before[t], after[t] = now["at"], rng.integers(0, places, ENVS)
        now["at"], now["ended"] = after[t], rng.random(ENVS) < ends
    return before, after, first


def slow_visits(before, after, first, capacity, seen):
    """N [T, E]; `seen` holds a list of the observations of each environment's episode."""
    counts = np.zeros(first.shape, np.int32)
    for t, e in np.ndindex(first.shape):
        if first[t, e]:
            seen[e] = []
        seen[e].append(before[t, e])
        counts[t, e] = 1 + seen[e][-capacity:].count(after[t, e])
    return counts


# 150 steps are two blocks and a part of one; episodes are longer and shorter than the memory.
@pytest.mark.parametrize(
    ("steps", "capacity", "ends"), [(150, 40, 0.02), (20, 100, 0.1), (7, 1, 0.2), (64, 1000, 0.0)]
)
def test_visits_are_those_of_the_episode_through_resets_and_rollouts(steps, capacity, ends):
    rng, seen = np.random.default_rng(0), {e: [] for e in range(ENVS)}
    now = {"at": np.zeros(ENVS, np.int32), "ended": np.ones(ENVS, bool)}
    trail = episodic.empty(ENVS, capacity, jax.ShapeDtypeStruct((), jnp.int32))
    visits = jax.jit(episodic.visits)
    for _ in range(4):
        before, after, first = walk(rng, steps, 6, ends, now)
        counts, trail = visits(trail, *map(jnp.asarray, (before, after, first)))
        expected = slow_visits(before, after, first, capacity, seen)
        np.testing.assert_array_equal(counts, expected)


def test_staying_where_the_episode_began_is_a_second_visit():
    """The first observation of each episode counts, in the first episode and in later ones."""
    at = jnp.asarray([[4], [4], [4], [4]], jnp.uint32)
    first = jnp.asarray([[True], [False], [True], [False]])
    trail = episodic.empty(1, 10, jax.ShapeDtypeStruct((), jnp.uint32))
    counts, _ = jax.jit(episodic.visits)(trail, at, at, first)
    np.testing.assert_array_equal(counts[:, 0], [2, 3, 2, 3])


def test_what_a_memory_holds_is_handed_over_in_order():
    rng, capacity, steps = np.random.default_rng(1), 5, 130
    trail = episodic.empty(2, capacity, jax.ShapeDtypeStruct((3,), jnp.float32))
    rows = rng.normal(size=(2, steps, 2, 3)).astype(np.float32)
    first = rng.random((2, steps, 2)) < 0.1

    def weighted(memory, begin, end, queries):
        """Sum of what is remembered, each weighted by its age, plus the query."""
        place = jnp.arange(memory.shape[0])[None]
        there = (place >= begin[:, None]) & (place < end[:, None])
        weight = jnp.where(there, (end[:, None] - place).astype(jnp.float32), 0.0)
        return (weight[..., None] * memory[None]).sum(1) + queries

    @jax.jit
    def one(trail, rows, first):
        line, seen, trail = episodic.remember(trail, rows, first)
        return episodic.over_memories(weighted, line, seen, rows), trail

    memory = {e: [] for e in range(2)}
    for part in range(2):
        found, trail = one(trail, rows[part], jnp.asarray(first[part]))
        for t, e in np.ndindex(steps, 2):
            if first[part, t, e]:
                memory[e] = []
            memory[e].append(rows[part, t, e])
            kept = memory[e][-capacity:]
            expected = sum((age + 1) * row for age, row in enumerate(reversed(kept)))
            np.testing.assert_allclose(found[e, t], expected + rows[part, t, e], atol=1e-5)

"""What each environment has seen in the episode under way: a memory that episodes' starts reset.

A rollout of T steps is looked at as a whole. In front of its observations stand the last C before
it, so that the memory of any step is a stretch of that one line, and no loop goes over the steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from explorax.core.pytree import pytree

_BLOCK = 64  # steps that are compared with their memories at once


@pytree
class Trail:
    """The last C observations of each environment before the rollout, oldest first."""

    rows: Any  # [E, C, ...], codes or features of them
    age: Any  # int32 [E], how many of the newest belong to the episode under way; may exceed C


def empty(num_envs: int, capacity: int, row: jax.ShapeDtypeStruct) -> Trail:
    """Return a trail of nothing that remembers `capacity` observations, each like `row`."""
    rows = jnp.zeros((num_envs, capacity, *row.shape), row.dtype)
    return Trail(rows, jnp.zeros(num_envs, jnp.int32))


def remember(
    trail: Trail, rows: Shaped[Array, "T E ..."], first: Bool[Array, "T E"]
) -> tuple[Shaped[Array, "E L ..."], Int[Array, "E T"], Trail]:
    """Return (line [E, C + T, ...], seen [E, T], the trail after the rollout).

    `rows` are of the observations in which was acted. The memory of step t is what the episode has
    shown until then, row t itself included: line[:, C + t + 1 − seen : C + t + 1]. Of an episode
    longer than C it holds the last C observations; the oldest are forgotten.
    """
    steps, capacity = first.shape[0], trail.rows.shape[1]
    line = jnp.concatenate([trail.rows, jnp.swapaxes(rows, 0, 1)], 1)
    time = jnp.arange(steps, dtype=jnp.int32)[None]
    began = jax.lax.cummax(jnp.where(first.T, time, -trail.age[:, None]), axis=1)
    age = time + 1 - began
    return line, jnp.minimum(age, capacity), Trail(line[:, steps:], age[:, -1])


def over_memories(
    function: Callable[..., Any],
    line: Shaped[Array, "E L ..."],
    seen: Int[Array, "E T"],
    rows: Shaped[Array, "T E ..."],
) -> Any:
    """Return `function(memory [M, ...], begin [B], end [B], rows [B, ...])`, leaves [E, T, ...].

    Row i of a block of B steps of one environment has the memory [begin_i, end_i) of `memory`,
    which is all of the line that the block can see.
    """
    steps = seen.shape[1]
    capacity = line.shape[1] - steps
    block = min(_BLOCK, steps)
    blocks = -(-steps // block)

    def padded(leaf: jax.Array) -> jax.Array:
        missing = blocks * block - steps
        return jnp.pad(leaf, ((0, 0), (0, missing), *((0, 0),) * (leaf.ndim - 2)))

    line, seen, by_env = padded(line), padded(seen), padded(jnp.swapaxes(rows, 0, 1))

    def one(start: jax.Array) -> Any:
        memory = jax.lax.dynamic_slice_in_dim(line, start, capacity + block, 1)
        end = capacity + 1 + jnp.arange(block, dtype=jnp.int32)
        begin = end[None] - jax.lax.dynamic_slice_in_dim(seen, start, block, 1)
        queries = jax.lax.dynamic_slice_in_dim(by_env, start, block, 1)
        return jax.vmap(function, in_axes=(0, 0, None, 0))(memory, begin, end, queries)

    out = jax.lax.map(one, block * jnp.arange(blocks, dtype=jnp.int32))

    def joined(leaf: jax.Array) -> jax.Array:
        leaf = jnp.swapaxes(leaf, 0, 1)
        return leaf.reshape(leaf.shape[0], blocks * block, *leaf.shape[3:])[:, :steps]

    return jax.tree.map(joined, out)


def visits(
    trail: Trail,
    before: Shaped[Array, "T E"],
    after: Shaped[Array, "T E"],
    first: Bool[Array, "T E"],
) -> tuple[Int[Array, "T E"], Trail]:
    """Return (N [T, E], trail): how often the episode has been at each successor, this time too.

    `before` and `after` are codes of the observations in which was acted and of their true
    successors; equal codes are the same place. N is 1 at a place that the episode had not shown
    before, its first observation included, and at most C + 1.
    """
    line, seen, trail = remember(trail, before, first)

    def count(memory: jax.Array, begin: jax.Array, end: jax.Array, code: jax.Array) -> jax.Array:
        place = jnp.arange(memory.shape[0], dtype=jnp.int32)[None]
        there = (place >= begin[:, None]) & (place < end[:, None])
        same = (memory[None] == code[:, None]) & there
        return 1 + same.sum(1, dtype=jnp.int32)

    return jnp.swapaxes(over_memories(count, line, seen, after), 0, 1), trail

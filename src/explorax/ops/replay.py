"""A ring of rows: first in, first out, as pure functions over a pytree.

Axis 0 is time. A pool of transitions is a ring of rows [C, ...]; the experience of E environments
side by side is a ring of rows [C, E, ...], from which `sample_windows` takes stretches of one
environment's consecutive steps.

The same indices are written in every leaf, by a scatter. Inside a `scan` XLA writes it in place, so
the cost of `add` follows the rows added and not the capacity; a `dynamic_update_slice` that reads
what it overwrites makes XLA copy the whole ring.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from explorax.core.protocols import Key
from explorax.core.pytree import pytree


@pytree
class Ring:
    """The last `count` rows added; the oldest is at `index - count`, modulo the capacity C."""

    data: Any  # leaves [C, ...]
    index: Int[Array, ""]  # int32, where the next row goes
    count: Int[Array, ""]  # int32, at most C


def empty(row: Any, capacity: int) -> Ring:
    """Return a ring that holds nothing, with room for `capacity` rows shaped like `row`.

    `row` has arrays or `jax.ShapeDtypeStruct`s as leaves [...], without the axis of time.
    """
    if capacity < 1:
        raise ValueError(f"A ring needs room for at least one row; capacity={capacity}.")
    data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
    return Ring(data, jnp.int32(0), jnp.int32(0))


def capacity(ring: Ring) -> int:
    """Return C, the number of rows that fit."""
    return jax.tree.leaves(ring.data)[0].shape[0]


def add(ring: Ring, rows: Any) -> Ring:
    """Return the ring after `rows` [N, ...], oldest first, have replaced the oldest ones.

    N need not divide C. Of more rows than fit, the last C stay, as if added one by one.
    """
    room, given = capacity(ring), jax.tree.leaves(rows)[0].shape[0]
    kept = min(room, given)
    at = (ring.index + (given - kept) + jnp.arange(kept, dtype=jnp.int32)) % room
    data = jax.tree.map(
        lambda old, new: old.at[at].set(new[given - kept :], unique_indices=True), ring.data, rows
    )
    return Ring(data, (ring.index + given) % room, jnp.minimum(ring.count + given, room))


def _place(ring: Ring, age: jax.Array) -> jax.Array:
    """Return the indices in `data` of rows by age, 0 the oldest."""
    return (ring.index - ring.count + age) % capacity(ring)


def sample(ring: Ring, key: Key, batch_size: int) -> Any:
    """Return rows [B, ...], drawn uniformly and with replacement.

    From an empty ring these are rows of zeros: whoever draws decides whether there is enough.
    """
    age = jax.random.randint(key, (batch_size,), 0, jnp.maximum(ring.count, 1))
    place = _place(ring, age)
    return jax.tree.map(lambda leaf: leaf[place], ring.data)


def sample_windows(ring: Ring, key: Key, batch_size: int, length: int) -> Any:
    """Return windows [B, L, ...] of one environment's consecutive steps, for leaves [C, E, ...].

    Uniform, with replacement, over all (start, environment) whose L steps are all in the ring: a
    window never crosses the place that is written next, where time jumps. It may cross the end of
    an episode. With fewer than L rows in the ring, windows hold zeros in the rows never added.
    """
    room = capacity(ring)
    if length > room:
        raise ValueError(f"Windows of {length} steps do not fit in a ring of {room}.")
    num_envs = jax.tree.leaves(ring.data)[0].shape[1]
    starts = jnp.maximum(ring.count - (length - 1), 1)
    drawn = jax.random.randint(key, (batch_size,), 0, starts * num_envs)
    age, env = drawn // num_envs, drawn % num_envs
    place = _place(ring, age[:, None] + jnp.arange(length, dtype=jnp.int32)[None, :])

    def take(leaf: Shaped[Array, "C E ..."]) -> Shaped[Array, "B L ..."]:
        return leaf[place, env[:, None]]

    return jax.tree.map(take, ring.data)


def sample_skewed(
    ring: Ring,
    key: Key,
    batch_size: int,
    length: int,
    hit: Bool[Array, "C E"],
    joined: Bool[Array, "C E"],
    before: int = 0,
) -> tuple[Any, Bool[Array, " B"]]:
    """Return (windows [L, B, ...] of which half end in a hit, whether each is one).

    So many rows `before` a window come with it, [before + L, B, ...], joined to it or not.

    `hit` and `joined` are of the rows as they lie in `data`; a window's rows after its first must
    be `joined` to the one before. Where there are no hits all windows end without one, and the
    other way round; where there are no windows at all, rows are of any kind and are said to be
    none. Uniform, with replacement, among those that end in a hit and among those that do not.
    """
    room = capacity(ring)
    ages = jnp.arange(room, dtype=jnp.int32)
    place = _place(ring, ages)  # by age, oldest first
    hit, joined = hit[place], joined[place]
    starts = room - (length - 1)
    whole = ((ages >= before) & (ages + length - 1 < ring.count))[:starts, None]
    for later in range(1, length):
        whole = whole & joined[later : later + starts]
    ends = hit[length - 1 : length - 1 + starts]
    kinds = jnp.stack([whole & ~ends, whole & ends]).reshape(2, -1)
    ranks = jnp.cumsum(kinds, axis=1, dtype=jnp.int32)
    count = ranks[:, -1]
    key_kind, key_row = jax.random.split(key)
    kind = jax.random.bernoulli(key_kind, 0.5, (batch_size,)).astype(jnp.int32)
    kind = jnp.where(count[kind] > 0, kind, 1 - kind)
    nth = jax.random.randint(key_row, (batch_size,), 0, jnp.maximum(count[kind], 1))
    found = jnp.stack([jnp.searchsorted(each, nth + 1) for each in ranks])
    start = jnp.take_along_axis(found, kind[None], axis=0)[0].astype(jnp.int32)
    age, env = start // hit.shape[1], start % hit.shape[1]
    at = _place(ring, age[None] + jnp.arange(-before, length, dtype=jnp.int32)[:, None])
    rows = jax.tree.map(lambda leaf: leaf[at, env[None]], ring.data)
    return rows, count[kind] > 0

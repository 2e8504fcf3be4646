"""A sample of fixed size of all rows so far, each with the same chance to be in it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.protocols import Key
from explorax.core.pytree import pytree


@pytree
class Reservoir:
    """Rows of a stream. Until there are more than fit it holds all of them."""

    rows: Any  # leaves [M, ...]
    seen: Any  # float32 [], rows of the stream so far


def empty(row: Any, size: int) -> Reservoir:
    """Return no rows, and room for `size` like the shapes `row`."""
    rows = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), row)
    return Reservoir(rows, jnp.float32(0))


def add(reservoir: Reservoir, key: Key, rows: Any) -> Reservoir:
    """Return the reservoir after rows, leaves [N, ...] (Vitter 1985, Algorithm R).

    Row n of the stream goes to a place drawn from 0 .. n − 1, if there is such a place.
    """
    size = jax.tree.leaves(reservoir.rows)[0].shape[0]
    count = jax.tree.leaves(rows)[0].shape[0]
    nth = reservoir.seen + jnp.arange(1, count + 1, dtype=jnp.float32)
    drawn = jnp.floor(jax.random.uniform(key, (count,)) * nth)
    place = jnp.where(nth <= size, nth - 1, drawn).astype(jnp.int32)
    # Where two rows of these go to one place the later one stays, as if they came one by one.
    later = jax.ops.segment_max(jnp.arange(count), jnp.minimum(place, size), num_segments=size + 1)
    kept = later[jnp.minimum(place, size)] == jnp.arange(count)
    place = jnp.where(kept & (place < size), place, size)
    stored = jax.tree.map(
        lambda leaf, new: leaf.at[place].set(new.astype(leaf.dtype), mode="drop"),
        reservoir.rows,
        rows,
    )
    return Reservoir(stored, reservoir.seen + count)


def weights(reservoir: Reservoir) -> Float[Array, " M"]:
    """Return how many rows of the stream each place stands for; 0 where there is none."""
    size = jax.tree.leaves(reservoir.rows)[0].shape[0]
    held = jnp.minimum(reservoir.seen, size)
    share = reservoir.seen / jnp.maximum(held, 1.0)
    return jnp.where(jnp.arange(size, dtype=jnp.float32) < held, share, 0.0)

"""The nearest neighbours of many rows among many others."""

import math
from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Allowed = Callable[[jax.Array, jax.Array], jax.Array]  # (rows, places), broadcast -> bool
_BLOCK = 256  # queries whose distances are in memory at once


def nearest(
    queries: Float[Array, "N F"],
    memory: Float[Array, "M F"],
    k: int,
    allowed: Allowed,
    usable: Bool[Array, " M"] | None = None,
) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """Return (squared distances [N, k], ascending, and places [N, k] in `memory`) of the k nearest.

    `allowed(rows, places)` says, for int32 indices of queries and of memory that broadcast, which
    places a query may have for neighbours, and `usable` which places anybody may. Where there are
    fewer than k the distance is inf. Raises ValueError for k larger than the memory.

    The search takes ‖a − b‖² = ‖a‖² + ‖b‖² − 2aᵀb about the queries' mean, one matrix product for
    a block of queries; float32 then mistakes near neighbours by about 10⁻⁶ of the queries' spread,
    squared. The distances of those found are taken from their differences, so that equal rows are
    exactly 0 apart. Of a memory cut into groups, the k nearest are in the k groups with the nearest
    members: only these are sorted.
    """
    count, size = queries.shape[0], memory.shape[0]
    if not 1 <= k <= size:
        raise ValueError(f"There are no k={k} neighbours in a memory of {size} rows.")
    centre = queries.mean(0, keepdims=True)
    queries, memory = queries - centre, memory - centre
    # Members of a group. To sort a group costs a tenth of what fetching one of the members does.
    group = max(1, math.isqrt(size // (10 * k)))
    groups = -(-size // group)
    missing = groups * group - size
    lengths = jnp.square(memory).sum(1)
    if usable is not None:
        lengths = jnp.where(usable, lengths, jnp.inf)
    lengths = jnp.pad(lengths, (0, missing), constant_values=jnp.inf)
    memory = jnp.pad(memory, ((0, missing), (0, 0)))
    everywhere = jnp.arange(groups * group, dtype=jnp.int32)

    def apart(row: jax.Array, place: jax.Array, length: jax.Array, product: jax.Array) -> jax.Array:
        """Return ‖b‖² − 2aᵀb, which orders the places of a row as distances do."""
        row = jnp.minimum(row, count - 1)
        return jnp.where(allowed(row, place), length - 2.0 * product, jnp.inf)

    def one_block(block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        query, row = block
        product = jnp.matmul(query, memory.T, precision=jax.lax.Precision.HIGHEST)
        # Group j has the members j, j + groups, ...: XLA takes the least of them as it makes them.
        members = jnp.split(apart(row[:, None], everywhere[None], lengths[None], product), group, 1)
        best = reduce(jnp.minimum, members)
        _, chosen = jax.lax.top_k(-best, k)
        place = (chosen[:, None, :] + groups * jnp.arange(group)[None, :, None]).reshape(
            -1, group * k
        )
        there = jnp.take_along_axis(product, place, 1)
        closeness, at = jax.lax.top_k(-apart(row[:, None], place, lengths[place], there), k)
        place = jnp.take_along_axis(place, at, 1)
        squared = jnp.square(memory[place] - query[:, None]).sum(-1)
        # Rounding may have put two near ones in the wrong order.
        squared, place = jax.lax.sort_key_val(
            jnp.where(closeness == -jnp.inf, jnp.inf, squared), place
        )
        return squared, place

    blocks = -(-count // _BLOCK)
    at_once = min(count, _BLOCK)
    padded = jnp.pad(queries, ((0, blocks * at_once - count), (0, 0)))
    rows = jnp.arange(blocks * at_once, dtype=jnp.int32).reshape(blocks, at_once)
    squared, place = jax.lax.map(one_block, (padded.reshape(blocks, at_once, -1), rows))
    return squared.reshape(-1, k)[:count], place.reshape(-1, k)[:count]

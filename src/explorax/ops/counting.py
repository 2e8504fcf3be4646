"""Counting visits in time order, all rows of a rollout at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def occurrence(codes: Int[Array, " N"]) -> Int[Array, " N"]:
    """Return how often the code of row i is among rows 0 .. i, int32; 1 where it is new.

    A stable sort brings equal codes together in their order, and the place within such a run is the
    answer: N log N, whatever the codes are.
    """
    order = jnp.argsort(codes, stable=True)
    in_order = codes[order]
    place = jnp.arange(codes.size, dtype=jnp.int32)
    opens = jnp.concatenate([jnp.ones(1, bool), in_order[1:] != in_order[:-1]])
    begin = jax.lax.cummax(jnp.where(opens, place, 0))
    return jnp.zeros_like(place).at[order].set(place - begin + 1, unique_indices=True)


def visit(
    table: Int[Array, " S"], codes: Int[Array, "T E"]
) -> tuple[Int[Array, "T E"], Int[Array, " S"]]:
    """Return (counts, table): how often each row's cell was visited by then, this visit included.

    Row (t, e) comes after all rows of earlier steps and after the environments before e at step t,
    so the k-th visit of the rollout to a cell counted n times before has the count n + k. The code
    S is no cell, and counted nowhere.
    """
    rows = codes.ravel()
    counts = table.at[rows].get(mode="fill", fill_value=0) + occurrence(rows)
    return counts.reshape(codes.shape), table.at[rows].add(1, mode="drop")


def payment(counts: Int[Array, "..."], scale: float, power: float) -> Float[Array, "..."]:
    """Return scale / n^power, float32; a cell never counted is paid as on its first visit."""
    return scale / jnp.maximum(counts, 1).astype(jnp.float32) ** power

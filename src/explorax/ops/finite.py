"""Numbers for the states of a finite world, read from observations made of one-hot codes."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from explorax.core.errors import Incompatible
from explorax.core.protocols import Box
from explorax.core.pytree import pytree


def num_states(box: Box) -> int | None:
    """Return how many observations there can be, Π (size + 1) over the codes of `box.one_hot`.

    None where observations are not one-hot codes, so that nobody can say.
    """
    if box.one_hot is None:
        return None
    return math.prod(size + 1 for size in box.one_hot)


def state_index(box: Box, obs: Shaped[Array, "..."]) -> Int[Array, "..."]:
    """Return the number, int32 [...] in 0 .. num_states − 1, of observations [..., *box.shape].

    The codes are the digits of the number, the first code the most significant; the digit of a code
    is the place of its 1, or its size where it has none. Raises ValueError without `box.one_hot`.
    """
    if box.one_hot is None:
        raise ValueError(f"Observations of {box} are not one-hot codes: they have no numbers.")
    lead = obs.shape[: obs.ndim - len(box.shape)]
    flat = obs.reshape(*lead, -1)
    index, begin = jnp.zeros(lead, jnp.int32), 0
    for size in box.one_hot:
        code = flat[..., begin : begin + size]
        digit = jnp.where((code != 0).any(-1), jnp.argmax(code, -1).astype(jnp.int32), size)
        index, begin = index * (size + 1) + digit, begin + size
    return index


@pytree
class Numbering:
    """`state_index` as arrays: a part of the state of whoever is not given the spec each time."""

    weights: Any  # int32 [D], of each entry of a flat observation
    base: Any  # int32 [], the number of an observation of nothing but zeros


def numbering(box: Box) -> Numbering:
    """Return what `number_of` needs. Raises ValueError without `box.one_hot`."""
    if box.one_hot is None:
        raise ValueError(f"Observations of {box} are not one-hot codes: they have no numbers.")
    weights, base, place_value = [], 0, 1
    for size in reversed(box.one_hot):
        # a 1 at place d replaces the digit `size`, which stands for no 1 at all, by d
        weights = [(d - size) * place_value for d in range(size)] + weights
        base += size * place_value
        place_value *= size + 1
    return Numbering(jnp.asarray(weights, jnp.int32), jnp.int32(base))


def number_of(numbers: Numbering, obs: Shaped[Array, "... D"]) -> Int[Array, "..."]:
    """Return `state_index` of flat observations, int32 [...]."""
    return numbers.base + jnp.where(obs != 0, numbers.weights, 0).sum(-1, dtype=jnp.int32)


def table_size(box: Box, owner: str, limit: int, cure: str) -> int:
    """Return `num_states` for the table of a part called `owner`.

    Raises Incompatible, with `cure` at its end, where observations are not one-hot codes or the
    table would have more than `limit` states.
    """
    size = num_states(box)
    if size is None:
        raise Incompatible(
            f"{owner} has a table of states, and observations of shape {box.shape} and type "
            f"{box.dtype} that are no one-hot codes have no place in one. {cure}"
        )
    if size > limit:
        codes = " · ".join(f"({each} + 1)" for each in box.one_hot or ())
        raise Incompatible(
            f"{owner} has a table of at most {limit:,} states (max_states), and observations of "
            f"one-hot codes {box.one_hot} make {codes} = {size:,}. {cure}"
        )
    return size

"""Numbers for the states of a finite world, read from observations made of one-hot codes."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from explorax.core.protocols import Box


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

"""The one way from a seed's number to a key."""

from typing import Any

import jax

KIND = "threefry2x32"  # always: JAX_DEFAULT_PRNG_IMPL must not change what a seed stands for


def key_of(seed: Any) -> jax.Array:
    """Return the typed key of a whole number, which may be traced."""
    return jax.random.key(seed, impl=KIND)

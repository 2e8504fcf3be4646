"""Short codes for long observations: one that keeps likeness, and one that tells any two apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped, UInt32

_MOST_BITS = 31  # of a non-negative int32


def simhash(projection: Float[Array, "D bits"], x: Float[Array, "... D"]) -> Int[Array, "..."]:
    """Return SimHash's code, int32 [...] in 0 .. 2^bits − 1, of rows `x`: bit i is [xᵀaᵢ ≥ 0].

    aᵢ is column i of `projection`, drawn once from the standard normal. Two rows at an angle θ
    differ in each bit with probability θ/π, whatever their lengths (Charikar 2002; Tang et al.,
    arXiv 1611.04717, Sec. 2.1). A row of zeros has all bits set. Raises ValueError for more bits
    than an int32 has.
    """
    bits = projection.shape[1]
    if bits > _MOST_BITS:
        raise ValueError(f"{bits} bits do not fit into an int32: {_MOST_BITS} do.")
    # Where a bit falls must not depend on how the device rounds its products.
    signed = jnp.matmul(x, projection, precision=jax.lax.Precision.HIGHEST)
    powers = jnp.left_shift(1, jnp.arange(bits, dtype=jnp.int32))
    return jnp.where(signed >= 0, powers, 0).sum(-1, dtype=jnp.int32)


def exact_code(obs: Shaped[Array, "... D"]) -> UInt32[Array, "..."]:
    """Return a 32-bit hash of observations [..., D]: equal rows have equal codes.

    Rows that differ in one entry always have different codes, and others the same one with
    probability about 2⁻³²: of 10,000 different observations, some two collide with 1 %. −0 is 0.
    The code is m(Σ_d m(bits_d ⊕ salt_d)) mod 2³² with m the finaliser of MurmurHash3, a bijection;
    salt_d = m(d · 0x9E3779B9 + 1) tells the places apart.
    """
    if jnp.issubdtype(obs.dtype, jnp.floating):
        value = obs.astype(jnp.float32)
        bits = jax.lax.bitcast_convert_type(jnp.where(value == 0, 0.0, value), jnp.uint32)
    else:
        bits = obs.astype(jnp.uint32)
    places = jnp.arange(obs.shape[-1], dtype=jnp.uint32)
    salt = _mixed(places * jnp.uint32(0x9E3779B9) + jnp.uint32(1))
    salted = bits ^ salt.reshape(*(1,) * (bits.ndim - 1), -1)
    return _mixed(_mixed(salted).sum(-1, dtype=jnp.uint32))


def _mixed(word: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Return MurmurHash3's finaliser of 32-bit words: each bit moves every other."""
    word = (word ^ (word >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> jnp.uint32(16))

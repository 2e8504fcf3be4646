"""Noise that wanders: Ornstein and Uhlenbeck's, for exploring with a policy that has none."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from explorax.core.protocols import Key


def following(
    noise: Float[Array, "E A"], key: Key, first: Bool[Array, " E"], reversion: float, std: float
) -> Float[Array, "E A"]:
    """Return (1 − θ) n + σ ε, from n = 0 where an episode begins: one step of the process.

    θ is `reversion` and σ `std`, as in Lillicrap et al. (arXiv 1509.02971, section 7) with steps of
    length 1; in the long run its deviation is σ/√(1 − (1 − θ)²).
    """
    kept = jnp.where(first[:, None], 0.0, (1.0 - reversion) * noise)
    return kept + std * jax.random.normal(key, noise.shape)

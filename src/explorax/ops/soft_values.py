"""Soft values: α log ∫ exp(Q/α), by samples, by enumeration, and by dynamic programming.

Haarnoja et al. 2017, arXiv 1702.08165. The temperature α is above 0. The largest Q is taken out
before anything is divided by α, so that no Q/α overflows, however small α is.
"""

import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Temperature: TypeAlias = float | Float[Array, ""]


def soft_value(q: Float[Array, "... A"], temperature: Temperature) -> Float[Array, "..."]:
    """Return V = α log Σ_a exp(Q_a/α) over all discrete actions (arXiv 1702.08165, Theorem 1).

    max Q <= V <= max Q + α log A.
    """
    return _above_best(q, temperature, jnp.zeros_like(q))


def soft_log_policy(q: Float[Array, "... A"], temperature: Temperature) -> Float[Array, "... A"]:
    """Return log π_a = (Q_a − V)/α, the softmax of Q/α (arXiv 1702.08165, Theorem 1)."""
    return jax.nn.log_softmax((q - q.max(-1, keepdims=True)) / temperature)


def sampled_soft_value(
    q: Float[Array, "... K"], log_density: Float[Array, "... K"], temperature: Temperature
) -> Float[Array, "..."]:
    """Return V ≈ α log mean_j [exp(Q_j/α)/p(a_j)] from K actions drawn from p.

    arXiv 1702.08165, Eq. 10. `log_density` is log p(a_j). exp(V/α) is unbiased; V, its logarithm,
    is too low on average. Exact, whatever K, where p ∝ exp(Q/α).
    """
    return _above_best(q, temperature, -log_density - math.log(q.shape[-1]))


def uniform_soft_value(
    q: Float[Array, "... K"], temperature: Temperature, action_dim: int
) -> Float[Array, "..."]:
    """Return V ≈ α [log Σ_j exp(Q_j/α) − log K + d log 2], the K actions uniform on [−1, 1]^d.

    `sampled_soft_value` with p = 2^−d: a constant Q = q gives V = q + α d log 2 exactly.
    """
    return sampled_soft_value(q, jnp.full_like(q, -action_dim * math.log(2.0)), temperature)


def soft_q_iteration(
    transition: Float[Array, "S A S"],
    reward: Float[Array, "S A"],
    discount: float,
    temperature: Temperature,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> tuple[Float[Array, "S A"], Float[Array, ""], Int[Array, ""]]:
    """Return (Q, residual, iterations) of soft Q-iteration in an MDP whose laws are known.

    Q ← R + γ P V,  V(s) = α log Σ_a exp(Q(s, a)/α)    (arXiv 1702.08165, Theorem 3)

    until the largest change, the residual, is at most `tolerance`, or `max_iterations` are done.
    The map contracts by γ, so Q is within γ/(1 − γ) · residual of the fixed point; in float32 a
    tolerance below 10⁻⁷ max|Q| may never be reached. `transition` is P[s, a, s']; a row may sum to
    less than 1, the rest being the probability that the episode ends.
    """

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        _, residual, iteration = carry
        return (iteration < max_iterations) & (residual > tolerance)

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        q, _, iteration = carry
        value = soft_value(q, temperature)
        after = reward + discount * jnp.einsum("sat,t->sa", transition, value)
        return after, jnp.abs(after - q).max(), iteration + 1

    start = (jnp.zeros_like(reward), jnp.full((), jnp.inf, reward.dtype), jnp.int32(0))
    return jax.lax.while_loop(unfinished, one, start)


def _above_best(q: jax.Array, temperature: Temperature, offset: jax.Array) -> jax.Array:
    """Return α log Σ_j exp(Q_j/α + offset_j)."""
    best = q.max(-1, keepdims=True)
    return best[..., 0] + temperature * jax.nn.logsumexp((q - best) / temperature + offset, axis=-1)

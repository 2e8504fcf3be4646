"""Bandits: confidence bounds, regret, and the least regret that is possible."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def upper_bounds(
    means: Float[Array, "E A"], counts: Int[Array, "E A"], scale: float
) -> Float[Array, "E A"]:
    """Return mean_a + scale √(2 ln N / n_a) with N = Σ_a n_a; ∞ where n_a = 0.

    The index of UCB1 for `scale` 1 (Auer et al. 2002, Fig. 1).
    """
    tried = counts.astype(jnp.float32)
    total = jnp.maximum(tried.sum(-1, keepdims=True), 1.0)
    width = jnp.sqrt(2.0 * jnp.log(total) / jnp.maximum(tried, 1.0))
    return jnp.where(counts > 0, means + scale * width, jnp.inf)


def regret(pulls: Int[Array, "... K"], probabilities: tuple[float, ...]) -> Float[Array, "..."]:
    """Return Σ_a Δ_a n_a of arms pulled n_a times, Δ_a = p* − p_a: what not knowing has cost.

    The pseudo-regret: rewards are replaced by their means, which leaves the expectation and takes
    the coins' noise out.
    """
    gaps = jnp.asarray([max(probabilities) - p for p in probabilities], jnp.float32)
    return pulls.astype(jnp.float32) @ gaps


def lai_robbins(probabilities: tuple[float, ...]) -> float:
    """Return Σ_{a: Δ_a > 0} Δ_a / KL(p_a ‖ p*) of Bernoulli arms, the least regret per ln N.

    Lai & Robbins 1985, Theorem 1: a policy whose regret is o(N^c) for every c > 0 on every bandit
    has lim inf regret(N) / ln N ≥ this. KL(p ‖ q) = p ln(p/q) + (1 − p) ln((1 − p)/(1 − q)), in
    nats. An arm that surely pays, p* = 1, is told apart for nothing: the bound is 0.
    """
    best = max(probabilities)
    return sum((best - p) / divergence(p, best) for p in probabilities if p < best)


def divergence(p: float, q: float) -> float:
    """Return KL(p ‖ q) of two coins in nats, ∞ where p can what q cannot."""
    total = 0.0
    for one, other in ((p, q), (1.0 - p, 1.0 - q)):
        if one > 0.0:
            total += float(one * np.log(one / other)) if other > 0.0 else np.inf
    return total

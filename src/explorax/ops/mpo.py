"""Maximum a posteriori policy optimisation: the E-step, its temperature, the M-step's constraints.

Abdolmaleki et al. 2018: arXiv 1806.06920 (MPO) and arXiv 1812.02256, which splits the M-step into
one part for the mean and one for the covariance. B states, N actions in each: actions sampled from
the old policy, or all there are, weighed by their probabilities (`log_prior`).

Temperatures and multipliers are positive; what a gradient moves is a raw number, `positive(raw)`.
"""

import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.pytree import replace
from explorax.ops.distributions import FullGaussian, Gaussian

Normal: TypeAlias = Gaussian | FullGaussian
Scalar: TypeAlias = float | Float[Array, ""]

# softplus'(−18) is 10⁻⁸: what lies lower hears no gradient and would never come back.
_LOWEST_RAW = -18.0


def positive(raw: Float[Array, "..."], floor: float = 1e-8) -> Float[Array, "..."]:
    """Return floor + softplus(raw) > 0: log-like where small, linear where large, never inf."""
    return floor + jax.nn.softplus(raw)


def raw_of(value: Scalar, floor: float = 1e-8) -> Float[Array, ""]:
    """Return the raw number with `positive(raw)` = value, and the lowest for value <= floor."""
    above = jnp.maximum(jnp.asarray(value, jnp.float32) - floor, jnp.finfo(jnp.float32).tiny)
    return held(above + jnp.log(-jnp.expm1(-above)))


def held(raw: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `raw`, at least −18: apply it after each gradient step on raw numbers."""
    return jnp.maximum(raw, _LOWEST_RAW)


def log_weights(
    q: Float[Array, "B N"], temperature: Scalar, log_prior: Float[Array, "B N"] | None = None
) -> Float[Array, "B N"]:
    """Return log q_j of the improved policy, q_j ∝ p_j exp(Q_j/η), Σ_j q_j = 1.

    The E-step of arXiv 1806.06920. p is 1/N where `log_prior` is None: N actions drawn from the old
    policy. For an enumeration of all actions give the old policy's log-probabilities.
    """
    return jax.nn.log_softmax(_logits(q, temperature, log_prior))


def kl_from_prior(
    log_q: Float[Array, "B N"], log_prior: Float[Array, "B N"] | None = None
) -> Float[Array, " B"]:
    """Return KL[q ‖ p] = Σ_j q_j (log q_j − log p_j) of each state, in nats; p is 1/N for None."""
    weights = jnp.exp(log_q)
    log_ratio = log_q - _prior(log_q, log_prior)
    return jnp.where(weights > 0.0, weights * log_ratio, 0.0).sum(-1)


def temperature_dual(
    temperature: Scalar,
    q: Float[Array, "B N"],
    bound: float,
    log_prior: Float[Array, "B N"] | None = None,
) -> Float[Array, ""]:
    """Return g(η) = η ε + η mean_s log Σ_j p_j exp(Q_j/η), convex in η (arXiv 1806.06920, Eq. 9).

    g'(η) = ε − mean_s KL[q_η ‖ p], so that the KL equals the bound ε where g is least. A constant
    added to all Q of a state moves g and neither g' nor the weights. Only η has a gradient.
    """
    q = jax.lax.stop_gradient(q)
    above = jax.nn.logsumexp(_logits(q, temperature, log_prior), axis=-1)
    return temperature * bound + (q.max(-1) + temperature * above).mean()


def solve_temperature(
    q: Float[Array, "B N"],
    bound: float,
    log_prior: Float[Array, "B N"] | None = None,
    floor: float = 1e-6,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> Float[Array, ""]:
    """Return the η >= floor at which `temperature_dual` is least: mean KL = ε to `tolerance` · ε.

    Newton's method on log KL as a function of log η, a nearly straight line of slope −2 until the
    KL saturates, inside a bracket that is halved whenever Newton leaves it. It starts from
    η² = mean_s range(Q)²/(8ε), above the solution: KL[q_η ‖ p] <= range²/(8η²) for every p, as
    dKL/dη = −Var_q(Q)/η³ and a variance is at most range²/4.

    No q is further from p than the one that keeps only the best actions, log N for N samples. Where
    ε is at least that, g rises everywhere, the bound never binds, and η is the floor: the weights
    are then all but one-hot. η is the floor also where all Q of each state are equal; the weights
    are then p. In float32 the KL found is within 2·10⁻⁵ of ε, relatively, for ε >= 0.01, and 10⁻³
    for ε = 10⁻⁴. Carries no gradient.
    """
    q = jax.lax.stop_gradient(q)
    log_prior = jax.lax.stop_gradient(_prior(q, log_prior))

    def measured(log_temperature: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (mean KL, −dKL/dlog η = mean variance of Q/η under q)."""
        temperature = jnp.exp(log_temperature)
        log_q = log_weights(q, temperature, log_prior)
        weights, z = jnp.exp(log_q), _scaled(q, temperature)
        deviation = z - (weights * z).sum(-1, keepdims=True)
        variance = (weights * deviation * deviation).sum(-1)
        return kl_from_prior(log_q, log_prior).mean(), variance.mean()

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        step, _, _, _, kl, _ = carry
        return (step < iterations) & (jnp.abs(kl - bound) > tolerance * bound) & binds

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, low, high, at, kl, variance = carry
        low, high = jnp.where(kl > bound, at, low), jnp.where(kl > bound, high, at)
        newton = at + jnp.log(kl / bound) * kl / variance
        inside = (newton > low) & (newton < high)
        at = jnp.where(inside, newton, 0.5 * (low + high))
        return step + 1, low, high, at, *measured(at)

    spread = q.max(-1) - q.min(-1)
    widest = jnp.maximum(spread.max(), floor)  # taken out of the square, which may overflow
    high = jnp.log(widest) + 0.5 * jnp.log(jnp.square(spread / widest).mean() / (8.0 * bound))
    low = jnp.full_like(high, math.log(floor))
    high = jnp.maximum(high, low)
    binds = measured(low)[0] > bound
    carry = jax.lax.while_loop(unfinished, one, (jnp.int32(0), low, high, high, *measured(high)))
    return jnp.where(binds | jnp.isnan(carry[3]), jnp.exp(carry[3]), floor)


def decoupled(old: Normal, new: Normal) -> tuple[Normal, Normal]:
    """Return (N(μ_new, Σ_old), N(μ_old, Σ_new)), the first for the mean, the second for Σ.

    Gradients flow into `new` alone.
    """
    old = jax.lax.stop_gradient(old)
    return replace(old, mean=new.mean), replace(new, mean=old.mean)


def decoupled_kl(
    old: Normal, new: Normal, per_dimension: bool = False
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return (C_μ, C_Σ) = (KL[old ‖ N(μ_new, Σ_old)], KL[old ‖ N(μ_old, Σ_new)]), in nats.

    C_μ = Δᵀ Σ_old⁻¹ Δ/2,  Δ = μ_new − μ_old
    C_Σ = [tr(Σ_new⁻¹ Σ_old) − A + log(|Σ_new|/|Σ_old|)]/2

    KL[old ‖ new] is exactly C_Σ + Δᵀ Σ_new⁻¹ Δ/2. C_μ has the old covariance in place of the new
    (arXiv 1812.02256), so that the bound on the mean does not move with Σ; then

    KL[old ‖ new] = C_μ + C_Σ − Δᵀ (Σ_old⁻¹ − Σ_new⁻¹) Δ/2,

    the sum of both where only one of mean and covariance has changed. `per_dimension` keeps the
    last axis, [..., A], whose sum this is; ValueError for a full covariance, which does not split.
    """
    old = jax.lax.stop_gradient(old)
    moved, reshaped = decoupled(old, new)
    if not per_dimension:
        return old.kl(moved), old.kl(reshaped)
    if isinstance(moved, FullGaussian) or isinstance(reshaped, FullGaussian):
        raise ValueError("The KL of a full covariance does not split into dimensions.")
    assert isinstance(old, Gaussian)
    return old.kl_per_dimension(moved), old.kl_per_dimension(reshaped)


def weighted_log_likelihood(
    log_prob: Float[Array, "B N"], weights: Float[Array, "B N"]
) -> Float[Array, ""]:
    """Return mean_s Σ_j q_j log π(a_j|s), what the M-step climbs."""
    return (jax.lax.stop_gradient(weights) * log_prob).sum(-1).mean()


def decoupled_log_likelihood(
    old: Normal, new: Normal, action: Float[Array, "B N A"], weights: Float[Array, "B N"]
) -> Float[Array, ""]:
    """Return mean_s Σ_j q_j [log N(a_j; μ_new, Σ_old) + log N(a_j; μ_old, Σ_new)].

    arXiv 1812.02256: the mean learns as if the covariance stood still, and the other way round, so
    that a shift of the mean alone does not change the covariance. Leaves of the Gaussians are
    [B, A], and [B, A, A] for a factor.
    """
    parts = jax.tree.map(lambda leaf: leaf[:, None], decoupled(old, new))
    return sum(
        (weighted_log_likelihood(part.log_prob(action), weights) for part in parts),
        start=jnp.zeros(()),
    )


def constraint(raw: Float[Array, "..."], kl: Float[Array, "..."], bound: float) -> Float[Array, ""]:
    """Return what to add to a loss that should keep mean_s KL below ε, summed over constraints.

    α = positive(raw), arXiv 1806.06920. The policy's parameters get the gradient of α KL, and `raw`
    that of α (ε − KL), so that descent raises α while the KL is above its bound. Its value, Σ α ε,
    means nothing. `raw` and `kl` are [], or [A] with one multiplier a dimension.
    """
    multiplier = positive(raw)
    fixed = jax.lax.stop_gradient
    return (fixed(multiplier) * kl + multiplier * (bound - fixed(kl))).sum()


def _prior(q: jax.Array, log_prior: jax.Array | None) -> jax.Array:
    """Return `log_prior`, or log 1/N everywhere."""
    return jnp.full_like(q, -math.log(q.shape[-1])) if log_prior is None else log_prior


def _scaled(q: jax.Array, temperature: Scalar) -> jax.Array:
    """Return (Q − max Q)/η, which overflows nowhere but to weights of 0."""
    return (q - q.max(-1, keepdims=True)) / temperature


def _logits(q: jax.Array, temperature: Scalar, log_prior: jax.Array | None) -> jax.Array:
    return _prior(q, log_prior) + _scaled(q, temperature)

"""Distributions over actions: Gaussians, diagonal and full, and a categorical with one interface.

Each is a pytree of its parameters with leaves [..., A]; the methods return arrays [...]. Agents
never ask which one they hold. The full Gaussian has no Fisher product: it is not for trust regions.
"""

import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from explorax.core.protocols import Key
from explorax.core.pytree import pytree

_LOG_2PI = math.log(2.0 * math.pi)
MIN_LOG_STD = math.log(1e-6)  # rllab's min_std


@pytree
class Gaussian:
    """Independent normals over actions [..., A]; not squashed, so actions are unbounded."""

    mean: Any  # [..., A]
    log_std: Any  # [..., A]

    def sample(self, key: Key) -> Float[Array, "... A"]:
        """Return mean + σ ε."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> Float[Array, "... A"]:
        return self.mean

    def log_prob(self, action: Float[Array, "... A"]) -> Float[Array, "..."]:
        """Return −Σ_i [z_i²/2 + log σ_i + log(2π)/2], z = (a − mean)/σ."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -(0.5 * z * z + self.log_std + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self) -> Float[Array, "..."]:
        """Return Σ_i [log σ_i + (1 + log 2π)/2], in nats."""
        return (self.log_std + 0.5 * (1.0 + _LOG_2PI)).sum(-1)

    def kl(self, other: "AnyDistribution") -> Float[Array, "..."]:
        """Return KL[self ‖ other], in nats: the sum of `kl_per_dimension`."""
        assert isinstance(other, Gaussian)
        return self.kl_per_dimension(other).sum(-1)

    def kl_per_dimension(self, other: "Gaussian") -> Float[Array, "... A"]:
        """Return the KL of each dimension's normal, in nats.

        log(σ'_i/σ_i) + [(σ_i/σ'_i)² + (m_i − m'_i)²/σ'_i² − 1]/2; the first bracket is written
        with expm1, so that equal parameters give exactly 0.
        """
        log_ratio = self.log_std - other.log_std
        z = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return 0.5 * jnp.expm1(2.0 * log_ratio) - log_ratio + 0.5 * z * z

    def fisher(self, tangent: "Gaussian") -> "Gaussian":
        """Return the Fisher matrix of (mean, log σ), diag(1/σ², 2), times `tangent`."""
        return Gaussian(tangent.mean * jnp.exp(-2.0 * self.log_std), 2.0 * tangent.log_std)


@pytree
class FullGaussian:
    """A normal over actions [..., A] with covariance L Lᵀ; not squashed."""

    mean: Any  # [..., A]
    factor: Any  # [..., A, A], L, lower-triangular, its diagonal positive (`cholesky_factor`)

    def sample(self, key: Key) -> Float[Array, "... A"]:
        """Return mean + L ε."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + (self.factor * noise[..., None, :]).sum(-1)

    def mode(self) -> Float[Array, "... A"]:
        return self.mean

    def log_prob(self, action: Float[Array, "... A"]) -> Float[Array, "..."]:
        """Return −‖z‖²/2 − Σ_i [log L_ii + log(2π)/2], L z = a − mean."""
        z = _solve_lower(self.factor, (action - self.mean)[..., None])[..., 0]
        return -(0.5 * z * z + self._log_diagonal() + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self) -> Float[Array, "..."]:
        """Return Σ_i [log L_ii + (1 + log 2π)/2], in nats."""
        return (self._log_diagonal() + 0.5 * (1.0 + _LOG_2PI)).sum(-1)

    def kl(self, other: "AnyDistribution") -> Float[Array, "..."]:
        """Return KL[self ‖ other], in nats.

        [tr(Σ'⁻¹ Σ) − A + log(|Σ'|/|Σ|) + (m − m')ᵀ Σ'⁻¹ (m − m')]/2, which with E = L'⁻¹(L − L') is

        ‖E‖²/2 + Σ_i [E_ii − log(1 + E_ii)] + ‖L'⁻¹(m − m')‖²/2.

        Written so, equal parameters give exactly 0, and float32 does not drown a KL of 10⁻⁶, the
        size of MPO's bound on the covariance, in the rounding of the trace.
        """
        assert isinstance(other, FullGaussian)
        shift = (self.mean - other.mean)[..., None]
        right = jnp.concatenate([self.factor - other.factor, shift], axis=-1)
        solved = _solve_lower(other.factor, right)
        on_diagonal = jnp.diagonal(solved[..., :-1], axis1=-2, axis2=-1)
        return 0.5 * jnp.square(solved).sum((-2, -1)) + (on_diagonal - jnp.log1p(on_diagonal)).sum(
            -1
        )

    def _log_diagonal(self) -> Float[Array, "... A"]:
        return jnp.log(jnp.diagonal(self.factor, axis1=-2, axis2=-1))


def cholesky_factor(entries: Float[Array, "... n"], floor: float = 1e-4) -> Float[Array, "... A A"]:
    """Return a lower-triangular L with a positive diagonal, of n = A(A + 1)/2 free numbers.

    The first A make the diagonal, floor + softplus(entry); the rest stand below it, row by row.
    Raises ValueError where n is no such number.
    """
    count = entries.shape[-1]
    size = (math.isqrt(8 * count + 1) - 1) // 2
    if size < 1 or size * (size + 1) // 2 != count:
        raise ValueError(f"{count} numbers fill no triangle: give A(A + 1)/2, such as 1, 3, 6, 10.")
    # the place of each entry in (diagonal, below, 0)
    place, below = np.full((size, size), count), np.tril_indices(size, -1)
    place[below] = np.arange(size, count)
    np.fill_diagonal(place, np.arange(size))
    diagonal = floor + jax.nn.softplus(entries[..., :size])
    parts = [diagonal, entries[..., size:], jnp.zeros_like(entries[..., :1])]
    return jnp.concatenate(parts, axis=-1)[..., place]


def _solve_lower(
    factor: Float[Array, "... A A"], right: Float[Array, "... A K"]
) -> Float[Array, "... A K"]:
    """Return X with factor · X = right by forward substitution, unrolled: A is small.

    JAX's own triangular solve leaves the compiler on a CPU, which many seeds at once may wait on.
    """
    rows = [right[..., 0, :] / factor[..., 0, 0, None]]
    for i in range(1, factor.shape[-1]):
        known = (factor[..., i, :i, None] * jnp.stack(rows, axis=-2)).sum(-2)
        rows.append((right[..., i, :] - known) / factor[..., i, i, None])
    return jnp.stack(rows, axis=-2)


@pytree
class Categorical:
    """Actions 0 .. A−1, int32 [...], with probabilities softmax(logits)."""

    logits: Any  # [..., A]

    def sample(self, key: Key) -> Int[Array, "..."]:
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def mode(self) -> Int[Array, "..."]:
        """Return the likeliest action, the lowest of equals."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "..."]) -> Float[Array, "..."]:
        log_p = jax.nn.log_softmax(self.logits)
        return jnp.take_along_axis(log_p, action[..., None], axis=-1)[..., 0]

    def entropy(self) -> Float[Array, "..."]:
        """Return −Σ_a p_a log p_a, in nats."""
        log_p = jax.nn.log_softmax(self.logits)
        return -(jnp.exp(log_p) * log_p).sum(-1)

    def kl(self, other: "AnyDistribution") -> Float[Array, "..."]:
        """Return KL[self ‖ other] = Σ_a p_a (log p_a − log p'_a), in nats."""
        assert isinstance(other, Categorical)
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return (jnp.exp(log_p) * (log_p - log_q)).sum(-1)

    def fisher(self, tangent: "Categorical") -> "Categorical":
        """Return the Fisher matrix of the logits, diag(p) − p pᵀ, times `tangent`."""
        p = jax.nn.softmax(self.logits)
        mean = (p * tangent.logits).sum(-1, keepdims=True)
        return Categorical(p * (tangent.logits - mean))


Distribution: TypeAlias = Gaussian | Categorical
AnyDistribution: TypeAlias = Distribution | FullGaussian


def of_outputs(out: Float[Array, "... A"], log_std: Float[Array, "..."] | None) -> Distribution:
    """Return the policy that a network's outputs stand for: means with log deviations that do not
    depend on the state, of as many numbers in any shape, or logits without any."""
    if log_std is None:
        return Categorical(out)
    held = jnp.maximum(log_std, MIN_LOG_STD).reshape(-1)
    return Gaussian(out, jnp.broadcast_to(held, out.shape))

"""Distributions over actions: a diagonal Gaussian and a categorical with one interface.

Each is a pytree of its parameters with leaves [..., A]; the methods return arrays [...]. Agents
never ask which one they hold.
"""

import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.core.protocols import Key
from explorax.core.pytree import pytree

_LOG_2PI = math.log(2.0 * math.pi)


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

    def kl(self, other: "Distribution") -> Float[Array, "..."]:
        """Return KL[self ‖ other], in nats.

        Σ_i log(σ'_i/σ_i) + [(σ_i/σ'_i)² + (m_i − m'_i)²/σ'_i² − 1]/2; the first bracket is written
        with expm1, so that equal parameters give exactly 0.
        """
        assert isinstance(other, Gaussian)
        log_ratio = self.log_std - other.log_std
        z = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return (0.5 * jnp.expm1(2.0 * log_ratio) - log_ratio + 0.5 * z * z).sum(-1)

    def fisher(self, tangent: "Gaussian") -> "Gaussian":
        """Return the Fisher matrix of (mean, log σ), diag(1/σ², 2), times `tangent`."""
        return Gaussian(tangent.mean * jnp.exp(-2.0 * self.log_std), 2.0 * tangent.log_std)


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

    def kl(self, other: "Distribution") -> Float[Array, "..."]:
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

"""Soft Q-learning's sampler: a network that turns noise into actions of density ∝ exp(Q/α)."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from explorax.agents import action_values, sight
from explorax.core.keys import key_of
from explorax.core.protocols import Box, Discrete, Key, Metrics
from explorax.nets.mlp import MLP
from explorax.ops.soft_values import sampled_soft_value, soft_value, uniform_soft_value
from explorax.ops.svgd import paper_bandwidth, release_bandwidth, stein_direction

BANDWIDTHS = {"release": release_bandwidth, "paper": paper_bandwidth}
GREEDY_CANDIDATES = 32
_EDGE = 1e-6  # of 1 − a², in the release's logarithm


class SamplerSettings(action_values.Settings, Protocol):
    """The settings of `SoftQ` that concern its sampler and its values; documented there."""

    @property
    def value_samples(self) -> int: ...
    @property
    def value_proposal(self) -> str: ...
    @property
    def fixed_particles(self) -> int: ...
    @property
    def updated_particles(self) -> int: ...
    @property
    def bandwidth(self) -> str: ...
    @property
    def stein_space(self) -> str: ...


def network(settings: action_values.Settings, space: Box, encoder: str | None) -> MLP:
    """Return f_φ: (features, ξ) to an action before it is squashed by tanh; ξ is as long as it."""
    return MLP(settings.hidden, math.prod(space.shape), settings.activation, encoder=encoder)


def before_tanh(
    settings: action_values.Settings,
    space: Box,
    params: Any,
    features: Shaped[Array, "..."],
    noise: Float[Array, "... N A"],
) -> tuple[Float[Array, "... N A"], Float[Array, "... N H"]]:
    """Return (f_φ(ξ; s), the last hidden layer) for N draws of noise in each state."""
    net = network(settings, space, sight.encoder_of(settings, params))
    return net.run(params, jnp.expand_dims(features, noise.ndim - 2), noise)


def best(
    settings: action_values.Settings, space: Box, params: Any, features: Shaped[Array, "B ..."]
) -> Float[Array, "B A"]:
    """Return of 32 of the sampler's actions, made of the same noise each time, the best by Q."""
    shape = (len(features), GREEDY_CANDIDATES, math.prod(space.shape))
    noise = jnp.broadcast_to(jax.random.normal(key_of(0), (1, *shape[1:])), shape)
    actions = jnp.tanh(before_tanh(settings, space, params["sampler"], features, noise)[0])
    q = action_values.q_of_candidates(
        settings, space, params["critic"], features, jnp.moveaxis(actions, 1, 0)
    )
    return jnp.take_along_axis(actions, q.argmax(-1)[:, None, None], axis=1)[:, 0]


def state_values(
    settings: SamplerSettings,
    space: Discrete | Box,
    critic: Any,
    sampler: Any,
    features: Shaped[Array, "B ..."],
    temperature: Float[Array, ""],
    key: Key,
) -> Float[Array, " B"]:
    """Return V(s) = α log ∫ exp(Q(s, a)/α) da, or the sum over discrete actions, exactly.

    The integral is over [−1, 1]^d, by importance sampling from a uniform density or from the
    sampler's own (arXiv 1702.08165, Eq. 10).
    """
    if isinstance(space, Discrete):
        q = action_values.q_of_candidates(settings, space, critic, features, None)
        return soft_value(q, temperature)
    size = math.prod(space.shape)
    shape = (settings.value_samples, features.shape[0], size)
    if settings.value_proposal == "uniform":
        actions = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        q = action_values.q_of_candidates(settings, space, critic, features, actions)
        return uniform_soft_value(q, temperature, size)
    noise = jax.random.normal(key, (features.shape[0], settings.value_samples, size))
    actions, log_density = density(settings, space, sampler, features, noise)
    actions = jnp.moveaxis(actions, 1, 0)
    q = action_values.q_of_candidates(settings, space, critic, features, actions)
    return sampled_soft_value(q, log_density, temperature)


def density(
    settings: action_values.Settings,
    space: Box,
    params: Any,
    features: Shaped[Array, "B ..."],
    noise: Float[Array, "B N A"],
) -> tuple[Float[Array, "B N A"], Float[Array, "B N"]]:
    """Return (a, log p(a)) of a = tanh f_φ(ξ; s) by the change of variables from ξ ~ N(0, I).

    log p(a) = log N(ξ) − log |det ∂f/∂ξ| − Σ_i log(1 − a_i²). It counts one ξ for each a, so that
    where several ξ lead to the same a it is too low.
    """

    def squashed(feature: jax.Array, xi: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = before_tanh(settings, space, params, feature, xi[None])[0][0]
        return u, u

    jacobian = jax.vmap(jax.vmap(jax.jacfwd(squashed, argnums=1, has_aux=True), in_axes=(None, 0)))
    slopes, u = jacobian(features, noise)
    stretch = jnp.linalg.slogdet(slopes)[1]
    log_noise = jax.scipy.stats.norm.logpdf(noise).sum(-1)
    return jnp.tanh(u), log_noise - stretch - log_squash_slope(u).sum(-1)


def log_squash_slope(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(1 − tanh²u) = 2 [log 2 − u − log(1 + e^{−2u})], which does not underflow."""
    return 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))


def loss(
    settings: SamplerSettings,
    space: Box,
    critic: Any,
    params: Any,
    features: Shaped[Array, "B ..."],
    temperature: Float[Array, ""],
    key: Key,
) -> tuple[Float[Array, ""], Metrics]:
    """Return (a number whose gradient moves particles along Stein's direction, metrics).

    −mean_s Σ_j Δ_j · x_j with Δ a constant (arXiv 1702.08165, Eq. 14), x_j the updated particles in
    the space that `stein_space` names. Δ is the paper's for α up to 1, and beyond that its α-th
    part, so that it does not grow with the temperature.
    """
    size = math.prod(space.shape)
    key_fixed, key_updated = jax.random.split(key)

    def drawn(key: Key, count: int) -> tuple[jax.Array, jax.Array]:
        noise = jax.random.normal(key, (features.shape[0], count, size))
        u, _ = before_tanh(settings, space, params, features, noise)
        return u, u if settings.stein_space == "pre_action" else jnp.tanh(u)

    u, updated = drawn(key_updated, settings.updated_particles)
    _, fixed = jax.lax.stop_gradient(drawn(key_fixed, settings.fixed_particles))
    slope = log_target_gradient(settings, space, critic, features, fixed, temperature)
    bandwidth = BANDWIDTHS[settings.bandwidth](fixed, updated)
    direction = stein_direction(fixed, updated, slope, bandwidth, jnp.minimum(1.0, temperature))
    value = -(direction * updated).sum((-2, -1)).mean()
    return value, {
        "stein_norm": jnp.sqrt(jnp.square(direction).sum(-1)).mean(),
        "bandwidth": bandwidth.mean(),
        "action_std": jnp.tanh(u).std(1).mean(),
    }


def log_target_gradient(
    settings: SamplerSettings,
    space: Box,
    critic: Any,
    features: Shaped[Array, "B ..."],
    particles: Float[Array, "B K A"],
    temperature: Float[Array, ""],
) -> Float[Array, "B K A"]:
    """Return min(1, α) ∇_x log p(x) of the density that particles x are driven to.

    "action": p ∝ exp(Q(a)/α) of actions x = a. "pre_action": x = u with a = tanh u, so that
    log p = Q(tanh u)/α + Σ log(1 − tanh²u), which is the same density of actions. "release": x = a
    with Σ log(1 − a² + 10⁻⁶) added to Q/α, as the released code has it: actions then have
    density ∝ exp(Q/α) Π (1 − a_i²), which keeps off the edges of the box. With α below 1 it is
    ∇Q + α ∇(the rest), as in the paper, so that no Q/α overflows.
    """
    scale = jnp.minimum(1.0, temperature)

    def log_target(x: jax.Array) -> jax.Array:
        actions = jnp.tanh(x) if settings.stein_space == "pre_action" else x
        q = action_values.q_of_candidates(
            settings, space, critic, features, jnp.moveaxis(actions, 1, 0)
        )
        total = (q * (scale / temperature)).sum()
        if settings.stein_space == "pre_action":
            total += scale * log_squash_slope(x).sum()
        elif settings.stein_space == "release":
            total += scale * jnp.log(1.0 - jnp.square(x) + _EDGE).sum()
        return total

    return jax.grad(log_target)(particles)

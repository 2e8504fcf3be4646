"""MPO's policy: its distributions, and what improves it given Q at actions of the old policy."""

import math
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from explorax.agents import action_values, sight
from explorax.core.protocols import Box, Discrete, Key, Metrics, Spec
from explorax.nets.mlp import MLP
from explorax.ops import mpo
from explorax.ops.distributions import Categorical, FullGaussian, Gaussian, cholesky_factor

Policy: TypeAlias = Gaussian | FullGaussian | Categorical
MIN_STD = 1e-3


class PolicySettings(action_values.Settings, Protocol):
    """The settings of `MPO` that concern its policy; they are documented there."""

    @property
    def init_std(self) -> float: ...
    @property
    def covariance(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def kl(self) -> str: ...
    @property
    def per_dimension(self) -> bool: ...
    @property
    def action_samples(self) -> int: ...
    @property
    def max_kl(self) -> float: ...
    @property
    def max_kl_mean(self) -> float: ...
    @property
    def max_kl_covariance(self) -> float: ...
    @property
    def max_kl_policy(self) -> float: ...
    @property
    def init_multiplier_mean(self) -> float: ...
    @property
    def init_multiplier_covariance(self) -> float: ...
    @property
    def action_penalty(self) -> float | None: ...


def outputs(settings: PolicySettings, action: Discrete | Box) -> int:
    """Return how many numbers the network gives for the distribution over actions."""
    if isinstance(action, Discrete):
        return action.n
    size = math.prod(action.shape)
    return 2 * size if settings.covariance == "diagonal" else size + size * (size + 1) // 2


def network(settings: PolicySettings, action: Discrete | Box, encoder: str | None = None) -> MLP:
    """Return the policy's network, of images with an `encoder`."""
    # Small output weights: at the start all states have nearly the same, wide distribution.
    return MLP(settings.hidden, outputs(settings, action), settings.activation, 0.1, encoder)


def distribution(
    settings: PolicySettings, action: Discrete | Box, params: Any, features: Shaped[Array, "..."]
) -> tuple[Policy, Float[Array, "... H"]]:
    """Return (π(·|s), what the last hidden layer made of s).

    Deviations are `init_std` where the network gives 0, and at least 10⁻³ plus a positive number.
    """
    net = network(settings, action, sight.encoder_of(settings, params))
    out, latent = net.run(params, features)
    if isinstance(action, Discrete):
        return Categorical(out), latent
    size, unit = math.prod(action.shape), settings.init_std / math.log(2.0)
    mean, rest = out[..., :size], out[..., size:]
    if settings.covariance == "diagonal":
        return Gaussian(mean, jnp.log(MIN_STD + unit * jax.nn.softplus(rest))), latent
    return FullGaussian(mean, unit * cholesky_factor(rest, MIN_STD / unit)), latent


def start_multipliers(settings: PolicySettings, spec: Spec) -> dict[str, jax.Array]:
    """Return the raw Lagrange multipliers, one for each constraint of the M-step."""
    first, second = (
        mpo.raw_of(value)
        for value in (settings.init_multiplier_mean, settings.init_multiplier_covariance)
    )
    if isinstance(spec.action, Discrete) or settings.kl == "joint":
        return {"policy": first}
    shape = spec.action.shape if settings.per_dimension else ()
    size = (math.prod(shape),) if settings.per_dimension else ()
    return {"mean": jnp.full(size, first), "covariance": jnp.full(size, second)}


def candidates(
    settings: PolicySettings, old: Policy, key: Key
) -> tuple[Float[Array, "N ... A"] | None, Float[Array, "... N"] | None]:
    """Return (actions drawn from π_old, None), or (None, log π_old of all discrete actions)."""
    if isinstance(old, Categorical):
        return None, jax.nn.log_softmax(old.logits)
    keys = jax.random.split(key, settings.action_samples)
    return jax.vmap(old.sample)(keys), None


def loss(
    settings: PolicySettings,
    new: Policy,
    old: Policy,
    multipliers: dict[str, jax.Array],
    actions: Float[Array, "B N A"] | None,
    q: Float[Array, "B N"],
) -> tuple[Float[Array, ""], Metrics]:
    """Return (loss of policy and multipliers, metrics) of B states; `q` carries no gradient."""
    log_prior = None
    if isinstance(old, Categorical):
        log_prior = jax.nn.log_softmax(old.logits)
    if settings.variant == "parametric":
        improve = -_expected_advantage(new, old, actions, q)
        metrics: Metrics = {}
    else:
        weights, metrics = _weights(settings, actions, q, log_prior)
        improve = -_likelihood(settings, new, old, actions, weights)
    bound, kls = _constraints(settings, new, old, multipliers)
    return improve + bound, {**metrics, **kls, "policy_loss": improve}


def _weights(
    settings: PolicySettings,
    actions: Float[Array, "B N A"] | None,
    q: Float[Array, "B N"],
    log_prior: Float[Array, "B N"] | None,
) -> tuple[Float[Array, "B N"], Metrics]:
    """Return the E-step's weights of the actions; with an action penalty they sum to 2."""
    temperature = mpo.solve_temperature(q, settings.max_kl, log_prior)
    log_q = mpo.log_weights(q, temperature, log_prior)
    weights = jnp.exp(log_q)
    metrics = {
        "temperature": temperature,
        "e_step_kl": mpo.kl_from_prior(log_q, log_prior).mean(),
    }
    if actions is not None and settings.action_penalty is not None:
        # A second objective with a temperature of its own (arXiv 2005.07513): stay in the box.
        cost = -jnp.linalg.norm(actions - jnp.clip(actions, -1.0, 1.0), axis=-1)
        its = mpo.solve_temperature(cost, settings.action_penalty)
        weights = weights + jnp.exp(mpo.log_weights(cost, its))
        metrics["penalty_temperature"] = its
    return weights, metrics


def _likelihood(
    settings: PolicySettings,
    new: Policy,
    old: Policy,
    actions: Float[Array, "B N A"] | None,
    weights: Float[Array, "B N"],
) -> Float[Array, ""]:
    if isinstance(new, Categorical):
        return mpo.weighted_log_likelihood(jax.nn.log_softmax(new.logits), weights)
    assert actions is not None and not isinstance(old, Categorical)
    if settings.kl == "decoupled":
        return mpo.decoupled_log_likelihood(old, new, actions, weights)
    return mpo.weighted_log_likelihood(_log_prob(new, actions), weights)


def _expected_advantage(
    new: Policy, old: Policy, actions: Float[Array, "B N A"] | None, q: Float[Array, "B N"]
) -> Float[Array, ""]:
    """Return mean_s E_{a~π_new}[Q(s, a) − E_{π_old} Q], by the ratio π_new/π_old at old actions."""
    if isinstance(new, Categorical):
        assert isinstance(old, Categorical)
        value = (jax.nn.softmax(old.logits) * q).sum(-1, keepdims=True)
        return (jax.nn.softmax(new.logits) * (q - value)).sum(-1).mean()
    assert actions is not None
    ratio = jnp.exp(_log_prob(new, actions) - _log_prob(old, actions))
    return (ratio * (q - q.mean(-1, keepdims=True))).mean()


def _log_prob(policy: Policy, actions: Float[Array, "B N A"]) -> Float[Array, "B N"]:
    return jax.tree.map(lambda leaf: leaf[:, None], policy).log_prob(actions)


def _constraints(
    settings: PolicySettings, new: Policy, old: Policy, multipliers: dict[str, jax.Array]
) -> tuple[Float[Array, ""], Metrics]:
    """Return (what to add to the loss, the KLs, means over states and sums over dimensions)."""
    if "policy" in multipliers:
        kl = old.kl(new).mean()
        bound = settings.max_kl_policy
        return mpo.constraint(multipliers["policy"], kl, bound), {"kl": kl}
    assert not isinstance(new, Categorical) and not isinstance(old, Categorical)
    moved, reshaped = mpo.decoupled_kl(old, new, settings.per_dimension)
    moved, reshaped = moved.mean(0), reshaped.mean(0)
    added = mpo.constraint(multipliers["mean"], moved, settings.max_kl_mean) + mpo.constraint(
        multipliers["covariance"], reshaped, settings.max_kl_covariance
    )
    return added, {"kl_mean": moved.sum(), "kl_covariance": reshaped.sum()}

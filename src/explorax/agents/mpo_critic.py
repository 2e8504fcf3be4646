"""MPO's critic: Q(s, a) of actions taken and of candidates, and what it is fitted to."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.agents import mpo_policy
from explorax.core.protocols import Box, Discrete
from explorax.core.pytree import pytree
from explorax.nets.mlp import MLP
from explorax.ops.returns import lambda_returns, retrace


@pytree
class Sequences:
    """Stretches of one environment's consecutive steps, leaves [L, W, ...]."""

    features: Any
    next_features: Any  # of the true successor
    action: Any
    log_prob: Any  # of the policy that took it, when it did
    reward: Any  # with the bonus
    terminated: Any
    truncated: Any


class CriticSettings(mpo_policy.PolicySettings, Protocol):
    """The settings of `MPO` that concern its critic; they are documented there."""

    @property
    def evaluation(self) -> str: ...
    @property
    def retrace_lambda(self) -> float: ...
    @property
    def discount(self) -> float: ...


def network(settings: CriticSettings, space: Discrete | Box) -> MLP:
    """Return the critic: values of all discrete actions, or of one action that it is shown."""
    outputs = space.n if isinstance(space, Discrete) else 1
    return MLP(settings.hidden, outputs, settings.activation)


def example(space: Discrete | Box, features: Float[Array, "1 D"]) -> Float[Array, "1 I"]:
    """Return what the critic sees of one state."""
    if isinstance(space, Discrete):
        return features
    return jnp.concatenate([features, jnp.zeros((1, math.prod(space.shape)))], -1)


def flat_action(space: Discrete | Box, action: jax.Array) -> jax.Array:
    """Return actions as a distribution takes them: [...], or [..., A]."""
    if isinstance(space, Discrete):
        return action
    return action.reshape(*action.shape[: action.ndim - len(space.shape)], -1)


def q_of(
    settings: CriticSettings,
    space: Discrete | Box,
    params: Any,
    features: jax.Array,
    action: jax.Array,
) -> jax.Array:
    """Return Q(s, a) [...] of actions [...] or [..., *action_shape]."""
    net = network(settings, space)
    if isinstance(space, Discrete):
        values = net.run(params, features)[0]
        return jnp.take_along_axis(values, action[..., None], axis=-1)[..., 0]
    # Environments clip what lies outside the box, so that it has no value of its own.
    clipped = jnp.clip(flat_action(space, action), -1.0, 1.0)
    return net.run(params, jnp.concatenate([features, clipped], -1))[0][..., 0]


def q_of_candidates(
    settings: CriticSettings,
    space: Discrete | Box,
    params: Any,
    features: jax.Array,
    actions: jax.Array | None,
) -> jax.Array:
    """Return Q(s, ·) [L, W, N] of actions [N, L, W, A], or of all discrete ones for None."""
    net = network(settings, space)
    if actions is None:
        return net.run(params, features)[0]
    shape = (*actions.shape[:-1], features.shape[-1])
    clipped = jnp.clip(actions, -1.0, 1.0)
    joined = jnp.concatenate([jnp.broadcast_to(features[None], shape), clipped], -1)
    return jnp.moveaxis(net.run(params, joined)[0][..., 0], 0, -1)


def targets(
    settings: CriticSettings,
    space: Discrete | Box,
    target: Any,
    sequences: Sequences,
    next_value: Float[Array, "L W"],
) -> Float[Array, "L W"]:
    """Return what the critic is fitted to, by the target networks {"policy", "critic"}."""
    ends = (sequences.terminated, sequences.truncated, settings.discount)
    if settings.evaluation == "n_step":
        return lambda_returns(sequences.reward, next_value, *ends, 1.0)
    policy, _ = mpo_policy.distribution(settings, space, target["policy"], sequences.features)
    return retrace(
        sequences.reward,
        q_of(settings, space, target["critic"], sequences.features, sequences.action),
        next_value,
        policy.log_prob(flat_action(space, sequences.action)),
        sequences.log_prob,
        *ends,
        settings.retrace_lambda,
    )

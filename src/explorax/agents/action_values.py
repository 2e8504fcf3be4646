"""Q(s, a) by a network, of discrete actions or of continuous ones, for agents that take both."""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.agents import sight
from explorax.core.protocols import Box, Discrete, Key
from explorax.nets.mlp import MLP


class Settings(sight.Settings, Protocol):
    """The settings of an agent that concern this network."""

    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...


def network(settings: Settings, space: Discrete | Box, encoder: str | None = None) -> MLP:
    """Return the critic: values of all discrete actions, or of one action that it is shown."""
    outputs = space.n if isinstance(space, Discrete) else 1
    return MLP(settings.hidden, outputs, settings.activation, encoder=encoder)


def like(space: Discrete | Box) -> Float[Array, "1 A"] | None:
    """Return zeros like what a network is shown of one action; None of a discrete one."""
    return None if isinstance(space, Discrete) else jnp.zeros((1, math.prod(space.shape)))


def init(
    settings: Settings, key: Key, space: Discrete | Box, features: jax.Array, encoder: str | None
) -> Any:
    """Return the critic's weights for states like `features`, images with an `encoder`."""
    return network(settings, space, encoder).init(key, features, like(space))


def action_like(space: Discrete | Box) -> Any:
    """Return what an agent's state keeps for `space_of`: zeros like an action; () if discrete."""
    return () if isinstance(space, Discrete) else jnp.zeros(space.shape)


def space_of(like: Any, params: Any) -> Discrete | Box:
    """Return the actions' space that `init` was told, from `action_like` and the critic's params.

    Methods other than `init` are not given the spec.
    """
    if isinstance(like, tuple):
        return Discrete(params["params"]["output"]["bias"].shape[-1])
    return Box(like.shape)


def flat_action(space: Discrete | Box, action: jax.Array) -> jax.Array:
    """Return actions as a distribution takes them: [...], or [..., A]."""
    if isinstance(space, Discrete):
        return action
    return action.reshape(*action.shape[: action.ndim - len(space.shape)], -1)


def q_of(
    settings: Settings,
    space: Discrete | Box,
    params: Any,
    features: jax.Array,
    action: jax.Array,
) -> jax.Array:
    """Return Q(s, a) [...] of actions [...] or [..., *action_shape]."""
    net = network(settings, space, sight.encoder_of(settings, params))
    if isinstance(space, Discrete):
        values = net.run(params, features)[0]
        return jnp.take_along_axis(values, action[..., None], axis=-1)[..., 0]
    # Environments clip what lies outside the box, so that it has no value of its own.
    clipped = jnp.clip(flat_action(space, action), -1.0, 1.0)
    return net.run(params, features, clipped)[0][..., 0]


def q_of_candidates(
    settings: Settings,
    space: Discrete | Box,
    params: Any,
    features: jax.Array,
    actions: jax.Array | None,
) -> jax.Array:
    """Return Q(s, ·) [..., N] of actions [N, ..., A], or of all discrete ones for None."""
    net = network(settings, space, sight.encoder_of(settings, params))
    if actions is None:
        return net.run(params, features)[0]
    clipped = jnp.clip(actions, -1.0, 1.0)
    return jnp.moveaxis(net.run(params, features[None], clipped)[0][..., 0], 0, -1)

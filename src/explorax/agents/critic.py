"""The critic of the on-policy agents: a value function fitted to the returns of each rollout."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import sight
from explorax.agents.settings import Settings
from explorax.core.protocols import Key
from explorax.core.pytree import pytree, replace
from explorax.nets.mlp import MLP
from explorax.ops import popart

TARGET_RATE = 0.3  # weight of a new batch in the scale of the targets


@pytree
class Critic:
    """A value function whose network predicts V in units of its targets' scale."""

    params: Any
    optimizer: Any
    scale: popart.Scale  # of the targets, one head


def value_net(settings: Settings, encoder: str | None) -> MLP:
    """Return the critic's network, of images with an `encoder`."""
    return MLP(settings.value_hidden, 1, settings.activation, 0.0, encoder)  # starts at V = 0


def init(settings: Settings, key: Key, features: jax.Array, encoder: str | None) -> Critic:
    """Return a critic, 0 everywhere, of what is like `features`: images with an `encoder`."""
    params = value_net(settings, encoder).init(key, features)
    return Critic(params, _optimizer(settings).init(params), popart.start(1))


def values(settings: Settings, critic: Critic, features: jax.Array) -> jax.Array:
    """Return V [...] at features [..., D], or at images."""
    net = value_net(settings, sight.encoder_of(settings, critic.params))
    scale = critic.scale
    return scale.mean[0] + scale.std[0] * net.run(critic.params, features)[0][..., 0]


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    return optax.adam(settings.value_learning_rate)


def rescaled(critic: Critic, target: jax.Array) -> Critic:
    """Return the critic with its scale moved towards that of targets [T, E]."""
    layers = critic.params["params"]
    scale, output = popart.rescaled(critic.scale, layers["output"], target[..., None], TARGET_RATE)
    return replace(critic, params={"params": {**layers, "output": output}}, scale=scale)


def fit(settings: Settings, critic: Critic, features: jax.Array, target: jax.Array) -> Critic:
    """Return the critic after `value_epochs` passes of Adam over the targets [T, E].

    Of K minibatches, the k-th holds the time steps k, k + K, k + 2K, ... of every environment. Each
    spans the whole rollout, which serves as well as a shuffle and saves its sort. K is the largest
    divisor of the rollout's length that is at most `value_minibatches`.
    """
    steps = target.shape[0]
    most = min(settings.value_minibatches, steps)
    count = next(k for k in range(most, 0, -1) if steps % k == 0)
    critic = rescaled(critic, target)
    net = value_net(settings, sight.encoder_of(settings, critic.params))
    optimizer = _optimizer(settings)
    scaled = (target - critic.scale.mean[0]) / critic.scale.std[0]

    def loss(params: Any, features: jax.Array, target: jax.Array) -> jax.Array:
        return 0.5 * jnp.square(net.run(params, features)[0][..., 0] - target).mean()

    def one(carry: tuple[Any, Any], rows: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        params, optimizer_state = carry
        gradient = jax.grad(loss)(params, *rows)
        change, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, change), optimizer_state), None

    def minibatches(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, count, *rows.shape[1:]).swapaxes(0, 1)

    rows = (minibatches(features), minibatches(scaled))
    start = (critic.params, critic.optimizer)
    (params, optimizer_state), _ = jax.lax.scan(
        lambda carry, _: jax.lax.scan(one, carry, rows), start, None, settings.value_epochs
    )
    return replace(critic, params=params, optimizer=optimizer_state)

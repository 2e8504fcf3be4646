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

TARGET_RATE = 0.3  # weight of a new batch in the critic's running target mean and deviation


@pytree
class Critic:
    """A value function whose network predicts (V − mean)/std."""

    params: Any
    optimizer: Any
    mean: Any  # float32 [], running, of the targets
    std: Any
    batches: Any  # float32 [], fits so far


def value_net(settings: Settings, encoder: str | None) -> MLP:
    """Return the critic's network, of images with an `encoder`."""
    return MLP(settings.value_hidden, 1, settings.activation, 0.0, encoder)  # starts at V = 0


def init(settings: Settings, key: Key, features: jax.Array, encoder: str | None) -> Critic:
    """Return a critic, 0 everywhere, of what is like `features`: images with an `encoder`."""
    params = value_net(settings, encoder).init(key, features)
    zero, one = jnp.float32(0), jnp.float32(1)
    return Critic(params, _optimizer(settings).init(params), zero, one, zero)


def values(settings: Settings, critic: Critic, features: jax.Array) -> jax.Array:
    """Return V [...] at features [..., D], or at images."""
    net = value_net(settings, sight.encoder_of(settings, critic.params))
    return critic.mean + critic.std * net.run(critic.params, features)[0][..., 0]


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    return optax.adam(settings.value_learning_rate)


def _rescaled(critic: Critic, target: jax.Array) -> Critic:
    """Return the critic with its target mean and deviation moved towards those of `target`, and
    its output layer changed so that it predicts what it did (PopArt, van Hasselt et al. 2016,
    arXiv 1602.07714, section 2.2)."""
    rate = jnp.maximum(TARGET_RATE, 1.0 / (critic.batches + 1.0))
    mean = critic.mean + rate * (target.mean() - critic.mean)
    square = (1.0 - rate) * jnp.square(critic.std) + rate * jnp.square(target - mean).mean()
    std = jnp.maximum(jnp.sqrt(square), 1e-6)
    layer = critic.params["params"]["output"]
    ratio = critic.std / std
    output = {
        "kernel": layer["kernel"] * ratio,
        "bias": layer["bias"] * ratio + (critic.mean - mean) / std,
    }
    params = {"params": {**critic.params["params"], "output": output}}
    return replace(critic, params=params, mean=mean, std=std, batches=critic.batches + 1.0)


def fit(settings: Settings, critic: Critic, features: jax.Array, target: jax.Array) -> Critic:
    """Return the critic after `value_epochs` passes of Adam over the targets [T, E].

    Of K minibatches, the k-th holds the time steps k, k + K, k + 2K, ... of every environment. Each
    spans the whole rollout, which serves as well as a shuffle and saves its sort. K is the largest
    divisor of the rollout's length that is at most `value_minibatches`.
    """
    steps = target.shape[0]
    most = min(settings.value_minibatches, steps)
    count = next(k for k in range(most, 0, -1) if steps % k == 0)
    critic = _rescaled(critic, target)
    net = value_net(settings, sight.encoder_of(settings, critic.params))
    optimizer = _optimizer(settings)
    scaled = (target - critic.mean) / critic.std

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

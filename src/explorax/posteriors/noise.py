"""The noise of a last layer: given, estimated for each output, or a network of (s, a)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.protocols import Key
from explorax.core.pytree import pytree
from explorax.nets import fitting
from explorax.nets.mlp import MLP
from explorax.ops import moments

KINDS = ("estimated", "head")
HIDDEN, RATE, BATCH, UPDATES_PER_STEP = (32,), 3e-3, 50, 0.02  # of the head
# standard deviations, in those of the target. Below the floor a target is as good as certain.
SMALLEST, LARGEST = 0.1, 10.0


@pytree
class Estimate:
    """The mean square of what could not be predicted, of each output."""

    count: Any  # float32 [], rows
    variance: Any  # [D]


@pytree
class Head:
    trained: fitting.Trained  # of a network: log of the standard deviation, [D]
    moments: moments.Moments  # of its inputs


def init(noise: float | str, key: Key, inputs: int, outputs: int) -> Any:
    """Return the noise before the first row: as large as the target's own spread."""
    if noise == "estimated":
        return Estimate(jnp.float32(0), jnp.ones(outputs))
    if noise == "head":
        params = _network(outputs).init(key, jnp.zeros((1, inputs)))
        return Head(fitting.start(params, RATE), moments.empty((inputs,)))
    return ()


def std(noise: float | str, state: Any, inputs: Float[Array, "N I"], outputs: int) -> Any:
    """Return the standard deviation, [] of a given variance, else [N, D], at raw inputs."""
    if noise == "estimated":
        return jnp.broadcast_to(_bounded(jnp.sqrt(state.variance)), (inputs.shape[0], outputs))
    if noise == "head":
        return _bounded(jnp.exp(_log_std(state.trained.params, state.moments, inputs, outputs)))
    return jnp.float32(math.sqrt(float(noise)))


def learn(
    noise: float | str,
    state: Any,
    key: Key,
    inputs: Float[Array, "N I"],
    squared_error: Float[Array, "N D"],
    known: Float[Array, " N"],
) -> Any:
    """Return the noise after rows whose errors, squared, are those of predictions made before.

    squared_error: (y − ŷ)²/(1 + r), of which the mean is the noise; known: 0.0 for rows without.
    """
    if noise == "estimated":
        count = state.count + known.sum()
        total = state.variance * state.count + (squared_error * known[:, None]).sum(0)
        return Estimate(count, jnp.where(count > 0, total / jnp.maximum(count, 1.0), 1.0))
    if noise == "head":
        seen, outputs = moments.update(state.moments, inputs), squared_error.shape[1]

        def loss(params: Any, rows: tuple[jax.Array, ...], key: Key) -> jax.Array:
            inputs, squared, known = rows
            log_std = _log_std(params, seen, inputs, outputs)
            log_std = jnp.clip(log_std, math.log(SMALLEST), math.log(LARGEST))
            each = log_std + 0.5 * squared * jnp.exp(-2.0 * log_std)
            return (each.mean(-1) * known).mean()

        trained, _ = fitting.fit(
            loss,
            state.trained,
            (inputs, squared_error, known),
            key,
            updates=fitting.count_updates(UPDATES_PER_STEP, inputs.shape[0]),
            batch_size=BATCH,
            learning_rate=RATE,
        )
        return Head(trained, seen)
    return state


def _network(outputs: int) -> MLP:
    return MLP(HIDDEN, outputs, "relu", 0.0)  # starts at a standard deviation of 1


def _log_std(params: Any, seen: moments.Moments, inputs: jax.Array, outputs: int) -> jax.Array:
    return _network(outputs).run(params, moments.standardise(seen, inputs, 10.0))[0]


def _bounded(std: jax.Array) -> jax.Array:
    return jnp.clip(std, SMALLEST, LARGEST)

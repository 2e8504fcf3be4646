"""Adam on minibatches drawn from the rows at hand: how the models behind the bonuses learn."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, Float

from explorax.core.protocols import Key
from explorax.core.pytree import pytree

Loss = Callable[..., jax.Array]  # (params, rows [B, ...], key) -> []


@pytree
class Trained:
    """Parameters and the optimiser's memory of them."""

    params: Any
    optimizer: Any


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Return Adam on one flat vector: a small step costs the overhead of its operations."""
    return optax.flatten(optax.adam(learning_rate))


def start(params: Any, learning_rate: float) -> Trained:
    """Return parameters that have not been fitted yet."""
    return Trained(params, adam(learning_rate).init(params))


def count_updates(updates_per_step: float, rows: int) -> int:
    """Return how many minibatches a rollout of so many rows is worth, at least one."""
    return max(round(updates_per_step * rows), 1)


def fit(
    loss: Loss,
    trained: Trained,
    rows: Any,
    key: Key,
    *,
    updates: int,
    batch_size: int,
    learning_rate: float,
) -> tuple[Trained, Float[Array, " U"]]:
    """Return (trained, losses [U]) after `updates` steps of Adam down `loss(params, batch, key)`.

    Each minibatch of `batch_size` is drawn with replacement from `rows`, leaves [N, ...]; with its
    key the loss may draw what else it needs.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    key_rows, key_loss = jax.random.split(key)
    drawn = jax.random.randint(key_rows, (updates, batch_size), 0, count)
    optimizer = adam(learning_rate)

    def one(before: Trained, step: Any) -> tuple[Trained, jax.Array]:
        index, key = step
        batch = jax.tree.map(lambda leaf: leaf[index], rows)
        value, gradient = jax.value_and_grad(loss)(before.params, batch, key)
        change, optimizer_state = optimizer.update(gradient, before.optimizer, before.params)
        return Trained(optax.apply_updates(before.params, change), optimizer_state), value

    return jax.lax.scan(one, trained, (drawn, jax.random.split(key_loss, updates)))

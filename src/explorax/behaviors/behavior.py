"""What a behaviour is, and what behaviours share."""

from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.core.protocols import Key


class Behavior(Protocol):
    """Chooses among discrete actions by their values. `env_steps` counts all E environments' steps.

    A behaviour is a frozen dataclass of settings with two pure methods. `counts` is how often each
    action was taken in the row's state, or None where the agent does not count.
    """

    @property
    def needs_counts(self) -> bool:
        """Whether `counts` must be given. An agent that does not count refuses such a behaviour."""
        ...

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability with which `choose` takes each action."""
        ...

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row, int32."""
        ...


def greedy_probabilities(values: Float[Array, "E A"]) -> Float[Array, "E A"]:
    """Return equal probabilities for the actions of the largest value, 0 for the others."""
    best = (values == values.max(axis=-1, keepdims=True)).astype(values.dtype)
    return best / best.sum(axis=-1, keepdims=True)


def draw(key: Key, probabilities: Float[Array, "E A"]) -> Int[Array, " E"]:
    """Return one action per row, int32. An action of probability 0 is never drawn."""
    logits = jnp.log(jnp.maximum(probabilities, 0.0))
    return jax.random.categorical(key, logits).astype(jnp.int32)

"""The best action, always."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Int

from explorax.behaviors.behavior import draw, greedy_probabilities
from explorax.core.protocols import Key


@dataclass(frozen=True)
class Greedy:
    """Takes an action of the largest value; ties are broken uniformly at random."""

    needs_counts = False

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability of each action."""
        return greedy_probabilities(values)

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row."""
        return draw(key, self.probabilities(values, env_steps))

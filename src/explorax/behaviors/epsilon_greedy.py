"""A random action now and then."""

from dataclasses import dataclass

from jaxtyping import Array, Float, Int

from explorax.behaviors.behavior import draw, greedy_probabilities
from explorax.core.errors import require
from explorax.core.protocols import Key
from explorax.core.settings import check_types
from explorax.ops.schedules import SHAPES, annealed


@dataclass(frozen=True)
class EpsilonGreedy:
    """With probability ε any action, uniformly (the best ones too), else one of the largest value.

    Ties are broken uniformly at random. ε goes from `start` to `end` within `decay_env_steps`.
    """

    start: float = 1.0  # ε at the first step
    end: float = 0.05  # ε from decay_env_steps on
    decay_env_steps: int = 10_000  # of all environments
    decay: str = "linear"  # or "cosine", "exponential"

    needs_counts = False

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.start <= 1, self, "start", "a probability, between 0 and 1")
        require(0 <= self.end <= 1, self, "end", "a probability, between 0 and 1")
        require(self.decay_env_steps >= 1, self, "decay_env_steps", "at least 1")
        require(self.decay in SHAPES, self, "decay", f"one of {SHAPES}")
        if self.decay != "linear":
            require(self.start > 0, self, "start", f"above 0 for decay={self.decay!r}")
        if self.decay == "exponential":
            require(self.end > 0, self, "end", "above 0 for an exponential decay")

    def epsilon(self, env_steps: Int[Array, ""]) -> Float[Array, ""]:
        """Return the probability of a random action."""
        return annealed(self.start, self.end, self.decay_env_steps, self.decay)(env_steps)

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability of each action."""
        epsilon = self.epsilon(env_steps)
        return (1 - epsilon) * greedy_probabilities(values) + epsilon / values.shape[-1]

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row."""
        return draw(key, self.probabilities(values, env_steps))

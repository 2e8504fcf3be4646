"""Better actions more often."""

import math
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Int

from explorax.behaviors.behavior import draw
from explorax.core.errors import require
from explorax.core.protocols import Key
from explorax.core.settings import check_types
from explorax.ops.schedules import SHAPES, annealed


@dataclass(frozen=True)
class Boltzmann:
    """Takes action a with probability ∝ exp(value(a) / temperature).

    Equal values are equally likely. The temperature has the unit of the values, so it must fit the
    task's returns. With `end_temperature` it goes there from `temperature` within
    `decay_env_steps`.
    """

    temperature: float = 1.0  # τ, in units of the values
    end_temperature: float | None = None  # None: stays as it is
    decay_env_steps: int = 10_000  # of all environments
    decay: str = "linear"  # or "cosine", "exponential"

    needs_counts = False

    def __post_init__(self) -> None:
        check_types(self)
        require(
            0 < self.temperature < math.inf, self, "temperature", "above 0 (Greedy() is the limit)"
        )
        end = self.end_temperature
        require(end is None or 0 < end < math.inf, self, "end_temperature", "above 0, or None")
        require(self.decay_env_steps >= 1, self, "decay_env_steps", "at least 1")
        require(self.decay in SHAPES, self, "decay", f"one of {SHAPES}")

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability of each action."""
        end = self.temperature if self.end_temperature is None else self.end_temperature
        temperature = annealed(self.temperature, end, self.decay_env_steps, self.decay)(env_steps)
        return jax.nn.softmax(values / temperature, axis=-1)

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row."""
        return draw(key, self.probabilities(values, env_steps))

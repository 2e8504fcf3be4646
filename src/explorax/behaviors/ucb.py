"""What could be best, given how little it was tried: upper confidence bounds."""

import math
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Int

from explorax.behaviors.behavior import draw, greedy_probabilities
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key
from explorax.core.settings import check_types
from explorax.ops.bandits import upper_bounds


@dataclass(frozen=True)
class UCB:
    """Takes argmax_a Q(s, a) + scale √(2 ln N(s) / n(s, a)), and untried actions before all others.

    n(s, a) is how often a was taken in s, and N(s) their sum. UCB1's rule (Auer et al. 2002) with
    values in place of means: a heuristic without UCB1's guarantee, since values bootstrapped from
    values are not the means of independent rewards. `scale` has the unit of the values: rewards in
    [0, 1] give values of up to 1/(1 − discount). Ties are broken uniformly at random. Needs an
    agent that counts: TabularQ.
    """

    scale: float = 1.0  # of the bound's width, in units of the values; 0: only tries each once

    needs_counts = True

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.scale < math.inf, self, "scale", "at least 0 and finite")

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability of each action. Raises Incompatible without counts."""
        return _of_largest_bound(self, values, counts, self.scale)

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row. Raises Incompatible without counts."""
        return draw(key, self.probabilities(values, env_steps, counts))


@dataclass(frozen=True)
class UCB1:
    """Takes every arm once, then argmax_a mean(a) + √(2 ln N / n(a)); for bandits.

    Auer, Cesa-Bianchi & Fischer 2002, Fig. 1 (Machine Learning 47): for any independent rewards in
    [0, 1], its regret after N pulls is at most Σ_a 8 ln N / Δ_a + (1 + π²/3) Σ_a Δ_a (Theorem 1).
    The values must be the means of the rewards so far, so TabularQ asks for `step_size=None` and
    `discount=0` with it. Ties, and the order of the first pulls, are drawn uniformly.
    """

    needs_counts = True

    def probabilities(
        self,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Float[Array, "E A"]:
        """Return the exact probability of each action. Raises Incompatible without counts."""
        return _of_largest_bound(self, values, counts, 1.0)

    def choose(
        self,
        key: Key,
        values: Float[Array, "E A"],
        env_steps: Int[Array, ""],
        counts: Int[Array, "E A"] | None = None,
    ) -> Int[Array, " E"]:
        """Return an action per row. Raises Incompatible without counts."""
        return draw(key, self.probabilities(values, env_steps, counts))


def _of_largest_bound(
    behavior: UCB | UCB1, values: jax.Array, counts: jax.Array | None, scale: float
) -> jax.Array:
    if counts is None:
        raise Incompatible(
            f"{behavior!r} needs counts of the actions taken, and was given none. "
            "An agent that counts: TabularQ."
        )
    return greedy_probabilities(upper_bounds(values, counts, scale))

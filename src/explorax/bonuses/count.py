"""Visit counts, for worlds of finitely many states."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Discrete, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.ops import counting, finite


@pytree
class CountState:
    """How often each state, or each action in each state, was visited."""

    counts: Any  # int32 [S, A]; A is 1 where successors are counted
    numbers: finite.Numbering  # of states
    seen: Any  # int32 [], cells with a count above 0


@dataclass(frozen=True)
class Count:
    """Pays β/√n(s'), n the visits to the state arrived at, this one included.

    With of="state_action" β/√n(s, a), the bonus of MBIE-EB (Strehl & Littman 2008, Sec. 3.2); with
    `power` 1 β/n, about that of BEB (Kolter & Ng 2009). n is exact in time order: the k-th visit
    of a rollout to a state counted n times before is paid β/√(n + k), where the environments of one
    step visit in their order. #Exploration (Tang et al., arXiv 1611.04717, Algorithm 1) first
    counts the whole batch. Where an episode begins is not counted. A replayed row is paid by the
    counts as they are now, changing none.

    For observations that are one-hot codes; HashCount is for all others. A bonus raises only what
    was tried: an agent whose values start at 0 and that takes the best one never tries the rest, so
    let it act at random now and then, or start high (TabularQ(initial_value=1.0), DQN(optimism=1)).
    """

    beta: float = 0.1  # β, what a first visit is paid
    power: float = 0.5  # of n: 0.5 pays β/√n, 1 pays β/n
    of: str = "successor"  # or "state_action"
    max_states: int = 1_000_000  # refuses a larger table, of 4 bytes per state (and action)

    replayable = True

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.beta < math.inf, self, "beta", "at least 0 and finite")
        require(0 < self.power < math.inf, self, "power", "above 0 and finite")
        wanted = ("successor", "state_action")
        require(self.of in wanted, self, "of", f"one of {wanted}")
        require(self.max_states >= 1, self, "max_states", "at least 1")

    def init(self, key: Key, spec: Spec) -> CountState:
        """Return the state before the first visit.

        Raises Incompatible for observations that are not one-hot codes, for more than `max_states`
        of them, and for pairs with continuous actions.
        """
        cure = "HashCount counts hash codes of any observations."
        states, actions = finite.table_size(spec.obs, "Count", self.max_states, cure), 1
        if self.of == "state_action":
            if not isinstance(spec.action, Discrete):
                raise Incompatible(
                    f"Count(of='state_action') counts discrete actions, and these are continuous: "
                    f"{spec.action}. Count(of='successor') counts states alone."
                )
            actions = spec.action.n
        table = jnp.zeros((states, actions), jnp.int32)
        return CountState(table, finite.numbering(spec.obs), jnp.int32(0))

    def score(self, state: CountState, key: Key, rollout: Rollout) -> tuple[jax.Array, CountState]:
        """Return (bonus [T, E], state with these visits counted)."""
        counts, table = counting.visit(state.counts.ravel(), self._cells(state, rollout))
        seen = state.seen + (counts == 1).sum(dtype=jnp.int32)
        paid = counting.payment(counts, self.beta, self.power)
        return paid, CountState(table.reshape(state.counts.shape), state.numbers, seen)

    def update(self, state: CountState, key: Key, rollout: Rollout) -> tuple[CountState, Metrics]:
        """Return (state, {"seen": how many different cells were ever visited})."""
        return state, {"seen": state.seen}

    def rescore(self, state: CountState, key: Key, rows: Rollout) -> jax.Array:
        """Return β/√n [N] by the counts as they are."""
        counts = state.counts.ravel()[self._cells(state, rows)]
        return counting.payment(counts, self.beta, self.power)

    def _cells(self, state: CountState, rows: Rollout) -> jax.Array:
        """Return each row's place in the table, int32 with the axes of its reward."""
        where = rows.next_obs if self.of == "successor" else rows.obs
        numbers = finite.number_of(state.numbers, where.reshape(*rows.reward.shape, -1))
        if self.of == "successor":
            return numbers
        return numbers * state.counts.shape[1] + rows.action

"""The share of visits that each of finitely many states has had."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from explorax.core.errors import require
from explorax.core.protocols import Key, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.densities.density import Recoding
from explorax.ops import counting, finite


@pytree
class EmpiricalState:
    """How often each state was seen."""

    counts: Any  # int32 [S]
    total: Any  # int32 []
    numbers: finite.Numbering  # of states


@dataclass(frozen=True)
class Empirical:
    """Gives each state its share of what was seen, ρ(s) = N(s)/n and ρ′(s) = (N(s) + 1)/(n + 1).

    With it the pseudo-count ρ (1 − ρ′)/(ρ′ − ρ) is the true count N(s) (Bellemare et al. 2016,
    arXiv 1606.01868, Sec. 3). A state never seen has ρ = 0, so log ρ = −inf and an infinite gain;
    so has every state before the first was seen, where N/n has no value. The three logarithms come
    from whole numbers, each to within float32's rounding, so that the pseudo-count is right to
    about 1 in 10⁶ for counts up to 10⁷.

    For observations that are one-hot codes.
    """

    max_states: int = 1_000_000  # refuses a larger table, of 4 bytes per state

    def __post_init__(self) -> None:
        check_types(self)
        require(self.max_states >= 1, self, "max_states", "at least 1")

    def init(self, key: Key, spec: Spec) -> EmpiricalState:
        """Return the model that has seen nothing. Raises Incompatible without one-hot codes."""
        cure = "Factored() models observations of any shape, and CTS() images."
        states = finite.table_size(spec.obs, "Empirical", self.max_states, cure)
        counts = jnp.zeros(states, jnp.int32)
        return EmpiricalState(counts, jnp.int32(0), finite.numbering(spec.obs))

    def observe(
        self, state: EmpiricalState, obs: Shaped[Array, "N ..."]
    ) -> tuple[Recoding, EmpiricalState]:
        """Return (recoding [N], state); see `Density.observe`."""
        rows = self._rows(state, obs)
        counts, table = counting.visit(state.counts, rows[:, None])
        before = state.total + jnp.arange(rows.size, dtype=jnp.int32)
        after = EmpiricalState(table, state.total + rows.size, state.numbers)
        return _recoding(counts[:, 0] - 1, before), after

    def recode(self, state: EmpiricalState, obs: Shaped[Array, "N ..."]) -> Recoding:
        """Return the recoding [N]; see `Density.recode`."""
        counts = state.counts[self._rows(state, obs)]
        return _recoding(counts, jnp.broadcast_to(state.total, counts.shape))

    def _rows(self, state: EmpiricalState, obs: jax.Array) -> jax.Array:
        return finite.number_of(state.numbers, obs.reshape(obs.shape[0], -1))


def _recoding(count: jax.Array, total: jax.Array) -> Recoding:
    """Return the recoding of states seen `count` times among `total`, both int32 [N]."""
    others = (total - count).astype(jnp.float32)
    seen, n = count.astype(jnp.float32), total.astype(jnp.float32)
    known = count > 0
    # log(1 + 1/x) with x = N (n + 1)/(n − N), from ρ′/ρ = 1 + (n − N)/(N (n + 1))
    gain = jnp.log1p(others / (jnp.where(known, seen, 1.0) * (n + 1.0)))
    return Recoding(
        log_prob=jnp.where(known, _log_share(seen, others), -jnp.inf),
        log_prob_after=_log_share(seen + 1.0, others),
        gain=jnp.where(known, gain, jnp.inf),
    )


def _log_share(part: jax.Array, others: jax.Array) -> jax.Array:
    """Return log(part/(part + others)), with a relative error of float32's rounding near 0 too."""
    whole = part + others
    mostly = part > others
    return jnp.where(
        mostly,
        jnp.log1p(-others / jnp.maximum(whole, 1.0)),
        jnp.log(jnp.where(mostly, 1.0, jnp.maximum(part, 1.0)) / jnp.maximum(whole, 1.0)),
    )

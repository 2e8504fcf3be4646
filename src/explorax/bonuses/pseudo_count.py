"""Counts generalised by a density model: how much the model gains from seeing a state again."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.densities.choice import density_for, density_of
from explorax.densities.density import Density, Recoding
from explorax.ops import median as order

# The largest pseudo-count, and that of a row from which the model gains nothing: it is paid 3e-6 of
# what a first visit is.
MOST = 1e9
OFFSET = 0.01  # in the root, so that the first visit is paid 10 β and not infinity
FORMS = ("count", "gain")


@pytree
class PseudoCountState:
    """The density, and what it said of the last rollout."""

    density: Any
    observed: Any  # int32 [], rows that the density has learnt from
    metrics: Any  # of the last rollout, dict of float32 []


@dataclass(frozen=True)
class PseudoCount:
    """Pays β/√(N̂(s') + 0.01), N̂ the pseudo-count of the state arrived at before it is counted.

    Bellemare et al. 2016 (arXiv 1606.01868, Eq. 2 and Sec. 5): with ρ the probability that
    `density` gives to s', ρ′ what it gives after learning from it once more, and the prediction
    gain PG = log ρ′ − log ρ,

        form="count":  N̂ = ρ (1 − ρ′)/(ρ′ − ρ) = (1 − ρ′)/(exp PG − 1),
        form="gain":   N̂ = 1/(exp(c n^−½ max(PG, 0)) − 1)

    the second of Ostrovski et al. 2017 (arXiv 1703.01310, Sec. 3), n the rows seen, this one
    included: for models, such as networks, whose gains do not fall as 1/n. Their bonus is N̂^−½;
    here both forms have β and 0.01, so theirs is about beta=1. Probabilities of images, far below
    1e-300, stay logarithms.

    A model that gains nothing from s' (ρ′ ≤ ρ) has no pseudo-count: such a row is paid as one of
    count 10⁹, about nothing, and no pseudo-count is larger. Where ρ = ρ′ = 1 the equation leaves N̂
    open, and it is the n − 1 rows seen before, which all were s'. Rows count in time order, the
    environments of one step in theirs. Where an episode begins is not counted. A replayed row is
    paid by the density as it is now, changing nothing.

    Without a `density` the observations decide: one-hot codes of which there are at most a million
    are counted exactly, images [H, W], [H, W, C] or [C, H, W] get context trees, all else, vectors
    and larger codes, independent factors.
    """

    density: Density | None = None  # None: Empirical(), CTS() or Factored(), as fits
    beta: float = 0.05  # β, a tenth of what a first visit is paid
    form: str = "count"  # or "gain"
    gain_scale: float = 0.1  # c, of form="gain"

    replayable = True

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.beta < math.inf, self, "beta", "at least 0 and finite")
        require(self.form in FORMS, self, "form", f"one of {FORMS}")
        require(0 < self.gain_scale < math.inf, self, "gain_scale", "positive and finite")

    def init(self, key: Key, spec: Spec) -> PseudoCountState:
        """Return the state before the first visit.

        Raises Incompatible where the density cannot model the observations.
        """
        density = density_for(spec.obs) if self.density is None else self.density
        return PseudoCountState(density.init(key, spec), jnp.int32(0), _nothing_to_say())

    def score(
        self, state: PseudoCountState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, PseudoCountState]:
        """Return (bonus [T, E], state whose density has learnt from these rows)."""
        lead = rollout.reward.shape
        rows = rollout.next_obs.reshape(-1, *rollout.next_obs.shape[len(lead) :])
        found, density = self._density(state).observe(state.density, rows)
        seen = state.observed + 1 + jnp.arange(rows.shape[0], dtype=jnp.int32)
        counts = self.counts(found, seen)
        after = PseudoCountState(density, seen[-1], _metrics(found, counts))
        return self._payment(counts).reshape(lead), after

    def update(
        self, state: PseudoCountState, key: Key, rollout: Rollout
    ) -> tuple[PseudoCountState, Metrics]:
        """Return (state, metrics of the rollout just scored).

        pseudo_count_median; log_prob_mean, nats, over rows that the density held possible;
        no_gain_share, of rows where ρ′ ≤ ρ.
        """
        return state, state.metrics

    def rescore(self, state: PseudoCountState, key: Key, rows: Rollout) -> jax.Array:
        """Return the bonus [N] by the density as it is."""
        found = self._density(state).recode(state.density, rows.next_obs)
        seen = jnp.broadcast_to(state.observed + 1, rows.reward.shape)
        return self._payment(self.counts(found, seen))

    def _density(self, state: PseudoCountState) -> Density:
        return density_of(state.density) if self.density is None else self.density

    def counts(self, found: Recoding, seen: Int[Array, " N"]) -> Float[Array, " N"]:
        """Return N̂, float32 [N] in 0 .. 10⁹, of rows of which `seen` are the rows until then, each
        itself included."""
        gain = jnp.maximum(found.gain, 0.0)
        n = seen.astype(jnp.float32)
        if self.form == "gain":
            number, excess = jnp.ones_like(gain), jnp.expm1(self.gain_scale * gain / jnp.sqrt(n))
        else:
            number, excess = -jnp.expm1(found.log_prob_after), jnp.expm1(gain)
        # Where 10⁹ times the excess is below the number, so is 0: nothing is divided by 0.
        counted = jnp.where(excess * MOST > number, number / jnp.maximum(excess, 1e-37), MOST)
        certain = (found.log_prob == 0) & (found.log_prob_after == 0)
        return jnp.where(certain & (self.form == "count"), n - 1.0, counted)

    def _payment(self, counts: jax.Array) -> jax.Array:
        return self.beta / jnp.sqrt(counts + OFFSET)


def _nothing_to_say() -> Metrics:
    names = ("pseudo_count_median", "log_prob_mean", "no_gain_share")
    return {name: jnp.float32(0) for name in names}


def _metrics(found: Recoding, counts: jax.Array) -> Metrics:
    possible = jnp.isfinite(found.log_prob)
    total = jnp.where(possible, found.log_prob, 0.0).sum()
    metrics = {
        "pseudo_count_median": order.median(counts),
        "log_prob_mean": total / jnp.maximum(possible.sum().astype(jnp.float32), 1.0),
        "no_gain_share": (found.gain <= 0).mean(),
    }
    return {name: value.astype(jnp.float32) for name, value in metrics.items()}

"""Entries of an observation as if they were independent, each with counts of its own."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.densities import grey
from explorax.densities.density import Recoding, recoding
from explorax.ops import frame

REACH = 3.0  # deviations from the mean to either side that the bins of an unbounded entry cover


@pytree
class FactoredState:
    """How often each entry had each value."""

    counts: Any  # float32 [P, A]
    scale: Any  # grey.Range of images, a frame of vectors


@dataclass(frozen=True)
class Factored:
    """Multiplies one categorical per place, ρ(s) = Π_i (N_i(s_i) + a)/(n + a A).

    The location-dependent model of independent factors: N_i counts the values of the i-th pixel, or
    entry, among n observations, a is the prior count of each of its A values (Dirichlet; a = ½ is
    the estimator of Krichevsky and Trofimov). With π_i the factors, the gain is
    Σ_i log(1 + (1 − π_i)/(π_i (n + 1 + a A))): never negative, so pseudo-counts exist.

    Images (two or three axes) become A = `levels` grey levels on a grid of at most `size`
    (`densities.grey`). The entries of all other observations fall into `levels` bins of equal width
    over their bounds, or, without bounds, over ±3 deviations around the mean, both of the first
    `scale_rows` observations and then left alone. Until then the bins move with each batch, and
    what the batches before counted is forgotten. What lies outside has a bin of its own at either
    end, so A = levels + 2.
    """

    levels: int = 8  # of grey; of a vector, bins per entry
    prior: float = 0.5  # a, the count that each value has before any was seen
    size: tuple[int, int] | None = (42, 42)  # the most rows and columns of an image; None: all
    scale_rows: int = 1_000  # observations that set the scale of entries without bounds

    def __post_init__(self) -> None:
        check_types(self)
        require(2 <= self.levels <= 256, self, "levels", "in 2 .. 256")
        require(0 < self.prior < math.inf, self, "prior", "positive and finite")
        grid = self.size is None or (len(self.size) == 2 and min(self.size) >= 1)
        require(grid, self, "size", "(rows, columns), each at least 1, or None")
        require(self.scale_rows >= 1, self, "scale_rows", "at least 1")

    def init(self, key: Key, spec: Spec) -> FactoredState:
        """Return the model that has seen nothing.

        Raises Incompatible for observations without entries and for images without bounds.
        """
        if math.prod(spec.obs.shape) == 0:
            raise Incompatible(f"There is nothing to model: observations are {spec.obs}.")
        if grey.is_image(spec.obs):
            entries = math.prod(grey.grid(spec.obs.shape, self.size))
            return FactoredState(
                jnp.zeros((entries, self.levels)), grey.range_of(spec.obs, "Factored")
            )
        scale = frame.frame_of(spec.obs, REACH)
        return FactoredState(jnp.zeros((scale.low.size, self.levels + 2)), scale)

    def observe(
        self, state: FactoredState, obs: Shaped[Array, "N ..."]
    ) -> tuple[Recoding, FactoredState]:
        """Return (recoding [N], state); see `Density.observe`."""
        scale, counts = state.scale, state.counts
        if isinstance(scale, frame.Frame):
            # What was counted in bins that have moved since was counted elsewhere.
            counts = jnp.where(frame.is_settled(scale, self.scale_rows), counts, 0.0)
            scale = frame.look(scale, _flat(obs), self.scale_rows)

        def one(counts: jax.Array, row: jax.Array) -> tuple[jax.Array, Recoding]:
            hit = self._hit(FactoredState(counts, scale), row)
            return counts + hit, self._recoding(counts, hit)

        counts, recodings = jax.lax.scan(one, counts, obs)
        return recodings, FactoredState(counts, scale)

    def recode(self, state: FactoredState, obs: Shaped[Array, "N ..."]) -> Recoding:
        """Return the recoding [N]; see `Density.recode`."""
        return jax.lax.map(lambda row: self._recoding(state.counts, self._hit(state, row)), obs)

    def _hit(self, state: FactoredState, row: jax.Array) -> jax.Array:
        """Return which value each entry of one observation has, one-hot float32 [P, A]."""
        if isinstance(state.scale, frame.Frame):
            symbols = bin_of(frame.place(state.scale, _flat(row[None])[0]), self.levels)
        else:
            symbols = grey.levels_of(state.scale, row, self.size, self.levels).ravel()
        return jax.nn.one_hot(symbols, state.counts.shape[1])

    def _recoding(self, counts: jax.Array, hit: jax.Array) -> Recoding:
        values = counts.shape[1]
        n = counts[0].sum()
        of_value = (counts * hit).sum(1)
        whole = n + self.prior * values
        share = (of_value + self.prior) / whole
        rest = (n - of_value + self.prior * (values - 1)) / whole
        return recoding(jnp.log(share).sum(), jnp.log1p(rest / (share * (whole + 1.0))).sum())


def _flat(obs: jax.Array) -> jax.Array:
    return obs.reshape(obs.shape[0], -1).astype(jnp.float32)


def bin_of(place: Float[Array, "... D"], number: int) -> Int[Array, "... D"]:
    """Return the bins of places, int32: 1 .. `number` in [0, 1], 0 below and `number` + 1 above."""
    inside = 1.0 + jnp.clip(jnp.floor(place * number), 0, number - 1)
    found = jnp.where(place < 0, 0.0, jnp.where(place > 1, number + 1.0, inside))
    return found.astype(jnp.int32)

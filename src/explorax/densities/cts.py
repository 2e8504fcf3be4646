"""Context tree switching: each pixel predicted from its neighbours, to a depth that is learnt."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.densities import grey
from explorax.densities.density import Recoding, recoding

MOST_BYTES = 2**30
_NEIGHBOURS = 4


@pytree
class CTSState:
    """One tree per pixel, all in one table per depth; row p · levels^d + c is context c of p."""

    counts: tuple[Any, ...]  # per depth 0 .. D, float32 [P · levels^d, levels]
    odds: tuple[Any, ...]  # per depth 0 .. D − 1, float32 [P · levels^d], of staying
    frames: Any  # int32 [], seen so far
    values: grey.Range


@dataclass(frozen=True)
class CTS:
    """Multiplies one context tree per pixel: ρ(s) = Π_p ρ_p(s_p | neighbours already drawn).

    Context tree switching (Veness, Ng, Hutter and Bowling 2012, arXiv 1111.3182) on images of few
    grey levels, as Bellemare et al. 2016 (arXiv 1606.01868) use it for pseudo-counts: 42×42 pixels,
    8 levels, a tree of its own for each place. The context of a pixel is the pixel west of it, then
    north, north-west and north-east (0 outside the image); a node at depth d knows the first d. At
    each node, with ξ the share of the symbol among those seen there (Dirichlet, `prior` each) and
    z what the child on the path says,

        ρ = w ξ + (1 − w) z,    w ← (1 − α) w ξ/ρ + α (1 − w) z/ρ,    α = 1/(t + 1),

    w = ½ at first and t the frames seen, this one included; leaves say ξ. The table holds the odds
    w/(1 − w), which float32 keeps precise at both ends. Gains come from differences of ξ, w and ρ
    worked out by hand, none of two near numbers.

    Images have two or three axes (`densities.grey`): shrunk to at most `size`, never enlarged.
    Memory is 4 · P · (levels^(depth+1) + ...) bytes, once per seed: 268 MB for 42×42 pixels at
    depth 4 and 8 levels, 33 MB at depth 3. More than 1 GiB is refused.

    Details that papers leave open are those of Bellemare's public Python model: the prior of 1/8 (1
    over the levels, "Perks"), α by the tree's clock and not the node's. Its line that updates 1 − w
    with the new w is not followed. Left out: skip contexts (Bellemare, Veness and Talvitie 2014).
    Counts are float32 and stop at 16,777,216.
    """

    size: tuple[int, int] | None = (42, 42)  # the most rows and columns; None: those of the image
    levels: int = 8  # of grey
    depth: int = 4  # neighbours in the longest context, 0 .. 4
    prior: float | None = None  # count of each symbol before any was seen; None: 1/levels; ½: KT

    def __post_init__(self) -> None:
        check_types(self)
        grid = self.size is None or (len(self.size) == 2 and min(self.size) >= 1)
        require(grid, self, "size", "(rows, columns), each at least 1, or None")
        require(2 <= self.levels <= 256, self, "levels", "in 2 .. 256")
        require(0 <= self.depth <= _NEIGHBOURS, self, "depth", f"in 0 .. {_NEIGHBOURS}")
        positive = self.prior is None or 0 < self.prior < math.inf
        require(positive, self, "prior", "positive and finite, or None")

    def init(self, key: Key, spec: Spec) -> CTSState:
        """Return trees that have seen nothing.

        Raises Incompatible for observations that are no images, for images without bounds, and for
        tables of more than 1 GiB.
        """
        if not grey.is_image(spec.obs):
            raise Incompatible(
                f"CTS models images [H, W], [H, W, C] or [C, H, W], and observations have the "
                f"shape {spec.obs.shape}. Factored() takes any shape, Empirical() one-hot codes."
            )
        rows, columns = grey.grid(spec.obs.shape, self.size)
        nodes = [rows * columns * self.levels**d for d in range(self.depth + 1)]
        bytes_needed = 4 * (sum(nodes) * self.levels + sum(nodes[:-1]))
        if bytes_needed > MOST_BYTES:
            raise Incompatible(
                f"{self} on {rows}×{columns} pixels needs tables of {bytes_needed / 2**30:,.1f} "
                f"GiB, and at most {MOST_BYTES // 2**30} GiB is allowed. Lower `depth` (each step "
                f"divides them by {self.levels}), `levels` or `size`."
            )
        return CTSState(
            counts=tuple(jnp.zeros((size, self.levels)) for size in nodes),
            odds=tuple(jnp.ones(size) for size in nodes[:-1]),
            frames=jnp.int32(0),
            values=grey.range_of(spec.obs, "CTS"),
        )

    def observe(self, state: CTSState, obs: Shaped[Array, "N ..."]) -> tuple[Recoding, CTSState]:
        """Return (recoding [N], state); see `Density.observe`."""

        def one(state: CTSState, row: jax.Array) -> tuple[CTSState, Recoding]:
            symbols = grey.levels_of(state.values, row, self.size, self.levels)
            return self._learn(state, symbols)

        state, recodings = jax.lax.scan(one, state, obs)
        return recodings, state

    def recode(self, state: CTSState, obs: Shaped[Array, "N ..."]) -> Recoding:
        """Return the recoding [N]; see `Density.recode`."""

        def one(row: jax.Array) -> Recoding:
            symbols = grey.levels_of(state.values, row, self.size, self.levels)
            return self._read(state, symbols)[0]

        return jax.lax.map(one, obs)

    def _learn(self, state: CTSState, symbols: jax.Array) -> tuple[CTSState, Recoding]:
        found, nodes, rows, odds = self._read(state, symbols)
        hit = _one_hot(symbols, self.levels)
        # Written are the rows that were read, not "+ 1": only what depends on the reading may be
        # written in place, and copying the tables for each frame would take 500 times as long.
        counts = [
            _write(*each)
            for each in zip(state.counts, nodes, [row + hit for row in rows], strict=True)
        ]
        switched = [_write(*each) for each in zip(state.odds, nodes[:-1], odds, strict=True)]
        return CTSState(tuple(counts), tuple(switched), state.frames + 1, state.values), found

    def _read(self, state: CTSState, symbols: Int[Array, "H W"]) -> tuple[Recoding, Any, Any, Any]:
        """Return (recoding [], nodes, their rows of counts, their new odds), lists by depth."""
        nodes = _paths(symbols, self.depth, self.levels)
        rows = [_look_up(table, node) for table, node in zip(state.counts, nodes, strict=True)]
        odds = [_look_up(table, node) for table, node in zip(state.odds, nodes[:-1], strict=True)]
        hit = _one_hot(symbols, self.levels)
        switching = 1.0 / (state.frames + 2).astype(jnp.float32)  # α, this frame included
        own = [self._estimate(row, hit) for row in rows]
        share, rise = own[-1]  # ρ and ρ′ − ρ of the deepest node
        for depth in reversed(range(self.depth)):
            share, rise, odds[depth] = _mix(own[depth], (share, rise), odds[depth], switching)
        found = recoding(jnp.log(share).sum(), jnp.log1p(rise / share).sum())
        return found, nodes, rows, odds

    def _estimate(self, row: jax.Array, hit: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (ξ, ξ′ − ξ) [P] of the symbols `hit` at nodes with counts `row`, both [P, A]."""
        prior = 1.0 / self.levels if self.prior is None else self.prior
        of_symbol, all_of_them = _sum(row * hit), _sum(row)
        whole = all_of_them + prior * self.levels
        rest = all_of_them - of_symbol + prior * (self.levels - 1)
        return (of_symbol + prior) / whole, rest / (whole * (whole + 1.0))


def _mix(
    own: tuple[jax.Array, jax.Array],
    child: tuple[jax.Array, jax.Array],
    odds: jax.Array,
    switching: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (ρ, ρ′ − ρ, new odds) [P] of nodes that stay or ask their child, given (ξ, ξ′ − ξ) and
    (z, z′ − z).

    ρ′ − ρ = w′ (ξ′ − ξ) + (1 − w′)(z′ − z) + (w′ − w)(ξ − z), with the posterior w⁺ = w ξ/ρ,
    w′ = w⁺ + α (1 − 2 w⁺) and w⁺ − w = w (1 − w)(ξ − z)/ρ.
    """
    (estimate, estimate_rise), (below, below_rise) = own, child
    ask = 1.0 / (1.0 + odds)
    stay = odds * ask
    share = stay * estimate + ask * below
    apart = estimate - below
    posterior = stay * estimate / share
    switched = switching * (1.0 - 2.0 * posterior)
    after = posterior + switched
    shift = stay * ask * apart / share + switched
    rise = after * estimate_rise + (1.0 - after) * below_rise + shift * apart
    for_stay, for_ask = odds * estimate, below
    keep = 1.0 - switching
    new_odds = (keep * for_stay + switching * for_ask) / (keep * for_ask + switching * for_stay)
    return share, rise, new_odds


def _paths(symbols: Int[Array, "H W"], depth: int, levels: int) -> list[jax.Array]:
    """Return the rows [P] of the nodes from each pixel's root to its leaf, by depth."""
    around = jnp.pad(symbols, ((1, 0), (1, 1)))
    west, north = around[1:, :-2], around[:-1, 1:-1]
    neighbours = (west, north, around[:-1, :-2], around[:-1, 2:])
    nodes = [jnp.arange(symbols.size, dtype=jnp.int32)]
    for neighbour in neighbours[:depth]:
        nodes.append(nodes[-1] * levels + neighbour.ravel())
    return nodes


def _look_up(table: jax.Array, node: jax.Array) -> jax.Array:
    if table.shape[0] == node.size:  # of roots: one each, in order
        return table
    return table.at[node].get(mode="promise_in_bounds")


def _write(table: jax.Array, node: jax.Array, rows: jax.Array) -> jax.Array:
    if table.shape[0] == node.size:
        return rows
    return table.at[node].set(rows, unique_indices=True, mode="promise_in_bounds")


def _sum(rows: jax.Array) -> jax.Array:
    """Return the sums [P] of rows [P, A], by a product: faster than XLA's sum of short rows."""
    return jnp.matmul(rows, jnp.ones(rows.shape[1]), precision=jax.lax.Precision.HIGHEST)


def _one_hot(symbols: Int[Array, "H W"], levels: int) -> jax.Array:
    return jax.nn.one_hot(symbols.ravel(), levels)

"""Methods over several environments at once: the performance profile, and who beats no bonus."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from explorax.report.numbers import Pooled, Row
from explorax.report.style import MUTED, Layout, Look, bare, styled

_THRESHOLDS = np.linspace(0.0, 1.0, 201)
_LEGEND_LINE, _MARGIN = 0.22, 0.3  # inches


@dataclass(frozen=True)
class Profile:
    """One method's share of runs that score at least as much as each threshold."""

    method: str
    variant: str
    share: np.ndarray  # [201], of the seeds, every environment weighing the same


def thresholds() -> np.ndarray:
    """Return the normalised scores at which profiles are taken."""
    return _THRESHOLDS


def scores(rows: Sequence[Row]) -> list[np.ndarray]:
    """Return each row's final returns [S], normalised over the rows, which are of one environment.

    0 is the lowest final return of any seed, 1 the highest, or the environment's own threshold of
    success where nobody got so far. A seed whose episodes never ended scores 0.
    """
    finals = [row.outcome.final_return for row in rows]
    known = np.concatenate(finals)
    known = known[np.isfinite(known)]
    if not known.size:
        return [np.zeros_like(final) for final in finals]
    low, high = float(known.min()), float(known.max())
    success = rows[0].run.success_return
    if success is not None:
        high = max(high, success)
    span = high - low if high > low else 1.0
    return [np.nan_to_num((final - low) / span, nan=0.0) for final in finals]


def performance_profiles(rows: Sequence[Row]) -> tuple[list[Profile], list[str]]:
    """Return (profiles, methods left out) of the methods that ran in every environment.

    The profile of Agarwal et al. (arXiv:2108.13264, section 4.2): at threshold τ, the share of runs
    with a normalised score of at least τ. Nothing is returned for a single environment. A method
    that skipped an environment cannot be compared and is left out.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name.env, []).append(row)
    if len(groups) < 2:
        return [], []
    shares: dict[str, list[np.ndarray]] = {}
    variants = {row.name.method: row.name.variant for row in rows}
    for own in groups.values():
        for row, score in zip(own, scores(own), strict=True):
            above = (score[:, None] >= _THRESHOLDS[None, :] - 1e-9).mean(axis=0)
            shares.setdefault(row.name.method, []).append(above)
    everywhere = {method: each for method, each in shares.items() if len(each) == len(groups)}
    profiles = [
        Profile(method, variants[method], np.mean(each, axis=0))
        for method, each in everywhere.items()
    ]
    return profiles, [method for method in shares if method not in everywhere]


def draw_profiles(
    profiles: Sequence[Profile], look: dict[str, Look], *, narrow: bool = False
) -> Figure:
    """Return the share of runs above each normalised score, a line per method."""
    with styled():
        ordered = sorted(profiles, key=lambda each: -float(each.share.mean()))
        widest = max(len(each.method) for each in ordered)
        beside = 0.0 if narrow else 0.75 + 0.083 * widest
        width = 4.2 if narrow else max(8.6, 5.0 + beside)  # room for the lines beside long names
        below = _LEGEND_LINE * len(ordered) if narrow else 0.0
        tall = max(2.6, _LEGEND_LINE * len(ordered))
        layout = Layout(
            1, 1, width, 2.6 if narrow else tall, top=0.12 + below, left=0.82, right=0.15 + beside
        )
        figure, grid = layout.figure()
        axes = grid[0, 0]
        bare(axes)
        for each in ordered:
            its = look[each.variant]
            axes.plot(_THRESHOLDS, each.share, color=its.colour, linestyle=its.dash, linewidth=2.0)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        figure.text(
            (layout.left + width - layout.right) / 2 / width, 0.1 / layout.height,
            "normalised final return τ", ha="center", va="bottom",
        )  # fmt: skip
        figure.text(
            0.08 / width, 0.5 * (layout.bottom + layout.height - layout.top) / layout.height,
            "runs with at least τ", ha="left", va="center", rotation=90,
        )  # fmt: skip
        handles = [
            Line2D([], [], color=look[each.variant].colour, linestyle=look[each.variant].dash,
                   linewidth=2.4, label=each.method)
            for each in ordered
        ]  # fmt: skip
        corner = (0.1 / width, 1.0) if narrow else (1 - beside / width, 1 - 0.1 / layout.height)
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, handlelength=2.2)
    return figure


def draw_improvements(
    pooled: Sequence[Pooled], look: dict[str, Look], variants: dict[str, str],
    *, narrow: bool = False,
) -> Figure:  # fmt: skip
    """Return each method's probability of improvement over no bonus, best first, with intervals."""
    with styled():
        ordered = sorted(pooled, key=lambda each: each.improvement.estimate)
        width = 4.2 if narrow else 8.6
        names = [
            textwrap.fill(each.method, 22 if narrow else 50, break_on_hyphens=False)
            for each in ordered
        ]
        lines = [line for name in names for line in name.split("\n")]
        left = min(_MARGIN + 0.083 * max(map(len, lines)), 0.6 * width)  # names without spaces
        layout = Layout(1, 1, width, 0.27 * len(lines) + 0.15, top=0.12, left=left)
        figure, grid = layout.figure()
        axes = grid[0, 0]
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.axvline(0.5, color=MUTED, linewidth=1.0, linestyle=(0, (3, 2)))
        for place, each in enumerate(ordered):
            colour, its = look[variants[each.method]].colour, each.improvement
            if its.has_width:
                axes.plot([its.low, its.high], [place, place], color=colour, linewidth=2.2)
            axes.plot([its.estimate], [place], marker="o", markersize=6, color=colour)
        axes.set_yticks(range(len(ordered)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.6, len(ordered) - 0.4)
        axes.set_xlim(-0.02, 1.02)
        figure.text(
            (layout.left + width - layout.right) / 2 / width, 0.1 / layout.height,
            "probability of improvement over no bonus", ha="center", va="bottom",
        )  # fmt: skip
    return figure

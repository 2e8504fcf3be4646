"""Heat maps: where the runs went, and where the bonus is high."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from explorax.report.numbers import Row
from explorax.report.read import Map, Run
from explorax.report.style import VOID, Look, new_figure, styled

_MOST_DECADES = 5  # of a colour scale


@dataclass(frozen=True)
class Visits:
    """How often each cell was visited in one part of training."""

    part: str
    counts: np.ndarray  # [bx, by], mean over seeds
    share: float  # of the cells visited by a seed, mean over seeds


def visits_of(run: Run) -> list[Visits]:
    """Return the visits in the first quarter of training and in all of it; [] without maps."""
    visits = run.maps.get("visits")
    if visits is None or not len(visits):
        return []
    parts = [("whole training", visits.sum(axis=0))]
    if len(visits) > 1:
        parts.insert(0, ("first quarter of training", visits[0]))
    return [
        Visits(part, counts.mean(axis=0), float((counts > 0).mean(axis=(1, 2)).mean()))
        for part, counts in parts
    ]


@dataclass(frozen=True)
class Bonuses:
    """The bonus over the state space at the end of each quarter of training."""

    env_steps: np.ndarray  # [P]
    values: np.ndarray  # [P, bx, by], mean over seeds; NaN where unknown
    is_survey: bool  # else only what was paid where the run went


def bonuses_of(run: Run) -> Bonuses | None:
    """Return where the bonus of `run` is high, or None when it pays nothing or nothing is known.

    From `gain`, the bonus at every place of the map; without it from `paid / visits`, the mean
    bonus of the steps that arrived in a cell during the quarter.
    """
    maps = run.maps
    gain = maps.get("gain")
    if gain is not None and len(gain) and (np.nan_to_num(gain) > 0).any():
        steps = maps.get("phase_env_steps", np.arange(1, len(gain) + 1))
        return Bonuses(np.asarray(steps), np.asarray(gain).mean(axis=1), True)
    if "paid" not in maps or "visits" not in maps or not (maps["paid"] > 0).any():
        return None
    paid, visits = maps["paid"].sum(axis=1), maps["visits"].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(visits > 0, paid / visits, np.nan)
    steps = maps.get("phase_env_steps", np.arange(1, len(values) + 1))
    return Bonuses(np.asarray(steps), values, False)


def _log_scale(arrays: Sequence[np.ndarray], floor: float | None = None) -> LogNorm | None:
    """Return one colour scale for all `arrays`; what lies below it takes its lowest colour."""
    values = np.concatenate([np.ravel(array) for array in arrays])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return None
    high = float(values.max())
    low = float(values.min() if floor is None else min(floor, high))
    low = max(low, high * 10.0**-_MOST_DECADES)
    return LogNorm(low, high if high > low * 1.01 else low * 2, clip=True)


def _show(axes: Axes, values: np.ndarray, view: Map, scale: LogNorm, colours: str) -> Any:
    """Draw a map [bx, by]; cells without a positive value show the axes' own light colour."""
    axes.set_facecolor(VOID)
    palette = colormaps[colours].with_extremes(bad=(0, 0, 0, 0))
    masked = np.ma.masked_where(~(np.nan_to_num(values) > 0), values)
    offset = 0.5 if view.is_grid else 0.0  # the squares of a grid are named by their middles
    left, right = view.low[0] - offset, view.high[0] - offset
    bottom, top = view.low[1] - offset, view.high[1] - offset
    image = axes.imshow(
        masked.T, origin="lower", extent=(left, right, bottom, top), aspect="auto",
        norm=scale, cmap=palette, interpolation="none",
    )  # fmt: skip
    if view.is_grid:
        axes.invert_yaxis()
    axes.locator_params(nbins=4)
    return image


def _grid(lines: int, columns: int, width: float, panel_height: float) -> tuple[Figure, np.ndarray]:
    figure = new_figure(width, 0.75 + panel_height * lines)
    return figure, figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)


def _label(figure: Figure, view: Map) -> None:
    figure.supxlabel(view.labels[0], fontsize="medium")
    figure.supylabel(view.labels[1], fontsize="medium")


def draw_visits(
    rows: Sequence[Row], look: dict[str, Look], scale: LogNorm, *, narrow: bool = False
) -> Figure:
    """Return maps of the states that each row visited, early and over the whole training.

    All panels share `scale`. With up to two runs per agent everything lies on one line; narrow
    figures have a line per part of training, or per run when there are more than two.
    """
    panels = {(part.part, r): part for r, row in enumerate(rows) for part in visits_of(row.run)}
    parts = list(dict.fromkeys(part for part, _ in panels))
    flat = not narrow and len(rows) <= 2
    by_run = narrow and len(rows) > 2
    lines, columns = (1, len(parts) * len(rows)) if flat else (len(parts), len(rows))
    lines, columns = (len(rows), len(parts)) if by_run else (lines, columns)
    width = min(4.2, 0.9 + 1.75 * columns) if narrow else min(10.6, 1.3 + 2.4 * columns)
    view = next(row.run.view for row in rows if row.run.view is not None)
    with styled():
        figure, grid = _grid(lines, columns, width, 1.75 if narrow else 2.25)
        image = None
        for p, part in enumerate(parts):
            for r, row in enumerate(rows):
                at = (0, p * len(rows) + r) if flat else (r, p) if by_run else (p, r)
                axes = grid[at]
                its = panels.get((part, r))
                if its is None:
                    axes.set_visible(False)
                    continue
                image = _show(axes, its.counts, view, scale, "viridis")
                title = f"{row.name.variant}\n{part}\n{100 * its.share:.0f} % of cells"
                axes.set_title(title, fontsize="small", loc="left", fontweight="normal")
        _label(figure, view)
        if image is not None:
            bar = figure.colorbar(image, ax=grid, pad=0.015, aspect=18 * lines, fraction=0.05)
            bar.set_label("visits per seed and cell")
            bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def visits_scale(rows: Sequence[Row]) -> LogNorm | None:
    """Return the colour scale that all maps of visits of one environment share."""
    arrays = [part.counts for row in rows for part in visits_of(row.run)]
    return _log_scale(arrays) if arrays else None


def draw_bonuses(row: Row, *, narrow: bool = False) -> Figure | None:
    """Return maps of one run's bonus at the end of each quarter of training, on one colour scale."""
    bonuses, view = bonuses_of(row.run), row.run.view
    if bonuses is None or view is None:
        return None
    known = bonuses.values[np.isfinite(bonuses.values) & (bonuses.values > 0)]
    scale = _log_scale([known], floor=float(np.percentile(known, 1)))
    if scale is None:
        return None
    count = len(bonuses.values)
    columns = min(count, 2) if narrow else count
    lines = -(-count // columns)
    with styled():
        width = 4.2 if narrow else min(10.6, 1.3 + 2.4 * columns)
        figure, grid = _grid(lines, columns, width, 1.75 if narrow else 2.1)
        image = None
        for axes in grid.flat[count:]:
            axes.set_visible(False)
        for axes, values, steps in zip(grid.flat, bonuses.values, bonuses.env_steps, strict=False):
            image = _show(axes, values, view, scale, "magma")
            verb = "after" if bonuses.is_survey else "up to"
            axes.set_title(
                f"{verb} {steps:,.0f} steps", fontsize="small", loc="left", fontweight="normal"
            )
        _label(figure, view)
        bar = figure.colorbar(image, ax=grid, pad=0.015, aspect=18 * lines, fraction=0.05)
        bar.set_label("bonus per step")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure

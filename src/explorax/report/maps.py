"""Heat maps: where the runs went, and where the bonus is high."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from explorax.report.numbers import Row
from explorax.report.read import Map, Run
from explorax.report.style import PAPER, VOID, Layout, styled

_MOST_DECADES = 5  # of a colour scale
_MOST_COLUMNS = 6  # of panels in one line


@dataclass(frozen=True)
class Visits:
    """How often each cell was visited in one part of training."""

    part: str
    counts: np.ndarray  # [bx, by], mean over seeds
    share: float  # of the cells visited by a seed, mean over seeds
    rooms: float | None = None  # visited by a seed, mean over seeds

    @property
    def told(self) -> str:
        """Return "31 % of cells", or "3.5 rooms" where the map is made of rooms."""
        if self.rooms is None:
            return f"{100 * self.share:.0f} % of cells"
        return f"{self.rooms:.3g} room{'s' * (self.rooms != 1)}"


def visits_of(run: Run) -> list[Visits]:
    """Return the visits early in training and in all of it; [] without maps.

    Early is the first quarter, or what the first phase of a run with few log points is.
    """
    visits = run.maps.get("visits")
    if visits is None or not len(visits):
        return []
    parts = [("whole training", visits.sum(axis=0))]
    if len(visits) > 1:
        ends = run.maps.get("phase_env_steps", np.array([0.25 * run.planned_env_steps]))
        share = 100 * float(ends[0]) / run.planned_env_steps
        early = "first quarter" if 22 < share < 28 else f"first {share:.0f} %"
        parts.insert(0, (early, visits[0]))
    return [
        Visits(
            part,
            counts.mean(axis=0),
            float((counts > 0).mean(axis=(1, 2)).mean()),
            _rooms(counts, run.view),
        )
        for part, counts in parts
    ]


def _rooms(counts: np.ndarray, view: Map | None) -> float | None:
    """Return in how many rooms a seed was, mean over seeds [S, bx, by]; None without rooms."""
    if view is None or view.rooms is None:
        return None
    seeds, *bins = counts.shape
    across, up = view.rooms
    parts = counts.reshape(seeds, across, bins[0] // across, up, bins[1] // up)
    return float((parts.sum(axis=(2, 4)) > 0).sum(axis=(1, 2)).mean())


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


def _show(axes: Axes, values: np.ndarray, view: Map, scale: LogNorm, colours: str) -> None:
    """Draw a map [bx, by]; cells without a positive value show the axes' own light colour."""
    axes.set_facecolor(VOID)
    palette = colormaps[colours].with_extremes(bad=(0, 0, 0, 0))
    masked = np.ma.masked_where(~(np.nan_to_num(values) > 0), values)
    offset = 0.5 if view.is_grid else 0.0  # the squares of a grid are named by their middles
    left, right = view.low[0] - offset, view.high[0] - offset
    bottom, top = view.low[1] - offset, view.high[1] - offset
    axes.imshow(
        masked.T, origin="lower", extent=(left, right, bottom, top), aspect="auto",
        norm=scale, cmap=palette, interpolation="none",
    )  # fmt: skip
    if view.is_grid:
        axes.invert_yaxis()
    if view.rooms is not None:
        _draw_rooms(axes, view, view.rooms)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=view.is_grid or view.rooms is not None))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=view.is_grid or view.rooms is not None))


def _draw_rooms(axes: Axes, view: Map, rooms: tuple[int, int]) -> None:
    """Draw the lines between the rooms of the map."""
    lines = (axes.axvline, axes.axhline)
    for parts, low, high, line in zip(rooms, view.low, view.high, lines, strict=True):
        for edge in np.linspace(low, high, parts + 1)[1:-1]:
            line(edge, color=PAPER, linewidth=0.8)


def visits_scale(rows: Sequence[Row]) -> LogNorm | None:
    """Return the colour scale that all maps of visits of one environment share."""
    arrays = [part.counts for row in rows for part in visits_of(row.run)]
    return _log_scale(arrays) if arrays else None


def draw_visits(rows: Sequence[Row], scale: LogNorm, *, narrow: bool = False) -> Figure:
    """Return maps of the states that each row visited, early and over the whole training.

    All panels share `scale`. With up to two runs everything lies on one line, and otherwise each
    part of training begins a line; narrow figures of more than two runs have a line per run.
    """
    panels = {(part.part, r): part for r, row in enumerate(rows) for part in visits_of(row.run)}
    parts = list(dict.fromkeys(part for part, _ in panels))
    places = _places(len(parts), len(rows), narrow)
    lines, columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    layout = _layout(lines, columns, narrow, [row.name.variant for row in rows])
    view = next(row.run.view for row in rows if row.run.view is not None)
    with styled():
        figure, grid = layout.figure()
        for axes in grid.flat:
            axes.set_visible(False)
        for (p, r), place in places.items():
            its = panels.get((parts[p], r))
            if its is None:
                continue
            axes = grid[place]
            axes.set_visible(True)
            _show(axes, its.counts, view, scale, "viridis")
            name = layout.wrap(rows[r].name.variant)
            _title(axes, name, f"{its.part}\n{its.told}")
        layout.label(figure, *view.labels)
        layout.colour_bar(figure, scale, "viridis", "visits per seed and cell")
    return figure


def _places(parts: int, runs: int, narrow: bool) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the (line, column) of each (part of training, run)."""
    both = [(p, r) for p in range(parts) for r in range(runs)]
    if narrow and runs > 2:
        return {(p, r): (r, p) for p, r in both}
    if runs <= 2 and not narrow:
        return {(p, r): (0, p * runs + r) for p, r in both}
    lines = -(-runs // _MOST_COLUMNS)
    columns = -(-runs // lines)
    return {(p, r): (p * lines + r // columns, r % columns) for p, r in both}


def _layout(lines: int, columns: int, narrow: bool, names: Sequence[str]) -> Layout:
    """Return the grid for maps with titles of these names and two lines more."""
    width = min(4.2, 1.75 + 1.6 * columns) if narrow else min(10.6, 1.75 + 2.3 * columns)
    layout = Layout(lines, columns, width, 1.45 if narrow else 1.85, right=0.95)
    name_lines = max(layout.wrap(name).count("\n") + 1 for name in names)
    title = 0.16 * (name_lines + 2) + 0.12
    return replace(layout, top=title, gap_down=title + 0.1)


def _title(axes: Axes, name: str, rest: str) -> None:
    """Write the name in bold and the rest below it, above the panel."""
    small: dict[str, Any] = {"fontsize": "small", "ha": "left", "va": "bottom"}
    under = axes.annotate(
        rest, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", **small
    )
    axes.annotate(
        name, (0, 1), (0, 3 + 11.2 * (rest.count("\n") + 1)), xycoords="axes fraction",
        textcoords="offset points", fontweight="bold", **small,
    )  # fmt: skip
    under.set_linespacing(1.25)


def draw_bonuses(row: Row, *, narrow: bool = False) -> Figure | None:
    """Return maps of one run's bonus at the end of each quarter, on one colour scale."""
    bonuses, view = bonuses_of(row.run), row.run.view
    if bonuses is None or view is None:
        return None
    known = bonuses.values[np.isfinite(bonuses.values) & (bonuses.values > 0)]
    scale = _log_scale([known], floor=float(np.percentile(known, 1))) if known.size else None
    if scale is None:
        return None
    count = len(bonuses.values)
    columns = min(count, 2) if narrow else count
    width = 4.2 if narrow else min(10.6, 1.75 + 2.3 * columns)
    height = 1.45 if narrow else 1.85
    layout = Layout(-(-count // columns), columns, width, height, right=0.95)
    with styled():
        figure, grid = layout.figure()
        for axes in grid.flat[count:]:
            axes.set_visible(False)
        for axes, values, steps in zip(grid.flat, bonuses.values, bonuses.env_steps, strict=False):
            _show(axes, values, view, scale, "magma")
            verb = "after" if bonuses.is_survey else "up to"
            title = f"{verb} {steps:,.0f} steps"
            axes.set_title(title, fontsize="small", loc="left", fontweight="normal")
        layout.label(figure, *view.labels)
        layout.colour_bar(figure, scale, "magma", "bonus per step")
    return figure

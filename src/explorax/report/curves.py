"""Learning curves, and how many seeds have found success by when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from explorax.report.numbers import Row
from explorax.report.read import Run
from explorax.report.statistics import bootstrap_band
from explorax.report.style import MUTED, Layout, Look, bare, styled

CROWD = 8  # rows of one agent that can still be told apart when they lie over each other


@dataclass(frozen=True)
class Curve:
    """The return over training of one run, over its seeds."""

    env_steps: np.ndarray  # [L]
    seeds: np.ndarray  # [L, S], NaN before a seed's first finished episode
    middle: np.ndarray  # [L] interquartile mean; NaN until every seed has finished an episode
    low: np.ndarray
    high: np.ndarray


def learning_curve(run: Run) -> Curve:
    """Return the curve of `run`.

    Between log points at which an episode ended the last value holds. The middle starts where every
    seed has finished an episode, because those that finish early are the lucky ones; seeds that
    never finish one are left out of it.
    """
    table = run.over_time("return_mean")
    values = table.to_numpy(dtype=np.float64)
    ever = values[:, ~np.isnan(values).all(axis=0)]
    shape = len(table)
    middle, low, high = (np.full(shape, np.nan) for _ in range(3))
    there = ~np.isnan(ever).any(axis=1) & (ever.shape[1] > 0)
    if there.any():
        middle[there], low[there], high[there] = bootstrap_band([ever[there].T])
    return Curve(table.index.to_numpy(dtype=np.float64), values, middle, low, high)


def step_unit(env_steps: float) -> tuple[float, str]:
    """Return (divisor, axis label) that keep the numbers on an axis short."""
    if env_steps >= 2e6:
        return 1e6, "environment steps (millions)"
    if env_steps >= 5e3:
        return 1e3, "environment steps (thousands)"
    return 1.0, "environment steps"


@dataclass(frozen=True)
class Panel:
    """Some rows of a table that are drawn over each other."""

    title: str
    rows: tuple[Row, ...]
    of_one_bonus: bool = False  # which the agent without a bonus is drawn beside


def panels_of(rows: Sequence[Row]) -> list[Panel]:
    """Return a panel per agent; one with too many rows to tell apart has a panel per bonus.

    A panel of one bonus shows the agent without a bonus too.
    """
    agents: dict[str, list[Row]] = {}
    for row in rows:
        agents.setdefault(row.name.agent, []).append(row)
    panels = []
    for agent, own in agents.items():
        plain = [row for row in own if not row.name.has_bonus]
        paid = [row for row in own if row.name.has_bonus]
        if len(own) <= CROWD or not paid:
            panels.append(Panel(agent, tuple(own)))
            continue
        for row in paid:
            title = row.name.variant if len(agents) == 1 else row.name.method
            panels.append(Panel(title, (*plain, row), of_one_bonus=True))
    return panels


def _drawn(
    panels: Sequence[Panel], look: dict[str, Look], y_label: str, height: float, narrow: bool
) -> tuple[Figure, list[Axes], float]:
    """Return a figure with the panels beside each other, or below each other if narrow.

    The legend lies above the panels, where no data is. Also returns what env steps are divided by.
    """
    rows = [row for panel in panels for row in panel.rows]
    agents = {row.name.agent for row in rows}
    by_bonus, count = any(panel.of_one_bonus for panel in panels), len(panels)
    columns = min(count, 1 if narrow else 3)
    if by_bonus:
        columns, height = (2 if narrow else 4), 0.6 * height
        named = [row for panel in panels if not panel.of_one_bonus for row in panel.rows]
        rows = [*(row for row in rows if not row.name.has_bonus), *named]
    width = 4.2 if narrow else 5.1 if count == 1 else 10.6
    handles = _handles(rows, look, alone=len(agents) == 1 and not by_bonus)
    widest = max((len(label) for label in handles), default=1)
    across = max(1, min(len(handles), int((width - 0.4) / (0.6 + 0.085 * widest))))
    legend_height = 0.05 + 0.22 * -(-len(handles) // across)
    layout = Layout(
        lines=-(-count // columns),
        columns=columns,
        width=width,
        panel_height=height if columns < 3 else 0.85 * height,
        top=legend_height + (0.36 if count > 1 else 0.14),
        left=0.82,
        gap_across=0.3,
        gap_down=0.62,
    )
    titles = [layout.wrap(panel.title) for panel in panels]
    further = 0.16 * max(title.count("\n") for title in titles)
    layout = replace(layout, top=layout.top + further, gap_down=layout.gap_down + further)
    figure, grid = layout.figure(share_x=False)
    divisor, x_label = step_unit(max(row.run.env_steps for panel in panels for row in panel.rows))
    layout.label(figure, x_label, y_label)
    if handles:
        figure.legend(
            handles=list(handles.values()), loc="upper left", ncols=across,
            bbox_to_anchor=(0.1 / width, 1 - 0.05 / layout.height),
            handlelength=1.8, columnspacing=1.6, borderaxespad=0.0, borderpad=0.2,
        )  # fmt: skip
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for i, (panel, axes) in enumerate(zip(panels, grid.flat, strict=False)):
        bare(axes)
        axes.set_xlim(0, max(row.run.env_steps for row in panel.rows) / divisor)
        axes.tick_params(labelleft=i % columns == 0)
        if count > 1:
            axes.set_title(titles[i], loc="left")
    return figure, list(grid.flat[:count]), divisor


def _handles(rows: Sequence[Row], look: dict[str, Look], alone: bool) -> dict[str, Line2D]:
    """Return a legend entry per bonus; it names the agent too where there is only one."""
    handles = {}
    for row in rows:
        its = look[row.name.variant]
        label = row.name.method if alone else row.name.variant
        handles[label] = Line2D(
            [], [], color=its.colour, linestyle=its.dash, linewidth=2.4, label=label
        )
    return handles


def _width(order: int, panel: Panel) -> float:
    """Return a line's width: what is drawn first is wider, and so shows below what covers it."""
    return 2.0 + 0.8 * min(len(panel.rows) - order - 1, 2)


def draw_learning_curves(
    rows: Sequence[Row], look: dict[str, Look], *, narrow: bool = False
) -> Figure:
    """Return the learning curves of one environment's rows, in the panels of `panels_of`.

    Bold: interquartile mean over seeds. Band: its 95 % bootstrap interval. Faint: every seed, those
    without a bonus only where they have one panel to be in.
    """
    panels, curves = panels_of(rows), [(row, learning_curve(row.run)) for row in rows]
    with styled():
        figure, grid, divisor = _drawn(panels, look, "episode return", 2.5, narrow)
        for panel, axes in zip(panels, grid, strict=True):
            for order, own in enumerate(panel.rows):
                curve = next(curve for row, curve in curves if row is own)
                if own.name.has_bonus or not panel.of_one_bonus:
                    _draw_seeds(axes, curve, divisor, look[own.name.variant], panel)
                _draw_curve(axes, curve, divisor, look[own.name.variant], order, panel)
        _return_limits(grid[0], rows)
    return figure


def _draw_seeds(axes: Axes, curve: Curve, divisor: float, look: Look, panel: Panel) -> None:
    x, faint = curve.env_steps / divisor, 5.6 / (curve.seeds.shape[1] * len(panel.rows))
    faint = max(0.1, min(0.4, faint))
    axes.plot(x, curve.seeds, color=look.colour, linewidth=0.7, alpha=faint, zorder=2)


def _draw_curve(
    axes: Axes, curve: Curve, divisor: float, look: Look, order: int, panel: Panel
) -> None:
    x, colour = curve.env_steps / divisor, look.colour
    if np.isfinite(curve.low).any():
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.20, linewidth=0, zorder=3)
    axes.plot(
        x, curve.middle, color=colour, linestyle=look.dash, linewidth=_width(order, panel),
        zorder=4 + order / 100, solid_capstyle="round",
    )  # fmt: skip


def _return_limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Leave room around flat curves, which would lie on the frame."""
    values = np.concatenate([row.run.column("return_mean") for row in rows])
    values = values[np.isfinite(values)]
    if not values.size:
        axes.set_ylim(0, 1)
        axes.text(
            0.5, 0.5, "no episode has ended", color=MUTED, ha="center", transform=axes.transAxes
        )
        return
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) if high > low else max(0.5, 0.1 * abs(high))
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def draw_first_success(
    rows: Sequence[Row], look: dict[str, Look], *, narrow: bool = False
) -> Figure:
    """Return the share of seeds with at least one successful episode, over training."""
    panels = panels_of(rows)
    with styled():
        figure, grid, divisor = _drawn(panels, look, "seeds that have succeeded", 2.1, narrow)
        for panel, axes in zip(panels, grid, strict=True):
            for order, row in enumerate(panel.rows):
                its, when = look[row.name.variant], np.sort(row.outcome.first_success)
                found = when[np.isfinite(when)]
                share = np.arange(1, found.size + 1) / when.size
                last = share[-1] if found.size else 0.0
                axes.step(
                    np.concatenate([[0.0], found, [row.run.env_steps]]) / divisor,
                    np.concatenate([[0.0], share, [last]]),
                    where="post", color=its.colour, linestyle=its.dash,
                    linewidth=_width(order, panel), zorder=3 + order / 100,
                )  # fmt: skip
        grid[0].set_ylim(-0.03, 1.03)
        grid[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return figure

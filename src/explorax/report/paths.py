"""Paths over the field of the reward, and the density of the actions at a few places."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter, zoom

from explorax.report.numbers import Row
from explorax.report.read import Map, Run
from explorax.report.style import GRID, INK, MUTED, OKABE_ITO, PAPER, styled

PATH = OKABE_ITO[0]
_FIELD, _DENSITY = "#7f8894", "#1f84cc"  # on light and on dark paper: between the two of the style
_MOST_FIELD = 0.5  # opacity, where the reward is highest
_CONTOURS = 7
_PIXELS, _LEVELS = 192, 60  # of a picture of a field or a density
_SMOOTHING = 1.0  # standard deviation, in cells of the density
_SHARPNESS = 0.6  # opacity of a density ∝ density^this: what is seldom shows too

_Extent = tuple[float, float, float, float]


@dataclass(frozen=True)
class Paths:
    """What one run's typical seed does, and at how many goals each seed's episodes ended."""

    seed: int
    paths: np.ndarray  # [E, T + 1, 2], NaN after the end
    density: np.ndarray  # [P, a₁, a₂], shares of the typical seed
    places: np.ndarray  # [P, 2]
    goal_places: np.ndarray  # [G, 2]
    field: np.ndarray  # [x, y], NaN where nobody can be
    goals: np.ndarray | None  # [S]

    @property
    def has_hills(self) -> bool:
        """Whether the reward differs between places."""
        return bool(np.nanmax(self.field) > np.nanmin(self.field))

    @property
    def has_walls(self) -> bool:
        return bool(np.isnan(self.field).any())

    @property
    def goals_told(self) -> str:
        """Return "4 4 3 of 4", or "" where nobody counts goals."""
        if self.goals is None:
            return ""
        return f"{' '.join(str(int(n)) for n in self.goals)} of {len(self.goal_places)}"


def paths_of(run: Run) -> Paths | None:
    """Return the paths of `run`, or None without any."""
    arrays = run.paths
    if not arrays:
        return None
    seed = int(arrays["typical_seed"])
    row = run.seeds.index(seed)
    return Paths(
        seed,
        arrays["paths"][row],
        arrays["density"][row],
        arrays["places"],
        arrays["goal_places"],
        arrays["field"],
        arrays.get("goals"),
    )


def letters(paths: Paths) -> str:
    """Return "A, B, C": what marks the places where actions are looked at."""
    return ", ".join(ascii_uppercase[: len(paths.places)])


def place_name(place: np.ndarray) -> str:
    """Return "(2.5, −1)"."""
    x, y = (f"{value:g}".replace("-", "\N{MINUS SIGN}") for value in place)
    return f"({x}, {y})"


@dataclass(frozen=True)
class _Page:
    """Where the panels of each line lie, in inches."""

    width: float
    plane: tuple[float, float]  # width and height of the panel of paths
    side: float  # of a panel of actions
    places: int
    narrow: bool

    left, gap, title, feet = 0.62, 0.26, 0.52, 0.5
    between = 0.62  # from the paths to the actions beside them

    @property
    def tall(self) -> float:
        """The height of what stands beside each other."""
        return self.plane[1] if self.narrow else max(self.plane[1], self.side)

    @property
    def line(self) -> float:
        """The height of a line, with its title and the labels below."""
        below = self.side + 0.3 + self.feet if self.narrow and self.places else 0.0
        return self.title + self.tall + self.feet + below

    def plane_at(self, top: float) -> tuple[float, float, float, float]:
        return (self.left, top - self.title - self.tall, *self.plane)

    def actions_at(self, top: float, number: int) -> tuple[float, float, float, float]:
        bottom = top - self.title - self.tall
        left = self.left + number * (self.side + self.gap)
        if self.narrow:
            return (left, bottom - self.feet - 0.3 - self.side, self.side, self.side)
        return (left + self.plane[0] + self.between, bottom, self.side, self.side)


def _page(view: Map, places: int, narrow: bool) -> _Page:
    ratio = (view.high[0] - view.low[0]) / (view.high[1] - view.low[1])
    height = 3.2 if narrow else 2.45
    width = min(height * ratio, 3.4 if narrow else 3.8)
    plane = (width, width / ratio)
    if narrow:
        side = (4.2 - 0.15 - _Page.left - _Page.gap * max(0, places - 1)) / max(2, places)
        return _Page(4.2, plane, side, places, True)
    room = 10.4 - _Page.left - width - _Page.between - _Page.gap * max(0, places - 1)
    side = min(1.95, max(1.2, plane[1] - 0.25), room / max(1, places))
    beside = _Page.between + places * (side + _Page.gap) if places else 0.0
    return _Page(_Page.left + width + beside + 0.15, plane, side, places, False)


def draw_paths(rows: Sequence[Row], *, narrow: bool = False) -> Figure:
    """Return for each row a line: the typical seed's paths over the field of the reward, and the
    densities of its actions at the places that are marked there."""
    shown = [(row, paths_of(row.run), row.run.view) for row in rows]
    known = [(row, paths, view) for row, paths, view in shown if paths and view]
    page = _page(known[0][2], max(len(paths.places) for _, paths, _ in known), narrow)
    height = len(known) * page.line + 0.05
    with styled():
        figure = Figure(figsize=(page.width, height))

        def panel(inches: tuple[float, float, float, float]) -> Axes:
            left, bottom, width, tall = inches
            where = (left / page.width, bottom / height, width / page.width, tall / height)
            return figure.add_axes(where)

        for number, (row, paths, view) in enumerate(known):
            top = height - number * page.line
            plane = panel(page.plane_at(top))
            _draw_plane(plane, paths, view)
            _name(plane, row, paths)
            for index, place in enumerate(paths.places):
                axes = panel(page.actions_at(top, index))
                _draw_actions(axes, paths.density[index], labelled=index == 0)
                title = f"{ascii_uppercase[index]}  {place_name(place)}"
                axes.set_title(title, fontsize="small", loc="left", fontweight="normal", pad=4)
    return figure


def _name(axes: Axes, row: Row, paths: Paths) -> None:
    told = f"seed {paths.seed}"
    if paths.goals is not None:
        its = int(paths.goals[row.run.seeds.index(paths.seed)])
        told += f": {its} of {len(paths.goal_places)} goals"
    for text, up, weight in ((row.name.method, 16, "bold"), (told, 4, "normal")):
        axes.annotate(
            text, (0, 1), (0, up), xycoords="axes fraction", textcoords="offset points",
            fontsize="small" if up == 4 else None, fontweight=weight, ha="left", va="bottom",
        )  # fmt: skip


def _veil(axes: Axes, opacity: np.ndarray, colour: str, extent: _Extent, order: int = 0) -> None:
    """Lay one colour over the axes, which lets the paper through, light or dark.

    Few levels of opacity and not more pixels than are seen: a report holds many of these pictures.
    """
    times = max(1, _PIXELS // len(opacity))
    fine = np.asarray(zoom(opacity.T, times, order=order, mode="nearest", grid_mode=True))
    pixels = np.empty((*fine.shape, 4))
    pixels[..., :3], pixels[..., 3] = to_rgb(colour), np.round(fine * _LEVELS) / _LEVELS
    axes.imshow(pixels, origin="lower", extent=extent, aspect="auto", interpolation="none")


def _draw_plane(axes: Axes, paths: Paths, view: Map) -> None:
    (left, bottom), (right, top) = view.low, view.high
    extent = (left, right, bottom, top)
    field = paths.field
    if paths.has_hills:
        low, high = np.nanmin(field), np.nanmax(field)
        share = np.nan_to_num((field - low) / (high - low))
        _veil(axes, _MOST_FIELD * share**2, _FIELD, extent, order=1)
        x, y = (
            a + (np.arange(n) + 0.5) / n * (b - a)
            for a, b, n in zip(view.low, view.high, field.shape, strict=True)
        )
        axes.contour(x, y, field.T, _CONTOURS, colors=MUTED, linewidths=0.5, linestyles="solid",
                     alpha=0.45, zorder=1)  # fmt: skip
    if paths.has_walls:
        _veil(axes, 0.85 * np.isnan(field), _FIELD, extent)
    for path in paths.paths:
        axes.plot(*path.T, color=PATH, linewidth=0.9, alpha=0.6, zorder=2, solid_joinstyle="round")
        end = path[np.isfinite(path).all(-1)][-1:]
        axes.plot(*end.T, "o", color=PATH, markersize=2.6, markeredgewidth=0, zorder=3)
    axes.plot(*paths.goal_places.T, "+", color=INK, markersize=7, markeredgewidth=1.1, zorder=4)
    start = np.nanmean(paths.paths[:, 0], axis=0)
    axes.plot(*start, "o", color=INK, fillstyle="none", markersize=8, markeredgewidth=1.2, zorder=4)
    for letter, place in zip(ascii_uppercase, paths.places, strict=False):
        _mark(axes, letter, place)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel(view.labels[0], labelpad=1)
    axes.set_ylabel(view.labels[1], labelpad=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4))


def _mark(axes: Axes, letter: str, place: np.ndarray) -> None:
    axes.plot(*place, "o", color=OKABE_ITO[1], markersize=4, markeredgewidth=0, zorder=5)
    axes.annotate(
        letter, (float(place[0]), float(place[1])), (3, 3), textcoords="offset points",
        color=OKABE_ITO[1], fontsize="small", fontweight="bold", zorder=6,
        path_effects=[withStroke(linewidth=2, foreground=PAPER)],
    )  # fmt: skip


def _draw_actions(axes: Axes, density: np.ndarray, *, labelled: bool) -> None:
    smooth = gaussian_filter(density, _SMOOTHING, mode="reflect")
    share = (smooth / smooth.max()) ** _SHARPNESS
    axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    axes.axvline(0, color=GRID, linewidth=0.8, zorder=0)
    _veil(axes, share, _DENSITY, (-1.0, 1.0, -1.0, 1.0), order=1)
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1], labels=None if labelled else [])
    axes.set_xlabel("first action", labelpad=1)
    if labelled:
        axes.set_ylabel("second action", labelpad=-3)

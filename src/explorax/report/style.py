"""How figures look, and how they become SVG that follows the reader's light or dark scheme."""

import io
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from explorax.report.names import NO_BONUS

# Each stands for a role. In SVG it turns into a variable that has a second value on dark paper.
INK, MUTED, GRID, VOID, PLAIN = "#1b1d22", "#5b616b", "#e3e5e9", "#eceef1", "#6c727c"
PAPER = "#ffffff"

# Okabe & Ito's colours, told apart by readers with any of the common colour deficiencies; without
# black (text) and with yellow left out (too faint on white).
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DARK = {
    INK: "#e8eaee",
    MUTED: "#a4aab5",
    GRID: "#2c3037",
    VOID: "#4b505a",
    PLAIN: "#a9afba",
    OKABE_ITO[0]: "#3d97dd",
    OKABE_ITO[1]: "#e8722a",
    OKABE_ITO[2]: "#1fb585",
    OKABE_ITO[5]: "#94d4fa",
    PAPER: "#15171b",
}
DASHES = ("solid", (0, (5, 1.6)), (0, (1.2, 1.4)))

FONT_SIZE = 9.5
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE + 0.5,
    "axes.labelsize": FONT_SIZE,
    "axes.titleweight": "bold",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE,
    "svg.fonttype": "path",
    "svg.hashsalt": "explorax",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Look:
    """The colour and dash of one bonus, the same in every figure of a report."""

    colour: str
    dash: Any = "solid"  # what matplotlib takes as a line style


def looks(variants: Sequence[str]) -> dict[str, Look]:
    """Return a look for each bonus: grey without one; dashes when the colours run out."""
    table = {}
    paying = [name for name in dict.fromkeys(variants) if not name.startswith(NO_BONUS)]
    plain = [name for name in dict.fromkeys(variants) if name.startswith(NO_BONUS)]
    for i, name in enumerate(plain):
        table[name] = Look(PLAIN, DASHES[i % len(DASHES)])
    for i, name in enumerate(paying):
        dash = DASHES[i // len(OKABE_ITO) % len(DASHES)]
        table[name] = Look(OKABE_ITO[i % len(OKABE_ITO)], dash)
    return table


def styled() -> AbstractContextManager[None]:
    """Return a context in which axes and text take the report's style."""
    return mpl.rc_context(_SETTINGS)


@dataclass(frozen=True)
class Layout:
    """A grid of equal panels, in inches. Margins are given and not searched for: matplotlib's own
    layout engines take two thirds of the time of a whole report."""

    lines: int
    columns: int
    width: float
    panel_height: float
    top: float = 0.3
    left: float = 0.78
    right: float = 0.15
    bottom: float = 0.58
    gap_across: float = 0.16
    gap_down: float = 0.34

    @property
    def height(self) -> float:
        return (
            self.top + self.bottom + self.lines * self.panel_height
            + (self.lines - 1) * self.gap_down
        )  # fmt: skip

    @property
    def panel_width(self) -> float:
        gaps = (self.columns - 1) * self.gap_across
        return (self.width - self.left - self.right - gaps) / self.columns

    def figure(self, *, share_x: bool = True) -> tuple[Figure, np.ndarray]:
        """Return (figure, axes [lines, columns]), which share their y."""
        figure = Figure(figsize=(self.width, self.height))
        axes = figure.subplots(
            self.lines,
            self.columns,
            sharex=share_x,
            sharey=True,
            squeeze=False,
            gridspec_kw={
                "left": self.left / self.width,
                "right": 1 - self.right / self.width,
                "bottom": self.bottom / self.height,
                "top": 1 - self.top / self.height,
                "wspace": self.gap_across / self.panel_width,
                "hspace": self.gap_down / self.panel_height,
            },
        )
        return figure, axes

    def label(self, figure: Figure, x_label: str, y_label: str) -> None:
        """Label the outer axes once for all panels."""
        across = 0.5 * (self.left + self.width - self.right) / self.width
        up = 0.5 * (self.bottom + self.height - self.top) / self.height
        figure.text(across, 0.1 / self.height, x_label, ha="center", va="bottom")
        figure.text(0.08 / self.width, up, y_label, ha="left", va="center", rotation=90)

    def colour_bar(self, figure: Figure, scale: LogNorm, colours: str, label: str) -> None:
        """Put a colour bar into the right margin, which must have about 0.9 inches."""
        frame = (
            1 - (self.right - 0.12) / self.width,
            self.bottom / self.height,
            0.13 / self.width,
            1 - (self.bottom + self.top) / self.height,
        )
        image = ScalarMappable(scale, mpl.colormaps[colours])
        bar = figure.colorbar(image, cax=figure.add_axes(frame))
        low, high = np.asarray([scale.vmin, scale.vmax], dtype=np.float64)
        decades = np.log10(high / low)
        few, some, many = (1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
        subs = few if decades > 2.5 else some if decades > 0.7 else many
        bar.ax.yaxis.set_major_locator(LogLocator(subs=subs))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.set_label(label)
        cast(Any, bar.outline).set_visible(False)  # a spine; the stubs say otherwise

    def wrap(self, text: str) -> str:
        """Return `text` in lines about as wide as a panel."""
        return textwrap.fill(
            text,
            max(12, int(self.panel_width / 0.078)),
            break_long_words=False,
            break_on_hyphens=False,
        )


def bare(axes: Axes) -> None:
    """Leave the axes their left and bottom line, and a faint grid for reading values off."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis="y", color=GRID, linewidth=0.8)


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text whose neutral colours follow `prefers-color-scheme`."""
    with mpl.rc_context(_SETTINGS):
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour in _DARK:
        text = text.replace(colour, css_colour(colour))
    end = text.index(">") + 1
    return f"{text[:end]}<style>{css_scheme('svg')}</style>{text[end:]}"


def css_colour(colour: str) -> str:
    """Return what to write for a colour of this module where `css_scheme` holds."""
    return f"var(--c{list(_DARK).index(colour)})" if colour in _DARK else colour


def css_scheme(selector: str) -> str:
    """Return the style sheet that gives the colours their values on light and on dark paper."""
    light = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK))
    dark = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK.values()))
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"


def to_png(figure: Figure, dots_per_inch: int = 200) -> bytes:
    """Return the figure on white paper as PNG."""
    with mpl.rc_context(_SETTINGS):
        FigureCanvasAgg(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return buffer.getvalue()

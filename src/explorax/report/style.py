"""How figures look, and how they become SVG that follows the reader's light or dark scheme."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from explorax.report.names import NO_BONUS

# Each stands for a role. In SVG it turns into a variable that has a second value on dark paper.
INK, MUTED, GRID, VOID, PLAIN = "#1b1d22", "#5b616b", "#e3e5e9", "#eceef1", "#6c727c"
_DARK = {INK: "#e8eaee", MUTED: "#a4aab5", GRID: "#34383f", VOID: "#4b505a", PLAIN: "#a9afba"}

# Okabe & Ito's colours, told apart by readers with any of the common colour deficiencies; without
# black (text) and with yellow left out (too faint on white).
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("solid", (0, (5, 1.6)), (0, (1.2, 1.4)))

FONT_SIZE = 9.5
_SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.titlesize": FONT_SIZE + 0.5,
    "axes.labelsize": FONT_SIZE,
    "axes.titleweight": "bold",
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
    dash: str | tuple[int, tuple[float, float]] = "solid"


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


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this many inches, laid out so that nothing overlaps."""
    with mpl.rc_context(_SETTINGS):
        return Figure(figsize=(width, height), layout="constrained")


def styled() -> mpl.RcParams:
    """Return a context in which axes and text take the report's style."""
    return mpl.rc_context(_SETTINGS)  # pyright: ignore[reportReturnType]


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
    light, dark = "", ""
    for number, (colour, on_dark) in enumerate(_DARK.items()):
        text = text.replace(colour, f"var(--c{number})")
        light += f"--c{number}:{colour};"
        dark += f"--c{number}:{on_dark};"
    scheme = f"svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
    end = text.index(">") + 1
    return f"{text[:end]}<style>{scheme}</style>{text[end:]}"


def to_png(figure: Figure, dots_per_inch: int = 200) -> bytes:
    """Return the figure on white paper as PNG."""
    with mpl.rc_context(_SETTINGS):
        FigureCanvasAgg(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return buffer.getvalue()

"""Pseudo-counts against true counts in a maze, and how fast the densities learn images.

python benchmarks/pseudo_counts.py FIGURE
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import common
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from explorax.bonuses import PseudoCount
from explorax.core.protocols import Box, Discrete, Spec
from explorax.densities import CTS, Empirical, Factored
from explorax.densities.density import Density
from explorax.envs import FourRooms
from explorax.envs.four_rooms import START
from explorax.envs.maze import successors
from explorax.report import style

WALLS = FourRooms().walls
FREE = np.flatnonzero(~WALLS)
EPISODE = 60
# After how many steps counts are compared: the colour and size of their marks, late ones below.
MARKS = {300: ("#a8dcff", 2.6), 3_000: (style.OKABE_ITO[0], 4.4), 30_000: (style.INK, 6.2)}
TIMES = tuple(MARKS)
WALL, AGENT = 0.5, 1.0
ZERO = 0.02  # where a count of 0 is drawn on logarithmic axes
DENSITIES: dict[str, Density] = {
    "Empirical": Empirical(),
    "Factored": Factored(),
    "CTS": CTS(),
}
TIMED: dict[str, Density] = {
    "CTS()": CTS(),
    "CTS(depth=3)": CTS(depth=3),
    "CTS(depth=2)": CTS(depth=2),
    "Factored()": Factored(),
}
FRAMES, SPEED_ROUNDS = 512, 15


def walk() -> np.ndarray:
    """Return the cells [TIMES[-1]] of uniformly random moves, from the corner again and again."""
    rng, after = np.random.default_rng(0), successors(WALLS)
    cells, cell = np.empty(TIMES[-1], int), START
    for t in range(TIMES[-1]):
        if t % EPISODE == 0:
            cell = START
        cells[t] = cell = after[cell, rng.integers(4)]
    return cells


def pictures(name: str) -> tuple[np.ndarray, Spec]:
    """Return (the observation of each cell, [169, 13, 13], its spec)."""
    here = np.eye(WALLS.size, dtype=np.float32).reshape(-1, *WALLS.shape)
    if name == "Empirical":
        return here, Spec(FourRooms().obs, Discrete(4), 1)
    maze = np.where(here > 0, AGENT, np.where(WALLS, WALL, 0.0)).astype(np.float32)
    return maze, Spec(Box(WALLS.shape, 0.0, 1.0), Discrete(4), 1)


def pseudo_counts(name: str, cells: np.ndarray) -> list[np.ndarray]:
    """Return the pseudo-counts of all free cells after so many steps of the walk, for TIMES."""
    density = DENSITIES[name]
    seen, spec = pictures(name)
    state = jax.jit(partial(density.init, spec=spec))(jax.random.key(0))
    observe, recode = jax.jit(density.observe), jax.jit(density.recode)
    out = []
    for begin, end in zip((0, *TIMES), TIMES, strict=False):
        _, state = observe(state, jnp.asarray(seen[cells[begin:end]]))
        found = recode(state, jnp.asarray(seen[FREE]))
        n = jnp.full(len(FREE), end + 1, jnp.int32)
        out.append(np.asarray(PseudoCount(density).counts(found, n), np.float64))
    return out


def scatter(axes: Axes, true: list[np.ndarray], pseudo: list[np.ndarray], top: float) -> None:
    """Draw one density's pseudo-counts over true counts; zeros are drawn on the axes."""
    axes.plot([ZERO, top], [ZERO, top], color=style.MUTED, linewidth=1.0, zorder=1)
    for layer, (steps, (shade, size)) in enumerate(MARKS.items()):
        counts, found = (np.maximum(each[layer], ZERO) for each in (true, pseudo))
        axes.plot(
            counts, found, "o", color=shade, markersize=size, markeredgewidth=0,
            label=f"after {steps:,} steps", clip_on=False, zorder=5 - layer,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([ZERO, 1, 10, 100, 1_000]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: "0" if v == ZERO else f"{v:,.0f}"))
    axes.set_xlim(ZERO, top)
    axes.set_ylim(ZERO, top)
    style.bare(axes)
    axes.grid(True, axis="x", color=style.GRID, linewidth=0.8)


def heat(axes: Axes, counts: np.ndarray, scale: LogNorm) -> None:
    """Draw counts of the free cells as a map; walls are grey."""
    table = np.full(WALLS.size, np.nan)
    table[FREE] = np.maximum(counts, ZERO)
    axes.set_facecolor(style.VOID)
    axes.imshow(table.reshape(WALLS.shape), norm=scale, cmap="viridis", interpolation="none")
    empty(axes)


def empty(axes: Axes) -> None:
    """Leave the axes nothing but their image."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw(figure: str, true: list[np.ndarray], pseudo: dict[str, list[np.ndarray]]) -> None:
    """Draw an observation over the map of true counts, and each density's scatter over its map."""
    top = 1.3 * float(true[-1].max())
    with style.styled():
        page = Figure(figsize=(10.2, 5.3))
        panels = page.subplots(
            2, 5, width_ratios=(1, 0.16, 1, 1, 1),
            gridspec_kw={"left": 0.01, "right": 0.905, "bottom": 0.02, "top": 0.885,
                         "wspace": 0.2, "hspace": 0.36},
        )  # fmt: skip
        for gap in panels[:, 1]:  # room for a label
            gap.set_visible(False)
        panels = np.delete(panels, 1, axis=1)
        panels[0, 0].imshow(pictures("CTS")[0][FREE[38]], cmap="gray", vmin=0, vmax=1)
        panels[0, 0].set_title("an observation")
        empty(panels[0, 0])
        scale = LogNorm(0.5, top, clip=True)
        heat(panels[1, 0], true[-1], scale)
        panels[1, 0].set_title("true count")
        for (upper, lower), name in zip(panels[:, 1:].T, pseudo, strict=True):
            scatter(upper, true, pseudo[name], top)
            upper.set_title(name)
            upper.set_xlabel("true count", labelpad=1)
            heat(lower, pseudo[name][-1], scale)
            lower.set_title(f"pseudo-count, {name}")
            upper.tick_params(labelleft=name == next(iter(pseudo)))  # they share their y
        panels[0, 1].set_ylabel("pseudo-count", labelpad=1)
        page.legend(*panels[0, 1].get_legend_handles_labels(), loc="upper right", ncols=3,
                    bbox_to_anchor=(0.915, 1.0))  # fmt: skip
        place = panels[1, 3].get_position()
        image = ScalarMappable(scale, colormaps["viridis"])
        bar = page.colorbar(image, cax=page.add_axes((0.92, place.y0, 0.012, place.height)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.set_label(f"after {TIMES[-1]:,} steps")
        cast(Any, bar.outline).set_visible(False)
    Path(figure).write_bytes(style.to_png(page))


def agreement(true: np.ndarray, pseudo: np.ndarray) -> list[str]:
    """Return the cells of the table: how far pseudo-counts are from true ones."""
    seen = true > 0
    ratios = np.quantile(pseudo[seen] / true[seen], [0.0, 0.05, 0.5, 0.95, 1.0])
    never = f"{pseudo[~seen].max():.2f}" if (~seen).any() else "none is left"
    return [*(f"{ratio:.2f}" for ratio in ratios), never]


def game(frames: int) -> np.ndarray:
    """Return frames uint8 [frames, 84, 84] in which a sprite crosses a fixed picture."""
    fixed = np.random.default_rng(0).integers(0, 256, (12, 12))
    out = np.tile(np.kron(fixed, np.ones((7, 7))).astype(np.uint8), (frames, 1, 1))
    for t, frame in enumerate(out):
        row, column = 3 * t % 76, 5 * t % 76
        frame[row : row + 8, column : column + 8] = 255
    return out


def streams() -> dict[str, np.ndarray]:
    """Return what the speed is measured on, uint8 [FRAMES, ...]."""
    noise = np.random.default_rng(1).integers(0, 256, (FRAMES, 42, 42)).astype(np.uint8)
    return {
        "a game, 42×42": game(FRAMES)[:, ::2, ::2],
        "a game, 84×84": game(FRAMES),
        "noise, 42×42": noise,
    }


class Learner:
    """A density on its way through one stream again and again."""

    def __init__(self, density: Density, frames: np.ndarray) -> None:
        spec = Spec(Box(frames.shape[1:], 0, 255, "uint8"), Discrete(2), 1)
        self.frames = jnp.asarray(frames)
        self.state = jax.jit(partial(density.init, spec=spec))(jax.random.key(0))
        observe = jax.jit(density.observe, donate_argnums=0)
        self.observe = observe.lower(self.state, self.frames).compile()
        self.mib = sum(leaf.nbytes for leaf in jax.tree.leaves(self.state)) / 2**20
        self.round()

    def round(self) -> float:
        """Return the frames per second of the processor's time."""
        begun = time.process_time()
        _, self.state = jax.block_until_ready(self.observe(self.state, self.frames))
        return len(self.frames) / (time.process_time() - begun)


def speeds() -> list[list[str]]:
    """Return lines of (density, MiB, frames per second on each stream), medians of rounds."""
    learners = {
        (text, name): Learner(density, frames)
        for text, density in TIMED.items()
        for name, frames in streams().items()
    }
    rates: dict[tuple[str, str], list[float]] = {each: [] for each in learners}
    for _ in range(SPEED_ROUNDS):  # in turn, so that a slow minute of the machine hits all of them
        for each, learner in learners.items():
            rates[each].append(learner.round())
    lines = []
    for text in TIMED:
        found = [f"{np.median(rates[text, name]):,.0f}" for name in streams()]
        lines.append([f"`{text}`", f"{learners[text, next(iter(streams()))].mib:,.1f}", *found])
    return lines


def main(figure: str) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, before XLA makes threads
    speed = speeds()
    cells = walk()
    true = [np.bincount(cells[:steps], minlength=WALLS.size)[FREE] for steps in TIMES]
    pseudo = {name: pseudo_counts(name, cells) for name in DENSITIES}
    draw(figure, true, pseudo)
    rows = [
        [name, f"{steps:,}", f"{(counts > 0).sum()}", *agreement(counts, found)]
        for name in DENSITIES
        for steps, counts, found in zip(TIMES, true, pseudo[name], strict=True)
    ]
    common.write(
        "pseudo_counts",
        "Pseudo-count and true count in four rooms",
        [
            "density",
            "steps",
            f"cells visited, of {len(FREE)}",
            *(f"N̂/N: {which}" for which in ("least", "5 %", "median", "95 %", "most")),
            "N̂ of cells never visited, most",
        ],
        rows,
        f"Argument: a file for the figure. Uniformly random moves in `four_rooms`, from the corner "
        f"again every {EPISODE} steps; each cell is a grey image of 13×13 pixels (walls "
        f"{WALL:g}, the walker {AGENT:g}), for `Empirical` a one-hot code. N̂/N over the cells "
        "that were visited.",
        second=(
            f"Frames per second, scored and learnt, on one core: medians of {SPEED_ROUNDS} rounds "
            f"of {FRAMES} frames as one program, in the processor's time. Other work shares the "
            "machine's caches: repetitions differed by 20 %. Grey, shrinking to 42×42 and 8 "
            "levels are part of it. The game is a sprite that crosses a fixed picture. Noise is "
            "the worst case: no two frames touch the same places of the tables, which lie in no "
            "cache.",
            ["density", "tables, MiB", *streams()],
            speed,
        ),
    )


if __name__ == "__main__":
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])

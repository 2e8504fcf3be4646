"""Regret on a bandit of ten arms, beside the least that is possible.

python benchmarks/bandits.py FIGURE
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from explorax import loop
from explorax.agents import TabularQ
from explorax.behaviors import UCB, UCB1, Boltzmann, EpsilonGreedy, Greedy
from explorax.bonuses import NoBonus
from explorax.envs import BernoulliBandit
from explorax.envs.task import Batched
from explorax.ops.bandits import lai_robbins, regret
from explorax.report import style

TASK = BernoulliBandit(10)
PULLS, SEEDS, PER_DECADE = 1_000_000, 200, 20
MEANS = partial(TabularQ, discount=0.0, step_size=None)  # values are the mean rewards so far
# as if every arm had paid in ten pulls of ten
OPTIMISM: dict[str, Any] = {"initial_value": 1.0, "initial_weight": 10.0}
AGENTS = {
    "ε-greedy, ε = 0.1": MEANS(EpsilonGreedy(0.1, 0.1)),
    "Boltzmann, τ = 0.02": MEANS(Boltzmann(0.02), **OPTIMISM),
    "optimistic greedy": MEANS(Greedy(), **OPTIMISM),
    "UCB1": MEANS(UCB1()),
    "UCB, scale ½": MEANS(UCB(0.5)),
}
COLOURS = dict(zip(AGENTS, [style.OKABE_ITO[i] for i in (1, 2, 3, 0, 5)], strict=True))


def checkpoints() -> np.ndarray:
    """Return numbers of pulls, evenly spread on a logarithmic axis and ending at PULLS."""
    decades = np.log10(PULLS)
    return np.unique(np.round(np.logspace(0, decades, int(decades * PER_DECADE) + 1)).astype(int))


def regrets(agent: TabularQ, points: np.ndarray) -> np.ndarray:
    """Return the regret [SEEDS, points] after so many pulls, all seeds in one program."""
    env, bonus = Batched(TASK, 1), NoBonus()
    slots = jnp.asarray(np.searchsorted(points, np.arange(1, PULLS + 1)), jnp.int32)

    def one(carry: tuple, slot: jax.Array) -> tuple[tuple, None]:
        training, curve = carry
        training, _ = loop.chunk_on_device(env, agent, bonus, 1, training)
        pulled = training.learner.agent.counts[0]
        # the last pull of a slot, the checkpoint itself, is what stays
        return (training, curve.at[slot].set(regret(pulled, TASK.probabilities))), None

    def run(key: jax.Array) -> jax.Array:
        start = (loop.start(env, agent, bonus, key), jnp.zeros(len(points)))
        return jax.lax.scan(one, start, slots)[0][1]

    keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
    return np.asarray(jax.jit(jax.vmap(run))(keys))


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean, half-width of the 95 % interval) over seeds, the first axis."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return values.mean(axis=0), 1.96 * error


def growth(values: np.ndarray, points: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N in the middle, growth per ln N [SEEDS, ...]) over `window` checkpoints."""
    begin, end = points[:-window], points[window:]
    grown = (values[:, window:] - values[:, :-window]) / np.log(end / begin)
    return np.sqrt(begin * end), grown


def band(axes: Axes, x: np.ndarray, values: np.ndarray, name: str) -> None:
    mean, half = interval(values)
    axes.plot(x, mean, color=COLOURS[name], linewidth=1.8, label=name)
    axes.fill_between(x, mean - half, mean + half, color=COLOURS[name], alpha=0.22, linewidth=0)


def draw(figure: str, points: np.ndarray, curves: dict[str, np.ndarray], bound: float) -> None:
    """Draw the mean regret and how fast it grows, each with its interval, beside the bound."""
    with style.styled():
        page = Figure(figsize=(8.6, 3.7))
        left, right = page.subplots(1, 2)
        page.subplots_adjust(left=0.085, right=0.985, bottom=0.135, top=0.83, wspace=0.24)
        for name, values in curves.items():
            band(left, points, values, name)
            band(right, *growth(values, points, PER_DECADE // 2), name)
        dashes = {"color": style.INK, "linestyle": (0, (4, 2)), "linewidth": 1.3}
        left.plot(points, bound * np.log(points), **dashes, label="Lai–Robbins, as N → ∞")
        right.axhline(bound, **dashes)
        left.set_ylim(0, 2500)
        left.set_ylabel("regret")
        right.set_yscale("log")
        right.set_ylim(8, 8000)
        right.set_ylabel("growth of the regret per ln N")
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        right.yaxis.set_minor_locator(NullLocator())
        for axes in (left, right):
            style.bare(axes)
            axes.set_xscale("log")
            axes.set_xlim(100, PULLS)
            axes.xaxis.set_major_locator(LogLocator(10))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("pulls N")
        page.legend(
            *left.get_legend_handles_labels(), loc="upper center", ncols=3, columnspacing=3.0
        )
    Path(figure).write_bytes(style.to_png(page))


def main(figure: str) -> None:
    points, bound = checkpoints(), lai_robbins(TASK.probabilities)
    curves = {name: regrets(agent, points) for name, agent in AGENTS.items()}
    draw(figure, points, curves, bound)
    rows = []
    for name, values in curves.items():
        cells = []
        for pulls in (1_000, 10_000, 100_000, PULLS):
            mean, half = interval(values[:, np.searchsorted(points, pulls)])
            cells.append(f"{mean:,.0f} ± {half:,.0f}")
        mean, half = interval(growth(values, points, PER_DECADE)[1][:, -1])
        rows.append([name, *cells, f"{mean:,.0f} ± {half:,.0f}"])
    rows.append(["Lai & Robbins, as N → ∞", *[""] * 4, f"{bound:.1f}"])
    common.write(
        "bandits",
        "Regret on bernoulli_bandit/10",
        ["agent", "N = 1,000", "10,000", "100,000", "1,000,000", "growth per ln N, last decade"],
        rows,
        f"Argument: a file for the figure. Ten arms, p* = {TASK.best} and nine of "
        f"{TASK.best - TASK.gap:g}. Mean pseudo-regret of {SEEDS} seeds ± its 95 % interval. "
        "Values are mean rewards; those of Boltzmann and of the optimistic greedy start as if "
        "every arm had paid in ten pulls of ten. A greedy that gave the best arm up pays 0.1 per "
        "pull for good: few seeds do, and make the mean. Takes about 45 minutes on one core.",
    )


if __name__ == "__main__":
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])

"""The figure and the table of the preset information_gain_ablation."""

from pathlib import Path

import common
import numpy as np
from matplotlib.figure import Figure

from explorax.report.numbers import outcome_of
from explorax.report.read import Run
from explorax.report.statistics import Interval, bootstrap_interval
from explorax.result import Comparison

# In the preset's order.
VARIANTS = (
    "no bonus",
    "the default",
    "mean not subtracted",
    "VIME's mean-field network",
    "of (s, a), expected",
    "of (s, a), realized",
    "conditioned on the rollout",
    "square root of the gain",
    "dynamics features, pool",
    "dynamics features, forgetting",
    "inverse features, pool",
    "all dimensions at once",
    "share 0.01",
    "share 0.03",
    "share 0.3",
    "share 1",
    "Surprise by the same rule",
    "RND by the same rule",
)
DEFAULT = VARIANTS.index("the default")


def over_training(run: Run) -> np.ndarray:
    """Return each seed's mean return over its whole training [S]; no episode's end counts as 0."""
    returns = run.metrics.assign(return_mean=run.metrics["return_mean"].fillna(0.0))
    return np.asarray(returns.groupby("seed")["return_mean"].mean())


def _grouped(done: Comparison) -> dict[str, list[Run]]:
    """Return the runs of each environment, in the preset's order."""
    envs = list(dict.fromkeys(run.env for run in done.runs))
    return {env: [run for run in done.runs if run.env == env] for env in envs}


def table(done: Comparison) -> str:
    """Return seeds solved and the mean return over training of each variant and world."""
    grouped = _grouped(done)
    lines = []
    for place, variant in enumerate(VARIANTS):
        told = []
        for runs in grouped.values():
            run = runs[place]
            solved = int(outcome_of(run).solved.sum())
            its = bootstrap_interval([over_training(run)])
            told.append(f"{solved}; {its.estimate:.2f} [{its.low:.2f}, {its.high:.2f}]")
        lines.append([variant, *told])
    text = common.table(["", *(f"`{env}`" for env in grouped)], lines)
    return (
        f"{text}\nSeeds solved; mean return over the whole training (interquartile mean with its "
        "95 % interval).\n"
    )


def draw(done: Comparison, path: Path) -> None:
    """Draw each variant's mean return over training, an interquartile mean with its interval."""
    grouped = _grouped(done)
    page = Figure(figsize=(10.5, 5.2), layout="constrained")
    panels = page.subplots(1, len(grouped), sharey=True, squeeze=False)[0]
    places = range(len(VARIANTS))
    for panel, (env, runs) in zip(panels, grouped.items(), strict=True):
        every: list[Interval] = [bootstrap_interval([over_training(run)]) for run in runs]
        ours = every[DEFAULT]
        panel.axvspan(ours.low, ours.high, color="#0072b2", alpha=0.12, linewidth=0)
        for place, its in zip(places, every, strict=True):
            color = {0: "#6c727c", DEFAULT: "#0072b2"}.get(place, "#d55e00")
            panel.plot([its.low, its.high], [place, place], color=color, linewidth=2)
            panel.plot(its.estimate, place, "o", color=color, markersize=6)
        title = env.replace("mountain_car_sparse", "sparse mountain car ")
        panel.set_title(title.replace("(", "\n("), fontsize=9)
        panel.set_xlim(-0.03, 1.03)
        panel.grid(axis="x", color="#e3e5e9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, VARIANTS)
    panels[0].invert_yaxis()
    label = "mean return over the whole training (interquartile mean of seeds, 95 %)"
    page.supxlabel(label, fontsize=9.5)
    page.savefig(path, dpi=160)

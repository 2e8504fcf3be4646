"""VIME's settings on the weak sparse mountain car: train what is missing, draw first successes.

python benchmarks/vime_settings.py ROOT FIGURE     (20 seeds of 250,000 steps for each setting)
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import explorax as ex

ENV = "mountain_car_sparse(power=0.0008)"
BONUSES = {
    "no bonus": "NoBonus()",
    "default: KL/5, η = 1e-4": "Scale(MedianRatio(VIME()), 1e-4)",
    "true ELBO": "Scale(MedianRatio(VIME(elbo_scale='dataset')), 1e-4)",
    "target s' − s": "Scale(MedianRatio(VIME(target='difference')), 1e-4)",
    "raw inputs": "Scale(MedianRatio(VIME(standardize=False)), 1e-4)",
    "η = 1e-3": "Scale(MedianRatio(VIME()), 1e-3)",
    "η = 1e-3, decayed": "Decay(Scale(MedianRatio(VIME()), 1e-3), 150000)",
}
COLOURS = ("#6b7280", "#0072b2", "#009e73", "#cc79a7", "#d55e00", "#e69f00", "#56b4e9")


def main(root: str, figure: str) -> None:
    done = ex.compare(
        env=ENV, agent="TRPO()", bonus=list(BONUSES.values()), env_steps=250_000, seeds=20,
        film=False, root=root,
    )  # fmt: skip
    page = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = page.subplots()
    for label, colour, result in zip(BONUSES, COLOURS, done.results, strict=True):
        last = result.frame.groupby("seed")["first_success_env_steps"].last().to_numpy()
        found = np.sort(last[last >= 0]) / 1000
        steps = np.concatenate([[0.0], found, [250.0]])
        share = np.concatenate([[0.0], np.arange(1, len(found) + 1), [len(found)]]) / len(last)
        axes.step(steps, 100 * share, where="post", color=colour, label=label, linewidth=2)
    axes.set_xlabel("environment steps (thousands)")
    axes.set_ylabel("seeds that have succeeded (%)")
    axes.set_ylim(0, 102)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    page.savefig(figure, dpi=160)


if __name__ == "__main__":
    Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1], sys.argv[2])

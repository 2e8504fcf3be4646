"""How much bonus is too much: the final return on dense mountain car over eta, per agent.

python benchmarks/eta_sweep.py ROOT FIGURE        (the preset eta_sweep: 10 seeds of 200,000 steps)
"""

import sys
from pathlib import Path

import common
import numpy as np
from matplotlib.figure import Figure

import explorax as ex
from explorax.presets.papers import ETAS

AGENTS = {"TRPO": "#0072b2", "REINFORCE": "#d55e00", "ERWR": "#009e73"}
# Medians from the authors' own plotting script for arXiv 1605.09674; TRPO's are of its first 100
# iterations. Their car has another engine and hill: only the shape is comparable, not the level.
AUTHORS = {
    "TRPO": (-178.4, -135.5, -162.7, -125.3, -120.2, -99.2, -91.6, -201.0, -268.7, -284.4),
    "REINFORCE": (-231.8, -212.1, -199.0, -153.3, -124.4, -109.4, -110.5, -129.9, -242.9, -267.2),
    "ERWR": (-413.2, -406.5, -393.1, -394.2, -219.4, -106.9, -95.6, -285.4, -304.7, -308.3),
}


def main(root: str, figure: str) -> None:
    done = ex.compare("eta_sweep", film=False, root=root)
    page = Figure(figsize=(9.6, 5.0), layout="constrained")
    panels = page.subplots(2, 3, sharex=True, sharey="row", height_ratios=(3, 2))
    table = []
    for column, (agent, colour) in enumerate(AGENTS.items()):
        lines = [result.row for result in done.results if result.run.agent.startswith(agent)]
        none, *swept = [line.final_return for line in lines]
        ours, theirs = panels[:, column]
        ours.axhspan(none.low, none.high, color="#9ca3af", alpha=0.25, linewidth=0)
        ours.axhline(none.estimate, color="#6b7280", linewidth=1.5, label="no bonus, 95 % interval")
        means = np.array([line.estimate for line in swept])
        errors = np.abs([[line.low, line.high] for line in swept] - means[:, None]).T
        ours.errorbar(ETAS, means, errors, color=colour, marker="o", capsize=3, label="VIME")
        ours.set_title(agent)
        theirs.plot(ETAS, AUTHORS[agent], color="#111827", linestyle=":", marker="o", markersize=4)
        theirs.set_xscale("log")
        theirs.set_xlabel("η (bonus of a usual step)")
        for axes in (ours, theirs):
            axes.spines[["top", "right"]].set_visible(False)
        if column == 0:
            ours.set_ylabel("return of the last tenth\n(200 steps at most)")
            theirs.set_ylabel("the authors' car\n(500 steps at most)")
            page.legend(*ours.get_legend_handles_labels(), loc="outside upper center", ncols=2,
                        frameon=False)  # fmt: skip
        for eta, line in zip(("none", *ETAS), lines, strict=True):
            final, reached = line.final_return, np.isfinite(line.outcome.first_success).sum()
            cells = [f"{final.estimate:.1f} [{final.low:.1f}, {final.high:.1f}]"]
            cells += [f"{reached} of {line.seeds}", f"{line.outcome.solved.sum()} of {line.seeds}"]
            table.append([agent, f"{eta}", *cells])
    page.savefig(figure, dpi=160)
    common.write(
        "eta_sweep",
        "Dense mountain car, −1 per step: the final return over η",
        ["agent", "η", "final return", "seeds that ever reached the goal", "seeds solved"],
        table,
        "Arguments: a folder for the runs and a file for the figure. Interquartile means over 10 "
        "seeds of 200,000 steps, 95 % bootstrap intervals.",
    )


if __name__ == "__main__":
    Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1], sys.argv[2])

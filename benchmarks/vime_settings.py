"""VIME's settings over several tasks: train what is missing, tabulate, draw first successes.

python benchmarks/vime_settings.py ROOT FIGURE        (20 seeds for each setting and task)

Maps of the bonus for two of the settings are drawn beside FIGURE.
"""

import sys
import tempfile
from pathlib import Path

import common
import numpy as np
from matplotlib.figure import Figure

import explorax as ex
from explorax.core.protocols import Agent, Bonus
from explorax.presets import Experiment
from explorax.report import save_figures
from explorax.result import Result

FIT = {
    "100 × 50": {"batch_size": 50, "updates_per_step": 0.02, "learning_rate": 1e-3},
    "20 × 50": {"batch_size": 50, "updates_per_step": 0.004, "learning_rate": 3e-3},
}
SETTINGS: dict[str, Bonus] = {  # each is scaled by the task's η
    "no bonus": ex.NoBonus(),
    "prediction error": ex.MedianRatio(ex.PredictionError()),
    "default": ex.MedianRatio(ex.VIME()),
    **{
        f"{name}, {fit}": ex.MedianRatio(ex.VIME(elbo_scale=scale, **fields))
        for name, scale in (("KL/5", 5.0), ("true ELBO", "dataset"))
        for fit, fields in FIT.items()
    },
    "default, clipped at 10": ex.Clip(ex.MedianRatio(ex.VIME()), 0.0, 10.0),
    "target s' − s": ex.MedianRatio(ex.VIME(target="difference")),
    "raw inputs": ex.MedianRatio(ex.VIME(standardize=False)),
}
SPARSE, TRPO = "mountain_car_sparse", ex.TRPO()
TASKS: dict[str, tuple[str, Agent, float, int]] = {  # environment, agent, η, env steps
    "weak mountain car": (f"{SPARSE}(power=0.0008)", TRPO, 1e-4, 250_000),
    "mountain car": (f"{SPARSE}(power=0.0015)", TRPO, 1e-4, 250_000),
    "swing-up": ("cart_pole_swing_up_sparse(angle='cos_sin')", TRPO, 1e-3, 500_000),
    "double pendulum": ("double_pendulum_sparse(torque=2.0)", TRPO, 1e-3, 500_000),
    "mountain car, DQN": ("mountain_car", ex.DQN(), 0.3, 60_000),
}
# More on the first task: how much is too much?
ETAS: dict[str, Bonus] = {
    "default, η = 1e-3": ex.Scale(SETTINGS["default"], 1e-3),
    "default, η = 1e-3 decayed": ex.Decay(ex.Scale(SETTINGS["default"], 1e-3), 150_000),
}
DRAWN = {
    "no bonus": "#6b7280",
    "default": "#0072b2",
    "true ELBO, 100 × 50": "#009e73",
    "target s' − s": "#cc79a7",
    "raw inputs": "#d55e00",
    "default, η = 1e-3": "#e69f00",
    "default, η = 1e-3 decayed": "#56b4e9",
}


MAPPED = {"vime-raw-inputs-bonus": "raw inputs", "vime-dataset-elbo-bonus": "true ELBO, 100 × 50"}


def scaled(bonus: Bonus, eta: float) -> Bonus:
    return bonus if isinstance(bonus, ex.NoBonus) else ex.Scale(bonus, eta)


def trained(task: str, bonuses: dict[str, Bonus], root: str) -> dict[str, Result]:
    env, agent, _, env_steps = TASKS[task]
    different = list(dict.fromkeys(bonuses.values()))  # one of the settings is the default
    done = ex.compare(
        [Experiment(env, agent, bonus, env_steps, seeds=20) for bonus in different],
        film=False, root=root,
    )  # fmt: skip
    results = dict(zip(different, done.results, strict=True))
    return {name: results[bonus] for name, bonus in bonuses.items()}


def last(result: Result, column: str) -> np.ndarray:
    """Return the last value of each seed."""
    return result.frame.groupby("seed")[column].last().to_numpy()


def cells(task: str, name: str, result: Result) -> list[str]:
    row = result.row
    steps, final = row.median_first_success, row.final_return
    model = [
        f"{np.nanmedian(last(result, column)):.2f}" if column in result.frame else ""
        for column in ("bonus/posterior_std", "bonus/prediction_mse")
    ]
    return [
        task,
        name,
        f"{row.outcome.solved.sum()} of {row.seeds}",
        f"{steps:,.0f}" if np.isfinite(steps) else "never",
        f"{final.estimate:.3g} [{final.low:.3g}, {final.high:.3g}]",
        *model,
    ]


def draw(done: dict[str, Result], figure: str) -> None:
    page = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = page.subplots()
    for label, colour in DRAWN.items():
        first = last(done[label], "first_success_env_steps")
        found = np.sort(first[first >= 0]) / 1000
        steps = np.concatenate([[0.0], found, [250.0]])
        share = np.concatenate([[0.0], np.arange(1, len(found) + 1), [len(found)]]) / len(first)
        axes.step(steps, 100 * share, where="post", color=colour, label=label, linewidth=2)
    axes.set_xlabel("environment steps (thousands)")
    axes.set_ylabel("seeds that have succeeded (%)")
    axes.set_ylim(0, 102)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    page.savefig(figure, dpi=160)


def draw_bonus(result: Result, figure: Path) -> None:
    """Draw where the bonus of a run is high over the state space."""
    with tempfile.TemporaryDirectory() as folder:
        (made,) = [path for path in save_figures(result.directory, folder) if "bonus" in path.stem]
        figure.write_bytes(made.read_bytes())


def main(root: str, figure: str) -> None:
    table = []
    for task, (_, _, eta, _) in TASKS.items():
        bonuses = {name: scaled(bonus, eta) for name, bonus in SETTINGS.items()}
        more = ETAS if task == "weak mountain car" else {}
        done = trained(task, {**bonuses, **more}, root)
        table += [cells(task, name, result) for name, result in done.items()]
        if more:
            draw(done, figure)
            for name, setting in MAPPED.items():
                draw_bonus(done[setting], Path(figure).with_name(f"{name}.png"))
    common.write(
        "vime_settings",
        "VIME's settings over several tasks, 20 seeds each",
        [
            "task",
            "setting",
            "seeds solved",
            "median first success",
            "final return",
            "σ at the end",
            "model's error at the end",
        ],
        table,
        "Arguments: a folder for the runs and a file for the figure. `100 × 50`: minibatches and "
        "their rows for 5,000 steps of TRPO, 100 with Adam at 1e-3 and 20 at 3e-3. The model's "
        "error is in squared deviations, of raw inputs in their units.",
    )


if __name__ == "__main__":
    Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1], sys.argv[2])

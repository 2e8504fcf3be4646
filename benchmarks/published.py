"""Train what docs/benchmarks.md publishes, write the tables and draw the figures.

python benchmarks/published.py ROOT [PRESET ...] [--stale=keep]

Runs already in ROOT are kept; with --stale=keep also those that another source trained.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import ablation
import common
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import bootstrap

import explorax as ex
from explorax.report import save_figures
from explorax.report.names import name_runs
from explorax.result import Comparison
from explorax.run.brief import brief
from explorax.run.evaluate import evaluate
from explorax.run.expressions import parse

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
ABLATION = "information_gain_ablation"
# What was tuned, was tuned on seeds 0 to 19.
FIRST_SEED = {
    "information_gain": 100,
    ABLATION: 100,
    "information_gain_sparse": 100,
    "no_harm": 100,
}
WEAK = "mountain_car_sparse(power=0.0008)"
BALANCING = "cart_pole_swing_up_sparse(angle='cos_sin')"
# Preset: environment, {end of the figure's file name as the report calls it: its name in the docs}.
DRAWN = {
    "sparse_tasks": {
        WEAK: {
            "returns": "weak-mountain-car-returns",
            "trpo-visits": "weak-mountain-car-visits",
            "trpo-vime-bonus": "weak-mountain-car-bonus",
        },
        BALANCING: {"returns": "swing-up-returns"},
    },
    "dqn_mountain_car": {
        "mountain_car": {
            "returns": "dqn-mountain-car-returns",
            "dqn-visits": "dqn-mountain-car-visits",
        }
    },
    "deep_sea": {
        "deep_sea/20": {"first-success": "deep-sea-success", "trpo-visits": "deep-sea-visits"}
    },
    "bonuses": {
        None: {  # all environments together
            "performance-profile": "bonuses-profile",
            "probability-of-improvement": "bonuses-improvement",
        },
        "four_rooms": {"trpo-visits": "bonuses-four-rooms-visits"},
    },
    "information_gain": {
        "mountain_car_sparse(power=0.0008)": {"trpo-visits": "information-gain-visits"},
    },
    ABLATION: {},
    "information_gain_sparse": {
        WEAK: {"trpo-vime-with-lastlayer-bonus": "exact-gain-weak-mountain-car"}
    },
    "no_harm": {
        "memory_maze/9": {"returns": "no-harm-memory"},
        "labyrinth/7": {"a2c-vime-with-lastlayer-bonus": "no-harm-labyrinth-bonus"},
    },
    "multi_goal": {
        "multi_goal": {"paths": "multi-goal-release"},
        "multi_goal(reward='paper')": {"paths": "multi-goal-paper"},
    },
    "pretraining": {"mover(world='maze')": {"returns": "pretraining-returns"}},
    "mpo_control": {},
    "mpo_discrete": {},
    "mpo_dm_control": {},
    "key_door": {"key_door/8": {"returns": "key-door-returns"}},
    "auxiliary_losses": {"memory_maze/9": {"returns": "auxiliary-losses"}},
    "hidden_state": {"memory_maze/9": {"returns": "hidden-state-returns"}},
    "labyrinth": {"labyrinth/9": {"returns": "labyrinth-returns"}},
    "doorkey": {
        "minigrid:DoorKey-8x8-v0": {"returns": "doorkey-returns", "ppo-visits": "doorkey-visits"}
    },
    "montezuma": {
        "ale:MontezumaRevenge-v5(clip_reward=True)": {
            "ppo-visits": "montezuma-ppo-visits",
            "dqn-visits": "montezuma-dqn-visits",
        }
    },
    "mujoco_sparse": {"mujoco:HalfCheetahSparse": {"returns": "mujoco-sparse-returns"}},
    "mpo_ablation": {"cart_pole_swing_up": {"returns": "mpo-ablation"}},
}

REFERENCE = {"auxiliary_losses": 1, "labyrinth": 0}  # preset: which run the others are measured by
FEW = {
    "hidden_state",
    "labyrinth",
    "doorkey",
    "montezuma",
    "mpo_dm_control",
    "mujoco_sparse",
    "no_harm",
}  # whose seeds are shown


def draw(done: Comparison, env: str | None, names: dict[str, str]) -> None:
    runs = [run.path for run in done.runs if env in (None, run.env)]
    with tempfile.TemporaryDirectory() as folder:
        made = save_figures(runs, folder)
        for end, name in names.items():
            (found,) = [path for path in made if path.stem.endswith(end)]
            target = FIGURES / f"{name}.png"
            target.write_bytes(found.read_bytes())
            if end in ("returns", "paths"):  # many faint lines: 256 colours do, at half the size
                with Image.open(found) as image:
                    few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
                few.save(target, optimize=True)


def draw_tail(done: Comparison) -> None:
    """Draw how the bonus outgrows its η where most transitions have become alike (medians)."""
    page = Figure(figsize=(8.4, 3.2), layout="constrained")
    axes = page.subplots(1, 2)
    agents = {run.agent for run in done.runs if "Clip" in run.bonus}  # the one with both
    for run in done.runs:
        if run.env == BALANCING and run.agent in agents and "VIME" in run.bonus:
            clipped = "Clip" in run.bonus
            sizes = run.metrics.groupby("env_steps")[["bonus_mean", "bonus_max"]].median()
            label = "clipped at 10 medians" if clipped else "as it is"
            for panel, (name, values) in zip(axes, sizes.items(), strict=True):
                colour = "#0072b2" if clipped else "#d55e00"
                panel.plot(values.index / 1e6, values, color=colour, linewidth=2, label=label)
                what = "mean" if str(name).endswith("mean") else "largest"
                panel.set_ylabel(f"{what} bonus of a step")
    for panel in axes:
        panel.axhline(1e-3, color="#6b7280", linestyle=":", label="η")
        panel.set_yscale("log")
        panel.set_xlabel("environment steps (millions)")
        panel.spines[["top", "right"]].set_visible(False)
    axes[1].axhline(1.0, color="#111827", linestyle="--", label="the reward of an upright step")
    page.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=4,
                frameon=False)  # fmt: skip
    page.savefig(FIGURES / "swing-up-bonus-size.png", dpi=160)


def pay_table(done: Comparison) -> str:
    """Return what a step is paid on average in the last tenth of training, seeds together."""
    envs = list(dict.fromkeys(run.env for run in done.runs))
    paid: dict[str, dict[str, str]] = {}
    for run in done.runs:
        metrics = run.metrics
        late = metrics[metrics["env_steps"] > 0.9 * metrics["env_steps"].max()]
        if run.bonus != "NoBonus()":
            mean = late["bonus_mean"].mean()
            paid.setdefault(run.bonus, {})[run.env] = f"{mean:.1e}"
    return common.table(
        ["bonus", *envs],
        [
            [f"`{brief(parse(bonus))}`", *(own.get(env, "—") for env in envs)]
            for bonus, own in paid.items()
        ],
    )


def goals_table(done: Comparison) -> str:
    """Return how many of the four goals the episodes of each seed's final policy end at."""
    lines = []
    for run in done.runs:
        for greedy, episodes in ((False, 10), (False, 40), (True, 40)):
            found = evaluate(run.path, episodes=episodes, greedy=greedy)
            goals = [each.goals_reached or 0 for each in found]
            lines.append(
                [f"`{run.env}`", f"`{brief(parse(run.agent, 'agent'))}`",
                 "greedy" if greedy else "sampled", str(episodes), " ".join(map(str, goals)),
                 f"{np.mean(goals):.1f}"]
            )  # fmt: skip
    columns = ["environment", "agent", "actions", "episodes", "goals of each seed", "mean"]
    return common.table(columns, lines)


def area_table(done: Comparison) -> str:
    """Return the areas under the curves in the maze, and their difference seed by seed."""
    areas = {}
    for run in done.runs:
        if "maze" in run.env:
            means = run.metrics.groupby("seed")["return_mean"].mean()  # log points are even
            areas[run.config.get("init_from") is not None] = np.asarray(means)
    more = areas[True] - areas[False]
    interval = bootstrap((more,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    told = [("pretrained", areas[True]), ("from scratch", areas[False]), ("difference", more)]
    text = common.table(
        ["mean return over the whole training", "mean", "of each seed"],
        [
            [name, f"{each.mean():.1f}", " ".join(f"{value:.1f}" for value in each)]
            for name, each in told
        ],
    )
    return (
        f"{text}\nThe difference's mean has a 95 % interval (bootstrap over seeds, BCa) of "
        f"{interval.low:.1f} to {interval.high:.1f}.\n"
    )


def steps_table(done: Comparison, reference: int) -> str:
    """Return the env steps after which each agent returns what one of them does in the end.

    Of the mean curves over seeds, the running mean of twenty points is taken.
    """
    steps, smooth = [], []
    for run in done.runs:
        means: Any = run.metrics.groupby("env_steps")["return_mean"].mean()
        steps.append(np.asarray(means.index, np.float64))
        smooth.append(np.asarray(means.rolling(20, min_periods=1).mean(), np.float64))
    level = smooth[reference][-1]
    needed = [
        float(np.min(at[curve >= level], initial=np.inf))
        for at, curve in zip(steps, smooth, strict=True)
    ]
    lines = []
    for name, after in zip(name_runs(done.runs), needed, strict=True):
        ratio = needed[reference] / after
        told = [f"{after:,.0f}", f"{ratio:.2f}"] if np.isfinite(after) else ["not reached", "—"]
        lines.append([name.method, *told])
    return common.table(["", f"env steps to a return of {level:.1f}", "ratio"], lines)


def seeds_table(done: Comparison) -> str:
    """Return each seed's late return, its first success, and what a step was paid late."""
    lines = []
    for run, name in zip(done.runs, name_runs(done.runs), strict=True):
        metrics: Any = run.metrics
        late = metrics[metrics["env_steps"] > 0.9 * metrics["env_steps"].max()].groupby("seed")
        first = metrics.groupby("seed")["first_success_env_steps"].max()
        succeeded = ["—"]  # not every environment says what success is
        if (run.config["spec"] or {}).get("success_return") is not None:
            succeeded = [f"{each:,.0f}" if each > 0 else "never" for each in first]
        paid = f"{late['bonus_mean'].mean().mean():.1e}" if name.has_bonus else "—"
        if "bonus/return_spread" in metrics:  # `ReturnShare` subtracts the mean
            paid = "centered"
        returns = ", ".join(f"{each:.3g}" for each in late["return_mean"].mean())
        lines.append([f"`{name.env}`", name.method, returns, ", ".join(succeeded), paid])
    columns = ["environment", "", "mean return", "first success (env steps)", "paid per step"]
    return common.table(columns, lines)


def main(root: str, presets: list[str]) -> None:
    stale = "keep" if "--stale=keep" in presets else "stop"  # runs that another source trained
    for preset in [name for name in presets if not name.startswith("-")] or DRAWN:
        seed = FIRST_SEED.get(preset, 0)
        done = ex.compare(preset, film=False, root=Path(root) / preset, seed=seed, stale=stale)
        first = f" --seed {seed}" if seed else ""
        text = (
            f"# The preset {preset}\n\nCommand: `python benchmarks/published.py ROOT {preset}`, "
            f"which is `explorax compare --preset {preset} --no-film{first}` and its figures. "
            f"Machine: {common.machine()}.\n\n"
        )
        if preset == ABLATION:
            text += ablation.table(done)
            ablation.draw(done, FIGURES / "information-gain-ablation.png")
        else:
            text += done.table()
        if preset == "bonuses":
            text += "\nMean bonus of a step in the last tenth of training:\n\n" + pay_table(done)
        if preset == "multi_goal":
            text += "\nGoals, of four, that episodes of the final policies end at:\n\n"
            text += goals_table(done)
        if preset == "pretraining":
            text += "\n" + area_table(done)
        if preset in REFERENCE:
            text += "\nEnv steps to the final return of the agent with a memory alone, and its own "
            text += f"divided by them:\n\n{steps_table(done, REFERENCE[preset])}"
        if preset in FEW:
            text += f"\nEach seed, in the last tenth of training:\n\n{seeds_table(done)}"
        (common.RESULTS / f"{preset}.md").write_text(text)
        print(text)
        for env, names in DRAWN[preset].items():
            draw(done, env, names)
        if preset == "sparse_tasks":
            draw_tail(done)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

"""Run directories of invented numbers, for the tests of the report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageDraw

MOUNTAIN_CAR_VIEW = {
    "class": "View",
    "labels": ["position (m)", "velocity (m/s)"],
    "low": [-1.2, -0.07],
    "high": [0.6, 0.07],
    "bins": [24, 20],
    "dims": [0, 1],
    "periodic": [False, False],
    "grid": None,
}
DEEP_SEA_VIEW = {
    "class": "View",
    "labels": ["column", "row"],
    "low": [0.0, 0.0],
    "high": [10.0, 10.0],
    "bins": [10, 10],
    "dims": [0, 1],
    "periodic": [False, False],
    "grid": [10, 10],
}
PLANE_VIEW = {
    **MOUNTAIN_CAR_VIEW,
    "labels": ["x", "y"],
    "low": [-7.0, -7.0],
    "high": [7.0, 7.0],
}
VIME = (
    "Scale(bonus=MedianRatio(bonus=VIME(hidden=(32, 32), prior_std=0.5, likelihood_std=0.5, "
    "pool_size=100000, learning_rate=0.001, target='delta'), window=10), factor=0.0001)"
)


@dataclass(frozen=True)
class Plan:
    """What to invent."""

    env: str = "mountain_car_sparse(power=0.0008)"
    agent: str = "TRPO(hidden=(32,), rollout_length=500)"
    bonus: str = "NoBonus()"
    seeds: int = 10
    env_steps: int = 250_000
    log_points: int = 100
    solves: float = 1.0  # share of the seeds
    when: float = 0.2  # share of training at which they do, about
    blank: float = 0.0  # share of the log points at which no episode ended
    spread: float = 0.3  # of the visited states
    view: dict[str, Any] | None = None
    gain: bool = True
    films: int = 1
    paths: bool = False
    done: bool = True
    seed: int = 0
    init_from: dict[str, Any] | None = None


def make_run(root: Path, plan: Plan, name: str = "0a1b2c3d") -> Path:
    """Return the directory of a new run under `root`."""
    rng = np.random.default_rng(plan.seed)
    path = (
        root / plan.env.split("(")[0] / f"{plan.agent}+{plan.bonus}".replace("/", "-")[:60] / name
    )
    path.mkdir(parents=True)
    config = {
        "format": 1,
        "env": plan.env,
        "agent": plan.agent,
        "bonus": plan.bonus,
        "env_steps": plan.env_steps,
        "seeds": plan.seeds,
        "seed": 0,
        "num_envs": 10,
        "log_points": plan.log_points,
        "film": True,
        "resolved": {},
        "spec": {"success_return": 1.0, "max_episode_steps": 500},
        "view": plan.view,
    }
    if plan.init_from is not None:
        config["init_from"] = plan.init_from
    (path / "config.json").write_text(json.dumps(config))
    meta = {
        "status": "finished" if plan.done else "interrupted",
        "explorax": "0.1.0",
        "python": "3.11.9",
        "jax": "0.10.2",
        "git_commit": "0123abc",
        "device": "cpu: cpu",
        "cpu_count": 2,
        "wall_seconds": 78.4,
        "compile_seconds": 11.2,
        "env_steps_per_second": 143210.0,
        "diverged": {},
        "notes": [],
    }
    (path / "meta.json").write_text(json.dumps(meta))
    _write_metrics(path, plan, rng)
    if plan.view is not None:
        _write_maps(path, plan, rng)
    if plan.paths:
        _write_paths(path, plan, rng)
    if plan.films:
        _write_films(path, plan)
    if plan.done:
        (path / "DONE").write_text("")
    return path


def _write_metrics(path: Path, plan: Plan, rng: np.random.Generator) -> None:
    steps = np.linspace(0, plan.env_steps, plan.log_points + 1)[1:].round().astype(int)
    steps = steps if plan.done else steps[: int(0.6 * len(steps))]
    lucky = rng.permutation(plan.seeds) < round(plan.solves * plan.seeds)
    start = plan.when * plan.env_steps * rng.lognormal(0, 0.5, plan.seeds)
    lines = ["seed,env_steps,episodes,return_mean,length_mean,success_rate,first_success_env_steps,"
             "reward_mean,bonus_mean,bonus_max,agent/kl"]  # fmt: skip
    for t in steps:
        for s in range(plan.seeds):
            ahead = (t - start[s]) / (0.08 * plan.env_steps)
            rate = float(lucky[s]) / (1 + np.exp(-ahead + 2)) if ahead > 0 else 0.0
            episodes = 0 if rng.random() < plan.blank else 5
            wins = rng.binomial(5, rate)
            first = int(start[s]) if lucky[s] and ahead > 0 else -1
            told = f"{wins / 5},{500 - 300 * rate:.1f},{wins / 5}" if episodes else ",,"
            lines.append(f"{s},{t},{episodes},{told},{first},{rate / 500:.6f},0.001,0.02,0.01")
    (path / "metrics.csv").write_text("\n".join(lines) + "\n")


def _write_maps(path: Path, plan: Plan, rng: np.random.Generator) -> None:
    assert plan.view is not None
    bins = tuple(plan.view["bins"])
    visits = np.zeros((4, plan.seeds, *bins), np.float32)
    for quarter in range(4):
        for s in range(plan.seeds):
            points = rng.normal(0, plan.spread * (1 + 0.4 * quarter), (4000, 2)) - [[0.1, 0.0]]
            histogram = np.histogram2d(*points.T, bins=bins, range=[[-1, 1], [-1, 1]])[0]
            visits[quarter, s] = histogram
    total = visits.cumsum(axis=0).mean(axis=1, keepdims=True)
    gain = (0.3 / np.sqrt(1 + total)).repeat(plan.seeds, axis=1).astype(np.float32)
    pays = plan.bonus != "NoBonus()"
    arrays = {"visits": visits, "paid": visits * gain * pays}
    arrays["phase_env_steps"] = (np.arange(1, 5) * plan.env_steps // 4).astype(np.int64)
    if plan.gain:
        arrays["gain"] = gain * pays
    np.savez_compressed(path / "maps.npz", **cast(Any, arrays))


def _write_paths(path: Path, plan: Plan, rng: np.random.Generator) -> None:
    paths = rng.normal(0, 0.4, (plan.seeds, 40, 21, 2)).cumsum(axis=2)
    paths[:, :, 15:] = np.nan
    density = rng.gamma(0.1, 1.0, (plan.seeds, 2, 32, 32))
    x, y = np.meshgrid(np.linspace(-7, 7, 64), np.linspace(-7, 7, 64), indexing="ij")
    np.savez_compressed(
        path / "paths.npz",
        paths=paths.astype(np.float32),
        density=density / density.sum((2, 3), keepdims=True),
        places=[(0, 0), (-2.5, 1)],
        goal_places=[(5, 0), (-5, 0), (0, 5)],
        field=-np.minimum((x - 5) ** 2, (x + 5) ** 2) - y**2,
        goals=rng.integers(0, 4, plan.seeds),
        typical_seed=1,
    )


def _write_films(path: Path, plan: Plan) -> None:
    (path / "films").mkdir()
    entries = []
    for s in range(plan.films):
        frames = []
        for t in range(24):
            image = Image.new("RGB", (240, 160), "white")
            x = 20 + 8 * t
            ImageDraw.Draw(image).ellipse((x, 100 - 2 * t, x + 18, 118 - 2 * t), fill="#0072b2")
            frames.append(image)
        file = f"seed_{s}.gif"
        frames[0].save(
            path / "films" / file, save_all=True, append_images=frames[1:], duration=50, loop=0
        )
        entries.append({"file": file, "seed": s, "return": 1.0, "steps": 180 + s})
    (path / "films" / "films.json").write_text(json.dumps(entries))

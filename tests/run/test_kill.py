"""A run that is killed again and again, at any point of its life, ends as one that never was."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import CASES, COMPILED, TEARS, Case, Killed, Point, counting, killed_at, train_apart

from explorax.run import checkpoint
from explorax.run.train import train

MOST_KILLS = 5  # of one run
# How many kills of each case the slow test makes, each at another point: 46 in all.
KILLS = {"toys": 16, "paths": 10, "host": 10, "samples": 10}
# The first kill of each case; what is left of it must not be met again and again.
HALF_A_PROGRAM = Point(COMPILED, 2, "within")
SAVE = "explorax.run.checkpoint:save"


def drawn(rng: np.random.Generator, called: dict[str, int]) -> Point:
    """Return a point of a run's remaining life: with each kill fewer calls are left."""
    function = str(rng.choice(sorted(name for name, count in called.items() if count)))
    whens = ["before", "after"] + ["within"] * (function in TEARS)
    nth = int(rng.integers(1, math.ceil(called[function] / 3), endpoint=True))
    return Point(function, nth, str(rng.choice(whens)))


def test_killed_twice_and_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    """With SIGKILL, after its first checkpoint and, resumed, after the next but one."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert train_apart("toys", tmp_path / "whole") is not None
    for kill in range(2):
        assert train_apart("toys", tmp_path / "killed", Point(SAVE, kill + 1, "after")) is None
    assert train_apart("toys", tmp_path / "killed") is not None
    assert_same(CASES["toys"], tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(("name", "draw"), [("toys", 7), ("samples", 3)])
def test_up_to_five_times_as_if_killed_and_resumed_it_is_the_same_run(
    tmp_path: Path, name: str, draw: int
) -> None:
    case, rng = CASES[name], np.random.default_rng(draw)
    options: Any = {"env": case.environment(), "checkpoint_seconds": 0.0, "progress": False}
    functions = [each for each in case.functions if not each.startswith("jax")]
    with counting(functions) as called:
        train(case.config(), tmp_path / "whole", **options)
    kills = 0
    while kills < MOST_KILLS:
        point = drawn(rng, called)
        try:
            with killed_at(point):
                train(case.config(), tmp_path / "killed", resume=True, **options)
            break
        except Killed:
            kills += 1
    assert kills > 1  # what was resumed once was resumed again
    train(case.config(), tmp_path / "killed", resume=True, **options)
    assert_same(case, tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KILLS))
def test_killed_at_any_point_and_resumed_it_is_the_same_run(tmp_path: Path, name: str) -> None:
    case, whole, kills, run = CASES[name], tmp_path / "whole", 0, 0
    whole.mkdir()
    called = train_apart(name, whole)
    assert called is not None
    while kills < KILLS[name]:
        rng, root = np.random.default_rng((run, sum(map(ord, name)))), tmp_path / f"run {run}"
        root.mkdir()
        programs = (whole if run else root) / "cache"  # the first has to compile
        points: list[Point] = []
        for _ in range(MOST_KILLS):
            points.append(drawn(rng, called) if run or points else HALF_A_PROGRAM)
            if train_apart(name, root, points[-1], programs) is not None:
                break
            kills += 1
        assert train_apart(name, root, None, programs) is not None
        print(f"run {run}, killed at {points}")  # shown where what follows fails
        assert_same(case, root, whole)
        run += 1


def assert_same(case: Case, root: Path, whole: Path) -> None:
    """To the byte where everything can be restored; else nothing may be lost."""
    path, other = (case.config().directory(each) for each in (root, whole))
    assert names(path) == names(other)
    assert json.loads((path / "meta.json").read_text())["status"] == "finished"
    if not case.restores_everything:
        assert_nothing_lost(path, other)
        return
    for file in ("config.json", "metrics.csv", "maps.npz", "films/films.json", "paths.npz"):
        if (other / file).exists():
            assert (path / file).read_bytes() == (other / file).read_bytes(), file
    mine, others = final_arrays(case, path), final_arrays(case, other)
    assert mine.keys() == others.keys()
    for name, array in others.items():
        assert mine[name].dtype == array.dtype and mine[name].shape == array.shape, name
        assert mine[name].tobytes() == array.tobytes(), name


def names(path: Path) -> set[str]:
    """Return what lies in a run directory, but for the arrays' files, which orbax names, and
    whichever seed was filmed: other episodes may make another one the typical one."""
    there = [each.relative_to(path) for each in path.rglob("*") if "state" not in each.parts]
    films = [each.name for each in there if each.suffix == ".gif"]
    assert len(films) == 1
    return {each.as_posix() for each in there} - {f"films/{films[0]}"}


def final_arrays(case: Case, path: Path) -> dict[str, np.ndarray]:
    config = case.config()
    header = checkpoint.latest(path / "checkpoints", config.digest, config.seed)
    assert header is not None and header.chunk == len(config.chunks)
    leaves = [str(leaf[0]) for leaf in header.leaves]
    return dict(zip(leaves, checkpoint.read_arrays(header, leaves), strict=True))


def assert_nothing_lost(path: Path, other: Path) -> None:
    """Rows in order and once, and every step in a map of its phase."""
    rows, wanted = table(path), table(other)
    assert [(row["seed"], row["env_steps"]) for row in rows] == [
        (row["seed"], row["env_steps"]) for row in wanted
    ]
    assert rows[0].keys() == wanted[0].keys()
    assert all(row["bonus_mean"] and row["agent/norm"] for row in rows)
    mine, others = np.load(path / "maps.npz"), np.load(other / "maps.npz")
    assert mine.files == others.files
    for name in others.files:
        assert (mine[name].dtype, mine[name].shape) == (others[name].dtype, others[name].shape)
    for name in ("phase_env_steps", "seen"):
        if name in others:
            np.testing.assert_array_equal(mine[name], others[name])
    if "visits" in others:
        np.testing.assert_array_equal(mine["visits"].sum((2, 3)), others["visits"].sum((2, 3)))
    else:
        filled = others["points"].any(-1)
        np.testing.assert_array_equal(mine["points"].any(-1), filled)
        assert filled.any()


def table(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))

"""Run directories, read. Nothing here needs JAX, and nothing here writes."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explorax.core.errors import RunDirectoryError
from explorax.files import user_path

NEVER = -1  # first_success_env_steps of a seed that has not succeeded
REQUIRED_SETTINGS = ("env", "agent", "bonus")
REQUIRED_COLUMNS = ("seed", "env_steps", "episodes", "return_mean")
OPTIONAL_COLUMNS = ("length_mean", "success_rate", "first_success_env_steps")
_PATHS = {  # the arrays that paths.npz must have, and their axes
    "paths": ("seed", "episode", "step", "x or y"),
    "density": ("seed", "place", "first action", "second action"),
    "places": ("place", "x or y"),
    "goal_places": ("goal", "x or y"),
    "field": ("x", "y"),
    "typical_seed": (),
}


@dataclass(frozen=True)
class Map:
    """Where a run's two-dimensional maps lie. The first axis of a map is x."""

    labels: tuple[str, str]
    low: tuple[float, float]
    high: tuple[float, float]
    is_grid: bool  # cells are the squares of a grid world, whose rows are counted from the top
    rooms: tuple[int, int] | None = None  # along x and y, where the map is made of rooms


@dataclass(frozen=True)
class Film:
    """One episode of a final policy."""

    file: Path
    seed: int | None
    episode_return: float | None
    steps: int | None


@dataclass(frozen=True)
class Run:
    """One run directory. Its tables and maps are read when they are first asked for."""

    path: Path
    config: dict[str, Any]
    meta: dict[str, Any]
    finished: bool

    @property
    def env(self) -> str:
        return _printable(self.config["env"])

    @property
    def agent(self) -> str:
        return _printable(self.config["agent"])

    @property
    def bonus(self) -> str:
        return _printable(self.config["bonus"])

    @property
    def origin(self) -> dict[str, Any]:
        """The checkpoint that the agents started from; empty where they started from scratch."""
        return self.config.get("init_from") or {}

    @property
    def success_return(self) -> float | None:
        return (self.config.get("spec") or {}).get("success_return")

    @property
    def view(self) -> Map | None:
        view = self.config.get("view")
        if not view:
            return None
        x, y = view["labels"]
        low, high = view["low"], view["high"]
        rooms = view.get("rooms")
        return Map(
            (x, y),
            (low[0], low[1]),
            (high[0], high[1]),
            view.get("grid") is not None,
            None if not rooms else (rooms[0], rooms[1]),
        )

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row per log point and seed, in the order of (seed, env_steps)."""
        return _read_metrics(self.path / "metrics.csv", self.finished)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(int(seed) for seed in np.unique(self.column("seed")))

    def column(self, name: str) -> np.ndarray:
        """Return one column of the metrics as float64."""
        return np.asarray(self.metrics[name], dtype=np.float64)

    @property
    def env_steps(self) -> int:
        """The env steps that the furthest seed has done."""
        return int(self.column("env_steps").max())

    @property
    def planned_env_steps(self) -> int:
        return int(self.config.get("env_steps", self.env_steps))

    def over_time(self, column: str) -> pd.DataFrame:
        """Return `column` by env steps (rows) and seed (columns); where it says nothing, the last
        value holds.

        Blank before a seed's first value, and after the last log point that a seed has reached.
        """
        table = self.metrics.pivot(index="env_steps", columns="seed", values=column).ffill()
        steps, seed = self.column("env_steps"), self.column("seed")
        reached = np.array([steps[seed == number].max() for number in self.seeds])
        return table.where(np.asarray(table.index)[:, None] <= reached[None, :])

    @cached_property
    def maps(self) -> dict[str, np.ndarray]:
        """The arrays of maps.npz; empty when there is none, or no view to draw them in."""
        path = self.path / "maps.npz"
        if self.view is None or not path.exists():
            return {}
        maps = _read_arrays(path, "`explorax train --resume`")
        for name in ("visits", "paid", "gain"):
            if name in maps and maps[name].ndim != 4:
                raise RunDirectoryError(
                    f"{path}: {name} has shape {maps[name].shape}; "
                    "expected [quarter of training, seed, x, y]."
                )
        return maps

    @cached_property
    def states(self) -> dict[str, np.ndarray]:
        """The sampled states of maps.npz; empty where there are none, and where there is a view."""
        path = self.path / "maps.npz"
        if self.view is not None or not path.exists():
            return {}
        arrays = _read_arrays(path, "`explorax train --resume`")
        known = arrays.keys() >= {"points", "seen", "phase_env_steps"}
        if not known or arrays["points"].ndim != 4:
            raise RunDirectoryError(f"{path} holds no points [quarter, seed, point, dimension].")
        return arrays if len(arrays["points"]) else {}

    @cached_property
    def paths(self) -> dict[str, np.ndarray]:
        """The arrays of paths.npz; empty when there is none, or no view to draw them in."""
        path = self.path / "paths.npz"
        if self.view is None or not path.exists():
            return {}
        cure = f"`explorax eval {self.path} --paths`"
        arrays = _read_arrays(path, cure)
        for name, axes in _PATHS.items():
            found = arrays[name].ndim if name in arrays else None
            if found != len(axes):
                what = "is missing" if found is None else f"has shape {arrays[name].shape}"
                raise RunDirectoryError(
                    f"{path}: {name} {what}; expected [{', '.join(axes)}]. {cure} writes it again."
                )
        if len(arrays["paths"]) != len(self.seeds) or arrays["typical_seed"] not in self.seeds:
            raise RunDirectoryError(
                f"{path} is not of this run's seeds {self.seeds}. {cure} writes it again."
            )
        return arrays

    @cached_property
    def films(self) -> tuple[Film, ...]:
        """The films that films/films.json lists and that are there, in its order."""
        folder = self.path / "films"
        if not (folder / "films.json").exists():
            return ()
        films = []
        for entry in _read_json(folder / "films.json", list):
            # Only the name counts: a stranger's list must not reach files elsewhere.
            file = folder / Path(str(entry.get("file", ""))).name
            if file.is_file():
                films.append(Film(file, entry.get("seed"), entry.get("return"), entry.get("steps")))
        return tuple(films)


def _printable(value: Any) -> str:
    """Return a name as text that a page and a picture can show: control characters, line breaks
    and bytes that are no text as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in str(value)
    )


def read_run(path: str | Path) -> Run:
    """Return the run in directory `path`.

    Raises RunDirectoryError when it is no run directory, or one without a single row of metrics.
    """
    path = user_path(path)
    if not path.is_dir():
        raise RunDirectoryError(f"There is no directory {path}. {_LOOKS_LIKE}")
    if not (path / "config.json").is_file():
        raise RunDirectoryError(f"{path} is no run directory: no config.json in it. {_LOOKS_LIKE}")
    config = _read_json(path / "config.json", dict)
    lacking = [name for name in REQUIRED_SETTINGS if name not in config]
    if lacking:
        raise RunDirectoryError(f"{path / 'config.json'} lacks {', '.join(lacking)}. {_LOOKS_LIKE}")
    meta = _read_json(path / "meta.json", dict) if (path / "meta.json").is_file() else {}
    run = Run(path, config, meta, finished=(path / "DONE").exists())
    _ = run.metrics
    return run


_LOOKS_LIKE = "A run directory is made by `explorax train`: runs/<env>/<agent>+<bonus>/<digest>."


def scan(root: str | Path) -> tuple[list[Run], list[str]]:
    """Return (runs under `root` in the order of their paths, what is wrong with the others)."""
    root = user_path(root)
    if not root.is_dir():
        raise RunDirectoryError(f"There is no directory {root}. {_LOOKS_LIKE}")
    runs, problems = [], []
    for path in sorted(_directories_with_a_config(root)):
        try:
            runs.append(read_run(path))
        except RunDirectoryError as error:
            problems.append(str(error))
    return runs, problems


def find_runs(root: str | Path) -> list[Run]:
    """Return the readable runs under `root`, or `root` itself when it is one.

    Raises RunDirectoryError when there is none.
    """
    runs, problems = scan(root)
    if not runs:
        found = " ".join(problems) or f"No directory under {root} has a config.json. {_LOOKS_LIKE}"
        raise RunDirectoryError(found)
    return runs


def _directories_with_a_config(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        if "config.json" in files:
            below.clear()  # checkpoints may hold files of the same name
            yield Path(folder)


def _read_arrays(path: Path, cure: str) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunDirectoryError(
            f"{path} cannot be read ({error}). It is half-written or damaged; {cure} writes it "
            "again."
        ) from error


def _read_json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"{path} cannot be read ({error}): half-written or damaged."
        ) from error
    if not isinstance(value, kind):
        raise RunDirectoryError(f"{path} holds a {type(value).__name__}, not a {kind.__name__}.")
    return value


def _read_metrics(path: Path, finished: bool) -> pd.DataFrame:
    if not path.is_file():
        raise RunDirectoryError(
            f"{path} is missing: the run was stopped before its first log point."
        )
    try:
        text = path.read_text(encoding="utf-8")
        if not finished and text and not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]  # killed in the middle of a row
        table = pd.read_csv(io.StringIO(text)) if text else pd.DataFrame()
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path} cannot be read ({error}).") from error
    lacking = [name for name in REQUIRED_COLUMNS if name not in table]
    if len(table) == 0:
        raise RunDirectoryError(f"{path} has no rows yet: no log point was reached.")
    if lacking:
        raise RunDirectoryError(f"{path} lacks the columns {', '.join(lacking)}.")
    for name in OPTIONAL_COLUMNS:
        if name not in table:
            table[name] = NEVER if name == "first_success_env_steps" else np.nan
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise RunDirectoryError(f"{path}: column {name} holds something that is no number.")
    table = table.drop_duplicates(["seed", "env_steps"], keep="last")
    return table.sort_values(["seed", "env_steps"], ignore_index=True)

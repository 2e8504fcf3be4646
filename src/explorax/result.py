"""What a run or a comparison gives back in Python: easy to print, plot, tabulate and report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorax.core.errors import (
    ExploraxError,
    InvalidSetting,
    RunDirectoryError,
    unknown_name,
)
from explorax.files import user_path
from explorax.report.numbers import Row, table_rows
from explorax.report.page import write_report
from explorax.report.read import Run, read_run
from explorax.report.table import interval, table_markdown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """One run: its numbers, tables and pictures, read from its directory when asked for."""

    directory: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", user_path(self.directory))
        _ = self.run  # what is no run directory is refused here

    @cached_property
    def run(self) -> Run:
        """The run as `explorax.report` reads it."""
        return read_run(self.directory)

    @property
    def config(self) -> dict[str, Any]:
        """Everything in config.json."""
        return self.run.config

    @property
    def frame(self) -> "pd.DataFrame":
        """metrics.csv as a pandas DataFrame: a row per log point and seed."""
        return self.run.metrics.copy()

    @property
    def row(self) -> Row:
        """The run's line in a table: final return, first success, solved seeds."""
        return self._rows[0]

    @cached_property
    def _rows(self) -> list[Row]:
        return table_rows([self.run])

    def table(self) -> str:
        """Return the numbers as a table in Markdown."""
        return table_markdown([self.run])

    def plot(self) -> "Figure":
        """Return the learning curves: interquartile mean, 95% band, and every seed behind it."""
        return _curves(self._rows)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the HTML page about this run and return its path (default: in the directory)."""
        return write_report([self.directory], Path(out or self.directory / "report.html"))

    def __repr__(self) -> str:
        run, row = self.run, self.row
        state = "" if run.finished else f" of {run.planned_env_steps:,} (unfinished)"
        lines = {
            "env": run.env,
            "agent": _brief(run.agent),
            "bonus": _brief(run.bonus),
            **({"started from": str(run.origin["run"])} if run.origin else {}),
            "seeds": f"{row.seeds}, {run.env_steps:,} env steps each{state}",
            "final return": f"{_return(row)}  (interquartile mean, 95% interval over seeds)",
            "first success": f"{_first_success(row)}  (median over seeds)",
            "solved": _solved(row),
            "directory": str(self.directory),
        }
        return "\n".join(f"{name:<15}{text}" for name, text in lines.items())

    def _repr_html_(self) -> str:
        return f"{_html([self.row])}<p><code>{escape(str(self.directory))}</code></p>"


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side, in the order in which they were given."""

    results: tuple[Result, ...]
    seconds: float = 0.0  # wall time it took to make them
    report_path: Path | None = None

    def __post_init__(self) -> None:
        if not self.results:
            raise RunDirectoryError("There are no runs to compare.")

    @property
    def runs(self) -> list[Run]:
        return [result.run for result in self.results]

    @cached_property
    def rows(self) -> list[Row]:
        """A line per run, no bonus before bonuses."""
        return table_rows(self.runs)

    @property
    def frame(self) -> "pd.DataFrame":
        """All runs' metrics in one DataFrame, with env, agent, bonus and method in front."""
        import pandas as pd

        frames = []
        for row in self.rows:
            frame = row.run.metrics.copy()
            names = (row.run.env, row.run.agent, row.run.bonus, row.name.method)
            for place, (column, value) in enumerate(
                zip(("env", "agent", "bonus", "method"), names, strict=True)
            ):
                frame.insert(place, column, value)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def table(self) -> str:
        """Return the numbers as a table in Markdown."""
        return table_markdown(self.runs)

    def plot(self, env: str | None = None) -> "Figure":
        """Return the learning curves of the runs in one environment, a panel per agent.

        `env` may be left out where there is only one. Raises UnknownName, InvalidSetting.
        """
        possible = list(dict.fromkeys(row.run.env for row in self.rows))
        if env is None and len(possible) > 1:
            raise InvalidSetting(f"plot(env=...): say which environment: {', '.join(possible)}.")
        if env is not None and env not in possible:
            raise unknown_name("environment in this comparison", env, possible)
        return _curves([row for row in self.rows if env in (None, row.run.env)])

    def report(self, out: str | Path, title: str | None = None) -> Path:
        """Write the HTML page about all runs and return its path."""
        return write_report([run.path for run in self.runs], Path(out), title=title)

    def __repr__(self) -> str:
        lines = _aligned([_HEADER, *map(_cells, self.rows)])
        if self.report_path is not None:
            lines += ["", f"The report: {self.report_path}"]
        lines.append(f"Wall time: {self.seconds:.0f} s")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return _html(self.rows)


_HEADER = ("environment", "method", "seeds", "final return [95%]", "first success", "solved")


def _cells(row: Row) -> tuple[str, ...]:
    name = row.name
    return (
        name.env,
        name.method,
        str(row.seeds),
        _return(row),
        _first_success(row),
        _solved(row),
    )


def _brief(expression: str) -> str:
    """Return constructor text without what is at its default, or all of it where a part is none of
    ours or of another version."""
    from explorax.run.brief import brief
    from explorax.run.expressions import parse

    try:
        return brief(parse(expression))
    except ExploraxError:
        return expression


def _return(row: Row) -> str:
    told = interval(row.final_return)
    return told if np.isfinite(row.final_return.estimate) else "no episode has ended"


def _first_success(row: Row) -> str:
    if not row.knows_success:
        return "-"
    steps = row.median_first_success
    return f"{steps:,.0f} env steps" if np.isfinite(steps) else "never"


def _solved(row: Row) -> str:
    return f"{int(row.outcome.solved.sum())} of {row.seeds}" if row.knows_success else "-"


def _curves(rows: Sequence[Row]) -> "Figure":
    from explorax.report.curves import draw_learning_curves
    from explorax.report.style import looks

    figure = draw_learning_curves(rows, looks([row.name.variant for row in rows]))
    figure.set_facecolor("white")
    return figure


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _html(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in _HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

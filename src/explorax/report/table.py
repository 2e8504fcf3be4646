"""The table of numbers, as cells, Markdown and CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from explorax.report.numbers import Pooled, Row, pooled_rows, table_rows
from explorax.report.read import Run
from explorax.report.statistics import Interval

HEADINGS = (
    "agent",
    "bonus",
    "seeds",
    "median first success (env steps)",
    "seeds without success",
    "final return (IQM [95 % interval])",
    "seeds solved",
    "… with a late success",
    "probability of improvement over no bonus [95 % interval]",
    "env steps/s",
)
POOLED_HEADINGS = (
    "method",
    "environments",
    "probability of improvement",
    "seeds solved",
    "without bonus",
)


def number(value: float) -> str:
    """Return `value` with three or so digits that matter, and a true minus sign."""
    if not math.isfinite(value):
        return "—"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    if 0 < size < 0.1:
        digits = min(6, 1 - math.floor(math.log10(size)))
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:  # no "-0.00"
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def interval(its: Interval | None) -> str:
    """Return "0.98 [0.95, 1.00]", without brackets where there is no interval."""
    if its is None or not math.isfinite(its.estimate):
        return "—"
    if not its.has_width:
        return number(its.estimate)
    return f"{number(its.estimate)} [{number(its.low)}, {number(its.high)}]"


def _steps(value: float) -> str:
    return "never" if math.isinf(value) else number(value)


def cells(row: Row) -> tuple[str, ...]:
    """Return the row's cells in the order of HEADINGS."""
    outcome, known = row.outcome, row.knows_success
    never = int(np.isinf(outcome.first_success).sum())
    rate = row.run.meta.get("env_steps_per_second")
    return (
        row.name.agent,
        row.name.variant + ("" if row.run.finished else " (unfinished)"),
        str(row.seeds),
        _steps(row.median_first_success) if known else "—",
        f"{never} of {row.seeds}" if known else "—",
        interval(row.final_return),
        f"{outcome.solved.sum()} of {row.seeds}" if known else "—",
        f"{outcome.reached_late.sum()} of {row.seeds}" if known else "—",
        interval(row.improvement),
        number(float(rate)) if isinstance(rate, int | float) else "—",
    )


def pooled_cells(row: Pooled) -> tuple[str, ...]:
    """Return the row's cells in the order of POOLED_HEADINGS."""
    return (
        row.method,
        str(row.environments),
        interval(row.improvement),
        f"{row.solved} of {row.seeds}" if row.seeds else "—",
        f"{row.baseline_solved} of {row.baseline_seeds}" if row.baseline_seeds else "—",
    )


def solved_table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return (headings, lines): how many seeds of each method solved each environment.

    The method that solved most in all comes first, as if it solved nothing where it did not run. No
    lines for fewer than two environments.
    """
    known = [row for row in rows if row.knows_success]
    envs = tuple(dict.fromkeys(row.name.env for row in known))
    if len(envs) < 2:
        return ("method", *envs), []
    methods: dict[str, dict[str, Row]] = {}
    for row in known:
        methods.setdefault(row.name.method, {})[row.name.env] = row

    def share(own: dict[str, Row]) -> float:
        return sum(float(row.outcome.solved.mean()) for row in own.values())

    ordered = sorted(methods.items(), key=lambda each: -share(each[1]))
    lines = []
    for method, own in ordered:
        told = (
            f"{own[env].outcome.solved.sum()} of {own[env].seeds}" if env in own else "—"
            for env in envs
        )
        lines.append((method, *told))
    return ("method", *envs), lines


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    return "\n".join([line(headings), "|" + "---|" * len(headings), *map(line, lines)]) + "\n"


def table_markdown(runs: Sequence[Run]) -> str:
    """Return the table of numbers as GitHub Markdown, one row per run.

    With two environments or more there are two further tables: how many seeds of each method
    solved each, and the improvement over no bonus over all that share a method.
    """
    rows = table_rows(runs)
    lines = [(f"`{row.name.env}`", *cells(row)) for row in rows]
    text = _markdown(("environment", *HEADINGS), lines)
    headings, solved = solved_table(rows)
    if solved:
        text += "\nSeeds that solved it:\n\n" + _markdown(headings, solved)
    pooled = pooled_rows(rows)
    if pooled:
        text += "\n" + _markdown(POOLED_HEADINGS, [pooled_cells(row) for row in pooled])
    return text


CSV_COLUMNS = (
    "env", "agent", "bonus", "finished", "seeds", "env_steps", "median_first_success_env_steps",
    "seeds_never_succeeded", "final_return_iqm", "final_return_low", "final_return_high",
    "seeds_solved", "seeds_with_late_success", "improvement", "improvement_low",
    "improvement_high", "env_steps_per_second", "directory",
)  # fmt: skip


def table_csv(runs: Sequence[Run]) -> str:
    """Return the same numbers unrounded, as CSV with the columns CSV_COLUMNS; empty = unknown."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table_rows(runs):
        outcome, known = row.outcome, row.knows_success
        better = row.improvement or Interval(math.nan, math.nan, math.nan)
        values: list[object] = [
            row.run.env, row.run.agent, row.run.bonus, row.run.finished, row.seeds,
            row.run.env_steps,
            row.median_first_success if known else math.nan,
            int(np.isinf(outcome.first_success).sum()) if known else "",
            row.final_return.estimate, row.final_return.low, row.final_return.high,
            int(outcome.solved.sum()) if known else "",
            int(outcome.reached_late.sum()) if known else "",
            better.estimate, better.low, better.high,
            row.run.meta.get("env_steps_per_second", ""),
            Path(row.run.path).as_posix(),
        ]  # fmt: skip
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for v in values])
    return buffer.getvalue()

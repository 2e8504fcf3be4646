"""What the numbers say, in sentences that claim no more than the intervals allow."""

import math
from collections.abc import Sequence

import numpy as np

from explorax.report.maps import visits_of
from explorax.report.numbers import FEWEST_SEEDS, Row
from explorax.report.read import Run
from explorax.report.table import interval, number


def _several(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"


def _budget(rows: Sequence[Row]) -> str:
    steps = {row.run.env_steps for row in rows}
    seeds = {row.seeds for row in rows}
    least = f"{min(steps):,} to " if len(steps) > 1 else ""
    long = f"{least}{max(steps):,} environment steps"
    many = max(seeds)
    who = (
        "one seed"
        if many == 1
        else f"{many} seeds"
        if len(seeds) == 1
        else f"{min(seeds)} to {many} seeds"
    )
    return f"{who} of {long}"


def _success(row: Row) -> str:
    """Return a sentence on seeds solved and the first success."""
    base, solved = row.baseline, int(row.outcome.solved.sum())
    text = f"{row.name.method} solved {solved} of {row.seeds} seeds"
    if base is not None:
        text += f", {base.name.method} {int(base.outcome.solved.sum())} of {base.seeds}"
    when = row.median_first_success
    if math.isfinite(when):
        text += f"; its median first success came after {when:,.0f} steps"
        if base is not None and math.isfinite(base.median_first_success):
            text += f" against {base.median_first_success:,.0f}"
        elif base is not None:
            text += ", while at least half of the seeds without the bonus never succeeded"
    elif np.isinf(row.outcome.first_success).all():
        text += "; none of its seeds ever had a success"
    return text + "."


def _final(row: Row) -> str:
    """Return a sentence on the final return, against the baseline's where there is one."""
    ours, base = row.final_return, row.baseline
    if not math.isfinite(ours.estimate):
        return f"No episode of {row.name.method} ended, so it has no return."
    if base is None or row.improvement is None or not math.isfinite(base.final_return.estimate):
        return f"{row.name.method} ends with a return of {interval(ours)}."
    pair = f"{interval(ours)} against {interval(base.final_return)} for {base.name.method}"
    odds = f"the probability of improvement is {interval(row.improvement)}"
    if row.verdict == "too few seeds":
        return (
            f"{row.name.method} ends with a return of {pair}; fewer than {FEWEST_SEEDS} seeds on "
            "a side are too few to call that a difference."
        )
    if row.verdict == "unclear":
        return f"No difference in final return is seen: {pair}; {odds}."
    return f"The final return of {row.name.method} is {row.verdict}: {pair}; {odds}."


def _coverage(row: Row) -> str:
    """Return a sentence on how much of the map was visited early, or "" without maps."""
    base = row.baseline
    if base is None:
        return ""
    ours, theirs = visits_of(row.run), visits_of(base.run)
    if len(ours) < 2 or len(theirs) < 2 or ours[0].part != theirs[0].part:
        return ""
    return (
        f"In the {ours[0].part} of training a seed visited {100 * ours[0].share:.0f} % of the "
        f"map's cells with the bonus and {100 * theirs[0].share:.0f} % without."
    )


def summary(rows: Sequence[Row]) -> list[str]:
    """Return what was run in one environment, and then what came of each run, a text each.

    Runs without bonus are told beside those that are compared with them.
    """
    texts = [f"{_budget(rows)}."]
    compared = {id(row.baseline) for row in rows if row.baseline is not None}
    for row in rows:
        if id(row) not in compared:
            sentences = [_success(row) if row.knows_success else "", _final(row), _coverage(row)]
            texts.append(" ".join(sentence for sentence in sentences if sentence))
    late = [row.name.method for row in rows if not row.run.finished]
    if late:
        texts.append(f"Not finished yet: {_several(late)}.")
    return texts


def notes(run: Run) -> list[str]:
    """Return what a reader of the run's numbers should know."""
    told = []
    if not run.finished:
        status = run.meta.get("status")
        why = f", status {status}" if status else ""
        told.append(
            f"not finished (no DONE file{why}): {run.env_steps:,} of {run.planned_env_steps:,} "
            "environment steps. Its numbers are those so far."
        )
    for seed, steps in (run.meta.get("diverged") or {}).items():
        what = (run.meta.get("nonfinite") or {}).get(seed, "NaN")
        told.append(f"seed {seed} diverged ({what}) at {number(float(steps))} environment steps.")
    told_of = set(run.column("seed")[np.isfinite(run.column("return_mean"))])
    silent = [str(seed) for seed in run.seeds if seed not in told_of]
    if silent:
        which = _several(silent)
        told.append(f"no episode ended in seed {which}: left out of the mean return.")
    told += [str(note) for note in run.meta.get("notes") or []]
    return told

"""The numbers that a report tells of each run, with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorax.report.names import Name, name_runs
from explorax.report.read import Run
from explorax.report.statistics import (
    Interval,
    bootstrap_interval,
    censored_median,
    probability_of_improvement,
)

LATE = 0.9  # "late" is the training after this share of it
FEWEST_SEEDS = 5  # on each side, before a difference is called one


@dataclass(frozen=True)
class Outcome:
    """What came of each seed of a run; arrays are [S] in the order of `Run.seeds`."""

    first_success: np.ndarray  # env steps, inf = never
    final_return: np.ndarray  # NaN where no episode ever ended
    solved: np.ndarray  # bool: at least half of the late episodes succeeded
    reached_late: np.ndarray  # bool: at least one of them did


@dataclass(frozen=True)
class Row:
    """One run's line in the table."""

    run: Run
    name: Name
    outcome: Outcome
    final_return: Interval
    median_first_success: float  # env steps, inf when half of the seeds or more never succeed
    improvement: Interval | None  # over the run of the same environment and agent without bonus
    baseline: "Row | None"

    @property
    def seeds(self) -> int:
        return len(self.run.seeds)

    @property
    def knows_success(self) -> bool:
        return self.run.success_return is not None

    @property
    def verdict(self) -> str:
        """Return "higher", "lower", "unclear" or "too few seeds" for the final return against the
        baseline's, or "" without one."""
        if self.improvement is None or self.baseline is None:
            return ""
        finite = [np.isfinite(row.outcome.final_return).sum() for row in (self, self.baseline)]
        if min(finite) < FEWEST_SEEDS or not self.improvement.has_width:
            return "too few seeds"
        if self.improvement.low > 0.5:
            return "higher"
        return "lower" if self.improvement.high < 0.5 else "unclear"


def outcome_of(run: Run) -> Outcome:
    """Return what came of each seed.

    The final return is the mean over the episodes that ended in the last tenth of what the run has
    done; where none ended there, over the last log point at which one did.
    """
    seeds = [_outcome_of_seed(run, seed) for seed in run.seeds]
    first, final, rate = np.array(seeds, dtype=np.float64).reshape(-1, 3).T
    return Outcome(first, final, rate >= 0.5 - 1e-9, rate > 0)


def _outcome_of_seed(run: Run, seed: int) -> tuple[float, float, float]:
    """Return (first success in env steps, final return, share of late episodes that succeeded)."""
    of_seed = run.column("seed") == seed
    steps, episodes = run.column("env_steps")[of_seed], run.column("episodes")[of_seed]
    returns, success = run.column("return_mean")[of_seed], run.column("success_rate")[of_seed]
    when = run.column("first_success_env_steps")[of_seed][-1]
    first = when if when >= 0 else np.inf  # NEVER, and NaN
    ended = np.flatnonzero((episodes > 0) & np.isfinite(returns))
    if not ended.size:
        return first, np.nan, 0.0
    late = ended[steps[ended] > LATE * steps[-1]]
    late = late if late.size else ended[-1:]
    weights = episodes[late]
    rate = np.average(np.nan_to_num(success[late]), weights=weights)
    return first, float(np.average(returns[late], weights=weights)), float(rate)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _interval(values: np.ndarray) -> Interval:
    finite = _finite(values)
    return bootstrap_interval([finite]) if finite.size else Interval(np.nan, np.nan, np.nan)


def _improvement(outcome: Outcome, over: Outcome) -> Interval | None:
    ours, theirs = _finite(outcome.final_return), _finite(over.final_return)
    if not ours.size or not theirs.size:
        return None
    return probability_of_improvement([(ours, theirs)])


def _comparable(run: Run, other: Run) -> bool:
    """Return whether two runs went on for as long, so that their late returns may be compared."""
    return abs(run.env_steps - other.env_steps) <= 0.02 * max(run.env_steps, other.env_steps)


def _same_start(run: Run, other: Run) -> bool:
    """Return whether two runs' agents started from the same checkpoint, or both from scratch."""
    keys = ("digest", "seed", "chunk", "iteration")  # and not where it lies
    return [run.origin.get(key) for key in keys] == [other.origin.get(key) for key in keys]


def _baseline(run: Run, name: Name, plain: Sequence[Row]) -> Row | None:
    """Return the row without bonus to compare with: the same mark if there is one, else any."""
    fit = [
        row
        for row in plain
        if (row.name.env, row.name.agent) == (name.env, name.agent)
        and _comparable(run, row.run)
        and _same_start(run, row.run)
    ]
    return next((row for row in fit if row.name.mark == name.mark), fit[0] if fit else None)


def table_rows(runs: Sequence[Run]) -> list[Row]:
    """Return a row per run: environments and agents in the order given, no bonus before bonuses."""
    names = name_runs(runs)
    envs = list(dict.fromkeys(name.env for name in names))
    agents = list(dict.fromkeys(name.agent for name in names))
    pairs = sorted(
        zip(runs, names, strict=True),
        key=lambda it: (envs.index(it[1].env), agents.index(it[1].agent), it[1].has_bonus),
    )
    rows: list[Row] = []
    for run, name in pairs:
        outcome = outcome_of(run)
        plain = [row for row in rows if not row.name.has_bonus]
        baseline = _baseline(run, name, plain) if name.has_bonus else None
        rows.append(
            Row(
                run=run,
                name=name,
                outcome=outcome,
                final_return=_interval(outcome.final_return),
                median_first_success=censored_median(outcome.first_success),
                improvement=_improvement(outcome, baseline.outcome) if baseline else None,
                baseline=baseline,
            )
        )
    return rows


@dataclass(frozen=True)
class Pooled:
    """One method over all environments in which its baseline ran too."""

    method: str
    environments: int
    improvement: Interval
    solved: int
    seeds: int
    baseline_solved: int
    baseline_seeds: int


def pooled_rows(rows: Sequence[Row]) -> list[Pooled]:
    """Return the methods that two or more environments share, environments being the strata."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.improvement is not None and row.baseline is not None:
            groups.setdefault(row.name.method, []).append(row)
    pooled = []
    for method, members in groups.items():
        if len(members) < 2:
            continue
        pairs = [(row, row.baseline) for row in members if row.baseline is not None]
        interval = probability_of_improvement(
            [(_finite(a.outcome.final_return), _finite(b.outcome.final_return)) for a, b in pairs]
        )
        known = [(a, b) for a, b in pairs if a.knows_success]
        pooled.append(
            Pooled(
                method=method,
                environments=len(members),
                improvement=interval,
                solved=sum(int(a.outcome.solved.sum()) for a, _ in known),
                seeds=sum(a.seeds for a, _ in known),
                baseline_solved=sum(int(b.outcome.solved.sum()) for _, b in known),
                baseline_seeds=sum(b.seeds for _, b in known),
            )
        )
    return pooled

"""The numbers of the table, against metrics written by hand, and the words about them."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import VIME, Plan, make_run

from explorax.report.numbers import outcome_of, pooled_rows, table_rows
from explorax.report.read import Run, find_runs, read_run
from explorax.report.statistics import Interval
from explorax.report.table import (
    CSV_COLUMNS,
    interval,
    number,
    solved_table,
    table_csv,
    table_markdown,
)
from explorax.report.words import notes, summary

HEADER = "seed,env_steps,episodes,return_mean,length_mean,success_rate,first_success_env_steps\n"


def run_of(root: Path, rows: list[str], **plan) -> Run:
    path = make_run(root, Plan(**{"log_points": 2, "seeds": 1, "films": 0, **plan}))
    (path / "metrics.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return read_run(path)


def test_final_return_is_the_mean_over_late_episodes(tmp_path: Path) -> None:
    rows = ["0,90,5,100,1,1,40", "0,95,1,0.0,1,0.0,40", "0,100,3,1.0,1,1.0,40"]
    outcome = outcome_of(run_of(tmp_path, rows))
    assert outcome.final_return == pytest.approx([0.75])  # 90 is not in the last tenth of 100
    assert outcome.solved.tolist() == [True] and outcome.first_success.tolist() == [40]


def test_half_of_the_late_episodes_solve_and_fewer_do_not(tmp_path: Path) -> None:
    rows = ["0,95,1,0,1,0.0,9", "0,100,1,1,1,1.0,9", "1,95,2,0,1,0.0,9", "1,100,1,1,1,1.0,9"]
    outcome = outcome_of(run_of(tmp_path, rows, seeds=2))
    assert outcome.solved.tolist() == [True, False]
    assert outcome.reached_late.tolist() == [True, True]


def test_without_late_episodes_the_last_one_counts_and_without_any_nothing(tmp_path: Path) -> None:
    rows = ["0,50,1,7,1,1.0,50", "0,100,0,,,,50", "1,50,0,,,,-1", "1,100,0,,,,-1"]
    run = run_of(tmp_path, rows, seeds=2)
    outcome = outcome_of(run)
    np.testing.assert_array_equal(outcome.final_return, [7, np.nan])
    np.testing.assert_array_equal(outcome.first_success, [50, np.inf])
    assert outcome.solved.tolist() == [True, False]
    assert notes(run) == ["no episode ended in seed 1: left out of the mean return."]


def compared(root: Path, **bonus_plan) -> list:
    make_run(root, Plan(log_points=40, solves=0.0, films=0))
    make_run(root, Plan(log_points=40, bonus=VIME, films=0, seed=1, **bonus_plan))
    return table_rows(find_runs(root))


def test_a_clear_difference_is_called_one(tmp_path: Path) -> None:
    plain, paid = compared(tmp_path, when=0.1)
    assert paid.baseline is plain and plain.baseline is None
    assert paid.improvement.low > 0.5 and paid.verdict == "higher"
    assert plain.median_first_success == np.inf and plain.final_return.estimate == 0
    text = " ".join(summary([plain, paid]))
    assert "TRPO + VIME solved 10 of 10 seeds, TRPO 0 of 10" in text
    assert "The final return of TRPO + VIME is higher" in text


def test_no_difference_is_called_none(tmp_path: Path) -> None:
    rows = compared(tmp_path, solves=0.1)
    assert rows[1].verdict == "unclear"
    assert "No difference in final return is seen" in " ".join(summary(rows))


def test_few_seeds_are_called_too_few(tmp_path: Path) -> None:
    make_run(tmp_path, Plan(log_points=20, solves=0.0, films=0, seeds=3))
    make_run(tmp_path, Plan(log_points=20, bonus=VIME, films=0, seeds=3, when=0.1))
    rows = table_rows(find_runs(tmp_path))
    assert rows[1].improvement is not None and rows[1].improvement.estimate == 1.0
    assert "too few to call that a difference" in " ".join(summary(rows))


def test_an_unfinished_run_is_not_compared(tmp_path: Path) -> None:
    _, paid = compared(tmp_path, done=False)
    assert paid.baseline is None and paid.verdict == ""
    assert "(unfinished)" in table_markdown(find_runs(tmp_path))
    assert "150,000 of 250,000" in notes(paid.run)[0]


def test_environments_are_pooled_where_they_share_a_method(tmp_path: Path) -> None:
    for env in ("chain/5", "deep_sea/8"):
        make_run(tmp_path, Plan(env=env, log_points=20, solves=0.0, films=0))
        make_run(tmp_path, Plan(env=env, log_points=20, bonus=VIME, films=0, when=0.1))
    (pooled,) = pooled_rows(table_rows(find_runs(tmp_path)))
    assert (pooled.method, pooled.environments) == ("TRPO + VIME", 2)
    assert (pooled.solved, pooled.seeds, pooled.baseline_solved) == (20, 20, 0)
    assert pooled.improvement.estimate == 1.0
    headings, (best, plain) = solved_table(table_rows(find_runs(tmp_path)))
    assert headings[0] == "method" and len(headings) == 3
    assert best == ("TRPO + VIME", "10 of 10", "10 of 10")
    assert plain == ("TRPO", "0 of 10", "0 of 10")
    told = table_markdown(find_runs(tmp_path))
    assert "Seeds that solved it:" in told and "| TRPO + VIME | 10 of 10 | 10 of 10 |" in told
    assert "| TRPO + VIME | 2 | 1.00 [1.00, 1.00] | 20 of 20 |" in table_markdown(
        find_runs(tmp_path)
    )


def test_the_csv_has_the_unrounded_numbers(tmp_path: Path) -> None:
    rows = compared(tmp_path)
    lines = list(csv.DictReader(io.StringIO(table_csv(find_runs(tmp_path)))))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert float(lines[1]["final_return_low"]) == rows[1].final_return.low
    assert lines[0]["improvement"] == "" and lines[0]["median_first_success_env_steps"] == "inf"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (-0.0001, "−0.00010"),
        (0.987, "0.99"),
        (-91.62, "−91.6"),
        (143210.4, "143,210"),
        (float("nan"), "—"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_without_width_has_no_brackets() -> None:
    assert interval(Interval(1.0, np.nan, np.nan)) == "1.00"
    assert interval(Interval(1.0, 0.5, 1.0)) == "1.00 [0.50, 1.00]"
    assert interval(None) == "—"

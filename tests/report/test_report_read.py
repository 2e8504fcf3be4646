"""Run directories: good ones, unfinished ones, and what is said of bad ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import MOUNTAIN_CAR_VIEW, Plan, make_run

from explorax.core.errors import RunDirectoryError
from explorax.report.read import find_runs, read_run, scan

SMALL = Plan(seeds=3, log_points=10, view=MOUNTAIN_CAR_VIEW)
HEADER = "seed,env_steps,episodes,return_mean,length_mean,success_rate,first_success_env_steps\n"


def with_metrics(root: Path, text: str, done: bool = True) -> Path:
    path = make_run(root, Plan(seeds=2, log_points=2, films=0, done=done))
    (path / "metrics.csv").write_text(HEADER + text)
    return path


def test_reads_what_was_written(tmp_path: Path) -> None:
    path = make_run(tmp_path, SMALL)
    run = read_run(path)
    assert run.finished and run.seeds == (0, 1, 2) and run.env_steps == 250_000
    assert run.env == SMALL.env and run.success_return == 1.0
    assert run.maps["visits"].shape == (4, 3, 24, 20)
    assert [film.file.name for film in run.films] == ["seed_0.gif"]
    assert run.view is not None and run.view.labels[0] == "position (m)" and not run.view.is_grid
    assert [found.path for found in find_runs(tmp_path)] == [path]
    assert [found.path for found in find_runs(path)] == [path]


def test_over_time_holds_the_last_value_and_stays_blank_before_the_first(tmp_path: Path) -> None:
    rows = "0,10,0,,,,-1\n1,10,1,5,1,0,-1\n0,20,1,2,1,0,-1\n1,20,0,,,,-1\n1,30,1,7,1,0,-1\n"
    table = read_run(with_metrics(tmp_path, rows)).over_time("return_mean")
    np.testing.assert_array_equal(table.index, [10, 20, 30])
    np.testing.assert_array_equal(table[0], [np.nan, 2, np.nan])  # not held past its last point
    np.testing.assert_array_equal(table[1], [5, 5, 7])


def test_a_row_cut_short_is_left_out_of_an_unfinished_run(tmp_path: Path) -> None:
    path = with_metrics(tmp_path, "0,10,1,5,1,0,-1\n1,10,1,5,1,0,-1\n0,20,1,0.1", done=False)
    run = read_run(path)
    assert not run.finished and run.env_steps == 10


def test_a_film_elsewhere_is_not_read(tmp_path: Path) -> None:
    path = make_run(tmp_path, SMALL)
    (path / "secret.gif").write_bytes(b"GIF89a")
    (path / "films" / "films.json").write_text('[{"file": "../secret.gif", "seed": 0}]')
    assert read_run(path).films == ()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "config.json").write_text('{"env": '), "half-written or damaged"),
        (lambda path: (path / "config.json").write_text("[]"), "holds a list, not a dict"),
        (lambda path: (path / "config.json").write_text('{"env": "x"}'), "lacks agent, bonus"),
        (lambda path: (path / "metrics.csv").unlink(), "before its first log point"),
        (lambda path: (path / "metrics.csv").write_text(""), "no rows yet"),
        (lambda path: (path / "metrics.csv").write_text(HEADER), "no rows yet"),
        (lambda path: (path / "metrics.csv").write_text("seed,x\n1,2\n"), "lacks the columns"),
        (
            lambda path: (path / "metrics.csv").write_text(HEADER + "0,9,1,oops,1,0,-1\n"),
            "return_mean holds something that is no number",
        ),
    ],
)
def test_bad_directories_are_explained(tmp_path: Path, spoil, message: str) -> None:
    path = make_run(tmp_path, SMALL)
    spoil(path)
    with pytest.raises(RunDirectoryError, match=message):
        read_run(path)


def test_bad_maps_are_explained(tmp_path: Path) -> None:
    path = make_run(tmp_path, SMALL)
    whole = (path / "maps.npz").read_bytes()
    (path / "maps.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunDirectoryError, match="half-written or damaged"):
        _ = read_run(path).maps
    np.savez(path / "maps.npz", visits=np.zeros((3, 4)))
    with pytest.raises(RunDirectoryError, match=r"visits has shape \(3, 4\)"):
        _ = read_run(path).maps


def test_no_runs_and_no_directory_are_explained(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"has a config\.json"):
        find_runs(tmp_path)
    with pytest.raises(RunDirectoryError, match="There is no directory"):
        read_run(tmp_path / "nowhere")


def test_scan_tells_of_the_bad_beside_the_good(tmp_path: Path) -> None:
    make_run(tmp_path, SMALL)
    bad = make_run(tmp_path, Plan(seeds=1, log_points=3, films=0), name="bad")
    (bad / "metrics.csv").unlink()
    runs, problems = scan(tmp_path)
    assert len(runs) == 1 and len(problems) == 1 and "bad" in problems[0]


def test_the_report_needs_no_jax() -> None:
    code = (
        "import sys, explorax.report; "
        "sys.exit(any(name.split('.')[0] in ('jax', 'flax') for name in sys.modules) or "
        "'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

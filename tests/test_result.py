"""What a run gives back is easy to look at, and says what is on the disk."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from explorax.core.errors import InvalidSetting, RunDirectoryError, UnknownName
from explorax.result import Comparison, Result

HEADER = "seed,env_steps,episodes,return_mean,length_mean,success_rate,first_success_env_steps"


def write_run(
    root: Path, bonus: str, last_returns: list[float], env: str = "mountain_car", done: bool = True
) -> Path:
    """Write a run by hand: each seed's return goes from 0 to its last one in ten log points."""
    path = root / env / bonus.replace("(", "").replace(")", "") / "00000000"
    path.mkdir(parents=True)
    config = {"env": env, "agent": "TRPO(max_kl=0.01)", "bonus": bonus, "env_steps": 1000}
    config |= {"seeds": len(last_returns), "spec": {"success_return": 1.0}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "meta.json").write_text(json.dumps({"env_steps_per_second": 5.0}))
    rows = [HEADER]
    for seed, last in enumerate(last_returns):
        for step in range(1, 11):
            value = last * step / 10
            first = 500 if last >= 1 and step >= 5 else -1
            rows.append(f"{seed},{step * 100},2,{value},50,{float(value >= 1)},{first}")
    (path / "metrics.csv").write_text("\n".join(rows) + "\n")
    if done:
        (path / "DONE").write_text("")
    return path


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return Result(write_run(tmp_path, "VIME(hidden=(32,))", [0.5, 1.0, 1.0, 1.0, 8.0]))


def test_the_text_tells_the_numbers(result: Result) -> None:
    lines = dict(line.split(maxsplit=1) for line in repr(result).splitlines())
    text = repr(result)
    assert lines["env"] == "mountain_car"
    assert lines["bonus"] == "VIME()"  # (32,) is the default
    assert lines["seeds"] == "5, 1,000 env steps each"
    assert "solved         4 of 5" in text
    # The late return of a seed is that of its last log point; the middle three are 1.
    assert "final return   1.00 [" in text
    assert "500 env steps" in text
    assert lines["directory"] == str(result.directory)


def test_parts_of_no_catalogue_are_told_in_full(tmp_path: Path) -> None:
    assert "Elsewhere(x=1)" in repr(Result(write_run(tmp_path, "Elsewhere(x=1)", [0.0])))


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    assert "(unfinished)" in repr(Result(write_run(tmp_path, "NoBonus()", [0.0], done=False)))


def test_the_frame_is_the_metrics_and_a_copy(result: Result) -> None:
    frame = result.frame
    assert list(frame["seed"].unique()) == [0, 1, 2, 3, 4]
    assert frame.groupby("seed")["return_mean"].last().tolist() == [0.5, 1.0, 1.0, 1.0, 8.0]
    frame["return_mean"] = math.nan
    assert not np.isnan(result.frame["return_mean"].to_numpy()).any()


def test_the_plot_has_a_line_per_seed_and_labelled_axes(result: Result) -> None:
    figure = result.plot()
    (axes,) = figure.axes
    assert len(axes.lines) == 5 + 1
    middle = np.asarray(axes.lines[-1].get_ydata(), float)
    assert middle[-1] == pytest.approx(1.0)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert "environment steps" in texts and "episode return" in texts


def test_tables_name_the_method(result: Result) -> None:
    assert result.table().count("\n") == 3 and "VIME" in result.table()
    assert "<td>TRPO + VIME</td>" in result._repr_html_()


def test_the_report_goes_into_the_directory_unless_told(result: Result, tmp_path: Path) -> None:
    assert result.report() == result.directory / "report.html"
    assert result.report(tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.html").stat().st_size > 1000


def test_what_is_no_run_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"no config\.json"):
        Result(tmp_path)


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    paths = [
        write_run(tmp_path, "VIME()", [1.0] * 6),
        write_run(tmp_path, "NoBonus()", [0.0] * 6),
    ]
    return Comparison(tuple(map(Result, paths)), seconds=61.4, report_path=Path("page.html"))


def test_a_comparison_is_a_table_with_no_bonus_first(comparison: Comparison) -> None:
    lines = repr(comparison).splitlines()
    assert lines[0].split()[:2] == ["environment", "method"]
    assert lines[1].startswith("mountain_car  TRPO ")
    assert lines[1].split()[-4:] == ["never", "0", "of", "6"]
    assert "TRPO + VIME" in lines[2] and lines[2].endswith("6 of 6")
    assert "page.html" in lines[-2] and lines[-1] == "Wall time: 61 s"


def test_a_comparison_joins_the_frames(comparison: Comparison) -> None:
    frame = comparison.frame
    last = dict(zip(frame["method"], frame["return_mean"], strict=True))
    assert last == {"TRPO": 0.0, "TRPO + VIME": 1.0}
    assert len(frame) == 2 * 6 * 10


def test_a_comparison_of_several_environments_plots_one(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, "VIME()", [1.0], env=env) for env in ("chain/5", "cart_pole")]
    comparison = Comparison(tuple(map(Result, paths)))
    with pytest.raises(InvalidSetting, match="say which environment: chain/5, cart_pole"):
        comparison.plot()
    with pytest.raises(UnknownName, match="Did you mean 'cart_pole'"):
        comparison.plot("cart_pol")
    assert len(comparison.plot("cart_pole").axes) == 1


def test_an_empty_comparison_is_refused() -> None:
    with pytest.raises(RunDirectoryError, match="no runs"):
        Comparison(())

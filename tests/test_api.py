"""The Python interface: names found late, and runs from objects and from text."""

import importlib
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from drifter import Drifter

import explorax as ex
from explorax.core.errors import InvalidSetting, RunDirectoryError, UnknownName

EXAMPLES = Path(__file__).parents[1] / "examples"
CellCount = runpy.run_path(str(EXAMPLES / "own_bonus.py"))["CellCount"]
COUNT = CellCount(low=(-1.2, -0.07), high=(0.6, 0.07))


@dataclass(frozen=True)
class ShortCar(ex.MountainCar):
    """A task of the caller's own, in no catalogue."""

    max_episode_steps = 20


SMALL = {"env_steps": 200, "num_envs": 2, "progress": False, "film": False, "log_points": 4}


def test_the_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = ex.compare

    def shorter(**given: Any) -> Any:
        less: dict[str, Any] = {"env_steps": 5_000, "seeds": 2, "film": False, "root": tmp_path}
        return compare(**{**given, **less})

    monkeypatch.setattr(ex, "compare", shorter, raising=False)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "quickstart.py"))
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_importing_explorax_imports_nothing_heavy() -> None:
    code = (
        "import sys, explorax; explorax.__version__\n"
        "print(sorted({'jax', 'numpy', 'pandas', 'matplotlib', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_top_level_holds_every_catalogue() -> None:
    everything: set[str] = set()
    for package in ("agents", "bonuses", "behaviors", "encoders", "densities", "envs"):
        module = importlib.import_module(f"explorax.{package}")
        for name in module.__all__:
            assert getattr(ex, name) is getattr(module, name)
        assert not everything & set(module.__all__), "one name for two things"
        everything |= set(module.__all__)
    functions = {"train", "compare", "load", "make", "parse", "Result", "Comparison", "Experiment"}
    assert everything | functions <= set(dir(ex))
    for name in dir(ex):
        assert getattr(ex, name) is not None


def test_a_misspelt_name_tells_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'MedianRatio'"):
        _ = ex.MedianRati  # type: ignore[attr-defined]  (there is none: that is the test)
    with pytest.raises(AttributeError):
        _ = ex.__wrapped__  # type: ignore[attr-defined]  (as above)
    assert not hasattr(ex, "_nothing")


def test_parse_reads_what_repr_writes() -> None:
    bonus = ex.Scale(ex.MedianRatio(ex.VIME(hidden=(8, 8))), 1e-4)
    assert ex.parse(repr(bonus)) == bonus


def test_make_gives_environments_side_by_side() -> None:
    assert ex.make("deep_sea/4", 3).spec.num_envs == 3
    with pytest.raises(UnknownName, match="Did you mean 'deep_sea'"):
        ex.make("deep_see/4")


def test_training_gives_a_result_that_load_finds_again(tmp_path: Path) -> None:
    # A task, an agent and a bonus of the caller's own, in no catalogue.
    parts = ShortCar(), Drifter(), COUNT
    result = ex.train(*parts, seeds=2, root=tmp_path, **SMALL)
    assert result.directory.is_relative_to(tmp_path)
    assert "Drifter" in repr(result) and "2, 200 env steps each" in repr(result)
    assert set(result.frame["seed"]) == {0, 1}
    assert ex.load(result.directory).frame.equals(result.frame)

    before = (result.directory / "meta.json").read_bytes()
    assert ex.train(*parts, seeds=2, root=tmp_path, **SMALL) == result
    assert (result.directory / "meta.json").read_bytes() == before
    (result.directory / "DONE").unlink()
    with pytest.raises(RunDirectoryError, match="resume=True continues it, overwrite=True del"):
        ex.train(*parts, seeds=2, root=tmp_path, **SMALL)
    again = ex.train(*parts, seeds=2, root=tmp_path, overwrite=True, **SMALL)
    assert again.frame.equals(result.frame)
    assert ex.train(*parts, seeds=2, root=tmp_path, resume=True, **SMALL) == result


def test_bad_arguments_are_refused_before_the_run(tmp_path: Path) -> None:
    def train(**changes: object) -> None:
        parts = {"env": ShortCar(), "agent": Drifter(), "bonus": COUNT, "root": tmp_path}
        ex.train(**(parts | SMALL | changes))  # type: ignore[arg-type]  (values of mixed types)

    with pytest.raises(UnknownName, match="Did you mean 'VIME'"):
        train(bonus="VIMES()")
    with pytest.raises(InvalidSetting, match="seeds must be"):
        train(seeds=0)
    assert not list(tmp_path.iterdir())


def test_comparing_objects_writes_one_report(tmp_path: Path) -> None:
    comparison = ex.compare(
        env=ShortCar(),
        agent=Drifter(),
        bonus=(ex.NoBonus(), COUNT),
        env_steps=200,
        seeds=2,
        num_envs=2,
        film=False,
        root=tmp_path,
        progress=False,
    )
    assert comparison.report_path == tmp_path / "report.html"
    assert "CellCount" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert comparison.results[0].run.bonus == "NoBonus()"


def test_a_preset_and_parts_exclude_each_other() -> None:
    from explorax import api

    with pytest.raises(InvalidSetting, match="not both"):
        api.plan("demo", env="mountain_car")
    with pytest.raises(UnknownName, match="Did you mean 'demo'"):
        api.plan("dmo")


def test_a_shorter_run_of_a_preset_has_a_page_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorax import api, presets

    one = (ex.Experiment("chain/4", Drifter(), ex.NoBonus(), env_steps=200, seeds=1, num_envs=2),)
    monkeypatch.setattr(presets, "demo", lambda: one)
    given: dict[str, Any] = {"root": tmp_path, "film": False, "progress": False}
    whole = api.compare("demo", **given).report_path
    short = api.compare("demo", budget=0.5, seeds=2, env_steps=1_000, **given).report_path
    assert whole == tmp_path / "demo.html"
    assert short == tmp_path / "demo-budget-0.5-env-steps-1000-seeds-2.html"


def test_a_preset_can_be_scaled_down() -> None:
    from explorax import api

    full, small = api.plan("demo"), api.plan("demo", budget=0.05, seeds=2)
    assert [each.seeds for each in small] == [2] * len(full)
    for one, other in zip(full, small, strict=True):
        assert (one.env, one.agent, one.bonus) == (other.env, other.agent, other.bonus)
        assert other.env_steps == pytest.approx(0.05 * one.env_steps)

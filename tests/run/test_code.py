"""The code that a run came from: what is recorded, and what is done where there is other code."""

import importlib
import json
import linecache
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from toys import Novelty, Walk, Wanderer

from explorax.agents import TRPO
from explorax.bonuses import VIME, NoBonus, Scale
from explorax.cli import main
from explorax.core.errors import InvalidSetting, RunDirectoryError
from explorax.envs import suite
from explorax.envs.gymnasium import GymnasiumVector
from explorax.presets import Experiment
from explorax.report.read import read_run
from explorax.report.words import notes
from explorax.run import code, compare
from explorax.run.code import Verdict, code_of, judge, own_source
from explorax.run.directory import RunDirectory
from explorax.run.meta import git_commit
from explorax.run.train import resume_run, train

WALK = suite.name_of(Walk())
run_all = partial(compare.run_all, progress=False, environments={WALK: Walk()})
SMALL = {"env_steps": 200, "seeds": 1, "num_envs": 2, "log_points": 5, "film": False}
BONUS = """
from dataclasses import dataclass
import jax.numpy as jnp
import own_base

@dataclass(frozen=True)
class Paying(own_base.Base):
    scale: float = 1.0

    def rescore(self, state, key, rows):
        return self.scale * jnp.ones_like(rows.reward)
"""
BASE = """
class Base:
    replayable = True
    def init(self, key, spec): return ()
    def score(self, state, key, rollout): return self.rescore(state, key, rollout), state
    def update(self, state, key, rollout): return state, {}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module own_bonus, in a directory that is on the path."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_bonus.py").write_text(BONUS)
    (folder / "own_base.py").write_text(BASE)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("own_bonus")
    for name in ("own_bonus", "own_base"):
        sys.modules.pop(name)


def edit(module: Any, old: str, new: str) -> None:
    path = Path(module.__file__)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def config(bonus: Any = None, **changes: Any) -> Any:
    return compare.configuration(Walk(), Wanderer(), bonus or Novelty(), **(SMALL | changes))


def record(config: Any, env: Any = None) -> dict[str, Any]:
    return code_of(config, env or Walk(), Path("runs"))


def test_the_record_names_every_class_of_others_and_its_bases(own: Any) -> None:
    it = record(config(Scale(own.Paying(), 0.1)))
    names = {"own_base:Base", "own_bonus:Paying", "toys:Walk", "toys:Wanderer"}
    assert set(it["classes"]) == names
    assert all(len(value) == 64 for value in (*it["classes"].values(), it["source"]))
    edit(own, "jnp.ones_like(rows.reward)", "jnp.zeros_like(rows.reward)")
    importlib.reload(own)
    after = record(config(Scale(own.Paying(), 0.1)))
    odd = {name for name in names if it["classes"][name] != after["classes"][name]}
    assert odd == {"own_bonus:Paying"}
    assert judge(it, after) == Verdict(("the source of own_bonus:Paying changed since",))
    edit(sys.modules["own_base"], "replayable = True", "replayable = False")
    importlib.reload(sys.modules["own_base"])
    importlib.reload(own)
    last = judge(it, record(config(Scale(own.Paying(), 0.1))))
    assert last.changed == ("the source of own_base:Base, own_bonus:Paying changed since",)


def test_what_was_imported_is_what_runs_when_its_file_is_edited(own: Any) -> None:
    before = record(config(own.Paying()))
    edit(own, "jnp.ones_like(rows.reward)", "jnp.zeros_like(rows.reward)")
    with pytest.warns(UserWarning, match="was edited after Paying was imported"):
        assert record(config(own.Paying())) == before  # or zeros would be said to have paid ones
    importlib.reload(own)
    assert record(config(own.Paying())) != before


def test_runs_of_ours_alone_name_no_classes() -> None:
    ours = compare.configuration("mountain_car", TRPO(), Scale(VIME(), 0.1), env_steps=9000)
    assert record(ours, suite.make("mountain_car", 10))["classes"] == {}
    cart = suite.make("gymnasium:CartPole-v1", 2)
    assert record(ours, cart)["classes"] == {}  # Gymnasium's own


def test_the_commit_is_explorax_s_own_wherever_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = compare.configuration("mountain_car", TRPO(), NoBonus(), env_steps=9000)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.chdir(tmp_path)
    code._commit.cache_clear()
    commit = record(ours, suite.make("mountain_car", 10))["commit"]
    assert commit == git_commit(Path(code.__file__).parents[3]) != git_commit(tmp_path)


def test_environments_of_gymnasium_are_known_by_their_entry_point(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

    class Local(gymnasium.Env):
        pass

    entries: Any = (("Here-v0", Local), ("There-v0", "own_base:Base"), ("Odd-v0", "no_such:X"))
    for id, entry in entries:
        monkeypatch.setitem(gymnasium.registry, id, EnvSpec(id, entry))
    ours = config(NoBonus())
    for id, name in (("Here-v0", "test_code:"), ("There-v0", "own_base:Base")):
        found = record(ours, GymnasiumVector(id, 2))["classes"]
        (value,) = [value for key, value in found.items() if key.startswith(name)]
        assert len(value) == 64
    found = record(ours, GymnasiumVector("Odd-v0", 2))["classes"]
    assert code.UNKNOWN in found.values()


def test_a_class_of_a_notebook_is_known_by_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(text: str, name: str) -> Any:
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(True), name))
        space = {"__name__": "no_file_at_all"}
        exec(compile(text, name, "exec"), space)
        return space["Part"]

    text = "class Part:\n    def a(self): return 1\n"
    one, same = cell(text, "<cell 1>"), cell(text, "<cell 2>")
    other = cell(text.replace("1", "2"), "<cell 3>")
    assert code._source(one) == code._source(same) != code._source(other)
    assert len(code._source(one)) == 64
    assert code._source(type("Typed", (), {"__module__": "no_file_at_all"})) == code.UNKNOWN


def test_what_differs_and_what_cannot_be_told() -> None:
    now = {"explorax": "1", "source": "a", "commit": "12345678", "classes": {"m:A": "x"}}
    assert judge(now, now) == Verdict()
    assert judge({**now, "commit": "other"}, now) == Verdict()
    assert judge({**now, "source": "b", "commit": "99999999"}, now).changed == (
        "explorax 1 with other source, commit 9999999 -> 1234567",
    )
    assert judge({**now, "source": "b", "commit": None}, now).changed == (
        "explorax 1 with other source",
    )
    assert judge({**now, "source": "b", "explorax": "0"}, now).changed == (
        "explorax 0 then, 1 now",
    )
    none = {**now, "classes": {}}
    assert judge(none, now).changed == ("m:A is part of it now and was not then",)
    assert judge(now, none).changed == ("m:A was part of it then and is not now",)
    blind = judge({**now, "classes": {"m:A": "unknown"}}, now)
    assert blind == Verdict(unknown=("the source of m:A cannot be had",))
    for nothing in (None, 3, {}, {"classes": None}):
        assert judge(nothing, now).unknown and not judge(nothing, now).changed


def test_the_source_is_that_of_what_makes_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "explorax"
    for name in ("run/code.py", "cli/x.py", "report/page.css", "agents/__pycache__/a.pyc", "a.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("1")
    monkeypatch.setattr(code, "__file__", str(package / "run" / "code.py"))

    def source() -> str:
        own_source.cache_clear()
        return own_source()

    try:
        first = source()
        for name in ("cli/x.py", "report/page.css", "agents/__pycache__/a.pyc"):
            (package / name).write_text("2")
        assert source() == first
        (package / "a.py").write_text("2")
        assert source() != first
    finally:
        own_source.cache_clear()


def test_a_choice_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="stale='yes': possible are 'stop', 'keep', 'retrain'"):
        run_all([config()], tmp_path, stale="yes")
    with pytest.raises(InvalidSetting, match="stale='yes'"):
        train(config(), tmp_path, env=Walk(), stale="yes")


def tampered(path: Path, **changes: Any) -> None:
    """Let the run in `path` have come from other code."""
    text = json.loads((path / "config.json").read_text())
    text["code"] |= changes
    (path / "config.json").write_text(json.dumps(text))


def test_a_comparison_stops_keeps_or_trains_again(tmp_path: Path, own: Any) -> None:
    root = tmp_path / "runs"
    own_one, ours, other = config(own.Paying()), config(), config(Novelty(0.3))
    assert run_all([own_one, ours], root).trained == 2
    path, untouched = own_one.directory(root), ours.directory(root)
    assert run_all([own_one, ours], root).trained == 0  # the same code: kept, and nothing said
    assert not RunDirectory(path).read_meta()["notes"]
    before = (path / "metrics.csv").read_bytes()

    edit(own, "jnp.ones_like(rows.reward)", "2.0 * jnp.ones_like(rows.reward)")
    importlib.reload(own)
    own_one = replace(own_one, bonus=own.Paying())
    changed = "the source of own_bonus:Paying changed since"
    with pytest.raises(RunDirectoryError) as stop:
        run_all([other, own_one, ours], root)
    told = str(stop.value)
    assert changed in told and str(path) in told and str(untouched) not in told
    assert "stale='keep' takes" in told and "stale='retrain' deletes" in told
    assert not other.directory(root).exists()  # nothing was trained

    said: list[str] = []
    assert run_all([own_one], root, stale="keep", say=said.append).trained == 0
    note = f"Kept although it came from other code: {changed}."
    assert said[-1].strip() == note
    assert RunDirectory(path).read_meta()["notes"] == [note]
    assert note in notes(read_run(path))  # and so in the report
    assert (path / "metrics.csv").read_bytes() == before

    stamp = (untouched / "metrics.csv").stat().st_mtime_ns
    assert run_all([own_one, ours], root, stale="retrain").trained == 1
    paid = read_run(path).column("bonus_mean")
    assert set(paid) == {2.0}
    assert (untouched / "metrics.csv").stat().st_mtime_ns == stamp
    assert run_all([own_one, ours], root).trained == 0


def test_other_code_of_explorax_is_other_code(tmp_path: Path) -> None:
    (path,) = run_all([config()], tmp_path).directories
    tampered(path, source="0" * 64, commit="feed" * 10)
    with pytest.raises(RunDirectoryError, match="with other source"):
        run_all([config()], tmp_path)
    with pytest.raises(RunDirectoryError, match="with other source"):
        resume_run(path, extra=(Novelty, Wanderer), env=Walk(), progress=False)
    resume_run(path, extra=(Novelty, Wanderer), env=Walk(), progress=False, stale="keep")
    (note,) = RunDirectory(path).read_meta()["notes"]
    assert note.startswith("Kept although it came from other code: explorax ")


def test_a_run_without_a_record_is_kept_with_a_note(tmp_path: Path) -> None:
    (path,) = run_all([config()], tmp_path).directories
    text = json.loads((path / "config.json").read_text())
    del text["code"]
    (path / "config.json").write_text(json.dumps(text))
    said: list[str] = []
    assert run_all([config()], tmp_path, say=said.append).trained == 0
    assert "unknown: its config.json does not say with what code" in said[-1]
    assert run_all([config()], tmp_path, stale="retrain").trained == 1
    assert run_all([config()], tmp_path, say=said.append).trained == 0
    assert "kept" in said[-1]


def test_an_unfinished_run_goes_on_with_a_note_or_begins_anew(tmp_path: Path) -> None:
    it = config()
    (path,) = run_all([it], tmp_path).directories
    numbers = (path / "metrics.csv").read_bytes()
    go_on = partial(train, it, tmp_path, env=Walk(), progress=False, resume=True)
    tampered(path, source="0" * 64)
    (path / "DONE").unlink()
    with pytest.raises(RunDirectoryError, match="Nothing was trained"):
        go_on()
    assert not (path / "DONE").exists()
    go_on(stale="keep")
    (note,) = RunDirectory(path).read_meta()["notes"]
    assert note.startswith("Continued although it came from other code")
    assert RunDirectory(path).read_code()["source"] == "0" * 64
    (path / "DONE").unlink()
    go_on(stale="retrain")
    assert RunDirectory(path).read_code()["source"] == own_source()
    assert RunDirectory(path).read_meta()["notes"] == []
    assert (path / "metrics.csv").read_bytes() == numbers


def test_a_run_that_had_saved_nothing_is_of_the_code_that_begins_it(tmp_path: Path) -> None:
    it = config()
    directory = RunDirectory(it.directory(tmp_path))
    directory.create(it.to_json(code={"explorax": "0", "source": "0" * 64, "classes": {}}))
    train(it, tmp_path, env=Walk(), progress=False, resume=True)
    assert directory.read_code()["source"] == own_source()


def test_a_run_follows_the_one_that_it_starts_from(tmp_path: Path) -> None:
    first = Experiment(WALK, Wanderer(), Novelty(), 200, seeds=1, num_envs=2)
    second = Experiment(WALK, Wanderer(0.1), Novelty(), 200, 1, 2, init_from=first)
    configs = compare.configurations([second], film=False, uncatalogued=(WALK,))
    source, path = run_all(configs, tmp_path).directories
    assert run_all(configs, tmp_path).trained == 0
    tampered(source, source="0" * 64)
    with pytest.raises(RunDirectoryError, match="(?s)2 runs there.*run that it starts from came"):
        run_all(configs, tmp_path)
    run_all(configs[:1], tmp_path, stale="retrain")  # interrupted before the second
    tampered(source, source="1" * 64)
    code_now = code_of(configs[1], Walk(), tmp_path)
    assert judge(RunDirectory(path).read_code(), code_now).changed == (code.ORIGIN,)


def test_the_command_line_takes_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["compare", "--env", "chain/5", "--agent", "TabularQ()", "--bonus"]
    command += ["own_bonus:Paying", "--env-steps", "400", "--seeds", "1", "--no-film"]
    assert main(command) == 0
    (path,) = (each.parent for each in tmp_path.rglob("config.json"))
    capsys.readouterr()
    edit(own, "scale: float = 1.0", "scale: float = 1.0  # of the pay")
    importlib.reload(own)
    assert main(command) == 1
    assert "the source of own_bonus:Paying changed since" in capsys.readouterr().err
    assert main([*command, "--stale", "keep"]) == 0
    assert "Kept although it came from other code" in capsys.readouterr().out
    assert "Kept although" in (tmp_path / "runs" / "report.html").read_text()
    go_on = ["train", "--resume", str(path), "--trust", "own_bonus"]
    assert main(go_on) == 1
    assert "the source of own_bonus:Paying changed since" in capsys.readouterr().err
    assert main([*go_on, "--stale", "retrain"]) == 0
    assert main(command) == 0
    assert "Kept although" not in capsys.readouterr().out

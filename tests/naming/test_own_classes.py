"""Parts and tasks of the user's own by name, on the command line: what works, what is refused."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from explorax.bonuses import Scale
from explorax.cli import listing, main
from explorax.core.arguments import on_command_line
from explorax.core.errors import ExploraxError, Incompatible, InvalidSetting, UnknownName
from explorax.envs import DeepSea, NoisyTV, suite
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.task import Batched
from explorax.naming.own import TYPED
from explorax.report.configuration import command, pretty
from explorax.report.names import distinct_names, short_name
from explorax.report.read import read_run
from explorax.run.config import RunConfig
from explorax.run.evaluate import evaluate
from explorax.run.expressions import expression, parse

PARTS = '''
"""Parts of the user's own."""
import enum
from dataclasses import dataclass
from typing import Any
import jax, jax.numpy as jnp, numpy as np
from explorax.core.protocols import Box, Discrete

@dataclass(frozen=True)
class Physics:
    mass: float = 1.0

@dataclass(frozen=True)
class Bare:
    pass

@dataclass(frozen=True)
class AcrobotSparse:
    """Swing up, or do not."""

    power: float = 1.0  # of the motor
    physics: Any = Physics()
    action = Discrete(2)
    obs = Box((1,), -jnp.inf, jnp.inf)
    max_episode_steps = 10
    success_return = 1.0
    view = None

    def reset(self, key): return jax.random.uniform(key, ())
    def observe(self, state): return state[None]
    def step(self, state, key, action):
        x = state + 0.1 * self.power * action.astype(jnp.float32)
        return x, (x >= 1.0).astype(jnp.float32), x >= 1.0
    def draw(self, state): return np.zeros((20, 20, 3), np.uint8)
    def place(self, point): return point[0]

@dataclass(frozen=True)
class Novelty:
    """Pays for movement."""

    scale: float = 1.0
    replayable = True

    @classmethod
    def paper(cls): return cls(scale=3.0)
    def init(self, key, spec): return ()
    def score(self, state, key, rollout): return self.rescore(state, key, rollout), state
    def update(self, state, key, rollout): return state, {}
    def rescore(self, state, key, rows):
        return self.scale * jnp.abs(rows.next_obs - rows.obs)[..., 0]

@dataclass(frozen=True)
class Wanderer:
    rollout_length: int = 5

    def init(self, key, spec): return jnp.zeros(())
    def carry(self, spec): return ()
    def act(self, state, carry, key, percept, *, greedy=False):
        return jax.random.randint(key, percept.reward.shape, 0, 2), carry, {}
    def learn(self, state, key, rollout, rescore): return state, {}

class Plain: pass

class PlainTask(AcrobotSparse): pass

class Undecorated:
    action, obs, view = Discrete(2), Box((1,)), None
    max_episode_steps = success_return = None
    reset = observe = step = print

'''
WORLDS = """
import gymnasium

class Corridor(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(4)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, size=4): pass

gymnasium.register("own/Corridor-v0", Corridor)
gymnasium.register("Unversioned", Corridor)
Unversioned = Corridor
"""
SMALL = ("--env-steps", "200", "--num-envs", "2")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with own_parts.py in it, found from there alone."""
    path = tmp_path_factory.mktemp("own")
    (path / "own_parts.py").write_text(PARTS)
    (path / "own_worlds.py").write_text(WORLDS)
    (path / "own_broken.py").write_text("1 / 0\n")
    (path / "own_lacking.py").write_text("import no_such_module_at_all\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sys, "path", [each for each in sys.path if each])
        yield path
    import gymnasium

    for name in ("own/Corridor-v0", "Unversioned"):
        gymnasium.registry.pop(name, None)
    for name in ("own_parts", "own_worlds"):
        sys.modules.pop(name, None)


@pytest.fixture
def parts(here: Path) -> Any:
    sys.path.append(str(here))
    return importlib.import_module("own_parts")


def test_own_parts_are_made_within_ours_and_alone(parts: Any) -> None:
    made = parse("Scale(own_parts:Novelty(scale=2), 0.1)", "bonus", trust=TYPED)
    assert made == Scale(parts.Novelty(scale=2), 0.1)
    assert parse("own_parts:Novelty", "bonus", trust=("own_parts",)) == parts.Novelty()
    assert parse("own_parts:Novelty.paper()", "bonus", trust=TYPED) == parts.Novelty(3.0)
    assert parse("own_parts:Wanderer(7)", "agent", trust=TYPED) == parts.Wanderer(7)
    for value in (made, parts.AcrobotSparse(2.0, parts.Physics(0.5))):
        assert parse(expression(value), trust=TYPED) == value
    assert expression(made) == "Scale(bonus=own_parts:Novelty(scale=2), factor=0.1)"


def test_own_tasks_have_names_there_and_back(parts: Any) -> None:
    for name, task in (
        ("own_parts:AcrobotSparse", parts.AcrobotSparse()),
        ("own_parts:AcrobotSparse(power=2.0)", parts.AcrobotSparse(power=2.0)),
        (
            "own_parts:AcrobotSparse(physics=own_parts:Physics(mass=0.5))",
            parts.AcrobotSparse(physics=parts.Physics(0.5)),
        ),
        ("own_parts:AcrobotSparse(noisy_tv=3)", NoisyTV(parts.AcrobotSparse(), 3)),
        (
            "own_parts:AcrobotSparse(power=2.0, noisy_tv=3)",
            NoisyTV(parts.AcrobotSparse(power=2.0), 3),
        ),
    ):
        assert suite.make(name, 4) == Batched(task, 4)
        assert suite.name_of(task) == suite.name_of(name) == name
    assert suite.name_of("own_parts:AcrobotSparse(power=2)").endswith("(power=2.0)")
    assert suite.name_of(" own_parts:AcrobotSparse() ") == "own_parts:AcrobotSparse"


def test_names_that_a_module_registers_with_gymnasium_go_on_working(parts: Any) -> None:
    for id in ("own/Corridor-v0", "Unversioned"):
        env = suite.make(f"own_worlds:{id}", 2)
        assert suite.name_of(env) == f"own_worlds:{id}"
        assert env.spec.obs.shape == (4,)


@pytest.mark.parametrize(
    ("text", "kind", "error", "said"),
    [
        ("own_nothing:X()", "bonus", UnknownName, "there is no module 'own_nothing' to import"),
        ("own_parts.sub:X()", "bonus", UnknownName, "there is no module 'own_parts.sub' to imp"),
        ("own_parts:Noveltie()", "bonus", UnknownName, "no class 'Noveltie'. Did you mean 'Nov"),
        ("own_parts:Novelty(scal=1)", "bonus", UnknownName, "'scal'. Did you mean 'scale'?"),
        ("own_parts:Bare(size=3)", "bonus", InvalidSetting, "Bare has no settings, and was given"),
        ("own_parts:Novelty.papr()", "bonus", UnknownName, "'papr'. Did you mean 'paper'?"),
        (
            "own_parts:Wanderer()",
            "bonus",
            InvalidSetting,
            "own_parts:Wanderer is not a bonus: it has no replayable, score, update, rescore.",
        ),
        (
            "own_parts:Physics()",
            "encoder",
            InvalidSetting,
            "is not an encoder: it has no replayable",
        ),
        ("own_parts:Plain()", "bonus", InvalidSetting, "own_parts:Plain is not a dataclass"),
        ("Scale(own_parts:Plain(), 1.0)", "bonus", InvalidSetting, "Plain is not a dataclass"),
        ("own_parts:Novelty.__class__()", "bonus", UnknownName, "no named constructor"),
        ("own_parts:jax.jit()", "bonus", UnknownName, "has no class 'jax'"),
        ("own_parts:Novelty(open('f'))", "bonus", UnknownName, "'open'"),
        ("own_parts:Novelty(1 + 1)", "bonus", InvalidSetting, "'1 + 1' is not allowed"),
        ("own_broken:X()", "bonus", Incompatible, "importing own_broken raised ZeroDivisionEr"),
        ("own_lacking:X()", "bonus", Incompatible, "No module named 'no_such_module_at_all'"),
        ("__main__:Novelty()", "bonus", InvalidSetting, "Novelty was defined in a script or a no"),
        ("own_parts:f.locals.X()", "bonus", InvalidSetting, "X was defined within the function f"),
        ("X(labeled('a'))", "bonus", UnknownName, "no bonus 'X'"),
        ("Scale(labeled('a'), 1.0)", "bonus", InvalidSetting, "known by its label alone"),
    ],
)
def test_what_is_said_of_parts_that_cannot_be_made(
    text: str, kind: str, error: type, said: str, parts: Any
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        parse(text, kind, trust=TYPED)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("own_nothing:AcrobotSparse", UnknownName, "there is no module 'own_nothing' to import"),
        (
            "own_parts:AcrobotSparce",
            UnknownName,
            "has no class 'AcrobotSparce'. Did you mean 'AcrobotSparse'?",
        ),
        ("own_parts:AcrobotSparse(powr=1)", UnknownName, "'powr'. Did you mean 'power'?"),
        ("own_parts:AcrobotSparse(power='a')", InvalidSetting, "power must be a number"),
        ("own_parts:AcrobotSparse(power=True)", InvalidSetting, "power must be a number"),
        ("own_parts:AcrobotSparse(noisy_tv=-1)", InvalidSetting, "whole number of channels"),
        ("own_parts:AcrobotSparse(power=1", InvalidSetting, "no constructor expression"),
        (
            "own_parts:Physics",
            InvalidSetting,
            "Physics is not a task: it has no obs, action, max_ep",
        ),
        ("own_parts:Novelty()", InvalidSetting, "own_parts:Novelty is not a task: it has no obs"),
        ("own_parts:Undecorated", InvalidSetting, "own_parts:Undecorated is not a dataclass"),
        ("own_worlds:Corridor", InvalidSetting, "gymnasium.register(id='Corridor-v0', entry_poin"),
        ("__main__:Maze(size=3)", InvalidSetting, "Maze was defined in a script or a notebook"),
    ],
)
def test_what_is_said_of_tasks_that_cannot_be_made(
    name: str, error: type, said: str, parts: Any
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        _ = suite.make(name, 2).spec


def test_a_module_called_like_one_of_gymnasiums_registers_nothing_of_its(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gymnasium

    assert "acrobot:" in str(gymnasium.registry["Acrobot-v1"].entry_point)
    (here / "acrobot.py").write_text("class Swing: pass\n")
    with pytest.raises(UnknownName) as caught:
        _ = GymnasiumVector("acrobot:Acrobat-v1", 2).spec
    assert "It registers none" in str(caught.value)
    with pytest.raises(UnknownName, match="module acrobot has no class 'Acrobat'") as caught:
        _ = suite.make("acrobot:Acrobat", 2).spec
    assert "It registers Acrobot" not in str(caught.value)
    monkeypatch.delitem(sys.modules, "acrobot")


def test_text_alone_imports_nothing(here: Path) -> None:
    sys.modules.pop("own_parts", None)
    for make in (
        lambda: parse("own_parts:Novelty()", "bonus"),
        lambda: parse("Scale(own_parts:Novelty(), 1.0)", trust=("own", "own_parts.sub")),
    ):
        with pytest.raises(InvalidSetting, match=re.escape("add trust=('own_parts',).")):
            make()
    assert "own_parts" not in sys.modules


def test_trusting_a_package_is_trusting_what_is_in_it() -> None:
    with pytest.raises(UnknownName, match="there is no module 'own_nothing'"):
        parse("own_nothing.sub:X()", "bonus", trust=("own_nothing",))


def test_a_record_reads_back_with_trust_or_the_classes_themselves(parts: Any) -> None:
    config = RunConfig(
        "own_parts:AcrobotSparse", parts.Wanderer(), Scale(parts.Novelty(2.0), 0.1), 200
    )
    text = config.to_json()
    assert json.loads(text)["bonus"].startswith("Scale(bonus=own_parts:Novelty(scale=2.0)")
    assert RunConfig.from_json(text, trust=("own_parts",)) == config
    assert RunConfig.from_json(text, extra=(parts.Novelty, parts.Wanderer)) == config
    with pytest.raises(InvalidSetting, match="import own_parts"):
        RunConfig.from_json(text, extra=(parts.Novelty,))


def test_classes_of_functions_are_named_so_and_taken_as_extra(parts: Any) -> None:
    class Local(parts.Novelty):
        pass

    text = expression(Local(2.0))
    assert text.startswith("test_own_classes:test_classes_of_functions_")
    assert text.endswith(".locals.Local(scale=2.0)")
    assert parse(text, "bonus", extra=(Local,)) == Local(2.0)
    with pytest.raises(InvalidSetting, match=r"extra=\(Local,\)"):
        parse(text, "bonus", trust=TYPED)


def test_the_command_line_trains_evaluates_lists_and_reports(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.modules.pop("own_parts", None)
    env, agent = "own_parts:AcrobotSparse(power=2)", "own_parts:Wanderer()"
    bonus = "Scale(own_parts:Novelty(scale=2), 0.1)"
    made = ["train", "--env", env, "--agent", agent, "--bonus", bonus, *SMALL, "--no-film"]
    assert main(made) == 0
    (path,) = (config.parent for config in here.rglob("config.json"))
    sys.modules.pop("own_parts")

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 1
        assert "own_parts" not in sys.modules
        return capsys.readouterr().err

    for arguments in (("train", "--resume", str(path)), ("eval", str(path))):
        assert "add --trust own_parts." in refused(*arguments)
    with pytest.raises(InvalidSetting, match=r"add trust=\('own_parts',\)"):
        evaluate(path, episodes=1)

    assert main(["report", str(path)]) == 0
    import explorax as ex

    assert "own_parts:Novelty" in repr(ex.load(path))
    assert "own_parts" not in sys.modules  # a report and a result are made from text
    printed = command(read_run(path))
    assert '--env "' not in printed and "own_parts:AcrobotSparse(power=2.0)" in printed

    (path / "DONE").unlink()
    assert main(["train", "--resume", str(path), "--trust", "own_parts"]) == 0
    assert main(["eval", str(path), "--episodes", "1", "--trust", "own_parts"]) == 0
    capsys.readouterr()
    assert main(["list", "own_parts:AcrobotSparse", "own_parts:Novelty(scale=2)"]) == 0
    shown = capsys.readouterr().out
    assert "own_parts:AcrobotSparse (task)" in shown and "  power=1.0 " in shown
    assert "of the motor" in shown and "own_parts:Novelty (bonus)" in shown


def test_the_command_to_go_on_names_whom_to_trust(parts: Any) -> None:
    bonus = Scale(parts.Novelty(), 0.1)
    config = RunConfig("own_worlds:Maze-v0", parts.Wanderer(), bonus, 200)
    wanted = "explorax train --resume runs/x --trust own_worlds --trust own_parts"
    with on_command_line():
        assert config.continuing(Path("runs/x")) == wanted
    told = "the call that began it, with resume=True (compare goes on by itself)"
    assert config.continuing(Path("runs/x")) == told
    by_hand = RunConfig("__main__:Maze", parts.Wanderer(), bonus, 200)
    assert "resume=True and the same objects" in by_hand.continuing(Path("runs/x"))


def test_reports_call_own_parts_by_their_classes() -> None:
    mine, yours = "Scale(my:Novelty(a=1), 0.1)", "Scale(your.own:Novelty(a=1), 0.1)"
    assert short_name(mine) == "Novelty" and short_name("my:Novelty.paper()") == "Novelty.paper"
    assert distinct_names([mine, "VIME()"]) == {mine: "Novelty", "VIME()": "VIME"}
    names = distinct_names([mine, yours])
    assert names == {mine: "Novelty (module=my)", yours: "Novelty (module=your.own)"}
    assert short_name("my:Scale(VIME())") == "Scale"  # no wrapper of ours
    assert pretty("my:Novelty(a=1)", width=5) == "my:Novelty(\n    a=1,\n)"


def test_own_presets(here: Path, tmp_path: Path) -> None:
    from explorax.presets import preset

    (here / "own_study.py").write_text(
        "import explorax as ex\n"
        "def study(): return (ex.Experiment('chain/5', ex.TabularQ(), ex.NoBonus(), 900),)\n"
        "def none(): return 3\n"
    )
    (each,) = preset("own_study:study")
    assert each.env == "chain/5"
    with pytest.raises(InvalidSetting, match="must return a tuple of explorax.Experiment"):
        preset("own_study:none")
    with pytest.raises(UnknownName, match="no function 'stud'"):
        preset("own_study:stud")


def test_tasks_of_ours_may_stand_in_own_ones(parts: Any) -> None:
    with pytest.raises(UnknownName, match="'nothing'"):
        suite.make("own_parts:AcrobotSparse(nothing=DeepSea(5))", 1)
    made = suite.make("own_parts:AcrobotSparse(physics=DeepSea(size=5))", 1)
    assert made == Batched(parts.AcrobotSparse(physics=DeepSea(5)), 1)


def test_listing_says_what_is_wrong() -> None:
    with pytest.raises(ExploraxError, match="there is no module 'own_nothing'"):
        listing.describe("own_nothing:X")

"""The pages of docs/: generated tables, required sections, and examples that are true."""

import ast
import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from types import ModuleType

import jax
import pytest

import explorax
from explorax import envs, loop
from explorax.core.pytree import replace
from explorax.envs import suite
from explorax.naming import grammar

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ABOUT_ALL = ("README", "wrappers", "encoders")  # pages of no single bonus
BONUS_PAGES = [
    page for page in PAGES if page.parent.name == "bonuses" and page.stem not in ABOUT_ALL
]
AGENT_PAGES = [page for page in PAGES if page.parent.name == "agents" and page.stem != "README"]
INDEX = ROOT / "docs" / "bonuses" / "README.md"
AGENT_INDEX = ROOT / "docs" / "agents" / "README.md"
SECTIONS = (
    "Idea",
    "Equation",
    "Settings",
    "Metrics",
    "Details that mattered",
    "Our numbers",
    "Known failures",
)
BLOCK = re.compile(r"<!-- (?:settings|environment): (\w+) -->")


def _tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "settings_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = _tables()
PARTS = list(tables.classes())  # of all catalogues


def title(page: Path) -> str:
    return str(page.relative_to(ROOT / "docs"))


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    found = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_the_tables_of_settings_are_those_of_the_source(page: Path) -> None:
    text = page.read_text()
    assert text == tables.rewritten(text), f"{title(page)} is out of date: `make docs` writes it"


def test_a_table_that_is_out_of_date_is_written_anew() -> None:
    class_name, old = "Scale", "| `factor` | `2.0` | a lie |"
    page = f"before\n<!-- settings: {class_name} -->\n{old}\n<!-- end of settings -->\nafter\n"
    new = tables.rewritten(page)
    assert old not in new and "| `factor` | must be given | η" in new
    assert new.startswith("before\n") and new.endswith("\nafter\n")
    assert tables.rewritten(new) == new


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_its_section_and_its_table_on_one_page(name: str) -> None:
    pages = [page for page in PAGES if name in BLOCK.findall(page.read_text())]
    assert len(pages) == 1, f"`<!-- settings: {name} -->` stands on {[*map(title, pages)]}"
    headings = re.findall(r"^#+ (.+)$", pages[0].read_text(), re.MULTILINE)
    heard = {word for heading in headings for word in re.findall(r"\w+", heading)}
    assert name in heard, f"{title(pages[0])} has no heading with {name}"


@pytest.mark.parametrize("page", BONUS_PAGES, ids=title)
def test_the_page_of_a_bonus_has_its_sections(page: Path) -> None:
    text = page.read_text()
    found = sections(text)
    assert tuple(found) == SECTIONS
    assert all(re.sub(r"<!--.*?-->", "", body).strip() for body in found.values())
    idea = re.findall(r"[.?!](?=\s|$)", found["Idea"].replace("et al.", "et al"))
    assert len(idea) == 3, "the idea takes three sentences"
    assert re.search(r"arXiv[: ]\d{4}\.\d{4,5}|Sutton|19\d\d|20\d\d", found["Equation"]), (
        "no source"
    )
    assert BLOCK.search(found["Settings"]), "no table of settings"
    assert f"]({page.name})" in INDEX.read_text(), "the index has no link to it"


def example(page: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return a page's first example, from the command line and in Python, as texts of its parts."""
    text = page.read_text()
    shell = re.search(r"```bash\n(explorax train .*?)```", text, re.DOTALL)
    python = re.search(r"```python\n(?:import .*\n)?(ex\.train\(.*?\))\n```", text, re.DOTALL)
    assert shell and python, "no example, or not of both kinds"
    words = shlex.split(shell[1].replace("\\\n", " "))
    flags = dict(zip(words[2::2], words[3::2], strict=True))
    call = ast.parse(python[1], mode="eval").body
    assert isinstance(call, ast.Call)
    given = {each.arg or "": ast.unparse(each.value) for each in call.keywords}
    parts = ("env", "agent", "bonus")
    return (
        {part: flags[f"--{part}"] for part in parts if f"--{part}" in flags},
        {part: given[part].replace("ex.", "") for part in parts if part in given},
    )


@pytest.mark.parametrize("page", [*BONUS_PAGES, *AGENT_PAGES], ids=title)
def test_the_two_forms_of_an_example_mean_the_same(page: Path) -> None:
    shell, python = example(page)
    assert shell.keys() == python.keys() >= {"env", "agent"}
    assert "bonus" in shell or page in AGENT_PAGES
    assert shell["env"] == ast.literal_eval(python["env"])
    for kind in shell.keys() - {"env"}:
        assert explorax.parse(shell[kind], kind) == explorax.parse(python[kind], kind)


@cache
def logged(env: str, agent: str, bonus: str) -> frozenset[str]:
    """Return the metrics that a bonus logs, by tracing it. Raises where the parts do not fit."""
    world, learner = suite.make(env, 2), explorax.parse(agent, "agent")
    paid = explorax.parse(bonus, "bonus")

    def run(key: jax.Array) -> dict[str, jax.Array]:
        start = loop.start(world, learner, paid, key)
        _, rollout = loop.collect_on_device(world, learner, start.learner, start.actor)
        amount, state = paid.score(start.learner.bonus, key, rollout)
        return paid.update(state, key, replace(rollout, bonus=amount))[1]

    return frozenset(f"bonus/{name}" for name in jax.eval_shape(run, jax.random.key(0)))


@pytest.mark.parametrize("page", BONUS_PAGES, ids=title)
def test_the_metrics_of_a_bonus_are_explained(page: Path) -> None:
    told = set(re.findall(r"`(bonus/[\w/]+)`", sections(page.read_text())["Metrics"]))
    world = {**example(page)[0]}
    for name in set(BLOCK.findall(page.read_text())) & set(tables.catalogue("bonus")):
        own = logged(**{**world, "bonus": f"{name}()"})
        assert own <= told, f"{title(page)} does not say what {own - told} is"
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    invented = {name for name in told if f'"{name.rpartition("/")[2]}"' not in source}
    assert not invented


LOSSES = "PixelControl(cell=1), FeatureControl(), RewardPrediction(), ValueReplay()"
LEARNERS = [
    ("trpo", "TRPO(bonus_discount=0.99)", "pendulum_swing_up"),
    ("reinforce", "REINFORCE(bonus_discount=0.99)", "pendulum_swing_up"),
    ("erwr", "ERWR(bonus_discount=0.99)", "pendulum_swing_up"),
    ("dqn", "DQN()", "deep_sea/5"),
    ("ensemble_dqn", "EnsembleDQN()", "deep_sea/5"),
    ("tabular_q", "TabularQ()", "deep_sea/5"),
    ("mpo", "MPO()", "pendulum_swing_up"),
    ("mpo", "MPO()", "deep_sea/5"),
    ("soft_q", "SoftQ()", "multi_goal"),
    ("soft_q", "SoftQ()", "deep_sea/5"),
    ("a2c", "A2C(bonus_discount=0.99)", "pendulum_swing_up"),
    ("ppo", "PPO(bonus_discount=0.99)", "pendulum_swing_up"),
    ("unreal", f"UNREAL(A2C(bonus_discount=0.99), ({LOSSES}))", "memory_maze/7"),
]


@pytest.mark.parametrize(("stem", "agent", "env"), LEARNERS)
def test_the_metrics_of_an_agent_are_explained(stem: str, agent: str, env: str) -> None:
    page = next(page for page in AGENT_PAGES if page.stem == stem)
    told = set(re.findall(r"`agent/(\w+)`", sections(page.read_text())["Metrics"]))
    world, learner, unpaid = suite.make(env, 2), explorax.parse(agent, "agent"), explorax.NoBonus()

    def run(key: jax.Array) -> dict[str, jax.Array]:
        training = loop.start(world, learner, unpaid, key)
        return loop.chunk_on_device(world, learner, unpaid, 1, training)[1]

    its = {name for name in jax.eval_shape(run, jax.random.key(0)) if name.startswith("agent/")}
    assert its and its <= {f"agent/{name}" for name in told}


@pytest.mark.parametrize("page", AGENT_PAGES, ids=title)
def test_the_page_of_an_agent_is_linked_and_has_one_table(page: Path) -> None:
    text = page.read_text()
    assert len(BLOCK.findall(text)) == 1 and f"]({page.name})" in AGENT_INDEX.read_text()


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_expression_on_a_page_can_be_parsed(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"<!-- settings.*?<!-- end of settings -->", "", text, flags=re.DOTALL)
    known = tables.classes().keys() - set(envs.__all__)  # tasks are written by their names
    for span in re.findall(r"`([A-Z]\w+\([^`]*\))`", text):
        if span.partition("(")[0] in known:
            explorax.parse(span)


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_expression_of_a_command_can_be_parsed(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    for kind, quoted in re.findall(r'--(agent|bonus) "([^"]*)"', text):
        if grammar.own_names(quoted):  # the reader's own parts, which are not here
            assert grammar.tree(quoted)
        else:
            explorax.parse(quoted, kind)

"""Every example of the pages: run with few steps on the main pages, traced on all others.

A block that begins with the comment `# not run:` and a reason is for reading only. Of a bash block
the lines that begin with `explorax` are what counts.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import pytest

import explorax
from explorax import api, loop
from explorax.cli import main
from explorax.envs import suite

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("README.md", "docs/index.md", "docs/tour.md", "docs/extending.md")  # from top to bottom
SKELETON = "# src/explorax/"  # tests/test_contributing.py trains with these
# tests_sb3/test_examples.py runs the first, with Stable-Baselines3; test_your_environment.py trains
# in the module of the second.
ELSEWHERE = (("docs/your_trainer.md", "python"), ("docs/your_environment.md", "python"))
NOT_RUN = "# not run: "
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEPS, SEEDS = 5_000, 2  # one rollout of TRPO
SOME_RUN = re.compile(r"(runs/\S+?)/1a2b3c4d")  # how pages write a run's directory


@dataclass(frozen=True)
class Example:
    """One block of a page."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands of explorax in it, as words."""
        lines = self.text.replace("\\\n", " ").split("\n")
        words = [shlex.split(line, comments=True) for line in lines]
        return [each[1:] for each in words if each and each[0] == "explorax"]


def examples(page: Path) -> list[Example]:
    """Return the blocks of a page that are to be run, in order."""
    name = str(page.relative_to(ROOT))
    found = [Example(name, *each) for each in BLOCK.findall(page.read_text())]
    here = [each for each in found if (name, each.language) not in ELSEWHERE]
    return [each for each in here if not each.text.startswith((NOT_RUN, SKELETON))]


def test_what_is_not_run_says_why() -> None:
    for page in PAGES:
        for language, text in BLOCK.findall(page.read_text()):
            first = text.split("\n")[0]
            assert "not run" not in first or len(first) > len(NOT_RUN) + 10, (page, language)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder to run in, where trainings and comparisons are short. Returns the folder."""
    train, compare = api.train, api.compare

    def trained(env: Any, *parts: Any, seeds: int = 1, **others: Any) -> Any:
        given: dict[str, Any] = dict(zip(("agent", "bonus", "env_steps"), parts, strict=False))
        given.update(others, env_steps=STEPS, seeds=min(seeds, SEEDS), overwrite=True)
        given.update(film=False, progress=False)
        return train(env, **given)

    def compared(name: str = "", **others: Any) -> Any:
        if name:  # `make demo` trains one for real
            assert api.plan(name, budget=others.get("budget", 1.0))
            return "planned"
        others |= {"env_steps": STEPS, "seeds": SEEDS, "film": False, "progress": False}
        return compare(**others)

    monkeypatch.setattr(api, "train", trained)
    monkeypatch.setattr(api, "compare", compared)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def there_is(words: list[str], folder: Path) -> list[str]:
    """Return a command with a run of the same agent in place of a directory that is made up."""

    def real(match: re.Match[str]) -> str:
        agent = Path(match[1]).name.split("+")[0]
        found = [each.parent for each in folder.rglob("config.json") if agent in each.parts[-3]]
        return str(found[0].relative_to(folder))

    return [SOME_RUN.sub(real, word) for word in words]


@pytest.mark.parametrize("page", RUN)
def test_the_examples_of_a_page_run_from_top_to_bottom(page: str, short: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for example in examples(ROOT / page):
        if example.language == "python":
            exec(example.text, names)
        for words in example.commands:
            assert main(there_is(words, short)) == 0, words


@cache
def _traced(env: str, agent: str, bonus: str) -> None:
    """Trace one chunk of a training. Raises where the parts do not fit together."""
    world, learner = suite.make(env, 2), explorax.parse(agent, "agent")
    paid = explorax.parse(bonus, "bonus")

    def begin(key: jax.Array) -> Any:
        return learner.init(key, world.spec), paid.init(key, world.spec)

    def run(key: jax.Array) -> Any:
        start = loop.start(world, learner, paid, key)
        return loop.chunk_on_device(world, learner, paid, 1, start)

    jax.eval_shape(run if world.traceable else begin, jax.random.key(0))


@pytest.fixture
def only_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace what is to be trained, and train nothing."""

    def trained(
        env: str, agent: Any = "TRPO()", bonus: Any = "NoBonus()", *_: int, **__: Any
    ) -> Any:
        _traced(env, str(agent), str(bonus))
        return SimpleNamespace(directory=Path("runs"))

    def compared(
        name: str = "", *, env: Any = (), agent: Any = (), bonus: Any = (), **others: Any
    ) -> Any:
        if name:
            return api.plan(name)
        several = [each if isinstance(each, tuple) else (each,) for each in (env, agent, bonus)]
        return [trained(*each) for each in product(*several)]

    monkeypatch.setattr(api, "train", trained)
    monkeypatch.setattr(api, "compare", compared)


@pytest.fixture
def with_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the modules that a page trains in: one whose text it has, and one that it only names."""
    text = (ROOT / "docs" / "your_environment.md").read_text()
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    worlds = {"my_worlds": "Corridor-v0", "my_package": "MyEnv-v0"}
    for name, world in worlds.items():
        (tmp_path / f"{name}.py").write_text(module.replace("Corridor-v0", world))
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name, world in worlds.items():
        sys.modules.pop(name, None)
        gymnasium.registry.pop(world, None)


OTHERS = [page for page in PAGES if str(page.relative_to(ROOT)) not in RUN and examples(page)]


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("only_traced", "with_modules")
def test_the_examples_of_a_page_fit_together(page: Path) -> None:
    parts = {name: getattr(explorax, name) for name in dir(explorax)}
    snippets = parts | {"ex": explorax, "dataclass": dataclass, "jax": jax, "jnp": jnp}
    for example in examples(page):
        if example.language == "python":
            exec(example.text, snippets | {"__name__": "page"})
        for words in example.commands:
            assert words[0] in ("train", "compare", "list"), "the main pages run the others"
            assert main(words) == 0, words

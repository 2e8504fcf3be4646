"""What the site is made of besides pages: the API's pages, and docstrings as markup."""

import dataclasses
import importlib
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docutils.core import publish_doctree

import explorax

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = ("agents", "auxiliaries", "behaviors", "bonuses", "densities", "encoders", "envs")


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The modules beside the site's configuration."""
    names = ("api_pages", "docstrings")
    sys.path.insert(0, str(DOCS))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(DOCS))
    for name in names:
        del sys.modules[name]


def inventory(names: list[str]) -> bytes:
    """Return names as Sphinx writes them: four lines of comment, then a line each, compressed."""
    lines = "".join(f"{name} py:class 1 page.html#$ -\n" for name in names)
    return b"# one\n# two\n# three\n# four\n" + zlib.compress(lines.encode())


def test_every_part_and_function_is_public(modules: dict[str, Any]) -> None:
    public = modules["api_pages"].public()
    assert len(public) == len(set(public))
    for package in PACKAGES:
        module = importlib.import_module(f"explorax.{package}")
        assert {f"explorax.{package}.{name}" for name in module.__all__} <= set(public)
    functions = [name for name in dir(explorax) if name in ("train", "compare", "Result")]
    assert {f"explorax.{name}" for name in functions} <= set(public) and len(functions) == 3
    assert {"explorax.core.protocols.Bonus", "explorax.ops.returns.gae"} <= set(public)
    assert not [name for name in public if "._" in name or ".cli." in name]


def test_what_the_inventory_lacks_is_told(modules: dict[str, Any]) -> None:
    pages = modules["api_pages"]
    public = pages.public()
    assert pages.missing(inventory(public)) == []
    lost = ["explorax.agents.TRPO", "explorax.ops.returns.gae"]
    assert pages.missing(inventory([name for name in public if name not in lost])) == lost


def test_the_pages_of_the_api_are_written_once(modules: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "gone.rst").write_text("of a package that is no more")
    modules["api_pages"].write(tmp_path)
    pages = {path.stem: path.read_text() for path in tmp_path.glob("*.rst")}
    assert {*PACKAGES, "explorax", "core", "loop", "ops", "nets", "run", "report"} <= set(pages)
    assert "gone" not in pages and "cli" not in pages
    assert ".. autofunction:: explorax.train" in pages["explorax"]
    helper = pages["bonuses"].partition(".. automodule:: explorax.bonuses.vime\n")[2]
    assert "VIME" in helper.partition("..")[0], "a part is shown with its package and nowhere else"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.rst")}
    modules["api_pages"].write(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.rst")}


DOCSTRING = """\
Return |s'| of *obs_shape for `name`s, and x_ of [T, E].

    r(s, a) = ½ ‖s'‖²
      where s' comes next

- one item of `a_list`
  that goes on
- another

-x begins no option, and 1.5 <no> list. E. g. this.
1. first
2. second
"""


def test_a_docstring_shows_what_it_says(modules: dict[str, Any]) -> None:
    text = "\n".join(modules["docstrings"].converted(DOCSTRING.split("\n")))
    tree = publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 2})
    tags = [each.tagname for each in tree.children]
    assert tags == ["paragraph", "literal_block", "bullet_list", "paragraph", "enumerated_list"]
    first, equation, items, prose, numbered = (each.astext() for each in tree.children)
    assert first == "Return |s'| of *obs_shape for names, and x_ of [T, E]."
    assert equation == "r(s, a) = ½ ‖s'‖²\n  where s' comes next"
    assert items.split() == "one item of a_list that goes on another".split()
    assert prose == "-x begins no option, and 1.5 <no> list. E. g. this."
    assert numbered.split() == ["first", "second"]


def test_fields_are_told_by_their_comments(modules: dict[str, Any]) -> None:
    told = modules["docstrings"].fields(explorax.VIME)
    assert ":param prior_std: also every σ at the start" in told
    lines = ["Car(position: float)"]

    @dataclasses.dataclass
    class Car:
        position: float

    modules["docstrings"].process(None, "class", "Car", Car, None, lines)
    assert lines == [], "the signature is no docstring"

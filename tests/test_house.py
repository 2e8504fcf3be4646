"""What holds for the repository as a whole: its files, its locks, its pages."""

import ast
import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import explorax
from explorax.cli import options

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LOCKS = ("requirements.txt", "requirements-dev.txt")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(
    str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")
))  # fmt: skip
CATALOGUES = (
    "agents",
    "behaviors",
    "bonuses",
    "densities",
    "encoders",
    "envs",
    "posteriors",
    "presets",
)

# 250 lines are a good size for a file, and a concept per file is the rule; a function has about 60.
MOST_LINES, MOST_FUNCTION_LINES, DEEPEST_NESTING = 450, 75, 2


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    """Return the text files that git tracks, or skip where this is no clone."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a clone")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    binary = {".png", ".gif", ".npz", ".pdf"}
    return [file for file in files if file.is_file() and file.suffix not in binary]


def pins(lock: str) -> dict[tuple[str, str], list[str]]:
    """Return {(name==version, marker): hashes} of a requirements file."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    parsed = {}
    for entry in entries:
        requirement, *hashes = entry.split("--hash=")
        pin, _, marker = requirement.partition(";")
        parsed[pin.strip(), marker.strip()] = [each.strip() for each in hashes]
    return parsed


def test_no_address_of_a_package_index() -> None:
    """Where packages come from is the business of each machine, not of this repository."""
    # In two parts, so that this file does not find itself.
    hosts = [("py", "pi.org"), ("python", "hosted.org"), ("ana", "conda.org"), ("npm", "js.")]
    switches = [("index", "-url"), ("find", "-links"), ("index", "_url"), ("trusted", "-host")]
    forbidden = re.compile("|".join(re.escape(a + b) for a, b in hosts + switches))
    found = {name_of(file): forbidden.findall(file.read_text()) for file in tracked()}
    assert not {name: hits for name, hits in found.items() if hits}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text()
    entries = pins(lock)
    assert len(entries) > 30
    for (pin, _), hashes in entries.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", pin), pin
        assert hashes, f"{pin} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin


def test_the_locks_agree_and_hold_every_dependency() -> None:
    runtime, everything = (pins(lock) for lock in LOCKS)
    assert runtime.items() <= everything.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    def missing(wanted: list[str], lock: dict[tuple[str, str], list[str]]) -> set[str]:
        locked = {pin.split("==")[0] for pin, _ in lock}
        names = [re.split(r"[<>=!~ \[]", each)[0] for each in wanted]
        return {re.sub(r"[-_.]+", "-", name).lower() for name in names} - locked

    assert not missing(project["project"]["dependencies"] + groups["build"], runtime)
    assert not missing([each for each in groups["dev"] if isinstance(each, str)], everything)
    assert not missing(project["build-system"]["requires"], runtime)


def test_the_version_is_said_once() -> None:
    assert explorax.__version__ == importlib.metadata.version("explorax")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = "dev" not in explorax.__version__
    assert f"## {explorax.__version__ if released else 'Unreleased'}" in changelog
    assert "### Numbers changed" in changelog


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_keeps_its_budget(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    tree = ast.parse(text)
    empty_or_version = not tree.body or path.name == "_version.py"
    assert empty_or_version or ast.get_docstring(tree), "no docstring at the top"
    too_long, too_deep = [], []

    def visit(node: ast.AST, nested: int) -> None:
        for child in ast.iter_child_nodes(node):
            is_function = isinstance(child, ast.FunctionDef)
            if is_function:
                last = child.end_lineno or child.lineno
                if last - child.body[0].lineno + 1 > MOST_FUNCTION_LINES:
                    too_long.append(child.name)
                if nested > DEEPEST_NESTING:
                    too_deep.append(child.name)
            visit(child, nested + is_function)

    visit(tree, 0)
    assert not too_long, f"functions of more than {MOST_FUNCTION_LINES} lines"
    assert not too_deep, f"definitions nested more than {DEEPEST_NESTING} deep"


@pytest.mark.parametrize("package", CATALOGUES)
def test_every_entry_of_a_catalogue_says_what_it_is(package: str) -> None:
    module = importlib.import_module(f"explorax.{package}")
    assert module.__all__
    for name in module.__all__:
        doc = getattr(module, name).__doc__ or ""
        # A dataclass without a docstring gets its signature for one.
        assert doc.strip() and not doc.startswith(f"{name}("), f"{name} has no docstring"
        first = inspect.cleandoc(doc).split("\n")[0]
        assert len(first) <= 110, f"the first line of {name} is no line: {first}"


def test_every_make_command_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "lint", "types", "layers", "bench", "lock"} <= targets
    used: dict[str, set[str]] = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        used[page] = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE))
    assert "demo" in used["README.md"] and "test" in used["README.md"]
    assert not {page: names - targets for page, names in used.items() if names - targets}


@pytest.mark.parametrize(("owner", "refused"), [("/another/checkout", True), (str(ROOT), False)])
def test_the_environment_of_another_checkout_is_left_alone(
    tmp_path: Path, owner: str, refused: bool
) -> None:
    installed = tmp_path / "site" / "explorax-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: explorax\nVersion: 0\n")
    (installed / "direct_url.json").write_text(f'{{"url": "file://{owner}"}}')
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "owner", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode != 0) == refused
    assert not refused or f"installed from {owner}, another checkout" in done.stderr


def test_an_environment_whose_python_does_not_run_is_nobodys(tmp_path: Path) -> None:
    """`make` makes it anew, as where there is none."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 127\n")
    python.chmod(0o755)
    subprocess.run(["make", "owner", f"VENV={tmp_path}"], cwd=ROOT, check=True, timeout=60)


def test_every_explorax_command_on_a_page_exists() -> None:
    commands = {
        name: {field.name.replace("_", "-") for field in dataclasses.fields(cls)}
        for name, cls in options.COMMANDS.items()
    }
    line = re.compile(r"(?:^|`)explorax ([a-z]+)(.*?)(?:`|$)", re.MULTILINE)
    for page in PAGES:
        text = (ROOT / page).read_text().replace("\\\n", " ")
        for command, rest in line.findall(text):
            assert command in commands, f"{page}: explorax {command}"
            flags = set(re.findall(r"(?<=\s)--([a-z-]+)", re.sub(r'"[^"]*"', "", rest)))
            assert flags <= commands[command] | {"help", "out"}, f"{page}: explorax {command}{rest}"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / page).read_text())
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_the_hooks_fetch_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: *(\S+)", text) == ["local"]
    assert set(re.findall(r"language: *(\S+)", text)) == {"system"}


def test_the_licence_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "LICENSE").read_text()
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text and "Version 2.0, January 2004" in text

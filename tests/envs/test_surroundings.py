"""A worker process finds what the process that trains finds: path, warnings, locale, streams."""

import locale
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import observant
import pytest

from explorax.core.errors import Incompatible, UnknownName
from explorax.envs import surroundings
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.supervision import Supervision
from explorax.naming.importing import importable, user_module

SHADOWS = ("types", "logging", "json", "random", "numpy", "jax", "gymnasium")


def seen_by(workers: int) -> dict[str, float]:
    env = GymnasiumVector("observant:Observant-v0", 1, supervision=Supervision(workers=workers))
    _, first = env.reset(jax.random.key(0))
    return dict(zip([*observant.SEES, "there_twice"], first[0].tolist(), strict=True))


@pytest.fixture
def installed_and_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that is both installed, where it says 9, and in the working directory, where it says
    45; there too are files with the names of Python's own modules and of others."""
    here, installed = tmp_path / "here", tmp_path / "installed"
    here.mkdir()
    installed.mkdir()
    (here / "there_twice.py").write_text("VALUE = 45\n", encoding="utf-8")
    (installed / "there_twice.py").write_text("VALUE = 9\n", encoding="utf-8")
    for name in SHADOWS:
        (here / f"{name}.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*filter(None, sys.path), str(installed)])
    yield
    sys.modules.pop("there_twice", None)


@pytest.mark.usefixtures("installed_and_here")
def test_a_module_that_is_there_twice_is_the_same_one_in_every_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seen_by(workers=0)["there_twice"] == 9
    assert seen_by(workers=1)["there_twice"] == 9
    # a script's own directory comes first, in every process
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), *sys.path])
    for name in SHADOWS:
        Path(f"{name}.py").unlink()
    del sys.modules["there_twice"]
    assert seen_by(workers=0)["there_twice"] == 45
    assert seen_by(workers=1)["there_twice"] == 45


def test_a_worker_sees_all_that_this_process_sees() -> None:
    before = locale.setlocale(locale.LC_ALL)
    try:
        # numbers and texts of a category that no environment variable sets here
        other = "C.utf8" if before == "C" or "LC_NUMERIC=C;" in before else "C"
        locale.setlocale(locale.LC_NUMERIC, other)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "a remark of nobody's", DeprecationWarning)
            alone, apart = seen_by(workers=0), seen_by(workers=1)
    finally:
        locale.setlocale(locale.LC_ALL, before)
    assert apart == alone


def test_the_interpreter_of_a_worker_has_the_flags_and_the_path_of_this_one(
    tmp_path: Path,
) -> None:
    """Also where this one reads no environment variables and writes no bytecode."""
    script = """
        import subprocess, sys
        from explorax.envs.surroundings import interpreter

        sys.path.append("")
        code = "print([sys.path, sys.flags[:], sys.warnoptions, sys.argv[1:]])"
        said = subprocess.run(interpreter(code, [7]), capture_output=True, text=True, check=True)
        there = eval(said.stdout)
        here = [sys.path, sys.flags[:], sys.warnoptions, ["7"]]
        assert there == here, f"{there} {here}"
    """
    source = str(Path(surroundings.__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {source!r})\n{textwrap.dedent(script)}"
    (tmp_path / "types.py").write_text("1 / 0\n", encoding="utf-8")
    for flags in (["-I"], ["-P", "-B", "-O", "-W", "error::UserWarning", "-X", "utf8"]):
        subprocess.run([sys.executable, *flags, "-c", code], cwd=tmp_path, check=True)


def test_modules_of_the_working_directory_are_looked_for_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "types.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "my_parts_1.py").write_text("VALUE = 3\n", encoding="utf-8")
    (tmp_path / "my_parts_2.py").write_text("raise SystemExit(4)\n", encoding="utf-8")
    assert importable() == str(tmp_path) == sys.path[-1]
    assert importable() == str(tmp_path) != sys.path[-2]  # once
    assert user_module("my_parts_1", "it", "").VALUE == 3
    assert user_module("types", "it", "").SimpleNamespace
    with pytest.raises(Incompatible, match="it: importing my_parts_2 raised SystemExit: 4. Mend"):
        user_module("my_parts_2", "it", "")
    with pytest.raises(UnknownName, match="it: there is no module 'my_parts_3'.* Or so."):
        user_module("my_parts_3", "it", "Or so.")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert importable() == ""
    assert user_module("my_parts_1", "it", "").VALUE == 3
    assert sys.path.count(str(tmp_path)) == 1

"""Where compiled programs are kept, what a killed process leaves, and runs that do without."""

import errno
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

from explorax.run import cache
from explorax.run.cache import cache_directory, use_compilation_cache

OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has said where programs are kept."""
    before = {name: jax.config.values[name] for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)
    for name in ("EXPLORAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def kept_in() -> Any:
    use_compilation_cache()
    return jax.config.values["jax_compilation_cache_dir"]


@pytest.mark.usefixtures("unset")
def test_programs_are_kept_below_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kept_in() == str(tmp_path / ".cache" / "explorax" / "jax")
    there = (tmp_path / ".cache" / "explorax" / "jax").iterdir()
    assert [path.name for path in there] == [f".writing-{os.getpid()}"]
    monkeypatch.setenv("EXPLORAX_CACHE", "~/programs")
    assert cache_directory() == tmp_path / "programs"


@pytest.mark.usefixtures("unset")
def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert kept_in() is None


@pytest.mark.usefixtures("unset")
def test_a_full_or_read_only_disk_has_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("EXPLORAX_CACHE", str(tmp_path / "file"))
    assert kept_in() is None
    monkeypatch.setenv("EXPLORAX_CACHE", str(tmp_path))

    def full(**_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert kept_in() is None


def dead() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("process", [dead, os.getpid], ids=["dead", "dead, of this one's number"])
def test_half_an_entry_of_a_dead_process_is_deleted_and_no_other(
    tmp_path: Path, process: Callable[[], int]
) -> None:
    whole = zlib.compress(bytes(range(256)) * 9)
    contents = {"whole": whole, "half": whole[:-9], "none": b"", "old": whole[:-9]}
    for name, data in contents.items():
        (tmp_path / f"{name}-cache").write_bytes(data)
    (tmp_path / "else").write_bytes(whole[:-9])
    os.utime(tmp_path / "old-cache", (1, 1))  # from before the process
    there = entries(tmp_path)
    runs, ended = tmp_path / f".writing-{os.getppid()}", tmp_path / f".writing-{process()}"
    runs.touch()
    cache._mend(tmp_path)
    assert entries(tmp_path) == there | {runs.name}
    ended.touch()
    cache._mend(tmp_path)
    assert entries(tmp_path) == there - {"half-cache", "none-cache"} | {runs.name}


def test_what_is_compressed_in_a_way_unknown_here_stays() -> None:
    import importlib.util

    known = any(importlib.util.find_spec(name) for name in ("compression", "zstandard"))
    assert cache._is_whole(b"\x28\xb5\x2f\xfd and more") is not known


def test_a_process_marks_itself_and_takes_its_mark_back(tmp_path: Path) -> None:
    code = (
        "from explorax.run.cache import use_compilation_cache as use; use(); use(); "
        "from pathlib import Path; print(*(p.name for p in Path('jax').iterdir()))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}"],
        env=environment | {"EXPLORAX_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(".writing-")
    assert not list((tmp_path / "jax").iterdir())

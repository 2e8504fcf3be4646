"""Where compiled programs are kept, and that a run does without where they cannot be."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

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
    assert not list((tmp_path / ".cache" / "explorax" / "jax").iterdir())
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

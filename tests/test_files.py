"""Files that are there as a whole or not at all, whatever the disk does, and homes in paths."""

import ast
import errno
import os
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from explorax.core.errors import CheckpointError, RunDirectoryError
from explorax.files import check_is_utf_8, user_path, write_atomically, write_text

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_what_was_there_stays_where_the_disk_is_full(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    write_text(path, "old")
    monkeypatch.setattr(os, fails, full)
    with pytest.raises(RunDirectoryError) as caught:
        write_text(path, "new")
    assert f"Cannot write {path}: No space left on device. Free space" in str(caught.value)
    with pytest.raises(CheckpointError, match="Cannot write .* Do something. What was written"):
        write_atomically(path, lambda file: file.write(b""), "Do something.", CheckpointError)
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_nothing_is_left_of_what_could_not_be_made(tmp_path: Path) -> None:
    def fill(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "page.html", fill)
    assert not list(tmp_path.iterdir())


def test_links_are_followed_and_devices_are_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "page.html"
    link.symlink_to(tmp_path / "real" / "page.html")
    write_text(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "page.html").read_text(encoding="utf-8") == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    full_disk = Path("/dev/full")
    if full_disk.exists():
        with pytest.raises(RunDirectoryError, match="Cannot write /dev/full: No space left"):
            write_text(full_disk, "anything")
        assert full_disk.is_char_device()


def test_text_is_utf_8_and_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Übung \udcff")
    assert (tmp_path / "a.txt").read_bytes() == "Übung \\udcff".encode()


@pytest.mark.parametrize(
    ("encoding", "path", "fine"),
    [
        ("utf-8", "Übung", True),
        ("utf-8", "by\udcfftes", False),
        ("iso8859-1", "Ãœbung", False),  # what the bytes of UTF-8 look like there
        ("iso8859-1", "Übung", False),
        ("ascii", "\udcc3\udc9cbung", False),
        ("ascii", "Uebung", True),
    ],
)
def test_a_path_that_is_not_utf_8_is_refused(
    encoding: str, path: str, fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded(text: str) -> bytes:
        return text.encode(encoding, "surrogateescape")

    monkeypatch.setattr(os, "fsencode", encoded)
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    if fine:
        check_is_utf_8(Path("/") / path)
    else:
        told = f"encoding is {encoding}, .*PYTHONUTF8=1"  # which would change nothing in UTF-8
        told = r"and these bytes are not\. Choose" if encoding == "utf-8" else told
        with pytest.raises(RunDirectoryError, match=told):
            check_is_utf_8(Path("/") / path)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_file_of_text_is_read_and_written_as_utf_8(path: Path) -> None:
    """Whatever the locale: open, read_text and write_text, and what other processes print."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).rpartition(".")[2]
        given = {each.arg for each in call.keywords}
        modes = [each.value for each in call.args if isinstance(each, ast.Constant)]
        binary = any(isinstance(mode, str) and "b" in mode for mode in modes)
        opens = name == "open" and bool(modes) and not binary
        if opens or name == "read_text" or (name == "open" and not call.args):
            assert "encoding" in given, ast.unparse(call)
        if name == "write_text" and isinstance(call.func, ast.Attribute):
            ours = ast.unparse(call.func.value) == "files"
            assert ours or "encoding" in given, ast.unparse(call)
        assert not given & {"text", "universal_newlines"}, ast.unparse(call)


def test_a_tilde_is_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/runs") == tmp_path / "runs"
    assert user_path(Path("~")) == tmp_path
    assert user_path("runs/~x") == Path("runs/~x")
    with pytest.raises(
        RunDirectoryError, match="in place of ~nobody_of_that_name .*Write the path out"
    ):
        user_path("~nobody_of_that_name/runs")

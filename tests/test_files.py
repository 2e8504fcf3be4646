"""Files that are there as a whole or not at all, whatever the disk does, and homes in paths."""

import errno
import os
from pathlib import Path
from typing import IO, Any

import pytest

from explorax.core.errors import CheckpointError, RunDirectoryError
from explorax.files import user_path, write_atomically, write_text


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


def test_a_tilde_is_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/runs") == tmp_path / "runs"
    assert user_path(Path("~")) == tmp_path
    assert user_path("runs/~x") == Path("runs/~x")
    with pytest.raises(RunDirectoryError, match="in place of ~nobody_of_that_name .* or ./~nob"):
        user_path("~nobody_of_that_name/runs")

"""The run directory: what it refuses, what it leaves when the disk fails, and its log."""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import Novelty, Wanderer

from explorax.core.arguments import on_command_line
from explorax.core.errors import CheckpointError, RunDirectoryError
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory, write_text
from explorax.run.log import MetricsFile, cell

CONFIG = RunConfig("walk", Wanderer(), Novelty(), env_steps=100, num_envs=4)


@pytest.fixture
def made(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(CONFIG.directory(tmp_path))
    directory.create(CONFIG.to_json())
    return directory


def test_a_fresh_place_is_free_and_the_configuration_reads_back(tmp_path: Path) -> None:
    directory = RunDirectory(CONFIG.directory(tmp_path))
    directory.check_free(CONFIG, resume=False, overwrite=False)
    directory.create(CONFIG.to_json())
    assert directory.read_config((Wanderer, Novelty)) == CONFIG


def test_what_is_there_is_not_overwritten_silently(made: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        made.check_free(CONFIG, resume=False, overwrite=False)
    message = str(caught.value)
    assert str(made.path) in message
    for way in ("resume=True", "overwrite=True", "root="):
        assert way in message
    with (
        on_command_line(),
        pytest.raises(RunDirectoryError, match="--resume .* --overwrite .* --r"),
    ):
        made.check_free(CONFIG, resume=False, overwrite=False)
    made.check_free(CONFIG, resume=True, overwrite=False)
    made.check_free(CONFIG, resume=False, overwrite=True)
    with pytest.raises(RunDirectoryError, match="give one"):
        made.check_free(CONFIG, resume=True, overwrite=True)
    made.write_done("")
    made.check_free(CONFIG, resume=False, overwrite=False)
    made.config.unlink()
    with pytest.raises(RunDirectoryError, match="an unfinished run"):
        made.check_free(CONFIG, resume=False, overwrite=False)


def test_another_experiment_is_not_resumed(made: RunDirectory) -> None:
    other = RunConfig("walk", Wanderer(), Novelty(), env_steps=100, num_envs=4, seed=3)
    with pytest.raises(RunDirectoryError, match=r"first seed 0; wanted .*first seed 3"):
        made.check_free(other, resume=True, overwrite=False)
    made.config.write_text("{}")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        made.check_free(CONFIG, resume=True, overwrite=False)


def test_overwriting_leaves_a_strangers_files(made: RunDirectory) -> None:
    (made.path / "notes.txt").write_text("mine")
    (made.checkpoints / "chunk_000001").mkdir(parents=True)
    made.write_done("")
    made.clear()
    assert [path.name for path in made.path.iterdir()] == ["notes.txt"]


def test_half_of_an_overwritten_run_is_no_damaged_one(
    made: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made.checkpoints / "chunk_000001").mkdir(parents=True)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            made.clear()
    assert not made.checkpoints.exists()
    (made.checkpoints / "chunk_000002").mkdir(parents=True)
    made.clear()
    assert not list(made.path.iterdir())


def test_a_directory_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    directory = RunDirectory(tmp_path / "file" / "run")
    with pytest.raises(RunDirectoryError) as caught:
        directory.create(CONFIG.to_json())
    assert f"Cannot write {tmp_path}/file/run: Not a directory" in str(caught.value)
    with pytest.raises(RunDirectoryError, match="is in the way"):
        RunDirectory(tmp_path / "file").check_free(CONFIG, resume=False, overwrite=False)


def test_a_full_disk_keeps_the_old_file_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "meta.json"
    write_text(path, "old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError) as caught:
        write_text(path, "new")
    message = str(caught.value)
    assert f"Cannot write {path}: No space left on device" in message and "resume=True" in message
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["meta.json"]


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory: config.json cannot be read"):
        RunDirectory(tmp_path).read_config()


def test_two_processes_do_not_train_in_one_directory(made: RunDirectory) -> None:
    with made.locked(), pytest.raises(RunDirectoryError, match="Another process"), made.locked():
        pass
    with made.locked(), open(made.path / ".lock") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.1"),
        (np.float32(np.nan), ""),
        (np.float32(np.inf), "inf"),
        (np.float32(120.0), "120"),
        (np.float32(1e-30), "1e-30"),
        (np.int32(-1), "-1"),
        (np.float32(16777216.0), "1.6777216e+07"),
    ],
)
def test_cells_are_the_shortest_text_that_reads_back(value: Any, text: str) -> None:
    assert cell(value) == text
    if text:
        assert type(value)(text) == value


def rows(env_steps: int, **more: float) -> dict[str, np.ndarray]:
    values = {"zeta": 2.0, "agent/loss": np.nan, "return_mean": 0.5, "env_steps": env_steps, **more}
    return {name: np.full(2, value, np.float32) for name, value in values.items()}


def test_the_log_is_cut_back_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsFile(path)
    length = log.append((5, 6), rows(10))
    log.append((5, 6), rows(20))
    log.close()
    whole = path.read_bytes()
    assert whole.decode().splitlines()[:3] == [
        "seed,env_steps,return_mean,agent/loss,zeta",
        "5,10,0.5,,2",
        "6,10,0.5,,2",
    ]
    path.write_bytes(whole[:-3])  # killed in the middle of a row
    log = MetricsFile(path, length)
    log.append((5, 6), rows(20))
    log.close()
    assert path.read_bytes() == whole
    path.write_bytes(whole[: length - 1])
    with pytest.raises(CheckpointError, match=f"the checkpoint was taken at {length}"):
        MetricsFile(path, length)

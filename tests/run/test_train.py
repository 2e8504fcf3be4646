"""A run with everything around it, on a toy: what it writes, and that nothing is lost."""

import csv
import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from killing import killed_after
from toys import HostWalk, Novelty, Walk, Wanderer

from explorax import loop
from explorax.core.errors import BadEnvironmentData, CheckpointError, RunDirectoryError
from explorax.envs.task import Batched
from explorax.run import checkpoint
from explorax.run import train as training
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.drivers import HostDriver, make_driver
from explorax.run.interrupt import Interrupted
from explorax.run.log import MetricsFile
from explorax.run.progress import Progress
from explorax.run.train import resume_run, train

CONFIG = RunConfig(
    "walk", Wanderer(), Novelty(), env_steps=240, seeds=2, seed=3, num_envs=4, log_points=6
)
EXTRA = (Wanderer, Novelty)
ENV: Any = {"env": Walk(), "progress": False}
HOST: Any = {"env": HostWalk(4), "progress": False}


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def final_state(path: Path, env: Any) -> list[np.ndarray]:
    """Return every array of the newest checkpoint's training state."""
    header = checkpoint.latest(path / "checkpoints", CONFIG.digest, CONFIG.seed)
    assert header is not None
    template = {"training": make_driver(CONFIG, env).template}
    leaves = jax.tree.leaves(checkpoint.restore(header, template, whole=False))
    is_key = [jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [
        np.asarray(jax.random.key_data(leaf) if key else leaf)
        for leaf, key in zip(leaves, is_key, strict=True)
    ]


def assert_same_run(path: Path, other: Path, env: Any) -> None:
    assert (path / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    for here, there in zip(final_state(path, env), final_state(other, env), strict=True):
        np.testing.assert_array_equal(here, there)
    mine, others = np.load(path / "maps.npz"), np.load(other / "maps.npz")
    assert sorted(mine) == sorted(others)
    for name in mine:
        np.testing.assert_array_equal(mine[name], others[name])


def walk_env() -> Any:
    return Batched(Walk(), 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    return train(CONFIG, root, tensorboard=True, **ENV)


def test_the_directory_of_a_finished_run(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()} - {".lock"}
    assert names == {
        *("config.json", "meta.json", "metrics.csv", "maps.npz", "DONE"),
        *("checkpoints", "films", "tensorboard"),
    }
    assert [path.name for path in sorted((whole / "tensorboard").iterdir())] == ["seed_3", "seed_4"]
    meta = json.loads((whole / "meta.json").read_text())
    assert (meta["status"], meta["env_steps"], meta["resumed"]) == ("finished", 240, 0)
    assert meta["wall_seconds"] > meta["compile_seconds"] > 0
    assert meta["env_steps_per_second"] > 0 and meta["device"].startswith("cpu")
    assert {"explorax", "python", "jax", "numpy", "git_commit", "started"} <= set(meta)
    assert RunDirectory(whole).read_config(EXTRA) == CONFIG


def test_the_log_has_a_row_per_point_and_seed_and_no_clock(whole: Path) -> None:
    table = rows(whole)
    assert [(row["seed"], row["env_steps"]) for row in table] == [
        (seed, str(env_steps)) for env_steps in range(40, 241, 40) for seed in ("3", "4")
    ]
    assert list(table[0])[:7] == [
        *("seed", "env_steps", "episodes", "return_mean"),
        *("length_mean", "success_rate", "first_success_env_steps"),
    ]
    assert {"agent/norm", "bonus/mean_x", "reward_mean", "bonus_mean"} <= set(table[0])
    assert not [name for name in table[0] if "second" in name or "time" in name]
    assert table[0]["episodes"] == "0" and table[0]["return_mean"] == ""


def test_the_maps_count_every_step_once_per_phase(whole: Path) -> None:
    found = np.load(whole / "maps.npz")
    assert found["phase_env_steps"].tolist() == [80, 120, 200, 240]
    assert found["visits"].shape == found["paid"].shape == found["gain"].shape == (4, 2, 4, 3)
    np.testing.assert_array_equal(
        found["visits"].sum(axis=(2, 3)), [[80, 80], [40, 40], [80, 80], [40, 40]]
    )
    paid = [float(row["bonus_mean"]) * 40 for row in rows(whole) if row["seed"] == "3"]
    assert found["paid"][:, 0].sum() == pytest.approx(sum(paid), rel=1e-5)


def test_the_bonus_over_the_state_space_is_that_of_a_step_from_each_cell(whole: Path) -> None:
    mean = np.asarray([float(row["bonus/mean_x"]) for row in rows(whole) if row["seed"] == "4"])
    state = final_state(whole, walk_env())
    (novelty,) = [leaf for leaf in state if leaf.shape == (2, 2) and leaf.dtype == np.float32]
    assert np.isfinite(mean).all()
    gain = np.load(whole / "maps.npz")["gain"][-1]
    for seed in range(2):
        for i in range(4):
            for j in range(3):
                point = np.array([-1 + (i + 0.5) / 4 * 2, -1 + (j + 0.5) / 3 * 2])
                paid = [
                    0.1 * ((np.clip(point + move, -1, 1) - novelty[seed]) ** 2).sum()
                    for move in ([0.25, 0], [-0.25, 0], [0, 0.25], [0, -0.25])
                ]
                assert gain[seed, i, j] == pytest.approx(np.mean(paid), rel=1e-4)


def test_seeds_are_the_same_whatever_runs_beside_them(whole: Path, tmp_path: Path) -> None:
    alone = RunConfig(**{**vars(CONFIG), "seeds": 1, "seed": 4, "film": False})
    table = rows(train(alone, tmp_path, **ENV))
    beside = [row for row in rows(whole) if row["seed"] == "4"]
    for one, other in zip(table, beside, strict=True):
        assert one["episodes"] == other["episodes"] and one["seed"] == other["seed"]
        assert float(one["agent/norm"]) == pytest.approx(float(other["agent/norm"]), rel=1e-4)
    assert not list(tmp_path.rglob("films"))


@pytest.mark.parametrize("renames", [1, 2, 3, 4, 9, 21])
def test_killed_at_any_rename_and_resumed_it_is_the_same_run(
    whole: Path, tmp_path: Path, renames: int
) -> None:
    with killed_after(renames):
        train(CONFIG, tmp_path, checkpoint_seconds=0.0, **ENV)
    path = CONFIG.directory(tmp_path)
    assert not (path / "DONE").exists()
    with (path / "metrics.csv").open("ab") as file:  # rows that no checkpoint knows of
        file.write(b"3,9999")
    assert train(CONFIG, tmp_path, resume=True, **ENV) == path
    assert_same_run(path, whole, walk_env())
    assert (path / "DONE").exists()
    assert (path / "films" / "films.json").read_bytes() == (
        whole / "films" / "films.json"
    ).read_bytes()


def test_resuming_what_is_not_there_starts_and_what_is_done_stays(
    whole: Path, tmp_path: Path
) -> None:
    path = train(CONFIG, tmp_path, resume=True, **ENV)
    assert_same_run(path, whole, walk_env())
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    for resume in (True, False):
        assert train(CONFIG, tmp_path, resume=resume, **ENV) == path
        there = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
        assert there == before
    (path / "DONE").unlink()
    with pytest.raises(RunDirectoryError, match="Three ways on"):
        train(CONFIG, tmp_path, **ENV)
    train(CONFIG, tmp_path, overwrite=True, **ENV)
    assert_same_run(path, whole, walk_env())


def test_a_damaged_checkpoint_stops_the_resume_and_the_older_one_serves(
    whole: Path, tmp_path: Path
) -> None:
    path = CONFIG.directory(tmp_path)
    train(CONFIG, tmp_path, checkpoint_seconds=0.0, **ENV)
    (path / "DONE").unlink()
    header = path / "checkpoints" / "chunk_000006" / "header.json"
    header.write_text(header.read_text()[:-10])
    with pytest.raises(CheckpointError, match=r"damaged.*Delete it to continue from chunk_000005"):
        train(CONFIG, tmp_path, resume=True, **ENV)
    shutil.rmtree(header.parent)
    train(CONFIG, tmp_path, resume=True, **ENV)
    assert_same_run(path, whole, walk_env())


def interrupt_after(monkeypatch: pytest.MonkeyPatch, chunks: int, times: int = 1) -> None:
    """Let Ctrl-C be pressed while the given chunk is written down."""
    real, calls = MetricsFile.append, []

    def append(self: MetricsFile, *args: Any) -> int:
        calls.append(args)
        if len(calls) == chunks:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return real(self, *args)

    monkeypatch.setattr(MetricsFile, "append", append)


def test_ctrl_c_saves_says_how_to_go_on_and_resumes_to_the_byte(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted) as caught:
            train(CONFIG, tmp_path, **ENV)
    path = CONFIG.directory(tmp_path)
    assert caught.value.exit_code == 130 and caught.value.path == path
    assert "the call that began it, with resume=True" in str(caught.value)
    assert "80 env steps per seed" in str(caught.value)
    assert "Stopping after the rollouts under way" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in (path / "checkpoints").iterdir()] == ["chunk_000002"]
    assert json.loads((path / "meta.json").read_text())["status"] == "interrupted"
    assert resume_run(path, extra=EXTRA, **ENV).samefile(path)
    assert_same_run(path, whole, walk_env())
    assert json.loads((path / "meta.json").read_text())["resumed"] == 1


def test_a_run_that_was_moved_is_resumed_where_it_is(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            train(CONFIG, tmp_path, **ENV)
    moved = tmp_path / "elsewhere" / "mine"
    shutil.move(CONFIG.directory(tmp_path), moved)
    monkeypatch.chdir(moved)
    assert resume_run("../mine", extra=EXTRA, **ENV).samefile(moved)
    assert_same_run(moved, whole, walk_env())
    assert not CONFIG.directory(tmp_path).exists()


def test_ctrl_c_during_the_film_ends_what_would_come_next(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(*args: Any) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return ""

    monkeypatch.setattr("explorax.run.train.film_of", film)
    with pytest.raises(Interrupted, match="had just finished"):
        train(CONFIG, tmp_path, **ENV)
    path = CONFIG.directory(tmp_path)
    assert RunDirectory(path).done
    assert (path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_another_seeds_run_is_said_to_be_one(whole: Path) -> None:
    other = RunConfig(**{**vars(CONFIG), "seed": 7})
    with pytest.raises(RunDirectoryError, match=r"another experiment .*Give seed=3 to continue"):
        train(other, whole.parents[2], **ENV)


def test_a_disk_that_is_full_only_when_the_log_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def close(self) -> None:
            if not self.closed:  # once: Python closes it again when it is deleted
                super().close()
                raise OSError(27, "File too large")

    log = MetricsFile(tmp_path / "metrics.csv")
    log._file.close()
    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(RunDirectoryError, match=r"Cannot write .*metrics.csv: File too large"):
        log.close()


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 2, times=2)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(CONFIG, tmp_path, **ENV)
    assert not isinstance(caught.value, Interrupted)


def test_a_full_disk_names_the_file_and_loses_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def fsync(file: int) -> None:
        calls.append(file)
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        real(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(RunDirectoryError, match=r"Cannot write .*No space left.*resume=True"):
            train(CONFIG, tmp_path, checkpoint_seconds=0.0, **ENV)
    path = train(CONFIG, tmp_path, resume=True, **ENV)
    assert_same_run(path, whole, walk_env())


def test_a_bonus_whose_survey_fails_trains_without_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        def survey(*_: Any) -> Any:
            raise KeyError("log_prob")

        return survey

    monkeypatch.setattr(training.maps, "survey", broken)
    path = train(CONFIG, tmp_path, **ENV)
    assert sorted(np.load(path / "maps.npz")) == ["paid", "phase_env_steps", "visits"]
    notes = json.loads((path / "meta.json").read_text())["notes"]
    assert notes == ["No map of the bonus over the state space: KeyError: 'log_prob'"]


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = train(CONFIG, tmp_path, env=Walk())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "walk Wanderer+Novelty: compiling"
    assert len(lines) == 8
    for word in ("env steps/s", "return", "bonus", "left"):
        assert word in lines[5]
    assert "100%  480 env steps" in lines[-2]
    assert str(path) in lines[-1] and "explorax report" in lines[-1]


def test_many_chunks_make_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("title", 1000) as shown:
        shown.begin(0)
        for env_steps in range(1, 1001):
            shown.show(env_steps, {"return_mean": np.array([np.nan, 0.5])})
        shown.note("[bold]said")
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) - 2 <= 12
    assert "return 0.5  bonus -" in lines[3] and "100%  1,000 env steps" in lines[-2]
    assert lines[-1] == "[bold]said"


def test_a_host_run_resumes_what_was_learned_and_says_what_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(Interrupted):
            train(CONFIG, tmp_path, **HOST)
    path = CONFIG.directory(tmp_path)
    first = rows(path)
    learned = final_state(path, HostWalk(4))
    driver = make_driver(CONFIG, HostWalk(4))
    header = checkpoint.latest(path / "checkpoints", CONFIG.digest, CONFIG.seed)
    assert header is not None and header.chunk == 3
    saved = checkpoint.restore(header, {"training": driver.template}, whole=False)["training"]
    for one, other in zip(
        jax.tree.leaves(driver.to_saved(driver.from_saved(saved))[0][0].agent.weights),
        [leaf for leaf in learned if leaf.shape == (2, 4)][:1],
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    resume_run(path, extra=EXTRA, env=HostWalk(4))
    table = rows(path)
    assert table[: len(first)] == first and len(table) == 12
    assert [row["env_steps"] for row in table[-2:]] == ["240", "240"]
    assert "each environment began a new episode" in capsys.readouterr().out
    notes = json.loads((path / "meta.json").read_text())["notes"]
    assert len(notes) == 1 and "episodes under way were not" in notes[0]
    assert "gain" not in np.load(path / "maps.npz")
    assert (path / "films" / "films.json").exists()


def test_a_host_run_starts_as_the_loop_does() -> None:
    env = HostWalk(4)
    started = HostDriver(CONFIG, env).start().training[1]
    wanted = loop.start(env, CONFIG.agent, CONFIG.bonus, jax.random.key(4))
    np.testing.assert_array_equal(
        jax.random.key_data(started.learner.key), jax.random.key_data(wanted.learner.key)
    )
    np.testing.assert_array_equal(started.actor.percept.obs, wanted.actor.percept.obs)
    weights = started.learner.agent.weights, wanted.learner.agent.weights
    np.testing.assert_allclose(*weights, rtol=1e-6)


def test_bad_data_from_a_host_environment_keeps_what_was_learned(tmp_path: Path) -> None:
    with pytest.raises(BadEnvironmentData) as caught:
        train(CONFIG, tmp_path, env=HostWalk(4, breaks_at=35), progress=False)
    path = CONFIG.directory(tmp_path)
    # the second rollout of the fourth chunk failed: what the first one taught is kept
    assert "HostWalk: reward is NaN. What was learned until 140 env steps" in str(caught.value)
    assert str(path / "checkpoints" / "chunk_000003_iteration_00000001") in str(caught.value)
    assert len(rows(path)) == 6
    assert json.loads((path / "meta.json").read_text())["status"] == "failed"
    train(CONFIG, tmp_path, resume=True, **HOST)
    assert len(rows(path)) == 12

"""A chunk that is left in its middle: stopped, saved, resumed, diverged; the numbers stay."""

import csv
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import Burst, HostWalk, Novelty, Stumbler, Walk, Wanderer

from explorax.core.errors import Diverged
from explorax.envs.task import Batched
from explorax.run import checkpoint, drivers
from explorax.run.checkpoint import Header
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.drivers import DeviceDriver, HostDriver
from explorax.run.evaluate import restore_learner
from explorax.run.inherit import origin_of
from explorax.run.interrupt import Interrupted
from explorax.run.train import train

CONFIG = RunConfig(
    "walk", Wanderer(), Novelty(), 340, seeds=2, num_envs=4, log_points=3, film=False
)
ENV: dict[str, Any] = {"env": Walk(), "progress": False}


class Killed(BaseException):
    """As SIGKILL, for all that a run can know of it."""


def stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    raise Killed


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no iteration be quick enough for two in one call, nor to be left unsaved."""
    monkeypatch.setattr(drivers, "CALL_SECONDS", 0.0)


def after_calls(
    monkeypatch: pytest.MonkeyPatch, driver: type, count: int, then: Callable[[], None]
) -> list[int]:
    """Let something happen after so many calls; return a list that gets what each left done."""
    real, calls = driver.advance, []

    def advance(self: Any, state: Any, iterations: int) -> Any:
        state, metrics = real(self, state, iterations)
        calls.append(state.done)
        if len(calls) == count:
            then()
        return state, metrics

    monkeypatch.setattr(driver, "advance", advance)
    return calls


def newest(path: Path, config: RunConfig = CONFIG) -> Header:
    header = checkpoint.latest(path / "checkpoints", config.digest, config.seed)
    assert header is not None
    return header


def rows(path: Path, column: str) -> list[str]:
    with (path / "metrics.csv").open() as file:
        return [row[column] for row in csv.DictReader(file)]


def assert_same_run(path: Path, whole: Path) -> None:
    assert (path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    with np.load(path / "maps.npz") as found, np.load(whole / "maps.npz") as wanted:
        assert found.files == wanted.files
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name])
    here, there = newest(path), newest(whole)
    assert (here.chunk, here.iteration, here.leaves) == (3, 0, there.leaves)
    names = [str(name) for name, *_ in here.leaves]
    arrays = (checkpoint.read_arrays(header, names) for header in (here, there))
    for name, one, other in zip(names, *arrays, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, left alone."""
    assert CONFIG.chunks == (6, 6, 5)
    return train(CONFIG, tmp_path_factory.mktemp("whole"), **ENV)


@pytest.mark.usefixtures("one_by_one")
def test_stopped_within_chunks_again_and_again_it_is_the_same_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CONFIG.directory(tmp_path)
    for calls, stands in ((4, (0, 4)), (1, (0, 5)), (3, (1, 2)), (6, (2, 2))):
        with monkeypatch.context() as patch:
            done = after_calls(patch, DeviceDriver, calls, stop)
            with pytest.raises(Interrupted, match="Stopped at") as caught:
                train(CONFIG, tmp_path, resume=True, **ENV)
        assert len(done) == calls  # heard at once, not at the chunk's end
        header = newest(path)
        assert (header.chunk, header.iteration) == stands
        env_steps = 20 * (6 * stands[0] + stands[1])
        assert f"Stopped at {env_steps} env steps per seed" in str(caught.value)
        assert json.loads((path / "meta.json").read_text())["env_steps"] == env_steps
        learner = restore_learner(RunDirectory(path), CONFIG, Batched(Walk(), 4))
        assert (learner.iteration == env_steps // 20).all()
    train(CONFIG, tmp_path, resume=True, **ENV)
    assert_same_run(path, whole)


@pytest.mark.usefixtures("one_by_one")
def test_saved_within_chunks_and_killed_it_is_the_same_run(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CONFIG.directory(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        after_calls(patch, DeviceDriver, 9, kill)
        train(CONFIG, tmp_path, checkpoint_seconds=0.0, **ENV)
    names = [each.name for each in checkpoint.saved_in(path / "checkpoints")]
    assert names == ["chunk_000001_iteration_00000001", "chunk_000001_iteration_00000002"]
    train(CONFIG, tmp_path, resume=True, **ENV)
    assert_same_run(path, whole)


def test_calls_grow_until_they_take_their_time() -> None:
    pace = drivers._Pace()
    assert pace.iterations == 1  # nothing is known of the first one
    for seconds, wanted in ((0.01, 2), (0.02, 4), (1.0, 8), (4.0, 4), (400.0, 1), (0.5, 2)):
        pace.learn(pace.iterations, seconds)
        assert pace.iterations == wanted
    pace.learn(1, 0.001)  # the end of a chunk says nothing of longer calls
    assert pace.iterations == 2


@pytest.mark.usefixtures("one_by_one")
def test_numbers_that_break_within_a_chunk_are_noticed_before_it_is_saved(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, agent=Stumbler(at=8, warmup=0))  # third of the second
    with pytest.raises(Diverged, match="of seed 0 was not finite at 180 env steps") as caught:
        train(config, tmp_path, checkpoint_seconds=0.0, **ENV)
    path = config.directory(tmp_path)
    finite, broken = checkpoint.saved_in(path / "checkpoints")
    assert finite.name == "chunk_000001_iteration_00000002"
    assert broken.name == "chunk_000001_iteration_00000003"
    assert f"init_from='{finite}'" in str(caught.value)
    meta = json.loads((path / "meta.json").read_text())
    assert meta["status"] == "diverged" and meta["diverged"] == {"0": 180, "1": 180}
    train(config, tmp_path, resume=True, on_divergence="note", **ENV)
    left_alone = train(config, tmp_path / "alone", on_divergence="note", **ENV)
    assert (path / "metrics.csv").read_bytes() == (left_alone / "metrics.csv").read_bytes()


@pytest.mark.usefixtures("one_by_one")
def test_a_run_may_start_from_the_middle_of_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        after_calls(patch, DeviceDriver, 4, stop)
        train(CONFIG, tmp_path, **ENV)
    source = CONFIG.directory(tmp_path)
    origin = origin_of(source)
    assert (origin.chunk, origin.iteration) == (0, 4)
    started = dataclasses.replace(CONFIG, init_from=origin, env_steps=20, log_points=1)
    assert json.loads(started.to_json())["init_from"]["iteration"] == 4
    assert RunConfig.from_json(started.to_json(), (Wanderer, Novelty)) == started
    earlier = dataclasses.replace(origin, iteration=3)
    assert dataclasses.replace(started, init_from=earlier).digest != started.digest
    path = train(started, tmp_path, **ENV)
    (first,) = checkpoint.saved_in(path / "checkpoints")[:1]
    name = "['training'].learner.agent.weights"
    wanted = checkpoint.read_arrays(newest(source), [name])[0]
    kept = checkpoint.read_header(first, started.digest, started.seed)
    assert first.name == "chunk_000000"
    np.testing.assert_array_equal(checkpoint.read_arrays(kept, [name])[0], wanted)


@pytest.mark.usefixtures("one_by_one")
def test_a_host_run_remembers_what_its_chunk_has_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bonus tells which iteration it is, so that the means of chunks are known."""
    config = dataclasses.replace(CONFIG, bonus=Burst(-1))
    path = config.directory(tmp_path)
    for calls, stands in ((4, (0, 4)), (4, (1, 2))):
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            after_calls(patch, HostDriver, calls, stop)
            train(config, tmp_path, resume=True, env=HostWalk(4), progress=False)
        assert (newest(path, config).chunk, newest(path, config).iteration) == stands
    train(config, tmp_path, resume=True, env=HostWalk(4), progress=False)
    wanted = [mean for mean in ("2.5", "8.5", "14") for _ in range(2)]
    assert rows(path, "bonus/updates") == wanted
    assert rows(path, "env_steps") == [n for n in ("120", "240", "340") for _ in range(2)]

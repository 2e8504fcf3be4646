"""A process that is killed at a call of a named function: with SIGKILL, or as if."""

import importlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """As SIGKILL: nobody catches it, and from then on nothing can be written."""


@contextmanager
def killed_after(renames: int) -> Iterator[None]:
    """Let so many files take their places. Fails unless another one wants to."""
    with pytest.raises(Killed), killed_at(Point("os:replace", renames + 1, "before")):
        yield


@dataclass(frozen=True)
class Point:
    """Where a process dies: before, after or in the middle of the n-th call of a function."""

    function: str  # module:name
    nth: int
    when: str  # "before", "after", or "within" where TEARS has the function


@contextmanager
def killed_at(point: Point) -> Iterator[None]:
    """Raise Killed at `point`, if it is reached; after that no file takes its place."""

    def die() -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise Killed

        for function in ("os:replace", "shutil:rmtree", "explorax.run.log:MetricsFile.append"):
            patch.setattr(*_place(function), refuse)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        _arm(patch, point, die)
        yield


@contextmanager
def counting(functions: Iterable[str]) -> Iterator[dict[str, int]]:
    """Give how often each of these functions has been called."""
    called = dict.fromkeys(functions, 0)

    def count(function: str) -> None:
        owner, name = _place(function)
        real = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            called[function] += 1
            return real(*args, **options)

        patch.setattr(owner, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for function in called:
            count(function)
        yield called


def _arm(patch: pytest.MonkeyPatch, point: Point, die: Callable[[], None]) -> None:
    owner, name = _place(point.function)
    real, calls = getattr(owner, name), []

    def call(*args: Any, **options: Any) -> Any:
        calls.append(name)
        here = len(calls) == point.nth
        if here and point.when == "before":
            die()
        if here and point.when == "within":
            TEARS[point.function](real, *args)
            die()
        result = real(*args, **options)
        if here:
            die()
        return result

    patch.setattr(owner, name, call)


def _place(function: str) -> tuple[Any, str]:
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    return owner, name


def _half_the_bytes(real: Any, cache: Any, key: str, value: bytes) -> None:
    real(cache, key, value[: len(value) // 2])


def _half_the_rows(real: Any, file: Any, *args: Any) -> None:
    begun = file.length
    file._file.truncate((begun + real(file, *args)) // 2)


def _half_the_files(_: Any, path: Path) -> None:
    files = sorted(each for each in Path(path).rglob("*") if each.is_file())
    for each in files[: (len(files) + 1) // 2]:
        each.unlink()


COMPILED = "jax._src.lru_cache:LRUCache.put"  # of compiled programs
# What is left where the process dies in the middle of a call.
TEARS: dict[str, Callable[..., None]] = {
    COMPILED: _half_the_bytes,
    "explorax.run.log:MetricsFile.append": _half_the_rows,
    "shutil:rmtree": _half_the_files,
}
_RUN = "explorax.run."
EVERYWHERE = (
    "os:replace",  # config.json, meta.json, a checkpoint's header and itself, maps, film, DONE
    "os:fsync",
    "shutil:rmtree",
    f"{_RUN}log:MetricsFile.append",
    f"{_RUN}checkpoint:save",
    f"{_RUN}checkpoint:_save_arrays",
    f"{_RUN}directory:RunDirectory.create",
    f"{_RUN}directory:RunDirectory.write_meta",
    f"{_RUN}directory:RunDirectory.write_done",
    f"{_RUN}train:paths_of",
    f"{_RUN}train:film_of",
)
ON_DEVICE = (
    COMPILED,
    f"{_RUN}drivers:DeviceDriver.compile",
    f"{_RUN}drivers:DeviceDriver.start",
    f"{_RUN}drivers:DeviceDriver.advance",
    f"{_RUN}maps:Maps.record",
    f"{_RUN}maps:Maps.write",
)
ON_HOST = (
    COMPILED,
    f"{_RUN}drivers:HostDriver.start",
    f"{_RUN}drivers:HostDriver.advance",
    "explorax.host_loop:chunk_on_host",
)
MAPS = (f"{_RUN}maps:Maps.record", f"{_RUN}maps:Maps.write")
SAMPLES = (f"{_RUN}visited:Visited.see", f"{_RUN}visited:Visited.record")


@dataclass(frozen=True)
class Case:
    """A run that is killed."""

    env: str
    agent: str
    bonus: str
    env_steps: int
    functions: tuple[str, ...]
    restores_everything: bool = True
    num_envs: int = 4

    def config(self) -> Any:
        import toys

        from explorax.run.config import RunConfig
        from explorax.run.expressions import parse

        own = (toys.Wanderer, toys.Novelty)
        return RunConfig(
            self.env,
            parse(self.agent, "agent", own),
            parse(self.bonus, "bonus", own),
            self.env_steps,
            seeds=2,
            seed=3,
            num_envs=self.num_envs,
            log_points=6,
        )

    def environment(self) -> Any:
        """The environment itself where its name is none of explorax's."""
        import toys

        made = {
            "walk": toys.Walk(),
            "host walk": toys.HostWalk(self.num_envs),
            "plain walk": toys.PlainWalk(self.num_envs),
        }
        return made.get(self.env)


CASES = {
    "toys": Case("walk", "Wanderer()", "Novelty()", 240, (*EVERYWHERE, *ON_DEVICE)),
    "paths": Case(
        "multi_goal",
        "PPO(memory='lstm', hidden=(8,), rollout_length=5, minibatches=1, epochs=1)",
        "Scale(MedianRatio(VIME(hidden=(4,), pool_size=60, min_pool_size=20, batch_size=5)), 0.01)",
        240,
        (*EVERYWHERE, *ON_DEVICE),
    ),
    "host": Case(
        "host walk",
        "Wanderer()",
        "Novelty()",
        240,
        (*EVERYWHERE, *ON_HOST, *MAPS),
        restores_everything=False,
    ),
    "samples": Case(
        "plain walk",
        "Wanderer()",
        "Novelty()",
        240,
        (*EVERYWHERE, *ON_HOST, *SAMPLES),
        restores_everything=False,
    ),
}


def train_apart(
    case: str, root: Path, point: Point | None = None, cache: Path | None = None
) -> dict[str, int] | None:
    """Train a case under `root` in a process of its own, or go on with it.

    cache: of compiled programs, by default there too.
    Return how often each of its functions was called; None where it was killed at `point`. Fails
    where it ends in any other way, or says what it should not.
    """
    called, said = root / "called.json", root / "said.txt"
    called.unlink(missing_ok=True)
    # forked from a process that has imported everything and begun nothing
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["orbax.checkpoint", "explorax.run.train", "toys"])
    process = context.Process(target=_train, args=(case, root, point, cache or root / "cache"))
    process.start()
    process.join()
    text = said.read_text()
    assert process.exitcode in (0, -signal.SIGKILL), (point, text)
    assert "absl" not in text and "Warning" not in text, (point, text)
    return json.loads(called.read_text()) if process.exitcode == 0 else None


def _train(name: str, root: Path, point: Point | None, programs: Path) -> None:
    said = os.open(root / "said.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["EXPLORAX_CACHE"] = str(programs)
    from explorax.run import cache
    from explorax.run.train import train

    cache._MIN_COMPILE_SECONDS = 0.0  # so that there is something to write
    case = CASES[name]
    with counting(case.functions) as called, pytest.MonkeyPatch.context() as patch:
        if point is not None:
            _arm(patch, point, lambda: os.kill(os.getpid(), signal.SIGKILL))
        options: Any = {"env": case.environment(), "checkpoint_seconds": 0.0}
        train(case.config(), root, resume=True, **options)
    (root / "called.json").write_text(json.dumps(called))

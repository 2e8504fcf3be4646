"""The run directory: made once, locked while training, every file written whole or not at all."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from explorax import files
from explorax.core.arguments import argument
from explorax.core.errors import ExploraxError, RunDirectoryError
from explorax.run.config import RunConfig

CONFIG, META, METRICS, MAPS, DONE = "config.json", "meta.json", "metrics.csv", "maps.npz", "DONE"
PATHS = "paths.npz"
CHECKPOINTS, FILMS, TENSORBOARD, PLOTS = "checkpoints", "films", "tensorboard", "plots"
_LOCK = ".lock"
_OURS = (CONFIG, META, METRICS, MAPS, PATHS, DONE, CHECKPOINTS, FILMS, TENSORBOARD, PLOTS)


def _cure() -> str:
    return (
        f"Free space or mend the permissions there and continue with {argument('resume')}, or "
        f"choose another place with {argument('root', 'DIR')}."
    )


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
    """Turn the operating system's complaint about `path` into a RunDirectoryError with a cure."""
    return files.writing(path, _cure())


def write_atomically(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Let `fill` write a file of a run that is there as a whole or not at all."""
    files.write_atomically(path, fill, _cure())


def write_text(path: Path, text: str) -> None:
    """Write a run's file of text that is there as a whole or not at all."""
    files.write_text(path, text, _cure())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive of NumPy's: equal arrays are equal files, whatever order they came in."""
    named = cast(Any, {name: arrays[name] for name in sorted(arrays)})  # stubs: names are options
    write_atomically(path, lambda file: np.savez_compressed(file, **named))


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def maps(self) -> Path:
        return self.path / MAPS

    @property
    def paths(self) -> Path:
        return self.path / PATHS

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @property
    def films(self) -> Path:
        return self.path / FILMS

    @property
    def tensorboard(self) -> Path:
        return self.path / TENSORBOARD

    @property
    def done(self) -> bool:
        """Whether the run has finished."""
        return (self.path / DONE).exists()

    def read_config(
        self, extra: tuple[type, ...] = (), trust: tuple[str, ...] = (), env: Any = None
    ) -> RunConfig:
        """Return the configuration. Raises RunDirectoryError when this is no run directory.

        extra, trust: as for `RunConfig.from_json`; where `env`, the environment itself, is not
        given, what its name would import is asked for too. Raises what that raises.
        """
        try:
            text = self.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunDirectoryError(
                f"{self.path} is no run directory: {CONFIG} cannot be read ({error}). Give a "
                f"directory that `explorax train` made, runs/<env>/<agent>+<bonus>/<digest>."
            ) from None
        try:
            return RunConfig.from_json(text, extra, trust, makes_env=env is None)
        except ExploraxError as error:
            raise type(error)(f"{self.config}: {error}") from error

    def read_code(self) -> Any:
        """Return what config.json says of the code that the run was made with, or None."""
        try:
            return json.loads(self.config.read_text(encoding="utf-8")).get("code")
        except (OSError, ValueError, AttributeError, RecursionError):
            return None

    def add_note(self, text: str) -> None:
        """Add a sentence to those in meta.json that a reader of the results should know."""
        record = self.read_meta()
        notes = record.get("notes") or []
        if text not in notes:
            self.write_meta(record | {"notes": [*notes, text]})

    def read_meta(self) -> dict[str, Any]:
        """Return meta.json, {} where there is none yet or it cannot be read."""
        try:
            record = json.loads((self.path / META).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def write_meta(self, record: dict[str, Any]) -> None:
        write_text(self.path / META, json.dumps(record, indent=2) + "\n")

    def write_done(self, text: str) -> None:
        write_text(self.path / DONE, text + "\n")

    def check_free(self, config: RunConfig, resume: bool, overwrite: bool) -> None:
        """Raise RunDirectoryError where training here would destroy or mix up what is there.

        A finished run of the same configuration is the result of it.
        """
        if resume and overwrite:
            raise RunDirectoryError(
                f"{argument('resume')} continues a run, {argument('overwrite')} deletes it: "
                "give one."
            )
        files.check_is_utf_8(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is in the way: it is no directory. Move it away.")
        present = [name for name in _OURS if (self.path / name).exists()]
        if not present or overwrite:
            return
        if self.config.exists():
            self._check_same(config)
        if not resume and not (self.done and self.config.exists()):
            raise RunDirectoryError(
                f"{self.path} holds an unfinished run of this configuration. Three ways on: "
                f"{argument('resume')} continues it, {argument('overwrite')} deletes it and starts "
                f"again, {argument('root', 'DIR')} writes elsewhere."
            )

    def _check_same(self, config: RunConfig) -> None:
        try:
            there = json.loads(self.config.read_text(encoding="utf-8"))
            digest, seed = there["digest"], there["seed"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"{self.config} cannot be read ({type(error).__name__}: {error}), so the run "
                f"cannot be continued. {argument('overwrite')} starts again, "
                f"{argument('root', 'DIR')} writes elsewhere."
            ) from None
        if (digest, seed) != (config.digest, config.seed):
            raise RunDirectoryError(
                f"{self.path} holds another experiment (digest {digest[:8]}, first seed {seed}; "
                f"wanted {config.digest[:8]}, first seed {config.seed}). Give "
                f"{argument('seed', seed)} to continue that one, or {argument('root', 'DIR')} to "
                f"write elsewhere."
            )

    def clear(self) -> None:
        """Delete what a run writes, and nothing else that may lie in the directory."""
        with writing(self.path):
            for name in sorted(_OURS, key=lambda name: name != DONE):  # DONE first: it vouches
                target = self.path / name
                if target.is_dir() and not target.is_symlink():
                    hidden = self.path / f".{name}.old"  # half of it would be taken for damaged
                    if hidden.exists():
                        shutil.rmtree(hidden)
                    os.replace(target, hidden)
                    shutil.rmtree(hidden)
                else:
                    target.unlink(missing_ok=True)

    def create(self, config_json: str, anew: bool = False) -> None:
        """Make the directory and write config.json, unless it is there and not to be `anew`."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if anew or not self.config.exists():
            write_text(self.config, config_json)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process alone; the lock dies with the process."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / _LOCK).open("a", encoding="utf-8")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunDirectoryError(
                    f"Another process is training in {self.path}. Wait for it or stop it."
                ) from None
            except OSError:  # a file system without locks: go on without
                pass
            yield

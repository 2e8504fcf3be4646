"""How programs are compiled: quickly, and once for all runs."""

import atexit
import contextlib
import importlib
import os
import tempfile
import zlib
from pathlib import Path

import jax

# On a CPU, training programs compile in 60% of the time and run as fast as at XLA's default of 3.
QUICK = {"xla_backend_optimization_level": 1}
_MIN_COMPILE_SECONDS = 0.5
_LEAST_ROOM = 1 << 20  # bytes free, about what one program takes


def cache_directory() -> Path:
    """Return $EXPLORAX_CACHE, or explorax in the XDG cache: for what can be made again.

    Raises RuntimeError where there is no home directory for it to be in.
    """
    own = os.environ.get("EXPLORAX_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "explorax"


def use_compilation_cache() -> None:
    """Let JAX keep compiled programs on disk, unless the user has told JAX where already.

    Where nothing can be written, a run starts later and is otherwise the same. Where the disk fills
    up while it runs, JAX warns, and goes on as well.
    """
    values = jax.config.values
    if values["jax_compilation_cache_dir"] or not values["jax_enable_compilation_cache"]:
        return
    try:
        directory = cache_directory() / "jax"
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:  # permissions alone do not tell
            file.write(b"x" * _LEAST_ROOM)
            file.flush()
    except (OSError, RuntimeError):
        return
    with contextlib.suppress(OSError):
        _mend(directory)
        _mark(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)


_MARK = ".writing-"  # and the number of the process: it may be writing an entry
_ZSTD = b"\x28\xb5\x2f\xfd"


def _mark(directory: Path) -> None:
    mark = directory / f"{_MARK}{os.getpid()}"
    mark.touch()
    atexit.register(mark.unlink, missing_ok=True)


def _mend(directory: Path) -> None:
    """Delete what a killed process left half of: JAX writes an entry in its place, warns whenever
    it cannot read it, and never writes it anew."""
    for mark in directory.glob(f"{_MARK}*"):
        if _runs(mark.name.removeprefix(_MARK)):
            continue
        begun = mark.stat().st_mtime
        for entry in directory.glob("*-cache"):
            if entry.stat().st_mtime >= begun - 1 and not _is_whole(entry.read_bytes()):
                entry.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)


def _runs(process: str) -> bool:
    """Return whether another process of that number runs: one of this one's own number has ended,
    as in a container, whose first process always is number 1."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:  # another user's
        return True
    return int(process) != os.getpid()


def _is_whole(entry: bytes) -> bool:
    """Return whether an entry can be decompressed, or one can at least not tell."""
    try:
        if not entry.startswith(_ZSTD):
            zlib.decompress(entry)
            return True
        for name in ("compression.zstd", "zstandard"):  # Python's own from 3.14 on
            with contextlib.suppress(ImportError):
                importlib.import_module(name).decompress(entry)
                return True
    except Exception:  # each of them has its own
        return False
    return True

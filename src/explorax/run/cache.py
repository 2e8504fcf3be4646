"""How programs are compiled: quickly, and once for all runs."""

import os
import tempfile
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
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)

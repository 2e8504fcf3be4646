"""meta.json: what made the numbers, and how long it took. Nothing in it decides a number."""

import importlib.metadata
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from explorax._version import __version__
from explorax.run.directory import RunDirectory


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_commit(directory: Path | None = None) -> str | None:
    """Return the commit checked out in `directory` (default: here), "-dirty" behind if changed."""
    here = directory or Path.cwd()
    commit = _git(here, "rev-parse", "HEAD")
    changed = commit and _git(here, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit or None


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


class Meta:
    """The record under way; `write` brings it up to date on disk."""

    def __init__(self, directory: RunDirectory, resumed: bool, begun: float) -> None:
        self._directory = directory
        self._begun = begun  # by time.perf_counter
        before = directory.read_meta() if resumed else {}
        self._seconds_before = float(before.get("wall_seconds") or 0.0)
        device = jax.devices()[0]
        self.record: dict[str, Any] = {
            "status": "running",  # running, interrupted, diverged, failed, finished
            "explorax": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
            "git_commit": git_commit(),
            "platform": platform.platform(),
            "device": f"{device.platform}: {device.device_kind}",
            "devices": jax.device_count(),
            "cpu_count": os.cpu_count(),
            "xla_flags": os.environ.get("XLA_FLAGS"),  # they may change how numbers are rounded
            "started": before.get("started") or now(),
            "finished": None,
            "resumed": int(before.get("resumed") or 0) + bool(before),
            "wall_seconds": 0.0,  # of all processes that worked on this run
            "compile_seconds": None,  # of the last one
            "env_steps_per_second": None,  # of the last one: all seeds, training alone
            "env_steps": 0,  # done, of each seed
            "diverged": before.get("diverged") or {},  # seed: env_steps at which
            "nonfinite": before.get("nonfinite") or {},  # seed: what first was not finite
            "inherited_sha256": before.get("inherited_sha256"),  # of what init_from gave
            "notes": before.get("notes") or [],
        }

    def write(self, **changes: Any) -> None:
        """Write the record with these changes and the time until now."""
        seconds = self._seconds_before + time.perf_counter() - self._begun
        self.record |= changes | {"wall_seconds": round(seconds, 3)}
        self._directory.write_meta(self.record)

    def note(self, text: str) -> None:
        """Add a sentence that a reader of the results should know."""
        if text not in self.record["notes"]:
            self.record["notes"].append(text)

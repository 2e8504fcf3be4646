"""metrics.csv: a row per log point and seed, appended in order, cut back on resume."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explorax.core.arguments import argument
from explorax.core.errors import CheckpointError
from explorax.run.directory import writing

FIRST_COLUMNS = (
    "seed",
    "env_steps",
    "episodes",
    "return_mean",
    "length_mean",
    "success_rate",
    "first_success_env_steps",
    "reward_mean",
    "bonus_mean",
    "bonus_max",
)


def cell(value: Any) -> str:
    """Return a number as text: empty for NaN, else the shortest that reads back as the same."""
    number = np.asarray(value)[()]
    if np.issubdtype(number.dtype, np.floating):
        if np.isnan(number):
            return ""
        if number == np.rint(number) and abs(number) < 1e7:
            return str(int(number))
    return str(number)


class MetricsFile:
    """Appends rows to `path`, from `length` bytes on; what lies behind is cut off."""

    def __init__(self, path: Path, length: int = 0) -> None:
        self.path = path
        self.columns: tuple[str, ...] | None = None
        with writing(path):
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                raise CheckpointError(
                    f"{path} has {size:,} bytes and the checkpoint was taken at {length:,}: it was "
                    f"cut or replaced. Put the file back, or start again with "
                    f"{argument('overwrite')}."
                )
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(length)
            header = self._file.readline().decode().strip()
            self._file.seek(length)
        if header:
            self.columns = tuple(header.split(","))

    def append(self, seeds: Sequence[int], metrics: Mapping[str, np.ndarray]) -> int:
        """Write one row per seed from metrics [S]; return the file's length in bytes."""
        if self.columns is None:
            first = [name for name in FIRST_COLUMNS if name == "seed" or name in metrics]
            self.columns = (*first, *sorted(set(metrics) - set(first)))
            lines = [",".join(self.columns)]
        else:
            lines = []
        for row, seed in enumerate(seeds):
            values = [
                str(seed) if name == "seed" else cell(metrics[name][row]) if name in metrics else ""
                for name in self.columns
            ]
            lines.append(",".join(values))
        with writing(self.path):
            self._file.write(("\n".join(lines) + "\n").encode())
            self._file.flush()
        return self.length

    @property
    def length(self) -> int:
        return self._file.tell()

    def sync(self) -> None:
        """Wait until the rows are on the disk, so that no checkpoint can be ahead of them."""
        with writing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with writing(self.path):  # a full disk may be noticed only now
            self._file.close()

"""TensorBoard event files, for those who ask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explorax.core.errors import ExploraxError


class TensorBoard:
    """One writer per seed under `directory`/seed_<k>."""

    def __init__(self, directory: Path, seeds: Sequence[int], done_env_steps: int = 0) -> None:
        writer = _writer()
        purge = done_env_steps + 1 if done_env_steps else None  # what a killed process wrote later
        self._writers: dict[int, Any] = {
            seed: writer(str(directory / f"seed_{seed}"), purge_step=purge) for seed in seeds
        }

    def append(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Write metrics [S] at their env steps; what is not a number is left out."""
        for row, writer in enumerate(self._writers.values()):
            env_steps = int(metrics["env_steps"][row])
            for name, values in metrics.items():
                if name != "env_steps" and np.isfinite(values[row]):
                    writer.add_scalar(name, float(values[row]), env_steps)
            writer.flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def check_installed() -> None:
    """Raise ExploraxError unless event files can be written."""
    _writer()


def _writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ExploraxError(
            "TensorBoard event files need tensorboardX, which is not installed: "
            "pip install 'explorax[tensorboard]'. metrics.csv is written without it."
        ) from None
    return SummaryWriter

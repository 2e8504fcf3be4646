"""TensorBoard event files, for those who ask."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explorax.core.errors import ExploraxError
from explorax.run.directory import writing


class TensorBoard:
    """One file of events per seed under `directory`/seed_<k>.

    They are written here and now: tensorboardX's own writer has a thread for it, and where the disk
    is full the thread dies and the run waits for it for ever.
    """

    def __init__(self, directory: Path, seeds: Sequence[int], done_env_steps: int = 0) -> None:
        tensorboard = _tensorboard()
        self._directory, self._files = directory, []
        with writing(directory):
            for seed in seeds:
                folder = directory / f"seed_{seed}"
                folder.mkdir(parents=True, exist_ok=True)
                self._files.append(tensorboard.event_file_writer.EventsWriter(f"{folder}/events"))
            if done_env_steps:  # what a killed process wrote later is not to be shown
                start = tensorboard.proto.event_pb2.SessionLog(status=1)
                for more in ({"file_version": "brain.Event:2"}, {"session_log": start}):
                    event = tensorboard.proto.event_pb2.Event(step=done_env_steps + 1, **more)
                    for file in self._files:
                        file.write_event(event)

    def append(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Write metrics [S] at their env steps; what is not a number is left out."""
        tensorboard, now = _tensorboard(), time.time()
        with writing(self._directory):
            for row, file in enumerate(self._files):
                env_steps = int(metrics["env_steps"][row])
                for name, values in metrics.items():
                    if name == "env_steps" or not np.isfinite(values[row]):
                        continue
                    summary = tensorboard.summary.scalar(name, float(values[row]))
                    event = tensorboard.proto.event_pb2.Event(
                        summary=summary, wall_time=now, step=env_steps
                    )
                    file.write_event(event)
                file.flush()

    def close(self) -> None:
        with writing(self._directory):
            for file in self._files:
                file.close()


def check_installed() -> None:
    """Raise ExploraxError unless event files can be written."""
    _tensorboard()


def _tensorboard() -> Any:
    try:
        import tensorboardX
    except ImportError:
        raise ExploraxError(
            "TensorBoard event files need tensorboardX, which is not installed: "
            "pip install 'explorax[tensorboard]'. metrics.csv is written without it."
        ) from None
    return tensorboardX

"""Ctrl-C while training: the rollouts under way are finished and all is saved first."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run that was stopped by Ctrl-C (or SIGTERM) and saved; with the exit code to return."""

    def __init__(self, path: Path, message: str, signal_number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.path = path
        self.exit_code = 128 + signal_number


class Stop:
    """Whether somebody asked for an end, and by which signal."""

    signal_number: int | None = None

    @property
    def requested(self) -> bool:
        return self.signal_number is not None


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Note SIGINT and SIGTERM instead of dying of them; the second one ends the process at once.

    Outside the main thread Python hears no signals, and nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.signal_number = number
        print(
            "\nStopping after the rollouts under way and saving. Again: stop at once.",
            file=sys.stderr,
        )

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, hear)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

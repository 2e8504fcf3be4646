"""How environments outside JAX are stepped, and what is done when one of them fails."""

import logging
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from explorax.core.errors import in_words, require
from explorax.core.settings import check_types


@dataclass(frozen=True)
class Supervision:
    """Who steps the environments, how long one may take, and how often it may be restarted.

    None of it decides a number unless an environment fails: each has its own seed, whoever steps
    it. Only environments in worker processes can be stopped when they hang, or outlive a crash.
    """

    workers: int = 0  # processes among which the environments are divided; 0: this one alone
    step_limit_s: float | None = None  # seconds for one environment's step; None: any time
    restarts: int = 0  # times that each environment may be restarted after a fault

    def __post_init__(self) -> None:
        check_types(self)
        require(self.workers >= 0, self, "workers", "at least 0")
        limit = self.step_limit_s
        require(limit is None or 0 < limit < 1e9, self, "step_limit_s", "more than 0 seconds")
        alone = limit is not None and self.workers == 0
        words = "None without workers: a process cannot stop itself. Set workers too, such as 2"
        require(not alone, self, "step_limit_s", words)
        require(self.restarts >= 0, self, "restarts", "at least 0")


ALONE = Supervision()


def is_fault(error: BaseException) -> bool:
    """Return whether it is the environment's doing, and not that of a person who presses Ctrl-C.

    Whatever an environment raises is a fault of its own, sys.exit() too. A KeyboardInterrupt is one
    where no person can have caused it: Ctrl-C is not heard here, or its handler did not raise it.
    Under Python's own handler, which leaves no trace, it is taken for a person's.
    """
    if not isinstance(error, KeyboardInterrupt):
        return True
    handler = signal.getsignal(signal.SIGINT)
    if handler == signal.SIG_IGN:
        return True
    code = getattr(handler, "__code__", None)
    frames = traceback.walk_tb(error.__traceback__)
    return code is not None and all(frame.f_code is not code for frame, _ in frames)


def close_quietly(close: Callable[[], object], name: str) -> None:
    """Call `close`; what it raises is told in a line on stderr, and nothing else depends on it."""
    try:
        close()
    except BaseException as error:
        if not is_fault(error):
            raise
        logging.getLogger("explorax").warning("%s: close raised %s.", name, in_words(error))

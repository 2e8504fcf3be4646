"""How environments outside JAX are stepped, and what is done when one of them fails."""

from dataclasses import dataclass

from explorax.core.errors import require
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

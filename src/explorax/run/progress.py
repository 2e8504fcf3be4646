"""What a person sees while a run trains: a bar in a terminal, a few plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

import numpy as np

_LINES = 10  # of a run whose output is not a terminal


class Progress:
    """Shows env steps of all seeds, their rate, the mean return and bonus, and the time left."""

    def __init__(self, title: str, total_env_steps: int, enabled: bool = True) -> None:
        self._title, self._total, self._enabled = title, total_env_steps, enabled
        self._bar: Any = None
        self._task: Any = None
        self._begun = time.perf_counter()
        self._first = 0  # env steps done before this process
        self._next_line = 0.0
        self._metrics: dict[str, np.ndarray] = {}  # of the last chunk that was over
        self._terminal = enabled and sys.stdout.isatty()

    def __enter__(self) -> "Progress":
        if self._terminal:
            self._bar = _bar()
            self._task = self._bar.add_task(self._title, total=self._total, numbers="compiling")
            self._bar.start()
        elif self._enabled:
            _say(f"{self._title}: compiling")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def begin(self, env_steps: int) -> None:
        """Start the clock: compilation is over, and `env_steps` were done by an earlier process."""
        self._begun, self._first = time.perf_counter(), env_steps
        if self._bar is not None:
            self._bar.update(self._task, completed=env_steps, numbers="training")

    def show(self, env_steps: int, metrics: dict[str, np.ndarray] | None) -> None:
        """Show the state after a chunk, or within one; env_steps: of all seeds so far.

        metrics: of the chunk that is over; None within one, which only a bar shows.
        """
        if not self._enabled or (metrics is None and self._bar is None):
            return
        self._metrics = metrics = self._metrics if metrics is None else metrics
        seconds = max(time.perf_counter() - self._begun, 1e-9)
        rate = (env_steps - self._first) / seconds
        numbers = (
            f"{_quantity(rate)} env steps/s  return {_mean(metrics, 'return_mean')}  "
            f"bonus {_mean(metrics, 'bonus_mean')}"
        )
        left = _duration((self._total - env_steps) / max(rate, 1e-9))
        if self._bar is not None:
            self._bar.update(self._task, completed=env_steps, numbers=numbers, left=left)
        elif env_steps >= self._next_line or env_steps >= self._total:
            share = env_steps / self._total
            self._next_line = env_steps + self._total / _LINES * 0.999
            _say(f"{self._title}: {share:4.0%}  {env_steps:,} env steps  {numbers}  {left} left")

    def note(self, text: str) -> None:
        """Say something without disturbing the bar."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            _say(text)


def _say(text: str) -> None:
    """Print a line, as far as the terminal has letters for it and the disk has room."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:  # nobody reads on
        raise
    except OSError:  # a log that is full ends no run
        pass


def _bar() -> Any:
    from rich.progress import BarColumn, Progress, TextColumn

    class Left(TextColumn):
        def render(self, task: Any) -> Any:
            left = task.fields.get("left")
            return super().render(task) if left else type(super().render(task))("")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[numbers]}"),
        Left("{task.fields[left]} left"),
    )


def _mean(metrics: dict[str, np.ndarray], name: str) -> str:
    values = np.asarray(metrics.get(name, np.nan), float)
    known = values[np.isfinite(values)]
    return f"{known.mean():.3g}" if known.size else "-"


def _quantity(value: float) -> str:
    return f"{value / 1000:,.0f}k" if value >= 10_000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(min(seconds, 3.6e6) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

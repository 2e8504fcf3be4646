"""How a message names an argument: as Python does, or as the command line does."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_on_command_line = ContextVar("explorax_on_command_line", default=False)


@contextmanager
def on_command_line() -> Iterator[None]:
    """Let messages name flags while this lasts. The command line runs in it."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def named(name: str) -> str:
    """Return `--num-envs` on the command line and `num_envs` in Python."""
    return f"--{name.replace('_', '-')}" if _on_command_line.get() else name


def argument(name: str, value: object = None) -> str:
    """Return `--num-envs 4` on the command line and `num_envs=4` in Python.

    value: what it is given; None for a switch, which is `--resume` and `resume=True`.
    """
    if _on_command_line.get():
        return named(name) if value is None else f"{named(name)} {value}"
    if value is None:
        return f"{name}=True"
    return f"{name}={value}" if isinstance(value, int) else f"{name}={str(value)!r}"


def argument_of_each(name: str, values: Sequence[str]) -> str:
    """Return `--trust a --trust b` on the command line and `trust=('a', 'b')` in Python."""
    if _on_command_line.get():
        return " ".join(argument(name, value) for value in values)
    return f"{name}={tuple(values)!r}"


def resuming(directory: object, trust: Iterable[str] = ()) -> str:
    """Return how to go on with the run in `directory`: a command, or what to call.

    trust: the modules that reading its configuration would import.
    """
    if _on_command_line.get():
        trusted = "".join(f" --trust {module}" for module in trust)
        return f"explorax train --resume {directory}{trusted}"
    return "the call that began it, with resume=True (compare goes on by itself)"

"""Every error explorax raises on purpose.

A message says what was given, what is possible, the nearest name, and what to do. The command line
prints the message alone; a traceback is for errors that are not in this module.
"""

import difflib
from collections.abc import Iterable


class ExploraxError(Exception):
    """Base of all errors that are the caller's to mend."""


class UnknownName(ExploraxError):
    """A name that no catalogue holds: an environment, agent, bonus or field."""


class InvalidSetting(ExploraxError):
    """A value that its field cannot take."""


class Incompatible(ExploraxError):
    """Parts that are each valid and do not fit together."""


class BadEnvironmentData(ExploraxError):
    """An environment returned something it should not: NaN, a wrong shape, a wrong type."""


class Diverged(ExploraxError):
    """A number that training needs is no longer finite."""


class NotEnoughMemory(ExploraxError):
    """The run as configured would not fit in memory."""


class RunDirectoryError(ExploraxError):
    """A run directory that cannot be written, or must not be overwritten."""


class CheckpointError(ExploraxError):
    """A checkpoint that is missing, corrupted, or of another configuration."""


def unknown_name(kind: str, given: str, possible: Iterable[str], cure: str = "") -> UnknownName:
    """Return the error for a `kind` of thing that has no entry called `given`."""
    names = sorted(possible)
    hint, tail = did_you_mean(given, names), f" {cure}" if cure else ""
    return UnknownName(f"There is no {kind} {given!r}.{hint} Possible: {', '.join(names)}.{tail}")


def did_you_mean(given: str, possible: Iterable[str]) -> str:
    """Return " Did you mean 'CartPole-v1'?", or "" where nothing that is possible is near."""
    names = sorted(possible)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    if not near:  # a difference of letter case alone defeats difflib
        near = [name for name in names if name.lower() == given.lower()]
    return f" Did you mean {near[0]!r}?" if near else ""


def require(condition: bool, owner: object, field: str, wanted: str) -> None:
    """Raise InvalidSetting unless `condition`, naming the field of `owner`, its value and what it
    must be. For use in `__post_init__` of a settings dataclass."""
    if not condition:
        name, value = type(owner).__name__, getattr(owner, field)
        raise InvalidSetting(f"{name}({field}={value!r}): {field} must be {wanted}.")


_LONGEST = 500  # characters of what another's error says


def in_words(error: BaseException) -> str:
    """Return "ValueError: what it says" of any error, in one line and not too long."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # its own text may raise too
        said = ""
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
    return f"{type(error).__name__}: {said}" if said else type(error).__name__

"""What an environment may observe and choose among: arrays of numbers, and codes of some length.

Imports gymnasium, so it is imported only when such an environment is made.
"""

from collections.abc import Iterator
from typing import Any

from gymnasium import spaces

from explorax.core.errors import Incompatible

MAX_CODES = 2**16  # entries of one-hot codes in an observation; choices of an action
_NUMBERS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def check_observed(space: Any, name: str) -> None:
    """Raise Incompatible, with the key, for parts of an observation that are no arrays of numbers:
    texts, and what is now one thing and now another."""
    if not isinstance(space, spaces.Space):
        raise Incompatible(
            f"{name} has {space!r} for its observation_space, which is not a space of Gymnasium. "
            "Mend the environment."
        )
    for key, part in _parts(space):
        if not isinstance(part, _NUMBERS):
            raise Incompatible(
                f"{name} observes {part}{key}, which is not an array of numbers. Take it out "
                "(gymnasium.wrappers.FilterObservation), or make numbers of it "
                "(gymnasium.wrappers.TransformObservation)."
            )


def check_codes(space: spaces.Space, name: str, acts: bool = False) -> None:
    """Raise Incompatible, with the key, where one-hot codes would be longer than MAX_CODES.

    space: of observations, or of actions (`acts`).
    """
    lengths = [(_code_length(part), key, part) for key, part in _parts(space)]
    total = sum(length for length, *_ in lengths)
    if total > MAX_CODES:
        length, key, part = max(lengths, key=lambda each: each[0])
        does, what = ("acts in", "an action") if acts else ("observes", "an observation")
        cure = "(gymnasium.wrappers.TransformObservation), or take it out (FilterObservation)"
        raise Incompatible(
            f"{name} {does} {part}{key}, whose one-hot code has {length:,} entries; all codes of "
            f"{what} may have {MAX_CODES:,} together. Write the number as several small ones, "
            f"such as its digits, or as a Box "
            f"{'(gymnasium.wrappers.TransformAction)' if acts else cure}."
        )


def check_choices(count: int, name: str) -> None:
    """Raise Incompatible where there are more actions than MAX_CODES."""
    if count > MAX_CODES:
        raise Incompatible(
            f"{name} has {count:,} actions to choose among; at most {MAX_CODES:,} are possible. "
            "Choose among fewer, or act in a Box (gymnasium.wrappers.TransformAction)."
        )


def _parts(space: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Give (where, space) of what a Dict or Tuple holds; where is "" or " in ['a']"."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for name, part in named:
            yield from _parts(part, f"{key or ' in '}[{name!r}]")
    else:
        yield key, space


def _code_length(space: Any) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return sum(int(size) for size in space.nvec.ravel())
    return 0

"""Whether a part has the methods and attributes of its protocol, and takes what they are given."""

import inspect
from collections.abc import Collection
from typing import Any

from explorax.checking.calls import Fault
from explorax.core.settings import members_of, with_article

_WORDS = {"Env": "environments side by side"}


def check_members(part: Any, protocol: type, optional: Collection[str] = ()) -> None:
    """Raise Fault where `part` lacks members of `protocol`, or a method takes other arguments."""
    name, kind = type(part).__name__, protocol.__name__
    members = {each: vars(protocol)[each] for each in members_of(protocol)}
    lacking = [
        each
        for each, wanted in members.items()
        if each not in optional
        and (not _has(part, each) or (callable(wanted) and not callable(getattr(part, each, None))))
    ]
    if lacking:
        raise Fault(
            f"{name} is not {_WORDS.get(kind, with_article(kind.lower()))}: it "
            f"has no {', '.join(lacking)}, and {protocol.__module__}.{kind} says what "
            "one must have."
        )
    for each, wanted in members.items():
        if callable(wanted) and callable(getattr(part, each, None)):
            _check_arguments(f"{name}.{each}", getattr(part, each), wanted)


def _has(part: Any, member: str) -> bool:
    """Return whether `member` is there, be it a property that raises when it is asked."""
    if member in dir(type(part)):
        return True
    return hasattr(part, member)


def _check_arguments(where: str, method: Any, wanted: Any) -> None:
    """Raise Fault where a method cannot be called as that of the protocol is."""
    try:
        takes = inspect.signature(method)
    except (TypeError, ValueError):  # of a compiled function nobody knows
        return
    given = list(inspect.signature(wanted).parameters.values())[1:]
    named = {each.name: each.default for each in given if each.kind is each.KEYWORD_ONLY}
    needed = [
        each for each in given if each.kind is not each.KEYWORD_ONLY and each.default is each.empty
    ]
    try:
        takes.bind(*(each.name for each in needed), **named)
    except TypeError:
        plain = [each.replace(annotation=each.empty) for each in given]
        own = [each.replace(annotation=each.empty) for each in takes.parameters.values()]
        raise Fault(f"{where} takes {_shown(own)}, where {_shown(plain)} is wanted.") from None


def _shown(parameters: list[inspect.Parameter]) -> str:
    return str(inspect.Signature(parameters))

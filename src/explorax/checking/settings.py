"""Settings: hashable, frozen, and the same after every call."""

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from explorax.core.errors import InvalidSetting

_CURE = "settings are a frozen dataclass, @dataclass(frozen=True), and what changes is a pytree"


def check_frozen(part: Any) -> None:
    """Raise InvalidSetting where `part` is a class, could change, or has no hash."""
    if isinstance(part, type):
        name = part.__name__
        raise InvalidSetting(f"{name} is a class, and an object is wanted: write {name}(...).")
    name = type(part).__name__
    parameters = getattr(type(part), "__dataclass_params__", None)
    if parameters is not None and not parameters.frozen:
        raise InvalidSetting(f"{name} is a dataclass whose fields can change: {_CURE}.")
    try:
        hash(part)
    except TypeError as error:
        fields = _unhashable(part)
        told = f", because of {fields}" if fields else f" ({error})"
        raise InvalidSetting(
            f"{name} has no hash{told}: {_CURE}; take tuples for lists and arrays."
        ) from None


def _unhashable(part: Any) -> str:
    if not dataclasses.is_dataclass(part):
        return ""
    found = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        try:
            hash(value)
        except TypeError:
            found.append(f"{field.name} (a {type(value).__name__})")
    return ", ".join(found)


def held(part: Any) -> dict[str, Any]:
    """Return what `part` and the plain objects in it hold, by path, to be compared later."""
    return dict(_held(part, type(part).__name__, set()))


def check_held(part: Any, before: dict[str, Any]) -> None:
    """Raise InvalidSetting where `part` no longer holds what it held."""
    after = held(part)
    for path in [*after, *(path for path in before if path not in after)]:
        missing = path not in before or path not in after
        if missing or after[path] != before[path]:
            raise InvalidSetting(
                f"{path} changed while methods were called: state is kept in Python, and a "
                f"compiled program never sees it change; {_CURE}, passed in and returned."
            )


def _held(value: Any, path: str, seen: set[int]) -> Iterable[tuple[str, Any]]:
    """Give (path, what is there); of other objects than numbers and texts, which one it is."""
    if isinstance(value, bool | int | float | str | bytes | type(None)):
        yield path, value
        return
    yield path, id(value)
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, tuple | list | set | frozenset):
        for index, each in enumerate(value):
            yield from _held(each, f"{path}[{index}]", seen)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _held(each, f"{path}[{key!r}]", seen)
    elif not isinstance(value, type) and not callable(value):
        for name, each in getattr(value, "__dict__", {}).items():
            if not isinstance(getattr(type(value), name, None), cached_property):
                yield from _held(each, f"{path}.{name}", seen)

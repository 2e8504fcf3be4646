"""Settings: whether their fields hold what their types say, and what they are made of."""

import dataclasses
from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from explorax.core.errors import InvalidSetting

_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


class _Misfit(Exception):
    """Carries what was wanted, in words."""


def check_types(settings: object) -> None:
    """Raise InvalidSetting where a field of `settings` holds what its annotation does not allow.

    Called first in `__post_init__`. NumPy's and JAX's scalars become Python's, whole floats such as
    1e6 become ints where those are wanted, and lists tuples, so that the constructor text of the
    settings can be read back. A field whose type is a protocol (a bonus, a behavior) takes an
    object that has its members, and no class. One whose type is a dataclass takes an object of it.
    """
    for field, hint in _hints(type(settings)).items():
        value = getattr(settings, field)
        try:
            fitted = _fitted(hint, value)
        except _Misfit as wanted:
            owner = type(settings).__name__
            given = value.__name__ if isinstance(value, type) else repr(value)
            given = given if len(given) <= 60 else f"{type(value).__name__}(...)"
            raise InvalidSetting(f"{owner}({field}={given}): {field} must be {wanted}.") from None
        if fitted is not value:
            object.__setattr__(settings, field, fitted)


@cache
def _hints(cls: type) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(cls, "__dataclass_fields__", {})
    return {name: hint for name, hint in get_type_hints(cls).items() if name in fields}


def _fitted(hint: Any, value: Any) -> Any:
    """Return `value` as `hint` has it. Raises _Misfit."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _first_that_fits(get_args(hint), value)
    if origin is tuple:
        return _tuple(get_args(hint), value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # 1e6 env steps
    if hint in _WORDS:
        kinds = (int, float) if hint is float else hint
        if not isinstance(value, kinds) or (isinstance(value, bool) and hint is not bool):
            raise _Misfit(_WORDS[hint])
    elif hint is NoneType:
        if value is not None:
            raise _Misfit("None")
    elif isinstance(hint, type):
        _check_part(hint, value)
    return value


def _first_that_fits(hints: tuple[Any, ...], value: Any) -> Any:
    wanted = []
    for hint in hints:
        try:
            return _fitted(hint, value)
        except _Misfit as misfit:
            wanted.append(str(misfit))
    raise _Misfit(" or ".join(wanted))


def _tuple(hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    many = len(hints) == 2 and hints[1] is Ellipsis
    words = f"a tuple of {_plural(hints[0])}" if many else f"a tuple of {len(hints)} entries"
    if not isinstance(value, tuple | list) or not (many or len(value) == len(hints)):
        raise _Misfit(words)
    try:
        return tuple(map(_fitted, hints[:1] * len(value) if many else hints, value))
    except _Misfit as misfit:
        raise _Misfit(words if many else f"{words}, one of which must be {misfit}") from None


def _plural(item: Any) -> str:
    plural = {int: "whole numbers, such as (32,) or ()", float: "numbers"}
    return plural.get(item, f"{getattr(item, '__name__', item)} objects")


def _check_part(wanted: type, value: Any) -> None:
    if hasattr(wanted, "__dataclass_fields__") and not isinstance(value, wanted):
        hint = f" and not a class: write {value.__name__}(...)" if isinstance(value, type) else ""
        raise _Misfit(f"{with_article(wanted.__name__)}{hint}")
    if getattr(wanted, "_is_protocol", False):
        _check_members(wanted, value)


def members_of(protocol: type) -> tuple[str, ...]:
    """Return the names of the methods and attributes that a protocol asks for."""
    return tuple(name for name in vars(protocol) if not name.startswith("_"))


def parts_of(settings: Any) -> Iterator[Any]:
    """Yield `settings` and all settings within it: what a part is made of."""
    yield settings
    if isinstance(settings, tuple | list):
        inner = list(settings)
    elif dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        inner = [getattr(settings, field.name) for field in dataclasses.fields(settings)]
    else:
        inner = []
    for each in inner:
        yield from parts_of(each)


def _check_members(protocol: Any, value: Any) -> None:
    kind = with_article(protocol.__name__.lower())
    if isinstance(value, type):
        raise _Misfit(f"{kind} and not a class: write {value.__name__}(...)")
    lacking = [name for name in members_of(protocol) if not hasattr(value, name)]
    if lacking:
        raise _Misfit(f"{kind}; {type(value).__name__} has no {', '.join(lacking)}")


def with_article(name: str) -> str:
    """Return "an agent" of "agent"."""
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"

"""Settings as constructor text: what a run is known by, the same in every process.

The one place where identity is written. What cannot be written so that another process writes it
alike (a memory address, a function, an array, a set) is refused, or stands there by its label.
"""

import dataclasses
from collections.abc import Collection
from typing import Any

from explorax.core.errors import InvalidSetting
from explorax.naming.grammar import LABELED, LOCALS

_CURE = (
    "Hold it as numbers, texts, tuples or frozen dataclasses of them, from which the rest is made "
    "where it is needed; or give {owner} an attribute `label`, a text that says which one it is: "
    "runs with the same label are then taken for the same."
)


class _Unwritable(Exception):
    """Carries the field, or "", and what it holds, in words."""


def class_name(cls: type) -> str:
    """Return the name of a class in constructor text: `VIME`, or `my_bonus:Novelty` of others."""
    name = cls.__qualname__.replace("<locals>", LOCALS)
    return name if cls.__module__.partition(".")[0] == "explorax" else f"{cls.__module__}:{name}"


def write(value: object, without: Collection[str] = ()) -> str:
    """Return the constructor text of settings, or of a number, text or tuple.

    `without`: fields that are left out, outermost. Raises InvalidSetting where there is no text
    that holds in another process too.
    """
    try:
        return _text(value, None, without)
    except _Unwritable as odd:
        field, what = odd.args
        owner = type(value).__name__
        place = f"{owner}.{field}" if field else owner
        raise InvalidSetting(
            f"{place} is {what}. A run is known by its settings, and this cannot be written so "
            f"that another process writes it alike. {_CURE.format(owner=owner)}"
        ) from None
    except RecursionError:
        raise InvalidSetting(
            f"{type(value).__name__} is nested too deeply to be written."
        ) from None


def write_short(value: object, without: Collection[str] = ()) -> str:
    """Return what `write` does, without the outermost fields that are at their defaults, and
    without the parentheses where no others are left."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return write(value)
    at_default = [
        field.name
        for field in dataclasses.fields(value)
        if field.init and _is_default(field, getattr(value, field.name))
    ]
    return write(value, (*without, *at_default)).removesuffix("()")


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if default is dataclasses.MISSING:
        return False
    try:
        return _text(value, None) == _text(default, None)
    except _Unwritable:
        return False


def _text(value: Any, label: str | None, without: Collection[str] = ()) -> str:
    """Return the constructor text of `value`; `label`: of the nearest object around that has one.

    Raises _Unwritable.
    """
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if type(value) in (tuple, list):
        inside = ", ".join(_text(item, label) for item in value)
        comma = "," * (len(value) == 1)
        return f"[{inside}]" if type(value) is list else f"({inside}{comma})"
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _text(value.item(), label)  # NumPy's and JAX's scalars
    own = None if isinstance(value, type) else getattr(value, "label", None)
    label = own if isinstance(own, str) and own else label
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{class_name(type(value))}({', '.join(_fields(value, label, without))})"
    if label is None:
        raise _Unwritable("", _in_words(value))
    labeled = f"{LABELED}({label!r})"
    return f"{class_name(type(value))}({labeled})" if label is own else labeled


def _fields(value: Any, label: str | None, without: Collection[str]) -> list[str]:
    told = []
    for field in dataclasses.fields(value):
        if field.init and field.name not in without:
            try:
                told.append(f"{field.name}={_text(getattr(value, field.name), label)}")
            except _Unwritable as odd:
                inner, what = odd.args
                place = f"{field.name}.{inner}" if inner else field.name
                raise _Unwritable(place, what) from None
    return told


def _in_words(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} and not an object of it"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, set | frozenset):
        return "a set, whose order differs between processes"
    if isinstance(value, dict):
        return "a dict"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function {value.__qualname__}"
    cls = type(value)
    return f"an object of {cls.__module__}:{cls.__qualname__}, which is not a dataclass"

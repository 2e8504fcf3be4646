"""Settings as short constructor text: what differs from the defaults, and nothing else."""

import dataclasses
from typing import Any

from explorax.core.errors import InvalidSetting
from explorax.naming.writing import class_name, write


def brief(value: Any) -> str:
    """Return `value` as constructor text without the fields that are at their defaults.

    `parse(brief(x)) == x`, as long as the defaults stay what they are: for people to read, where
    the full `repr` goes on record. Fields without a default are written without their names.
    """
    if isinstance(value, tuple):
        inside = ", ".join(map(brief, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        try:
            return write(value)
        except InvalidSetting:  # known by the label of what holds it
            return "..."
    told = []
    for field in dataclasses.fields(value):
        if not field.init:
            continue
        own = getattr(value, field.name)
        default = _default(field)
        if default is dataclasses.MISSING and not field.kw_only:
            told.append(brief(own))
        elif default is dataclasses.MISSING or own != default:
            told.append(f"{field.name}={brief(own)}")
    return f"{class_name(type(value))}({', '.join(told)})"


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default

"""Constructor text such as `Scale(MedianRatio(VIME(hidden=(32,))), 1e-4)`, read and written.

Its names are those of the catalogues (`__all__` of agents, bonuses and what they are made of), and
`my_bonus:Novelty` for a class of the user's own.
"""

import dataclasses
import importlib
from collections.abc import Container, Iterable, Mapping
from typing import Any

from explorax.core.errors import InvalidSetting
from explorax.core.settings import members_of, with_article
from explorax.naming.own import lacks
from explorax.naming.reading import ANY, Reader, parsed
from explorax.naming.writing import class_name, write

KINDS = {
    "agent": "explorax.agents",
    "bonus": "explorax.bonuses",
    "auxiliary": "explorax.auxiliaries",
    "behavior": "explorax.behaviors",
    "encoder": "explorax.encoders",
    "density": "explorax.densities",
    "posterior": "explorax.posteriors",
}
_PROTOCOLS = {  # what an object of each kind must have
    "agent": "explorax.core.protocols:Agent",
    "bonus": "explorax.core.protocols:Bonus",
    "auxiliary": "explorax.auxiliaries.auxiliary:Auxiliary",
    "behavior": "explorax.behaviors.behavior:Behavior",
    "encoder": "explorax.encoders.encoder:Encoder",
    "density": "explorax.densities.density:Density",
    "posterior": "explorax.posteriors.posterior:Posterior",
}


def catalogue(kind: str) -> dict[str, type]:
    """Return the settings classes of one of KINDS by name."""
    module = importlib.import_module(KINDS[kind])
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in found.items() if _is_settings(value)}


def expression(value: object) -> str:
    """Return the constructor text of settings: `parse(expression(x)) == x`.

    Classes outside explorax are written `module:Class(...)`. Raises InvalidSetting where a value
    cannot be written so that another process writes it alike.
    """
    return write(value)


def parse(
    text: str,
    kind: str | None = None,
    extra: Iterable[type] = (),
    trust: Container[str] = (),
) -> Any:
    """Return the settings object that `text` constructs.

    `kind` says what is wanted, one of KINDS (None: any). A bare name means the call
    without arguments. `extra` adds the caller's own classes. `trust` holds the names of modules
    that may be imported for classes written `module:Class`, since that runs their code. Raises
    UnknownName, InvalidSetting, and Incompatible where a module cannot be imported.
    """
    names = {}
    for cls in extra:
        names |= {cls.__name__: cls, class_name(cls): cls}
    wanted = names | catalogue(kind) if kind else {}
    for each in KINDS:
        names |= catalogue(each)
    wanted = wanted or names
    shown = {name: cls for name, cls in wanted.items() if ":" not in name}
    value = Reader(text, names, trust, kind or ANY, shown).top(parsed(text, _example(shown)))
    if kind and type(value) not in wanted.values():
        _check_kind(text, value, kind, shown)
    return value


def members(kind: str) -> tuple[str, ...]:
    """Return the methods and attributes that an object of one of KINDS must have."""
    module, _, name = _PROTOCOLS[kind].partition(":")
    protocol = getattr(importlib.import_module(module), name)
    return members_of(protocol)


def _check_kind(text: str, value: Any, kind: str, shown: Mapping[str, type]) -> None:
    """Raise InvalidSetting unless `value`, of none of the wanted classes, is of the user's own and
    has what a `kind` must have."""
    name = class_name(type(value))
    if ":" not in name:
        raise InvalidSetting(
            f"{text!r} is not {with_article(kind)}. Possible: {', '.join(sorted(shown))}, "
            f"for example {_example(shown)}."
        )
    lacking = lacks(type(value), members(kind))
    if lacking:
        raise InvalidSetting(
            f"{name} is not {with_article(kind)}: it has no {', '.join(lacking)}. "
            f"{_PROTOCOLS[kind].replace(':', '.')} says what one must have."
        )


def _is_settings(value: object) -> bool:
    return isinstance(value, type) and dataclasses.is_dataclass(value)


def _example(wanted: Mapping[str, type]) -> str:
    return f"{min(wanted)}()" if wanted else "Name(field=1.0)"

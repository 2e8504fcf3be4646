"""Classes of the user's own, imported by name: `my_bonus:Novelty`.

Importing a module runs its code. What a person has just typed is imported; what a file names is
imported only where that person trusts the module.
"""

import dataclasses
import re
from collections.abc import Container, Iterable
from types import ModuleType
from typing import Any

from explorax.core.arguments import argument_of_each
from explorax.core.errors import Incompatible, InvalidSetting, UnknownName, did_you_mean
from explorax.naming.grammar import not_importable
from explorax.naming.importing import user_module


class _Anything:
    def __contains__(self, module: object) -> bool:
        return True


TYPED: Container[str] = _Anything()  # the trust in what was typed and not read from a file


def check_trust(modules: Iterable[str], trust: Container[str]) -> None:
    """Raise InvalidSetting where one of the modules, and the packages around it, is not trusted."""
    lacking = [module for module in modules if not _trusted(module, trust)]
    if lacking:
        trusted = argument_of_each("trust", lacking)
        raise InvalidSetting(
            f"Reading this would import {', '.join(lacking)}, and importing a module runs its "
            f"code; what a file names is not imported by itself. If you know it, add "
            f"{trusted}."
        )


def _trusted(module: str, trust: Container[str]) -> bool:
    parts = module.split(".")
    around = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return parts[0] == "explorax" or any(name in trust for name in around)


def imported(module: str, wanted: str) -> ModuleType:
    """Return the module, which `wanted` names. Raises UnknownName where there is none,
    Incompatible where importing it fails."""
    try:
        return user_module(module, wanted)
    except ModuleNotFoundError as error:
        raise Incompatible(
            f"{wanted}: importing {module} failed: {error}. Install what it needs."
        ) from error


def own_class(name: str, trust: Container[str], settings: bool = True) -> tuple[type, str]:
    """Return (the class, what follows it) of `module:Class` or `module:Class.constructor`.

    settings: whether it must be a dataclass. Raises UnknownName, Incompatible, InvalidSetting.
    """
    module, _, path = name.partition(":")
    check_importable(name)
    check_trust([module], trust)
    owner: Any = imported(module, name)
    names = path.split(".")
    position = 0
    for part in names:
        value = None if part.startswith("__") else getattr(owner, part, None)
        if not isinstance(value, type):
            break
        owner, position = value, position + 1
    if position == 0:
        raise UnknownName(no_class(imported(module, name), names[0]))
    if settings:
        check_settings_class(owner, f"{module}:{'.'.join(names[:position])}")
    return owner, ".".join(names[position:])


def check_importable(name: str) -> None:
    """Raise InvalidSetting for names of classes that no other process can import."""
    where = not_importable(name)
    if where:
        cls = re.split("[.:]", name)[-1]
        raise InvalidSetting(
            f"{name}: {cls} was defined {where}, from where it cannot be imported again. Move it "
            f"to the top level of a module, module:{cls}; or stay in Python, where the class is: "
            f"extra=({cls},), or ex.train(..., resume=True) with the objects themselves."
        )


def check_settings_class(cls: type, name: str) -> None:
    """Raise InvalidSetting unless `cls` is a dataclass, whose fields are its settings."""
    if not dataclasses.is_dataclass(cls):
        raise InvalidSetting(
            f"{name} is not a dataclass, so its settings cannot be written. Put "
            "@dataclass(frozen=True) over the class, its settings being its fields."
        )


def lacks(cls: type, members: Iterable[str]) -> list[str]:
    """Return which of these methods and attributes objects of `cls` do not have."""
    fields = getattr(cls, "__dataclass_fields__", {})
    return [name for name in members if not hasattr(cls, name) and name not in fields]


def no_class(module: ModuleType, name: str) -> str:
    """Return the sentence that a module has no class `name`, the nearest one, and what it has."""
    classes = [
        each
        for each, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    its = f"It has {', '.join(sorted(classes))}." if classes else "It has none."
    hint = did_you_mean(name, classes)
    return f"The module {module.__name__} has no class {name!r}.{hint} {its}"

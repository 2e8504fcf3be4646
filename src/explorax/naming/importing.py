"""Modules of the user's own, found by every process in the same place."""

import importlib
import os
import sys
from types import ModuleType

from explorax.core.errors import Incompatible, UnknownName, in_words

NAMES = (
    "Names are gymnasium:, dm_control:, minigrid:, ale: and mujoco: for what these packages have, "
    "module:Name-v0 for what the module registers with Gymnasium when it is imported, and "
    "module:Class(...) for a class in it."
)


def importable() -> str:
    """Let modules in the working directory be imported, and return the directory.

    It is looked in last, so that it shadows nothing that is installed; "" where it is gone.
    """
    try:
        here = os.getcwd()
    except OSError:  # deleted while we are in it
        return ""
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    return here


def user_module(name: str, owner: str, cure: str = NAMES) -> ModuleType:
    """Return the module, from the working directory too.

    owner: what names it, for messages. Raises UnknownName, ending in `cure`, where there is none of
    that name, ModuleNotFoundError where another is missing that it imports, and Incompatible where
    it raises something else.
    """
    known = sys.modules.get(name)
    if known is not None:
        return known
    here = importable()
    importlib.invalidate_caches()  # the file may be younger than the last look at its directory
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UnknownName(
            f"{owner}: there is no module {error.name!r} to import, neither in the working "
            f"directory ({here}) nor among what is installed. {cure}"
        ) from error
    except (Exception, SystemExit) as error:
        raise Incompatible(
            f"{owner}: importing {name} raised {in_words(error)}. Mend the module."
        ) from error

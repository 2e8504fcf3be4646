"""What a user's module finds around it in the process that trains, for worker processes to have.

Nothing of it may differ, or an environment would be another one where a worker steps it: which
module a name means, which warnings are errors, how a number or a path is written as text.
"""

import contextlib
import locale
import pickle
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class Surroundings:
    """What a process cannot be given by its command line or its environment variables."""

    argv: tuple[str, ...]
    filters: tuple[bytes, ...]  # of warnings, each pickled
    locale: str  # of all categories, as `locale.setlocale` takes it
    errors: dict[str, str]  # what each stream does with text that it cannot encode

    def adopt(self) -> None:
        """Make them those of this process; a part that cannot be had here is left out."""
        sys.argv[:] = self.argv
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, self.locale)
        for name, errors in self.errors.items():
            stream: Any = getattr(sys, name)
            stream.reconfigure(errors=errors)
        filters = []
        for each in self.filters:
            with contextlib.suppress(Exception):  # a category of a package that fails to import
                filters.append(pickle.loads(each).fn())
        warnings.resetwarnings()
        warnings.filters.extend(filters)  # pyright: ignore[reportAttributeAccessIssue]  (a list)


def surroundings() -> Surroundings:
    """Return those of this process."""
    wrapper: Any = import_module("gymnasium.vector.utils").CloudpickleWrapper
    filters = []
    for each in warnings.filters:
        with contextlib.suppress(Exception):  # one that cannot be sent is left out
            filters.append(pickle.dumps(wrapper(lambda each=each: each)))
    streams = {name: getattr(getattr(sys, name), "errors", None) for name in _STREAMS}
    return Surroundings(
        tuple(sys.argv),
        tuple(filters),
        locale.setlocale(locale.LC_ALL),
        {name: errors for name, errors in streams.items() if errors},
    )


def interpreter(code: str, arguments: Sequence[object]) -> list[str]:
    """Return the command that runs `code` in a new interpreter with the flags and the path of this.

    The path is handed over as it is, in its order. Until it is there nothing but Python's own and
    what is installed can be imported: a types.py in the working directory shadows nothing. `code`
    finds `arguments` in sys.argv[1:].
    """
    path = [each for each in sys.path if isinstance(each, str)]
    # as multiprocessing does
    flags: list[str] = vars(subprocess)["_args_from_interpreter_flags"]()
    flags += ["-P", "-X", f"utf8={sys.flags.utf8_mode}"]
    takes = f"import sys; end = {len(path) + 1}; sys.path[:] = sys.argv[1:end]; del sys.argv[1:end]"
    return [sys.executable, *flags, "-c", f"{takes}; {code}", *path, *map(str, arguments)]

"""The command line: explorax train | compare | eval | report | list.

Options are flat; agents and bonuses are written as in Python, "Scale(MedianRatio(VIME()), 1e-4)".
Exit status: 0 done; 1 an error that the message explains; 2 wrong usage; 130 Ctrl-C (143 SIGTERM).
JAX is imported when a command runs, never for `--help`.
"""

import contextlib
import dataclasses
import errno
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from explorax._version import __version__

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_SUMMARIES = {
    "train": "train one agent with one bonus in one environment, many seeds at once",
    "compare": "train every combination, or a preset such as demo, and report on all",
    "eval": "play the final policy of a run and print what it returns",
    "report": "write one HTML page about runs: curves, maps, films, numbers",
    "list": "show the environments, agents, bonuses, their parts and presets",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    _print_anything()
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv:
        print(_help(), file=sys.stderr)
        return 2
    name, *arguments = argv
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name in ("-V", "--version"):
        print(f"explorax {__version__}")
        return 0
    if name not in _SUMMARIES:
        return _complain(f"{_no_command(name)} `explorax --help` says more.", 2)
    try:
        options = _parse(name, arguments)
    except SystemExit as stop:  # tyro has printed the help, or what is wrong
        return stop.code if isinstance(stop.code, int) else 0
    return _guarded(lambda: _run(name, options))


def _print_anything() -> None:
    """Let what the terminal's encoding has no letter for be printed as an escape, \\xdc."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _help() -> str:
    lines = "\n".join(f"  {name:<8} {text}" for name, text in _SUMMARIES.items())
    return (
        "usage: explorax COMMAND [OPTIONS]\n\n"
        "Exploration in reinforcement learning: pay an agent for learning about its world.\n\n"
        f"{lines}\n\n"
        "`explorax COMMAND --help` shows the options, `explorax --version` the version.\n"
        "First steps:\n"
        "  explorax compare --preset demo\n"
        "  explorax train --env mountain_car_sparse --seeds 10 \\\n"
        '      --agent "TRPO()" --bonus "ReturnShare(VIME(model=LastLayer()))"'
    )


def _no_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, _SUMMARIES, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no command {name!r}.{hint} Possible: {', '.join(_SUMMARIES)}."


def _parse(name: str, arguments: list[str]) -> Any:
    import tyro

    from explorax.cli.options import COMMANDS

    options = COMMANDS[name]
    return tyro.cli(
        options,
        prog=f"explorax {name}",
        description=inspect.getdoc(options),
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _run(name: str, options: Any) -> None:
    from explorax.cli import commands

    commands.ACTIONS[name](_with_homes(options))


def _with_homes(options: Any) -> Any:
    """Return the options with ~ as home directories in every path: a shell leaves --root=~/x."""
    from explorax.files import user_path

    changes: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Path):
            changes[field.name] = user_path(value)
        elif isinstance(value, tuple) and any(isinstance(each, Path) for each in value):
            changes[field.name] = tuple(map(user_path, value))
    return dataclasses.replace(options, **changes)


def _guarded(action: Callable[[], None]) -> int:
    """Return the exit status of `action`, its expected errors told in one clean message."""
    from explorax.cli.options import Usage
    from explorax.core.arguments import on_command_line
    from explorax.core.errors import ExploraxError

    try:
        with on_command_line():
            action()
        sys.stdout.flush()
    except Usage as error:
        return _complain(error, 2)
    except ExploraxError as error:
        return _complain(error, 1)
    except BrokenPipeError:  # `explorax list | head`: nobody reads on, and that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        status = _complain(
            f"Cannot write {error.filename or 'what is printed'}: {error.strerror}.", 1
        )
        with contextlib.suppress(OSError):  # or Python complains once more as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status
    except KeyboardInterrupt as stop:
        return _complain(str(stop) or "Interrupted.", getattr(stop, "exit_code", 130))
    return 0


def _complain(error: object, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody listens, or the disk is full
        sys.stdout.flush()
    print(f"explorax: {error}", file=sys.stderr)
    return status

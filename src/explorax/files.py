"""Files that are there as a whole or not at all, and paths as people write them."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from explorax.core.arguments import argument
from explorax.core.errors import ExploraxError, RunDirectoryError

_CURE = "Free space or mend the permissions there, or choose another place."


def user_path(path: str | Path) -> Path:
    """Return a path that a person gave, with ~ and ~name for home directories.

    Raises RunDirectoryError where there is no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RunDirectoryError(
            f"{path}: there is no home directory to put in place of {Path(path).parts[0]} "
            f"({error}) Write the path out, from / on."
        ) from None


def check_is_utf_8(path: Path) -> None:
    """Raise RunDirectoryError where `path` is other bytes to Python than it is in UTF-8.

    What writes a checkpoint's arrays takes UTF-8 whatever the locale: they would go elsewhere.
    """
    whole = str(path.absolute())
    try:
        same = os.fsencode(whole) == whole.encode("utf-8")
    except UnicodeEncodeError:
        same = False
    if not same:
        encoding, cure = sys.getfilesystemencoding(), "Choose"
        where = "these bytes are not"
        if encoding != "utf-8":
            where = f"in this locale, whose encoding is {encoding}, {where}"
            cure = "Set PYTHONUTF8=1 or LC_ALL=C.UTF-8, or choose"
        raise RunDirectoryError(
            f"{path}: checkpoints can only lie where the path is UTF-8, and {where}. {cure} a "
            f"place whose path is ASCII: {argument('root', 'DIR')}."
        )


@contextlib.contextmanager
def writing(
    path: Path, cure: str = _CURE, kind: type[ExploraxError] = RunDirectoryError
) -> Iterator[None]:
    """Turn the operating system's complaint about `path` into an error of `kind` with a cure."""
    try:
        yield
    except OSError as error:
        raise kind(
            f"Cannot write {path}: {error.strerror or error}. {cure} "
            f"What was written before is intact."
        ) from error


def write_atomically(
    path: Path,
    fill: Callable[[IO[bytes]], object],
    cure: str = _CURE,
    kind: type[ExploraxError] = RunDirectoryError,
) -> None:
    """Let `fill` write a temporary file beside `path`, then rename it: never half a file.

    A link is followed, and what is no file (/dev/stdout, a pipe) is written to. Raises an error of
    `kind`, with `cure` in it.
    """
    with writing(path, cure, kind):
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                fill(file)
            return
        path = Path(os.path.realpath(path))
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str, cure: str = _CURE) -> None:
    """Write a file of text in UTF-8 as `write_atomically` does.

    What UTF-8 cannot hold, the bytes of a name that is no text, is written as an escape, \\udcff.
    """
    data = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda file: file.write(data), cure)

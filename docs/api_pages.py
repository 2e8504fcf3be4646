"""The pages of the API: one for each package of explorax, made anew from what is in it.

Parts of a catalogue are shown as their package gives them, `explorax.bonuses.VIME`, and what else
there is in the package's modules below. Only the text of the source is read, so that a module which
needs something that is not installed has its place too. A name that begins with `_` is nobody's
business, and the command line has its own help.

`python docs/api_pages.py site/objects.inv` exits with 1 where a public class or function is not in
the inventory of a site: one without a docstring is not.
"""

import ast
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import explorax

SOURCE = Path(explorax.__file__).parent
_LEFT_OUT = ("cli", "api", "result")  # what is in the latter two, `explorax` itself gives
_TOP = """\
explorax
========

.. automodule:: explorax

Every agent, bonus, part of one and task is an attribute of this module too, ``ex.VIME`` or
``ex.TRPO``. They are described in the packages that they come from.
"""


def write(folder: Path) -> None:
    """Write the pages into a folder, and remove those of what is no longer there."""
    folder.mkdir(exist_ok=True)
    pages = {"explorax.rst": _top(), **{f"{path.stem}.rst": _page(path) for path in _shown()}}
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # what is as it was is not read again
            path.write_text(text)


def public() -> list[str]:
    """Return the full names of all public classes and functions, as one would import them."""
    names = [f"explorax.{name}" for name in explorax._FUNCTIONS]
    for path in _shown():
        shown = _catalogue(_file(path))
        names += [f"{_name(_file(path))}.{each}" for each in shown or _defined(_file(path))]
        for file in _modules(path):
            own = (each for each in _defined(file) if each not in shown)
            names += [f"{_name(file)}.{each}" for each in own]
    return names


def missing(inventory: bytes) -> list[str]:
    """Return which public names are not in an inventory, Sphinx's objects.inv."""
    lines = zlib.decompress(inventory.split(b"\n", 4)[4]).decode().split("\n")
    known = {line.split(" ")[0] for line in lines}
    return sorted(set(public()) - known)


def _shown() -> list[Path]:
    """Return the packages, and the modules in none, by name."""
    paths = [*SOURCE.glob("*.py"), *(path.parent for path in SOURCE.glob("*/__init__.py"))]
    return sorted(path for path in paths if path.name[0] != "_" and path.stem not in _LEFT_OUT)


def _modules(path: Path) -> list[Path]:
    """Return the files of all public modules in a package, its own packages' too, by name."""
    own = (each for each in path.rglob("*.py") if each.name[0] != "_")
    return sorted([*own, *path.glob("*/**/__init__.py")])


def _file(path: Path) -> Path:
    return path / "__init__.py" if path.is_dir() else path


def _name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def _parsed(file: Path) -> list[ast.stmt]:
    return ast.parse(file.read_text()).body


def _catalogue(file: Path) -> list[str]:
    """Return the names in the `__all__` of a module."""
    for node in _parsed(file):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _defined(file: Path) -> list[str]:
    """Return the names of the public classes and functions that are defined in a module."""
    kinds = ast.ClassDef | ast.FunctionDef
    found = [node.name for node in _parsed(file) if isinstance(node, kinds)]
    return [name for name in found if not name.startswith("_")]


def _top() -> str:
    lines = [_TOP]
    for name in sorted(explorax._FUNCTIONS, key=lambda name: (name[0].isupper(), name)):
        lines.append(f".. auto{'class' if name[0].isupper() else 'function'}:: explorax.{name}")
        lines.append("   :members:\n" if name[0].isupper() else "")
    return "\n".join(lines)


def _page(path: Path) -> str:
    return "\n".join(_lines(path))


def _lines(path: Path) -> Iterator[str]:
    package = _name(_file(path))
    yield f"{package}\n{'=' * len(package)}\n\n.. automodule:: {package}\n   :members:\n"
    shown = ", ".join(_catalogue(_file(path)))
    for file in _modules(path) if path.is_dir() else ():
        name = _name(file)
        yield f"{name}\n{'-' * len(name)}\n\n.. automodule:: {name}\n   :members:"
        yield f"   :exclude-members: {shown}\n" if shown else ""


if __name__ == "__main__":
    absent = missing(Path(sys.argv[1]).read_bytes())
    print("\n".join(f"Not in the documentation: {name}" for name in absent))
    sys.exit(bool(absent))

"""From the docstrings of explorax, which are plain text, to the markup that Sphinx reads.

A docstring has paragraphs, `names` in backticks, lists and indented equations, and characters such
as those of |s'| and *obs_shape that mean themselves. Fields are documented by the comment at the
end of their line, so a class gets one entry for each that has a comment.
"""

import dataclasses
import re
from itertools import groupby
from typing import Any

from explorax.cli.listing import field_docs

_SPAN = re.compile(r"`([^`]+)`")
_ITEM = re.compile(r"(?:[-*]|\d+\.) (?=\S)")
# What would begin a list, an option, a field or a comment where a paragraph begins.
_OPENING = re.compile(r"(?=[-+:.•‣]|\(?\w{1,3}[.)]\s)")


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite the lines of a docstring in place: Sphinx's `autodoc-process-docstring`."""
    if not isinstance(obj, type):
        lines[:] = converted(lines)
    elif (obj.__doc__ or "").startswith(f"{obj.__name__}("):  # the signature, of a dataclass
        lines[:] = fields(obj)
    else:
        lines[:] = [*converted(lines), *fields(obj)]


def converted(lines: list[str]) -> list[str]:
    """Return plain text as reStructuredText that shows the same."""
    found: list[str] = []
    for blank, block in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            found += _block(list(block))
    return found


def fields(cls: type) -> list[str]:
    """Return an entry for each field of a dataclass whose line ends in a comment."""
    if not dataclasses.is_dataclass(cls):
        return []
    docs = field_docs(cls)
    names = [field.name for field in dataclasses.fields(cls) if docs.get(field.name)]
    return [*(f":param {name}: {inline(docs[name])}" for name in names), ""] if names else []


def inline(text: str) -> str:
    """Return one line of text with its characters as they are, and `names` as code."""
    parts = _SPAN.split(text)
    parts[::2] = [re.sub(r"([\\*`|_<>\[\]])", r"\\\1", part) for part in parts[::2]]
    # The escaped blanks let code stand beside letters: `x`s.
    parts[1::2] = [rf"\ ``{part}``\ " for part in parts[1::2]]
    return "".join(parts)


def _block(lines: list[str]) -> list[str]:
    """Return one block without blank lines: prose, items of a list, and what is indented."""
    runs: list[tuple[str, list[str]]] = []
    for line in lines:
        kind = _kind(line, runs[-1][0] if runs else "")
        if kind == "item" or not runs or runs[-1][0] != kind.removeprefix("more "):
            runs.append((kind, []))
        runs[-1][1].append(line if kind == "as it is" else line.strip())
    found: list[str] = []
    for kind, run in runs:
        found += ["::", "", *run] if kind == "as it is" else [_prose(kind, " ".join(run))]
        found.append("")
    return found


def _kind(line: str, before: str) -> str:
    if _ITEM.match(line):
        return "item"
    if line.startswith(" "):
        return "more item" if before == "item" else "as it is"
    return "prose"


def _prose(kind: str, text: str) -> str:
    if kind == "prose":
        return _OPENING.sub(r"\\", inline(text), count=1) if _OPENING.match(text) else inline(text)
    item = _ITEM.match(text)
    assert item is not None
    return item[0] + inline(text[item.end() :])

"""The code that a run was made with, and what to do where there is other code now.

config.json says it under `code`, beside what the digest is made of and not in it: explorax's own
source as one sha256, and that of every class of others in the configuration. A class of a file is
known by the whole file, since what it calls stands there too; one of a notebook by its cell.
"""

import dataclasses
import hashlib
import importlib.util
import json
import linecache
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from explorax._version import __version__
from explorax.core.arguments import argument
from explorax.core.errors import InvalidSetting, RunDirectoryError
from explorax.run.checkpoint import saved_in
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.meta import git_commit

CHOICES = ("stop", "keep", "retrain")
UNKNOWN = "unknown"
ORIGIN = "the run that it starts from came from other code"
_NO_NUMBERS = ("cli", "report")  # packages that no number of a run depends on
_loaded: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # sha256 by class or function
_NOT_OTHERS = frozenset({"explorax", "gymnasium", "builtins", *sys.stdlib_module_names})


@dataclass(frozen=True)
class Verdict:
    """What is known of the code that a run was made with, beside that of now."""

    changed: tuple[str, ...] = ()  # each as part of a sentence
    unknown: tuple[str, ...] = ()  # what cannot be told


def check_choice(stale: str) -> None:
    """Raise InvalidSetting where `stale` is no choice."""
    if stale not in CHOICES:
        raise InvalidSetting(f"stale={stale!r}: possible are {', '.join(map(repr, CHOICES))}.")


def code_of(config: RunConfig, env: Any, root: Path) -> dict[str, Any]:
    """Return the record of the code that a run of `config` in `env` is made with now.

    root: where the run that it starts from lies, if it starts from one.
    """
    classes = _entry_point(env)
    for part in (env, config.agent, config.bonus):
        for thing in _things(part):
            for each in getattr(thing, "__mro__", (thing,)):
                if _top(each.__module__) not in _NOT_OTHERS:
                    classes[f"{each.__module__}:{each.__qualname__}"] = _source(each)
    record = {
        "explorax": __version__,
        "source": own_source(),
        "commit": _commit(),
        "classes": dict(sorted(classes.items())),
    }
    if config.init_from is not None:
        record["origin"] = _of_origin(root / config.init_from.run)
    return record


def heeded(directory: RunDirectory, code: Mapping[str, Any], stale: str) -> tuple[bool, str]:
    """Return (whether a run is to be trained again, what is to be said of it if it is not).

    Raises RunDirectoryError where it came from other code and `stale` is "stop".
    """
    verdict = verdict_on(directory, code)
    if verdict.changed and stale == "stop":
        raise stopped({directory.path: verdict.changed})
    again = stale == "retrain" and verdict != Verdict()
    return again, "" if again else note(verdict, directory.done)


def verdict_on(directory: RunDirectory, code: Mapping[str, Any]) -> Verdict:
    """Return how the code that is in what `directory` holds differs from `code`, if it does."""
    if directory.done or saved_in(directory.checkpoints):
        return judge(directory.read_code(), code)
    return Verdict()  # nothing is there that code has made


def judge(there: Any, here: Mapping[str, Any]) -> Verdict:
    """Return how the code of a run, `there` from its config.json, differs from that of now."""
    if not isinstance(there, Mapping) or not isinstance(there.get("classes"), Mapping):
        return Verdict(unknown=("its config.json does not say with what code it was made",))
    changed, unknown = [], []
    before, now = there.get("source", UNKNOWN), here["source"]
    if UNKNOWN in (before, now):
        unknown.append("the source of explorax cannot be read")
    elif before != now:
        changed.append(_other_explorax(there, here))
    old, new = there["classes"], here["classes"]
    blind = sorted(name for name in {**old, **new} if UNKNOWN in (old.get(name), new.get(name)))
    if blind:
        unknown.append(f"the source of {', '.join(blind)} cannot be had")
    both = old.keys() & new.keys() if blind else {**old, **new}  # else a name may stand for another
    odd = sorted(name for name in both if name not in blind and old.get(name) != new.get(name))
    for names, what in (
        ([name for name in odd if name in old and name in new], "the source of {} changed since"),
        ([name for name in odd if name not in new], "{} was part of it then and is not now"),
        ([name for name in odd if name not in old], "{} is part of it now and was not then"),
    ):
        if names:
            changed.append(what.format(", ".join(names)))
    origins = {there.get("origin"), here.get("origin")} - {None, UNKNOWN}
    if len(origins) == 2:
        changed.append(ORIGIN)
    return Verdict(tuple(changed), tuple(unknown))


def stopped(changes: Mapping[Path, Sequence[str]]) -> RunDirectoryError:
    """Return the error that lists the runs in which something changed, and the ways on."""
    by_change: dict[str, list[Path]] = {}
    for path, changed in changes.items():
        by_change.setdefault("; ".join(changed), []).append(path)
    lines = [
        f"  {what}:\n" + "\n".join(f"    {path}" for path in paths)
        for what, paths in by_change.items()
    ]
    number = f"{len(changes)} run{'s' if len(changes) > 1 else ''}"
    listed = "\n".join(lines)
    return RunDirectoryError(
        f"Nothing was trained: {number} there came from other code than there is now.\n"
        f"{listed}\n"
        f"Three ways on: {argument('stale', 'keep')} takes them as they are and says so, "
        f"{argument('stale', 'retrain')} deletes them and trains them again, "
        f"{argument('root', 'DIR')} writes elsewhere."
    )


def note(verdict: Verdict, finished: bool) -> str:
    """Return the sentence that a reader of the results of a run that is kept should know, or ""."""
    if verdict.changed:
        how = "Kept" if finished else "Continued"
        return f"{how} although it came from other code: {'; '.join(verdict.changed)}."
    if verdict.unknown:
        what = "; ".join(verdict.unknown)
        return f"Whether it came from the code of now is unknown: {what}."
    return ""


def _of_origin(run: Path) -> str:
    """Return the sha256 of the record of the code of another run."""
    code = RunDirectory(run).read_code()
    if not isinstance(code, Mapping):
        return UNKNOWN
    kept = json.dumps([code.get("source"), code.get("classes")], sort_keys=True)
    return hashlib.sha256(kept.encode()).hexdigest()


@cache
def own_source() -> str:
    """Return the sha256 of explorax's source, without what no number depends on."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    try:
        for path in sorted(root.rglob("*")):
            place = path.relative_to(root)
            if path.is_file() and "__pycache__" not in place.parts:
                if place.parts[0] not in _NO_NUMBERS:
                    digest.update(f"{place.as_posix()}\0{path.stat().st_size}\0".encode())
                    digest.update(path.read_bytes())
    except OSError:
        return UNKNOWN
    return digest.hexdigest()


@cache
def _commit() -> str | None:
    """Return the commit of explorax's own clone, where it runs from one."""
    clone = Path(__file__).parents[3]
    return git_commit(clone) if (clone / ".git").exists() else None


def _other_explorax(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if there.get("explorax") != here["explorax"]:
        return f"explorax {there.get('explorax')} then, {here['explorax']} now"
    commits = [str(each.get("commit"))[:7] for each in (there, here) if each.get("commit")]
    moved = f", commit {commits[0]} -> {commits[1]}" if len(set(commits)) == 2 else ""
    return f"explorax {here['explorax']} with other source{moved}"


def _things(value: Any, seen: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Yield the classes and functions that settings are made of."""
    if value is None or isinstance(value, bool | int | float | str) or id(value) in seen:
        return
    if isinstance(value, tuple | list):
        for item in value:
            yield from _things(item, seen | {id(value)})
        return
    if isinstance(value, type) or hasattr(value, "__code__"):
        yield value
        return
    yield type(value)
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _things(getattr(value, field.name, None), seen | {id(value)})


def _top(module: str | None) -> str:
    return (module or "builtins").partition(".")[0]


def _source(thing: Any) -> str:
    """Return the sha256 of where a class or function is defined.

    It is that of the first time that this process asked: what was imported runs on as it was when
    its file is edited afterwards, which is said in a warning.
    """
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if file is None:
        text = _cells(thing)
        return hashlib.sha256(text.encode()).hexdigest() if text else UNKNOWN
    now = _of_file(file)
    loaded = _loaded.setdefault(thing, now)
    if now != loaded:
        warnings.warn(
            f"{file} was edited after {thing.__qualname__} was imported, and this process goes on "
            f"with what it imported. Start Python again, or importlib.reload the module and make "
            f"the objects anew.",
            stacklevel=2,
        )
    return loaded


def _of_file(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return UNKNOWN


def _cells(thing: Any) -> str:
    """Return the text of the notebook cells in which a class's methods, or a function, stand."""
    members = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
    functions = (
        getattr(each, "fget", None) or getattr(each, "__func__", None) or each for each in members
    )
    files = {each.__code__.co_filename for each in functions if hasattr(each, "__code__")}
    return "\n".join(sorted("".join(linecache.getlines(file)) for file in files)).strip()


def _entry_point(env: Any) -> dict[str, str]:
    """Return {module:class: sha256} of what Gymnasium makes the environments with, where it is
    none of Gymnasium's own; {} for other environments."""
    recipe = getattr(env, "recipe", None)
    if recipe is None:
        return {}
    try:
        recipe.prepare()
        gymnasium = importlib.import_module("gymnasium")
        entry = gymnasium.registry[recipe.id.rpartition(":")[2]].entry_point
        if not isinstance(entry, str):
            bases = getattr(entry, "__mro__", (entry,)) if hasattr(entry, "__qualname__") else ()
            return {
                f"{each.__module__}:{each.__qualname__}": _source(each)
                for each in bases
                if _top(each.__module__) not in _NOT_OTHERS
            }
        module = entry.partition(":")[0]
        if _top(module) in _NOT_OTHERS:
            return {}
        found = importlib.util.find_spec(module)
        return {entry: _of_file(found.origin) if found and found.origin else UNKNOWN}
    except Exception:  # whatever a package does when it is imported is said when it is used
        return {recipe.name: UNKNOWN}

"""Short names for runs: "TRPO + VIME", and the setting that tells two of the same name apart."""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from explorax.naming.grammar import bare, dotted, tree
from explorax.report.read import Run

NO_BONUS = "no bonus"
# Wrappers change how a bonus is paid, not what it pays for, so a short name leaves them out.
WRAPPERS = frozenset(
    {"Scale", "Decay", "Clip", "MedianRatio", "ReturnShare", "RunningMean", "RunningStd"}
)
JOINERS = {"Sum": " + ", "Product": " × "}
MODEL = "model"  # the setting whose class makes another bonus of one: "VIME with LastLayer"


@dataclass(frozen=True)
class Name:
    """What a run is called. No two runs of one report have the same name."""

    env: str
    agent: str
    bonus: str  # NO_BONUS where there is none
    mark: str = ""  # what else tells the run from one of the same environment, agent and bonus

    @property
    def has_bonus(self) -> bool:
        return self.bonus != NO_BONUS

    @property
    def variant(self) -> str:
        """The bonus and the mark: what is told apart where environment and agent are the same."""
        return f"{self.bonus} [{self.mark}]" if self.mark else self.bonus

    @property
    def method(self) -> str:
        name = f"{self.agent} + {self.bonus}" if self.has_bonus else self.agent
        return f"{name} [{self.mark}]" if self.mark else name


def _parse(expression: str) -> ast.expr | None:
    try:
        return tree(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _class_name(node: ast.expr) -> str:
    """Return `VIME`, `VIME.paper` of a named constructor, `my_bonus:Novelty` of others' classes."""
    call = node.func if isinstance(node, ast.Call) else node
    return dotted(call) or ast.unparse(call)


def _inner(node: ast.expr) -> list[ast.expr]:
    """Return the parts that a wrapper or joiner holds, also inside a tuple."""
    if not isinstance(node, ast.Call):
        return []
    held: list[ast.expr] = []
    for value in (*node.args, *(keyword.value for keyword in node.keywords)):
        held += value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return [value for value in held if isinstance(value, ast.Call | ast.Name)]


def _short(node: ast.expr) -> str:
    name = _class_name(node)
    inner = _inner(node)
    if name in WRAPPERS and inner:
        return _short(inner[0])
    if name in JOINERS and inner:
        return JOINERS[name].join(dict.fromkeys(_short(part) for part in inner))
    if name == "NoBonus":
        return NO_BONUS
    keywords = node.keywords if isinstance(node, ast.Call) else []
    models = [each.value for each in keywords if each.arg == MODEL]
    parts = [bare(_class_name(each)) for each in models if isinstance(each, ast.Call)]
    return " with ".join([bare(name), *parts])


def short_name(expression: str) -> str:
    """Return what an expression is about: `Scale(MedianRatio(VIME()), 1e-4)` -> "VIME"."""
    node = _parse(expression)
    return expression if node is None else _short(node)


def _settings(node: ast.expr, seen: Counter[str]) -> Iterator[tuple[str, str]]:
    """Yield (class or class.field, value) of every part of an expression, outermost first."""
    module, _, name = _class_name(node).rpartition(":")
    seen[name] += 1
    owner = name if seen[name] == 1 else f"{name}#{seen[name]}"
    yield owner, ""
    if module:
        yield f"{owner}.module", module
    if not isinstance(node, ast.Call):
        return
    fields = [(f"#{i}", value) for i, value in enumerate(node.args)]
    fields += [(keyword.arg or "**", keyword.value) for keyword in node.keywords]
    for field, value in fields:
        held = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
        parts = [part for part in held if isinstance(part, ast.Call)]
        for part in parts:
            yield from _settings(part, seen)
        if not parts:
            yield f"{owner}.{field}", ast.unparse(value)


def settings_of(expression: str) -> dict[str, str]:
    """Return {"VIME": "", "VIME.prior_std": "0.5", ...} of constructor text."""
    node = _parse(expression)
    return {expression: ""} if node is None else dict(_settings(node, Counter()))


def _describe(key: str, value: str) -> str:
    if not value:
        return key
    owner, _, field = key.rpartition(".")
    return f"{owner} {value}" if field.startswith("#") else f"{field}={value}"


def differences(expressions: Sequence[str]) -> dict[str, str]:
    """Return for each expression what sets it apart from the others, as short text.

    A class that only some of them have is named; fields are compared where all have the class.
    """
    settings = {text: settings_of(text) for text in expressions}
    shared = {
        key for key in set().union(*settings.values()) if all(key in s for s in settings.values())
    }
    marks = {}
    for text, own in settings.items():
        told = []
        for key, value in own.items():
            owner = key.rpartition(".")[0] if value else key
            alike = all(other.get(key) == value for other in settings.values())
            if not alike and (not value or owner in shared):
                told.append(_describe(key, value))
        marks[text] = ", ".join(told)
    return marks


def distinct_names(expressions: Sequence[str]) -> dict[str, str]:
    """Return a short name for each expression; different expressions get different names."""
    unique = list(dict.fromkeys(expressions))
    groups: dict[str, list[str]] = {}
    for text in unique:
        groups.setdefault(short_name(text), []).append(text)
    names: dict[str, str] = {}
    for short, members in groups.items():
        marks = differences(members) if len(members) > 1 else {members[0]: ""}
        for number, text in enumerate(members, start=1):
            mark = marks[text]
            twice = list(marks.values()).count(mark) > 1
            mark = f"{mark or 'variant'} {number}" if twice else mark
            names[text] = f"{short} ({mark})" if mark else short
    return names


_RUN_SETTINGS = ("env_steps", "num_envs", "seeds", "seed", "log_points")


def name_runs(runs: Sequence[Run]) -> list[Name]:
    """Return the names of `runs`, in their order.

    Runs that share environment, agent and bonus are told apart by what else was configured, and
    failing that by their directories.
    """
    agents = distinct_names([run.agent for run in runs])
    bonuses = distinct_names([run.bonus for run in runs])
    starts = _starts(runs)
    first = [
        Name(run.env, agents[run.agent], bonuses[run.bonus], start)
        for run, start in zip(runs, starts, strict=True)
    ]
    named = []
    for run, name in zip(runs, first, strict=True):
        twins = [other for other, its in zip(runs, first, strict=True) if its == name]
        told = [
            f"{key}={run.config[key]}"
            for key in _RUN_SETTINGS
            if key in run.config and len({str(twin.config.get(key)) for twin in twins}) > 1
        ]
        if len(twins) > 1:
            own = {key: run.config.get(key) for key in _RUN_SETTINGS}
            if sum({key: t.config.get(key) for key in _RUN_SETTINGS} == own for t in twins) > 1:
                told.append(run.path.name)
        mark = ", ".join([*([name.mark] if name.mark else []), *told])
        named.append(replace(name, mark=mark))
    return named


def _starts(runs: Sequence[Run]) -> list[str]:
    """Return where each run's agents started: "from ENV", or "" where they started from scratch.

    Starts from one environment are told apart by what differs: run, first seed, checkpoint.
    """
    envs = [str(run.origin["env"]) if run.origin else "" for run in runs]
    told = []
    for run, env in zip(runs, envs, strict=True):
        alike = [other.origin for other, its in zip(runs, envs, strict=True) if its == env]
        text = f"from {env}" if env else ""
        for key, length in (("digest", 8), ("seed", None), ("chunk", None), ("iteration", None)):
            if env and len({str(origin.get(key, 0)) for origin in alike}) > 1:
                text += f" {key} {str(run.origin.get(key, 0))[:length]}"
        told.append(text)
    return told

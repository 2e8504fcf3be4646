"""How a run was made: its command line, its expressions, its versions and its time."""

import ast
import shlex
from pathlib import Path
from typing import Any

from explorax.naming.grammar import remade_by_hand, tree
from explorax.report.read import Run

_FLAGS = ("env_steps", "seeds", "seed", "num_envs")
_TIMES = ("wall_seconds", "compile_seconds", "env_steps_per_second")
_TOLD_ELSEWHERE = frozenset({*_TIMES, "status", "notes", "diverged", "nonfinite", "env_steps"})


def command(run: Run) -> str:
    """Return the command line that trains the run again, or why there is none."""
    texts = [str(run.config[name]) for name in ("env", "agent", "bonus")]
    by_hand = next(filter(None, map(remade_by_hand, texts)), None)
    if by_hand:
        return f"# No command line trains this run again: {by_hand}.\n" + "\n".join(
            f"# {name}: {text}" for name, text in zip(("env", "agent", "bonus"), texts, strict=True)
        )
    parts = ["explorax train"]
    for name in ("env", "agent", "bonus"):
        parts.append(f"--{name} {_quoted(str(run.config[name]))}")
    for name in _FLAGS:
        if name in run.config:
            parts.append(f"--{name.replace('_', '-')} {run.config[name]}")
    if run.origin:
        parts.append(f"--init-from {_quoted(_started_from(run))}")
    if run.config.get("film") is False:
        parts.append("--no-film")
    return " \\\n  ".join(parts)


def _started_from(run: Run) -> str:
    """Return the checkpoint that the agents started from."""
    source = Path(run.origin["run"])
    if not source.is_absolute():  # it was under the same root
        source = Path(*run.path.parts[:-3]) / source
    iteration = run.origin.get("iteration", 0)
    within = f"_iteration_{iteration:08d}" if iteration else ""
    return f"{source.as_posix()}/checkpoints/chunk_{run.origin['chunk']:06d}{within}"


def _quoted(text: str) -> str:
    """Return `text` as one word of a shell, in double quotes where single ones stand in it."""
    if "'" in text and not any(character in text for character in '"$`\\!'):
        return f'"{text}"'
    return shlex.quote(text)


def pretty(expression: str, width: int = 88) -> str:
    """Return constructor text broken into lines where it is longer than `width`."""
    try:
        node = tree(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return expression
    return _lines(node, "", width)


def _lines(node: ast.expr, indent: str, width: int) -> str:
    text = ast.unparse(node)
    if not isinstance(node, ast.Call) or len(indent) + len(text) <= width:
        return text
    inner = indent + "    "
    arguments = [_lines(value, inner, width) for value in node.args]
    arguments += [f"{k.arg}={_lines(k.value, inner, width)}" for k in node.keywords]
    body = "".join(f"{inner}{argument},\n" for argument in arguments)
    return f"{ast.unparse(node.func)}(\n{body}{indent})"


def duration(seconds: float) -> str:
    """Return "12.3 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def facts(run: Run) -> list[tuple[str, str]]:
    """Return (what, value) pairs of the run's meta.json: time first, then versions and machine."""
    meta, told = run.meta, []
    if isinstance(meta.get("wall_seconds"), int | float):
        told.append(("wall time", duration(meta["wall_seconds"])))
    if isinstance(meta.get("compile_seconds"), int | float):
        told.append(("of which compiling", duration(meta["compile_seconds"])))
    if isinstance(meta.get("env_steps_per_second"), int | float):
        told.append(("speed", f"{meta['env_steps_per_second']:,.0f} env steps/s, all seeds"))
    told += [
        (name.replace("_", " "), value)
        for name, value in _flat(meta)
        if name.split(".")[0] not in _TOLD_ELSEWHERE
    ]
    if run.origin:
        told.append(("started from", f"{_started_from(run)} ({run.origin['env']})"))
    told.append(("directory", run.path.as_posix()))
    return told


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            pairs.append((f"{prefix}{name}", str(value)))
    return pairs

"""Mutants of what trains: how many do the nearest tests notice? `make mutation` runs this.

cosmic-ray writes the mutants, in an environment of its own; the tests run in .venv, in a copy of
the tree. A seeded sample of each file's mutants is judged by the tests of mutation_tests.py. What
is found is kept in .mutation, so that a run that was stopped goes on. `--again` judges survivors
anew, after tests have been added. `--check` runs without a mutant the tests that killed some: if
they do not pass, their verdicts mean nothing.

No mutants are made of annotations, of the defaults of settings, of `__post_init__` and `validate`
(which settings are allowed), of `raise`, `require` and `assert`, and of text. Operators are those
below: one that ends in an error at import, such as a removed decorator, would say nothing of tests.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import (  # pyright: ignore[reportMissingImports]  (another environment's)
    ast_nodes,
    get_ast,
)
from cosmic_ray.mutating import mutate_code  # pyright: ignore[reportMissingImports]  (as above)
from cosmic_ray.operators.operator import Operator  # pyright: ignore[reportMissingImports]
from cosmic_ray.plugins import get_operator  # pyright: ignore[reportMissingImports]
from mutation_tests import TESTS

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/explorax")
KEPT = ROOT / ".mutation" / "judged.jsonl"
REASONS = ROOT / "benchmarks" / "mutation_reasons.toml"
TABLE = ROOT / "benchmarks" / "results" / "mutation.md"
PYTHON = ROOT / ".venv" / "bin" / "python"


class KeepFirst(Operator):
    """a + b + c and a * b * c become a: what stands behind the first operator is deleted."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type in ("arith_expr", "term"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return node.children[0]

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


NAMES = (
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_FloorDiv",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_Lt_GtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_LtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_GtE_Lt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "NumberReplacer",
)
OPERATORS: dict[str, Any] = {
    "KeepFirst": KeepFirst(),
    **{name: get_operator(f"core/{name}")() for name in NAMES},
}


@dataclass(frozen=True)
class Mutant:
    file: str  # under src/explorax
    operator: str
    occurrence: int
    line: int
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.before} → {self.after}"


def excluded(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the spans of code, as (line, column) from and to, of which no mutants are made."""
    lines, spans = code.splitlines(), []
    for node in ast.walk(ast.parse(code)):
        for part in left_out(node):
            ends = ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
            # ast counts bytes, parso characters
            start, end = ((n, len(lines[n - 1].encode()[:column].decode())) for n, column in ends)
            spans.append((start, end))
    return spans


def left_out(node: Any) -> list[Any]:
    """Return the node and those directly below it of which no mutants are made."""
    match node:
        case ast.FunctionDef(name="__post_init__" | "validate"):
            return [node]
        case ast.FunctionDef():
            given = (*node.args.args, *node.args.kwonlyargs)
            parts = [*(each.annotation for each in given), node.returns, *node.decorator_list]
            return [part for part in parts if part is not None]
        case ast.ClassDef():
            settings = [part for part in node.body if not isinstance(part, ast.FunctionDef)]
            return [*node.decorator_list, *settings]
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return [node]
        case ast.AnnAssign():
            return [node.annotation]
        case ast.Raise() | ast.Assert() | ast.JoinedStr():
            return [node]
        case ast.Call(func=ast.Name(id="require" | "cast")):
            return [node]
        case ast.keyword(arg="strict"):  # of zip: lengths are equal
            return [node]
    return []


def places_of(file: str) -> list[tuple[str, int, int]]:
    """Return all mutants of a file, as (operator, occurrence, line)."""
    code = (ROOT / SOURCE / file).read_text(encoding="utf-8")
    spans, tree, found = excluded(code), get_ast(code), []
    for name, operator in OPERATORS.items():
        occurrence = 0
        for node in ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                if not any(low <= start and end <= high for low, high in spans):
                    found.append((name, occurrence, start[0]))
                occurrence += 1
    return found


def told(file: str, name: str, occurrence: int, line: int) -> Mutant:
    """Return the mutant with the lines that it changes."""
    code = (ROOT / SOURCE / file).read_text(encoding="utf-8")
    mutated = mutate_code(code, OPERATORS[name], occurrence).splitlines()
    old = code.splitlines()
    pairs = zip(old, mutated, strict=False)
    first = next((n for n, (a, b) in enumerate(pairs) if a != b), line - 1)
    # from behind, so that a statement of several lines is shown as far as it differs
    same = 0
    while same < min(len(old), len(mutated)) - first - 1 and old[-1 - same] == mutated[-1 - same]:
        same += 1

    def shown(lines: list[str]) -> str:
        return " ".join(each.strip() for each in lines[first : len(lines) - same])

    return Mutant(file, name, occurrence, first + 1, shown(old), shown(mutated))


def sample(count: int, seed: int, only: str) -> list[Mutant]:
    """Return about `count` mutants, from each file in proportion, and two at least."""
    each = {file: places_of(file) for file in TESTS}
    share = count / sum(map(len, each.values()))
    chosen = []
    for file, places in each.items():
        random.Random(f"{seed} {file}").shuffle(places)
        if only in file:
            some = places[: max(2, round(share * len(places)))]
            chosen += enumerate(told(file, *place) for place in some)
    # the first of each file, then the second: a run that is stopped has seen something of all
    return [mutant for _, mutant in sorted(chosen, key=lambda pair: pair[0])]


def copied(folder: Path) -> None:
    """Copy what the tests need. They share what JAX has compiled with those of the tree."""
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    cache = ROOT / ".pytest_cache" / "jax"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / ".pytest_cache").mkdir()
    (folder / ".pytest_cache" / "jax").symlink_to(cache.resolve())


def passes(folder: Path, arguments: list[str], python: str, limit: float) -> bool:
    """Return whether the tests pass within so many seconds."""
    command = [python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1, 2):  # 2: an error at import
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout!r}")
    return done.returncode == 0


def judged(mutant: Mutant, folder: Path, python: str, limit: float) -> str:
    """Return which tests notice the mutant, "" for none."""
    path = folder / SOURCE / mutant.file
    code = path.read_text(encoding="utf-8")
    path.write_text(mutate_code(code, OPERATORS[mutant.operator], mutant.occurrence))
    try:
        for arguments in TESTS[mutant.file]:
            if not passes(folder, arguments, python, limit):
                return " ".join(arguments)
        return ""
    finally:
        path.write_text(code)


def table(count: int, seed: int, chosen: list[Mutant], known: dict[Mutant, str]) -> str:
    """Return the page of results."""
    kept = {mutant: known[mutant] for mutant in chosen if mutant in known}
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else {}
    killed, total = sum(map(bool, kept.values())), len(kept)
    rest = f" {len(chosen) - total} more of the sample were not judged." * (total < len(chosen))
    lines = [
        "# Mutants of what trains, and the tests that notice them",
        "",
        f"Command: `make mutation MUTATION_ARGS='--mutants {count} --seed {seed}'`. "
        f"{killed} of {total} mutants were killed, {100 * killed / max(total, 1):.0f}%.{rest}",
        "A seeded sample from each file in proportion to its mutants, two at least; each judged by "
        "the nearest tests (`benchmarks/mutation_tests.py`).",
        "Not mutated: annotations, defaults of settings, what is allowed of them, errors and text.",
        "",
        "| file | mutants | killed |",
        "|---|---|---|",
    ]
    for file in TESTS:
        own = [bool(by) for mutant, by in kept.items() if mutant.file == file]
        if own:
            lines.append(f"| `{file}` | {len(own)} | {sum(own)} |")
    lines += ["", "## Survivors", "", "| where | before | after | why |", "|---|---|---|---|"]
    for mutant, by in kept.items():
        if not by:
            code = (each.replace("|", "\\|") for each in (mutant.before, mutant.after))
            before, after = (f"`{each}`" for each in code)
            why = reasons.get(mutant.name, "not yet looked at")
            lines.append(f"| `{mutant.file}` line {mutant.line} | {before} | {after} | {why} |")
    return "\n".join(lines) + "\n"


def read() -> dict[Mutant, str]:
    """Return what is known of mutants: which tests killed them, "" for none."""
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    rows = [json.loads(line) for line in lines]
    return {Mutant(**row["mutant"]): row["killed_by"] for row in rows}


def check(folder: Path, python: str, limit: float, known: dict[Mutant, str]) -> None:
    """Run the tests that killed mutants without one. Raises SystemExit where they do not pass."""
    steps = [step for file in TESTS for step in TESTS[file]]
    for step in {
        " ".join(step): step for step in steps if " ".join(step) in known.values()
    }.values():
        if not passes(folder, step, python, limit):
            raise SystemExit(f"Without a mutant these tests do not pass: {' '.join(step)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=70, help="about how many")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="files whose path has this in it")
    parser.add_argument("--again", action="store_true", help="judge survivors anew")
    parser.add_argument("--check", action="store_true", help="do the tests pass without a mutant?")
    parser.add_argument("--table", action="store_true", help="write the page of what is known")
    parser.add_argument("--list", action="store_true", help="show the sample and stop")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for tests of a mutant")
    parser.add_argument("--python", default=str(PYTHON), help="that the tests run with")
    given = parser.parse_args()
    chosen, known = sample(given.mutants, given.seed, given.only), read()
    if given.list:
        print(*(f"line {each.line} of {each.name}" for each in chosen), sep="\n")
        return
    KEPT.parent.mkdir(exist_ok=True)
    if not given.table:
        judge(given, chosen, known)
    if not given.only:
        TABLE.write_text(table(given.mutants, given.seed, chosen, known), encoding="utf-8")


def judge(given: argparse.Namespace, chosen: list[Mutant], known: dict[Mutant, str]) -> None:
    """Add to `known`, and to what is kept, the verdicts that are not there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copied(folder)
        for number, mutant in enumerate(chosen, 1):
            if mutant in known and (known[mutant] or not given.again):
                continue
            known[mutant] = by = judged(mutant, folder, given.python, given.limit)
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"mutant": asdict(mutant), "killed_by": by}) + "\n")
            verdict = f"killed by {by}" if by else "SURVIVED"
            print(f"{number}/{len(chosen)} {mutant.name}: {verdict}", flush=True)
        if given.check:
            check(folder, given.python, given.limit, {each: known[each] for each in chosen})


if __name__ == "__main__":
    main()

"""Writes the tables of settings on the pages of this folder, from the settings classes themselves.

`python docs/settings_tables.py` (`make docs`) rewrites, on every page here and below, what stands
between `<!-- settings: RND -->` and `<!-- end of settings -->`: one row for each field, with its
default and the comment at the end of its line in the source. Between
`<!-- environment: DeepSea -->` and `<!-- end of environment -->` it writes what the class says of
itself, and its settings. And between `<!-- results: ... -->` and `<!-- end of results -->`:
`bonus_cost`, the first, second and last columns of the last table of
benchmarks/results/bonus_cost.md; `bonuses`, how many seeds of
each bonus solved each world and how likely it improves on none, of benchmarks/results/bonuses.md;
`bonuses RND`, the lines of that bonus and of none alone. `--check` writes nothing and exits with 1
where a page is not what would be written.
"""

import dataclasses
import inspect
import re
import sys
from pathlib import Path

from explorax import envs
from explorax.cli.listing import field_docs
from explorax.core.errors import unknown_name
from explorax.run.brief import brief
from explorax.run.expressions import KINDS, catalogue

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PUBLISHED = re.compile(
    r"<!-- results: (?P<name>\w+)(?P<bonus> \w+)? -->\n.*?<!-- end of results -->", re.DOTALL
)
BLOCK = re.compile(
    r"<!-- (?P<kind>settings|environment): (?P<name>\w+) -->\n.*?<!-- end of (?P=kind) -->",
    re.DOTALL,
)


def classes() -> dict[str, type]:
    """Return the settings classes of all catalogues by name, environments included."""
    parts = {name: cls for kind in KINDS for name, cls in catalogue(kind).items()}
    return parts | {name: getattr(envs, name) for name in envs.__all__}


def table(cls: type) -> str:
    """Return the settings of `cls` as a Markdown table, or a sentence where it has none."""
    fields, docs = dataclasses.fields(cls), field_docs(cls)
    if not fields:
        return f"`{cls.__name__}()` has no settings."
    rows = [(f"`{field.name}`", _default(field), docs.get(field.name, "")) for field in fields]
    columns = 3 if any(docs.values()) else 2
    lines = [("setting", "default", "what it is"), *(tuple(map(_cell, row)) for row in rows)]
    head, *body = (f"| {' | '.join(line[:columns])} |" for line in lines)
    return "\n".join([head, "|" + "---|" * columns, *body])


def rewritten(page: str) -> str:
    """Return the text of a page with all its tables as they must be. Raises UnknownName."""
    known = classes()

    def block(match: re.Match[str]) -> str:
        kind, name = match["kind"], match["name"]
        if name not in known:
            raise unknown_name("settings class", name, known)
        told = [_said(known[name])] if kind == "environment" else []
        lines = [f"<!-- {kind}: {name} -->", *told, table(known[name]), f"<!-- end of {kind} -->"]
        return "\n\n".join(lines)

    return PUBLISHED.sub(_results, BLOCK.sub(block, page))


def _said(cls: type) -> str:
    """Return the docstring of a class as Markdown: a star means a star."""
    return re.sub(r"([*<])", r"\\\1", inspect.getdoc(cls) or "")


def _results(match: re.Match[str]) -> str:
    """Return the block with what the page of results says, as the module's docstring tells."""
    name, bonus = match["name"], (match["bonus"] or "").strip()
    tables = _tables((RESULTS / f"{name}.md").read_text())
    lines = _costs(tables) if name == "bonus_cost" else _solved(tables, bonus)
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    text = "\n".join([head, "|" + "---|" * len(lines[0]), *body])
    opening = f"results: {name} {bonus}".strip()
    return f"<!-- {opening} -->\n\n{text}\n\n<!-- end of results -->"


def _tables(page: str) -> list[list[list[str]]]:
    """Return the cells of each Markdown table of a page, without the line of dashes."""
    blocks = [block for block in page.split("\n\n") if block.startswith("|")]
    return [
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for index, line in enumerate(block.strip().split("\n"))
            if index != 1
        ]
        for block in blocks
    ]


def _costs(tables: list[list[list[str]]]) -> list[list[str]]:
    return [[line[0], line[1], line[-1]] for line in tables[-1]]


def _solved(tables: list[list[list[str]]], bonus: str) -> list[list[str]]:
    """Return seeds solved per world, and the probability of improvement; of one bonus if named.

    The tables are those of `report.table.table_markdown`: of runs, of seeds solved, and pooled.
    Raises ValueError for a bonus that is in none of them.
    """
    (_, *worlds), *solved = tables[1]
    better = {line[0]: line[2] for line in tables[2][1:]}
    short = ["with TV" if "noisy_tv" in world else f"`{world.split('(')[0]}`" for world in worlds]
    lines = [["bonus", *short, "better than none"]]
    for method, *counts in solved:
        _, _, its = method.partition(" + ")
        if not bonus or not its or its.split(" ")[0] == bonus:
            seeds = (count.split(" ")[0] for count in counts)
            lines.append([f"`{its}`" if its else "none", *seeds, better.get(method, "")])
    if len(lines) < 3:
        raise ValueError(f"The comparison has no bonus called {bonus!r}.")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _default(field: dataclasses.Field) -> str:
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return "must be given" if value is dataclasses.MISSING else f"`{brief(value)}`"


def main(arguments: list[str]) -> int:
    """Return the exit status: 1 where `--check` finds a page that is not up to date."""
    stale = False
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text()
        if (new := rewritten(text)) == text:
            continue
        stale = True
        print(path.relative_to(DOCS.parent))
        if "--check" not in arguments:
            path.write_text(new)
    return int(stale and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

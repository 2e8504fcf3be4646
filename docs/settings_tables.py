"""Writes the tables of settings on the pages of this folder, from the settings classes themselves.

`python docs/settings_tables.py` (`make docs`) rewrites, on every page here and below, what stands
between `<!-- settings: RND -->` and `<!-- end of settings -->`: one row for each field, with its
default and the comment at the end of its line in the source. And what stands between
`<!-- results: bonus_cost -->` and `<!-- end of results -->`: the last table of
benchmarks/results/bonus_cost.md, its first, second and last columns. `--check` writes nothing and
exits with 1 where a page is not what would be written.
"""

import dataclasses
import re
import sys
from pathlib import Path

from explorax.cli.listing import field_docs
from explorax.core.errors import unknown_name
from explorax.run.brief import brief
from explorax.run.expressions import KINDS, catalogue

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
COSTS = re.compile(r"<!-- results: (?P<name>\w+) -->\n.*?<!-- end of results -->", re.DOTALL)
BLOCK = re.compile(r"<!-- settings: (?P<name>\w+) -->\n.*?<!-- end of settings -->", re.DOTALL)


def classes() -> dict[str, type]:
    """Return the settings classes of all catalogues by name."""
    return {name: cls for kind in KINDS for name, cls in catalogue(kind).items()}


def table(cls: type) -> str:
    """Return the settings of `cls` as a Markdown table, or a sentence where it has none."""
    fields, docs = dataclasses.fields(cls), field_docs(cls)
    if not fields:
        return f"`{cls.__name__}()` has no settings."
    rows = [(f"`{field.name}`", _default(field), docs.get(field.name, "")) for field in fields]
    head = "| setting | default | what it is |\n|---|---|---|\n"
    return head + "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def rewritten(page: str) -> str:
    """Return the text of a page with all its tables as they must be. Raises UnknownName."""
    known = classes()

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in known:
            raise unknown_name("settings class", name, known)
        return f"<!-- settings: {name} -->\n\n{table(known[name])}\n\n<!-- end of settings -->"

    return COSTS.sub(_results, BLOCK.sub(block, page))


def _results(match: re.Match[str]) -> str:
    """Return the block with the columns 1, 2 and last of the last table of a results page."""
    pages = (RESULTS / f"{match['name']}.md").read_text().rstrip().split("\n\n")
    kept = []
    for line in pages[-1].split("\n"):
        cells = line.strip("|").split("|")
        kept.append(f"|{cells[0]}|{cells[1]}|{cells[-1]}|")
    lines = "\n".join(kept)
    return f"<!-- results: {match['name']} -->\n\n{lines}\n\n<!-- end of results -->"


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

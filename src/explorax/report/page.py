"""The report: one HTML page that needs nothing but itself."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from explorax.core.errors import RunDirectoryError
from explorax.files import user_path, write_atomically, write_text
from explorax.report.configuration import command, facts, pretty
from explorax.report.figures import Drawing, drawings, pooled_drawings
from explorax.report.films import choose, fit, share_bytes, still
from explorax.report.numbers import Row, pooled_rows, table_rows
from explorax.report.read import Film, Run, read_run, scan
from explorax.report.style import Look, css_colour, css_scheme, looks, to_png, to_svg
from explorax.report.table import (
    HEADINGS,
    POOLED_HEADINGS,
    cells,
    number,
    pooled_cells,
    solved_table,
)
from explorax.report.words import notes, summary

_NARROW = "(max-width: 760px)"  # the same in page.css
_PIXELS_PER_INCH = 104  # of a figure on the page
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # no letters, and no HTML
_READING = """<p>An episode <em>succeeds</em> when it returns at least the environment's threshold.
A seed is <em>solved</em> when at least half of its episodes in the last tenth of training succeed;
it has a <em>late success</em> when at least one of them does. The <em>final return</em> of a seed
is the mean over the episodes that ended in the last tenth; over seeds it is summarised by the
interquartile mean (IQM), the mean without the highest and the lowest quarter. The median first
success counts seeds that never succeed as later than all others. The <em>probability of
improvement</em> is the chance that a seed with the bonus ends with a higher return than one of the
same agent without it, ties counting half (Mann&ndash;Whitney); 0.5 means no difference. Intervals
are percentiles of 2,000 bootstrap samples that draw seeds anew within each environment
(arXiv:2108.13264). With fewer than ten seeds such intervals are somewhat too narrow.</p>"""


def _collect(runs: Sequence[str | Path] | str | Path) -> tuple[list[Run], list[str]]:
    """Return (readable runs, what is wrong with the others) of a root or a list of directories."""
    if isinstance(runs, str | Path):
        found, problems = scan(runs)
        if not found:
            raise RunDirectoryError(" ".join(problems) or f"No run directory under {runs}.")
    else:
        found, problems = [read_run(path) for path in runs], []
        if not found:
            raise RunDirectoryError("No run directories were given.")
    for run in found:
        for name, nothing in (("maps", {}), ("states", {}), ("paths", {}), ("films", ())):
            try:
                getattr(run, name)
            except RunDirectoryError as error:
                problems.append(f"{error} The report has no {name} of this run.")
                run.__dict__[name] = nothing  # what the cached property would have held
    return found, problems


def _by_env(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name.env, []).append(row)
    return groups


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _dot(look: Look) -> str:
    return f'<span class="swatch" style="background:{css_colour(look.colour)}"></span>'


def _figure(drawing: Drawing) -> str:
    wide = drawing.draw(narrow=False)
    pixels = round(wide.get_size_inches()[0] * _PIXELS_PER_INCH)
    svg = {"wide": to_svg(wide), "narrow": to_svg(drawing.draw(narrow=True))}
    data = {name: _data("image/svg+xml", text.encode()) for name, text in svg.items()}
    return (
        f'<figure style="flex-basis:{round(0.85 * pixels)}px;max-width:{pixels}px">'
        f"<h3>{html.escape(drawing.title)}</h3>"
        f'<picture><source media="{_NARROW}" srcset="{data["narrow"]}">'
        f'<img src="{data["wide"]}" alt="{html.escape(drawing.alt)}"></picture>'
        f"<figcaption>{html.escape(drawing.caption)}</figcaption></figure>"
    )


def _table(headings: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return a table whose first columns are text; cells are HTML."""

    def kind(column: int) -> str:
        return ' class="text"' if column < text_columns else ""

    head = "".join(f"<th{kind(i)}>{html.escape(name)}</th>" for i, name in enumerate(headings))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind(i)} data-label="{html.escape(headings[i])}"><span>{cell}</span></td>'
            for i, cell in enumerate(line)
        )
        + "</tr>"
        for line in lines
    )
    return (
        f'<div class="scroll"><table class="numbers"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _numbers(rows: Sequence[Row], look: dict[str, Look]) -> str:
    lines = []
    for row in rows:
        agent, bonus, *rest = (html.escape(cell) for cell in cells(row))
        lines.append((agent, _dot(look[row.name.variant]) + bonus, *rest))
    return "<h3>Numbers</h3>" + _table(HEADINGS, lines, 2)


def _film(film: Film, row: Row, limit_bytes: int) -> str:
    gif = fit(film.file.read_bytes(), limit_bytes)
    told = [f"seed {film.seed}"] if film.seed is not None else []
    told += [f"return {number(film.episode_return)}"] if film.episode_return is not None else []
    told += [f"{film.steps:,} steps"] if film.steps is not None else []
    caption = ", ".join(told)
    alt = f"Film of the final policy of {row.name.method} on {row.name.env}: {caption}."
    return (
        '<div><picture><source media="(prefers-reduced-motion: reduce)" '
        f'srcset="{_data("image/png", still(gif))}">'
        f'<img src="{_data("image/gif", gif)}" alt="{html.escape(alt)}"></picture>'
        f"<figcaption>{html.escape(caption)}</figcaption></div>"
    )


def _films(
    rows: Sequence[Row], shown: dict[int, list[Film]], limit: int, look: dict[str, Look]
) -> str:
    cards = ""
    for row in rows:
        films = shown.get(id(row.run), [])
        if films:
            strip = "".join(_film(film, row, limit) for film in films)
            name = _dot(look[row.name.variant]) + html.escape(row.name.method)
            cards += f'<figure><strong>{name}</strong><div class="strip">{strip}</div></figure>'
    return f'<h3>Final policies</h3><div class="films">{cards}</div>' if cards else ""


def _configuration(row: Row) -> str:
    run = row.run
    pairs = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts(run)
    )
    parts = "".join(
        f"<p class=muted>{name}</p><pre>{html.escape(pretty(text))}</pre>"
        for name, text in (("Agent", run.agent), ("Bonus", run.bonus))
    )
    name, env = html.escape(row.name.method), html.escape(run.env)
    return (
        f"<h3>{name} <span class=muted>on {env}</span></h3>"
        f"<pre>{html.escape(command(run))}</pre>"
        f"<details><summary>Settings, versions and time</summary>{parts}<dl>{pairs}</dl></details>"
    )


def _warnings(rows: Sequence[Row], problems: Sequence[str]) -> str:
    items = [
        f"{row.name.method} on {row.name.env}: {note}" for row in rows for note in notes(row.run)
    ]
    items += problems
    if not items:
        return ""
    listed = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    return f'<div class="warning"><strong>Read with care</strong><ul>{listed}</ul></div>'


def _told(env: str, rows: Sequence[Row]) -> str:
    opening, *rest = summary(rows)
    items = "".join(f"<li>{html.escape(text)}</li>" for text in rest)
    return f"<p><code>{html.escape(env)}</code>: {html.escape(opening)}</p><ul>{items}</ul>"


def _section(
    env: str, rows: Sequence[Row], look: dict[str, Look], shown: dict[int, list[Film]], limit: int
) -> str:
    parts: dict[str, list[str]] = {}
    for drawing in drawings(env, rows, look):
        parts.setdefault(drawing.kind, []).append(_figure(drawing))
    order = [[*parts.get("returns", []), *parts.get("success", [])], parts.get("paths", [])]
    order += [parts.get("visits", []), parts.get("bonus", [])]
    curves, *maps = [f'<div class="row">{"".join(group)}</div>' for group in order if group]
    title = f"<h2><code>{html.escape(env)}</code></h2>"
    films = _films(rows, shown, limit, look)
    return "".join([title, curves, _numbers(rows, look), *maps, films])


def _pooled(rows: Sequence[Row], look: dict[str, Look]) -> str:
    pooled = pooled_rows(rows)
    if not pooled:
        return ""
    lines = [[html.escape(cell) for cell in pooled_cells(row)] for row in pooled]
    explained = (
        "<p class=muted>The probability of improvement is averaged over environments, "
        "each weighing the same; its bootstrap draws seeds within each.</p>"
    )
    figures = "".join(_figure(drawing) for drawing in pooled_drawings(rows, look))
    headings, solved = solved_table(rows)
    solved = [[html.escape(cell) for cell in line] for line in solved]
    return (
        f'<h2>Across environments</h2><div class="row">{figures}</div>'
        + _table(POOLED_HEADINGS, lines, 1)
        + explained
        + ("<h3>Seeds that solved it</h3>" + _table(headings, solved, 1) if solved else "")
    )


def write_report(
    runs: Sequence[str | Path] | str | Path, out: str | Path, title: str | None = None
) -> Path:
    """Return the path of a new self-contained HTML page about `runs`.

    `runs`: run directories, or one directory to search. `out`: the file to write, or a folder, in
    which it becomes report.html. Raises RunDirectoryError when there is nothing to report on, or
    the page cannot be written; one that was there before is then as it was.
    """
    found, problems = _collect(runs)
    rows = table_rows(found)
    look = looks([row.name.variant for row in rows])
    chosen = choose(found)
    shown = {id(found[i]): films for i, films in chosen.items()}
    limit = share_bytes(sum(len(films) for films in chosen.values()))
    groups = _by_env(rows)
    title = title or "Exploration on " + ", ".join(
        dict.fromkeys(re.sub(r"\(.*", "", env) for env in groups)
    )
    told = "".join(_told(env, own) for env, own in groups.items())
    sections = "".join(_section(env, own, look, shown, limit) for env, own in groups.items())
    configurations = "".join(map(_configuration, rows))
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    style += css_scheme(":root")
    many = f"{len(rows)} run{'s' if len(rows) != 1 else ''}"
    seeds = sum(row.seeds for row in rows)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p class=muted>{many}, {seeds} seeds in all</p>"
        f'<div class="summary">{told}</div>{_warnings(rows, problems)}{sections}'
        f"{_pooled(rows, look)}"
        f"<h2>Configuration</h2>{configurations}"
        f"<h2>How to read the numbers</h2>{_READING}</body></html>\n"
    )
    out = user_path(out)
    # a device, such as /dev/stdout, has no suffix and is no folder
    out = out / "report.html" if out.is_dir() or not (out.suffix or out.exists()) else out
    write_text(out, _CONTROL.sub(lambda found: ascii(found[0])[1:-1], page))
    return out


def save_figures(runs: Sequence[str | Path] | str | Path, folder: str | Path) -> list[Path]:
    """Return the paths of the report's figures, written to `folder` as PNG on white paper."""
    found, _ = _collect(runs)
    rows = table_rows(found)
    look = looks([row.name.variant for row in rows])
    folder = user_path(folder)
    figures = [each for env, own in _by_env(rows).items() for each in drawings(env, own, look)]
    paths = []
    for drawing in [*figures, *pooled_drawings(rows, look)]:
        paths.append(folder / f"{drawing.slug}.png")
        picture = to_png(drawing.draw(narrow=False))
        write_atomically(paths[-1], lambda file, data=picture: file.write(data))
    return paths

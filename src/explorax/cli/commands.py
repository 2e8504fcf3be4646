"""What each command does, once its options are known."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorax.cli import listing
from explorax.cli.options import Compare, Eval, List, Report, Train, Usage


def train(options: Train) -> None:
    """Train, and end with one line that says where everything is."""
    if options.directory is not None:
        path = _resume(options)
    else:
        path = _start(options)
    if options.report:
        from explorax.report.page import write_report

        print(f"The report: {write_report([path], path / 'report.html')}")


def _start(options: Train) -> Path:
    if not options.env:
        raise Usage(
            "train needs --env, for example --env mountain_car. `explorax list environments` shows "
            "what there is; `explorax train --resume DIR` goes on with a run."
        )
    from explorax import api

    result = api.train(
        options.env,
        options.agent,
        options.bonus,
        options.env_steps,
        seeds=options.seeds,
        seed=options.seed,
        num_envs=options.num_envs,
        film=not options.no_film,
        init_from=options.init_from,
        root=options.root,
        resume=options.resume,
        overwrite=options.overwrite,
        tensorboard=options.tensorboard,
        on_divergence=options.on_divergence,
        workers=options.workers,
        step_limit_s=options.step_limit_s,
        restarts=options.restarts,
        stale=options.stale,
    )
    return result.directory


def _resume(options: Train) -> Path:
    given = [name for name in _CONFIGURING if getattr(options, name) != getattr(Train, name)]
    if not options.resume:
        raise Usage(f"To go on with a run, write: explorax train --resume {options.directory}")
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise Usage(f"The run in {options.directory} has its configuration: leave out {flags}.")
    from explorax.envs.supervision import Supervision
    from explorax.run.train import resume_run

    return resume_run(
        options.directory or "",
        trust=options.trust,
        stale=options.stale,
        tensorboard=options.tensorboard,
        on_divergence=options.on_divergence,
        supervision=Supervision(options.workers, options.step_limit_s, options.restarts),
    )


_CONFIGURING = (
    *("env", "agent", "bonus", "env_steps", "seeds", "seed", "num_envs"),
    *("init_from", "root", "overwrite", "no_film"),
)


def compare(options: Compare) -> None:
    """Train all, print the table, the report's path and the time it took."""
    combining = options.env or options.agent or options.bonus
    if bool(options.preset) == bool(combining):
        raise Usage(
            "compare needs either --preset NAME, or --env, --agent and --bonus, each once or more. "
            "`explorax list presets` shows the presets."
        )
    if combining and not (options.env and options.bonus):
        missing = "--env" if not options.env else "--bonus"
        raise Usage(f"compare needs {missing} too, once or more.")
    from explorax import api

    comparison = api.compare(
        options.preset,
        env=options.env,
        agent=options.agent or (("TRPO()",) if combining else ()),
        bonus=options.bonus,
        env_steps=options.env_steps,
        seeds=options.seeds,
        seed=options.seed,
        num_envs=options.num_envs,
        budget=options.budget,
        film=not options.no_film,
        root=options.root,
        report=options.report,
        overwrite=options.overwrite,
        tensorboard=options.tensorboard,
        workers=options.workers,
        step_limit_s=options.step_limit_s,
        restarts=options.restarts,
        stale=options.stale,
    )
    print(f"\n{comparison}")


def evaluate(options: Eval) -> None:
    """Print a row per seed: mean, smallest and largest return, length, successes."""
    from explorax.run.evaluate import evaluate

    greedy = not options.explore
    directory, seed, trust = options.directory, options.seed, options.trust
    found = evaluate(directory, seed, options.episodes, greedy, trust=trust)
    rows = [
        (
            str(each.seed),
            f"{each.return_mean:.4g}",
            f"{min(each.returns):.4g}",
            f"{max(each.returns):.4g}",
            f"{sum(each.lengths) / len(each.lengths):.0f}",
            "-" if each.success_rate is None else f"{each.success_rate:.0%}",
            *(() if each.goals_reached is None else (str(each.goals_reached),)),
        )
        for each in found
    ]
    how = "greedily" if greedy else "with exploration"
    print(f"{options.episodes} episodes of each seed's policy, {how}, in {options.directory}:")
    header = ("seed", "mean return", "lowest", "highest", "mean length (steps)", "success")
    if found[0].goals_reached is not None:
        header = (*header, "goals reached")
    print("\n".join(_columns([header, *rows])))
    mean = sum(each.return_mean for each in found) / len(found)
    print(f"Mean over {len(found)} seed{'s' * (len(found) != 1)}: {mean:.4g}")
    if options.film:
        from explorax.run.film import film

        print(f"The film: {film(directory, seed, trust=trust)}")
    if options.paths:
        from explorax.run.paths import record_paths

        print(f"The paths: {record_paths(directory, trust=trust)} (drawn by: explorax report)")


def report(options: Report) -> None:
    """Write the page and say where it is."""
    from explorax.report.page import write_report
    from explorax.report.read import find_runs

    first, *others = options.runs
    page = options.out or first / "report.html"
    runs = [run.path for root in options.runs for run in find_runs(root)] if others else first
    print(f"The report: {write_report(runs, page, title=options.title or None)}")


def show(options: List) -> None:
    """Print all catalogues, the named ones, or the named entries."""
    for position, name in enumerate(options.what or listing.KINDS):
        if position:
            print()
        if name in listing.KINDS:
            _print_catalogue(name)
        else:
            print("\n".join(map(_text, listing.describe(name))))
    if not options.what:
        print("\n`explorax list NAME` shows an entry with all its settings.")


def _print_catalogue(kind: str) -> None:
    print(kind)
    entries = listing.overview(kind)
    width = max(map(len, entries), default=0)
    for name, text in entries.items():
        print(_indented(f"  {name:<{width}}  ", text))
    if kind in listing.NOTES:
        print(_indented("  ", listing.NOTES[kind]))


def _text(entry: listing.Entry) -> str:
    lines = [f"{entry.name} ({entry.kind})", ""]
    lines += [f"  {line}".rstrip() for line in entry.doc.split("\n")]
    shown = [
        f"{each.name}={each.default}" if each.default else each.name for each in entry.settings
    ]
    width = max(map(len, shown), default=0)
    for heading, inside in (
        ("settings", zip(shown, (each.doc for each in entry.settings), strict=True)),
        ("also", entry.constructors),
        ("experiments", (("", line) for line in entry.experiments)),
    ):
        block = [
            _indented(f"  {label:<{width}}  " if label else "  ", doc) for label, doc in inside
        ]
        lines += ["", heading, *block] if block else []
    return "\n".join(lines) + "\n"


def _indented(label: str, text: str) -> str:
    """Return `text` beside its label, wrapped to the width of a terminal and never elsewhere."""
    import shutil
    import textwrap

    width = (
        max(shutil.get_terminal_size().columns - len(label), 40) if sys.stdout.isatty() else 9999
    )
    first, *rest = textwrap.wrap(text, width) or [""]
    return "\n".join([label + first, *(" " * len(label) + line for line in rest)]).rstrip()


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


ACTIONS: dict[str, Callable[[Any], None]] = {
    "train": train,
    "compare": compare,
    "eval": evaluate,
    "report": report,
    "list": show,
}

"""Which figures a report has, with their captions and their descriptions in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from explorax.report.curves import draw_first_success, draw_learning_curves
from explorax.report.maps import bonuses_of, draw_bonuses, draw_visits, visits_of, visits_scale
from explorax.report.numbers import Row, pooled_rows
from explorax.report.paths import draw_paths, letters, paths_of, place_name
from explorax.report.profile import draw_improvements, draw_profiles, performance_profiles
from explorax.report.projection import projected
from explorax.report.style import Look
from explorax.report.table import interval

Draw = Callable[..., Figure]  # takes narrow: bool


@dataclass(frozen=True)
class Drawing:
    """A figure that has not been drawn yet."""

    kind: str  # "returns", "success", "paths", "visits", "bonus" or "pooled"
    slug: str  # of its file name
    title: str
    caption: str
    alt: str
    draw: Draw


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text).split()).lower()


def _by_agent(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name.agent, []).append(row)
    return groups


def _returns(env: str, rows: Sequence[Row], look: dict[str, Look]) -> Drawing:
    ends = "; ".join(f"{row.name.method} ends at {interval(row.final_return)}" for row in rows)
    single = max(row.seeds for row in rows) == 1
    caption = (
        "One seed each, so no band."
        if single
        else "Bold: interquartile mean over seeds, from where every seed has finished an episode. "
        "Band: 95 % stratified bootstrap. Faint: every seed, but beside a single bonus not those "
        "without. "
        "The return is the environment's own; no bonus is in it."
    )
    return Drawing(
        "returns",
        f"{_slug(env)}-returns",
        "Episode return",
        caption,
        f"Learning curves on {env}: episode return over environment steps. {ends}.",
        partial(draw_learning_curves, rows, look),
    )


def _success(env: str, rows: Sequence[Row], look: dict[str, Look]) -> Drawing:
    threshold = f"{rows[0].run.success_return:g}".replace("-", "\N{MINUS SIGN}")
    found = "; ".join(
        f"{row.name.method}: {int(np.isfinite(row.outcome.first_success).sum())} of {row.seeds}"
        for row in rows
    )
    return Drawing(
        "success",
        f"{_slug(env)}-first-success",
        "First success",
        f"Share of seeds that have had a successful episode (return {threshold} or more).",
        f"Share of seeds with a first success on {env} over environment steps; by the end {found}.",
        partial(draw_first_success, rows, look),
    )


def _paths(env: str, rows: Sequence[Row]) -> list[Drawing]:
    shown = [(row, paths) for row in rows if (paths := paths_of(row.run)) is not None]
    if not shown:
        return []
    first = shown[0][1]
    episodes = len(first.paths)
    counts = "; ".join(f"{row.name.method}: {p.goals_told}" for row, p in shown if p.goals_told)
    seeds = "; ".join(f"{row.name.method}: seed {paths.seed}" for row, paths in shown)
    goals = f" Different goals that {episodes} episodes of each seed ended at: {counts}."
    hills = " Shade: the reward of a place, stronger where it is higher."
    actions = (
        f" Squares: the density of the actions that it draws at {letters(first)}, smoothed a "
        "little and each on a scale of its own; actions outside of it are clipped to its edge."
    )
    at = f", and densities of its actions at {', '.join(map(place_name, first.places))}"
    return [
        Drawing(
            "paths",
            f"{_slug(env)}-paths",
            "Paths and actions of the final policies",
            f"Lines: {episodes} episodes of the seed whose late return is the median, with actions "
            "drawn as in training; a dot where each ends, a ring at the start."
            + hills * first.has_hills
            + " Filled: walls." * first.has_walls
            + " Cross: a goal." * bool(len(first.goal_places))
            + actions * bool(len(first.places))
            + goals * bool(counts),
            f"Paths of {episodes} episodes of the final policy on {env}"
            + at * bool(len(first.places))
            + f". {seeds}."
            + goals * bool(counts),
            partial(draw_paths, [row for row, _ in shown]),
        )
    ]


_PROJECTED = (
    " States have many dimensions, standardised over all runs here and projected to two by one "
    "random sparse matrix; counts are of a uniform sample of them, and the outermost states lie in "
    "the edge cells."
)


def _visits(env: str, rows: Sequence[Row]) -> list[Drawing]:
    rows, is_projected = projected(rows), any(row.run.states for row in rows)
    scale = visits_scale(rows)
    if scale is None:
        return []
    drawings = []
    for agent, own in _by_agent(rows).items():
        seen = [row for row in own if visits_of(row.run)]
        if not seen:
            continue
        told = "; ".join(
            f"{row.name.variant}, {part.part}: {part.told}"
            for row in seen
            for part in visits_of(row.run)
        )
        drawings.append(
            Drawing(
                "visits",
                f"{_slug(env)}-{_slug(agent)}-visits",
                f"Visited states, {agent}",
                "Mean over seeds, one logarithmic colour scale for all; cells that no seed visited "
                "are grey. The percentage is the share of cells that a seed visited, on average."
                + _PROJECTED
                * is_projected,
                f"Heat maps of the states that {agent} visited on {env}. {told}.",
                partial(draw_visits, seen, scale),
            )
        )
    return drawings


def _bonuses(env: str, rows: Sequence[Row]) -> list[Drawing]:
    drawings = []
    for row in rows:
        bonuses = bonuses_of(row.run)
        if bonuses is None or not row.name.has_bonus:
            continue
        what = (
            "The bonus that a step from each state would be paid at the end of each quarter of "
            "training, mean over actions and seeds; grey where it is not above 0."
            if bonuses.is_survey
            else "The mean bonus of the steps that arrived in each cell during each quarter of "
            "training; grey where that is not above 0, and in cells that were not visited."
        )
        drawings.append(
            Drawing(
                "bonus",
                f"{_slug(env)}-{_slug(row.name.method)}-bonus",
                f"Where the bonus is high, {row.name.method}",
                f"{what} Logarithmic colour scale, the same for all quarters; before the agent's "
                "own bonus scale.",
                f"Heat maps of the bonus over the state space of {env} for {row.name.method}, "
                f"at {len(bonuses.values)} times in training.",
                partial(_drawn, row),
            )
        )
    return drawings


def _drawn(row: Row, *, narrow: bool = False) -> Figure:
    figure = draw_bonuses(row, narrow=narrow)
    assert figure is not None  # _bonuses has asked bonuses_of
    return figure


def drawings(env: str, rows: Sequence[Row], look: dict[str, Look]) -> list[Drawing]:
    """Return the figures of one environment's rows, in reading order."""
    known = [row for row in rows if row.knows_success]
    return [
        _returns(env, rows, look),
        *([_success(env, known, look)] if known else []),
        *_paths(env, rows),
        *_visits(env, rows),
        *_bonuses(env, rows),
    ]


def pooled_drawings(rows: Sequence[Row], look: dict[str, Look]) -> list[Drawing]:
    """Return the figures over all environments; none where there is only one."""
    drawings = []
    profiles, left_out = performance_profiles(rows)
    if len(profiles) > 1:
        without = f" Not run in every environment, so left out: {', '.join(left_out)}."
        told = "; ".join(
            f"{each.method}: {100 * each.share[100]:.0f} % of runs reach half of the range"
            for each in profiles
        )
        drawings.append(
            Drawing(
                "pooled",
                "performance-profile",
                "Performance profile",
                "Share of runs (seeds, every environment weighing the same) whose final return is "
                "at least τ of the way from the lowest of any seed to the highest, or to the "
                "environment's threshold of success where nobody got there. Higher is better."
                + (without if left_out else ""),
                f"Performance profiles over all environments. {told}.",
                partial(draw_profiles, profiles, look),
            )
        )
    pooled = pooled_rows(rows)
    if pooled:
        variants = {row.name.method: row.name.variant for row in rows}
        told = "; ".join(f"{each.method}: {interval(each.improvement)}" for each in pooled)
        drawings.append(
            Drawing(
                "pooled",
                "probability-of-improvement",
                "Probability of improvement over no bonus",
                "The chance that a seed with the bonus ends with a higher return than one without, "
                "ties counting half, averaged over the environments in which both ran; 95 % "
                "stratified bootstrap. Left of the dashed line the bonus does harm.",
                f"Probability of improvement over no bonus, with intervals. {told}.",
                partial(draw_improvements, pooled, look, variants),
            )
        )
    return drawings

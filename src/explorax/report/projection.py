"""Where runs went in states of many dimensions: random projections to two, the same for all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explorax.report.numbers import Row

SEED = 0  # of the projection's matrix: the same for all environments of as many dimensions
BINS = 48
_OUTSIDE = 0.1  # percent of the states on each side that fall into the map's edge


def matrix(dimensions: int, seed: int = SEED) -> np.ndarray:
    """Return a sparse random projection [2, D] (Li, Hastie & Church 2006).

    Entries are -1, 0 and 1 times sqrt(s / 2), with the probabilities 1/(2s), 1 - 1/s and 1/(2s)
    where s = sqrt(D). Drawn anew until neither row is empty nor the two are parallel.
    """
    spread = np.sqrt(dimensions)
    chances = [0.5 / spread, 1 - 1 / spread, 0.5 / spread]
    generator = np.random.default_rng(seed)
    while True:
        drawn = generator.choice([-1.0, 0.0, 1.0], (2, dimensions), p=chances)
        if np.linalg.matrix_rank(drawn) == 2:
            return drawn * np.sqrt(spread / 2)


def projected(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with maps of visits made of their sampled states, where there are any.

    The recipe of VIME's figure of visited states: the states of all runs together are standardised,
    entry by entry, and projected to two dimensions at random; here without the actions that stand
    beside them there. One matrix and one pair of scales for all rows, so that their maps compare.
    """
    sampled = [_points(row.run.states) if row.run.states else None for row in rows]
    there = [points.reshape(-1, points.shape[-1]) for points in sampled if points is not None]
    if not there:
        return list(rows)
    every = np.concatenate(there)
    every = every[np.isfinite(every).all(axis=1)]
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    # an entry that hardly moves says nothing, and would be blown up to as much as the others
    weights = matrix(every.shape[1]) / np.where(deviation > 1e-6, deviation, np.inf)
    flat = (every - mean) @ weights.T
    low, high = np.percentile(flat, [_OUTSIDE, 100 - _OUTSIDE], axis=0)
    high = np.where(high > low, high, low + 1.0)
    view = {
        "labels": ["projection 1 (standard deviations)", "projection 2 (standard deviations)"],
        "low": low.tolist(),
        "high": high.tolist(),
    }
    return [
        row
        if points is None
        else replace(row, run=_with_maps(row.run, view, points, mean, weights))
        for row, points in zip(rows, sampled, strict=True)
    ]


def _points(states: dict[str, np.ndarray]) -> np.ndarray:
    """Return the sample [P, S, K, D]; NaN where fewer states were seen than fit."""
    points = states["points"].astype(np.float64)
    there = np.arange(points.shape[2]) < states["seen"][..., None]
    return np.where(there[..., None], points, np.nan)


def _with_maps(
    run: Any, view: dict[str, Any], points: np.ndarray, mean: np.ndarray, weights: np.ndarray
) -> Any:
    """Return the run as if it had this view and maps in it, of its points [P, S, K, D]."""
    seen = run.states["seen"]
    flat = (points - mean) @ weights.T
    low, high = (np.asarray(view[end]) for end in ("low", "high"))
    visits = np.zeros((*seen.shape, BINS, BINS))
    for phase, seed in np.ndindex(*seen.shape):
        own = flat[phase, seed]
        own = own[np.isfinite(own).all(axis=1)]
        cells = np.clip((own - low) / (high - low) * BINS, 0, BINS - 1).astype(int)
        np.add.at(visits[phase, seed], (cells[:, 0], cells[:, 1]), seen[phase, seed] / len(own))
    shown = replace(run, config={**run.config, "view": view})
    steps = run.states["phase_env_steps"]
    shown.__dict__["maps"] = {"visits": visits, "phase_env_steps": steps}
    return shown

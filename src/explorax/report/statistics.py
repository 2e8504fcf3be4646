"""Statistics over seeds: interquartile means, bootstrap bands, and who beats whom how often.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv:2108.13264): the interquartile mean is the 25 % trimmed mean, and its interval comes from the
percentiles of a bootstrap that draws seeds anew within each task (stratum).

Deviation: where there is only one seed the interval is blank, not a point.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000  # numbers held at once by the bootstrap


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; low and high are NaN where there is none."""

    estimate: float
    low: float
    high: float

    @property
    def has_width(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def interquartile_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of what is left when the lowest and highest quarter are dropped.

    The number dropped at each end is n // 4, so up to three values give the plain mean. NaN in,
    NaN out.
    """
    values = np.asarray(values, dtype=np.float64)
    blank = np.isnan(values).any(axis=axis)
    return np.where(blank, np.nan, stats.trim_mean(values, 0.25, axis=axis))


def bootstrap_band(
    strata: Sequence[np.ndarray],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (estimate, low, high), each [L]: the interquartile mean over all seeds of all strata.

    `strata`: one array [seeds, L] per task. Seeds are drawn with replacement within their stratum,
    the same ones for all L columns, so that a band belongs to whole curves. low and high are NaN
    when a stratum has a single seed.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in strata]
    if not arrays or any(values.ndim != 2 or len(values) == 0 for values in arrays):
        raise ValueError("bootstrap_band needs at least one array [seeds, L], none without seeds")
    estimate = interquartile_mean(np.concatenate(arrays))
    if min(len(values) for values in arrays) < 2:
        blank = np.full_like(estimate, np.nan)
        return estimate, blank, blank
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(values), size=(resamples, len(values))) for values in arrays]
    seeds = sum(len(values) for values in arrays)
    width = max(1, _CHUNK // (resamples * seeds))
    tails = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.empty_like(estimate), np.empty_like(estimate)
    for start in range(0, estimate.size, width):
        part = slice(start, start + width)
        drawn = [values[index, part] for values, index in zip(arrays, draws, strict=True)]
        means = interquartile_mean(np.concatenate(drawn, axis=1), axis=1)
        low[part], high[part] = np.percentile(means, tails, axis=0)
    return estimate, low, high


def bootstrap_interval(
    strata: Sequence[np.ndarray],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return the interquartile mean over the seeds of all strata [seeds], with its interval."""
    columns = [np.asarray(values, dtype=np.float64)[:, None] for values in strata]
    estimate, low, high = bootstrap_band(columns, resamples=resamples, level=level, seed=seed)
    return Interval(float(estimate[0]), float(low[0]), float(high[0]))


def probability_of_improvement(
    strata: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Return P(X > Y) + P(X = Y) / 2 for a seed of X and one of Y, averaged over the strata.

    It is the Mann-Whitney statistic U / (n m) (arXiv:2108.13264, section 4.3). `strata`: one pair
    (x [n], y [m]) per task; the bootstrap draws x and y anew, each within its task. No interval
    when a side has a single seed.
    """
    pairs = [(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)) for x, y in strata]
    if not pairs or any(x.size == 0 or y.size == 0 for x, y in pairs):
        raise ValueError("probability_of_improvement needs at least one pair, none without seeds")
    rng = np.random.default_rng(seed)
    wins = [0.5 + 0.5 * np.sign(x[:, None] - y[None, :]) for x, y in pairs]
    estimate = float(np.mean([win.mean() for win in wins]))
    if min(min(win.shape) for win in wins) < 2:
        return Interval(estimate, np.nan, np.nan)
    drawn = np.zeros(resamples)
    for win in wins:
        n, m = win.shape
        # A resample is a vector of how often each seed was drawn.
        often_x = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        often_y = rng.multinomial(m, np.full(m, 1 / m), size=resamples) / m
        drawn += np.einsum("bn,nm,bm->b", often_x, win, often_y, optimize=True) / len(wins)
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    return Interval(estimate, float(low), float(high))


def censored_median(values: np.ndarray) -> float:
    """Return the median of `values`, of which those never reached are infinite.

    Infinite when half or more never got there: the median over the lucky ones would flatter.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.size == 0:
        return float("nan")
    below, above = ordered[(ordered.size - 1) // 2], ordered[ordered.size // 2]
    return float("inf") if np.isinf(above) else float((below + above) / 2)

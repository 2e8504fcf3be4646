"""Interquartile means, bootstrap bands and the probability of improvement."""

import numpy as np
import pytest

from explorax.report.statistics import (
    bootstrap_band,
    bootstrap_interval,
    censored_median,
    interquartile_mean,
    probability_of_improvement,
)


def slow_interquartile_mean(values: list[float]) -> float:
    ordered = sorted(values)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 10, 13])
def test_interquartile_mean_drops_a_quarter_at_each_end(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    expected = slow_interquartile_mean(values.tolist())
    assert interquartile_mean(values) == pytest.approx(expected, abs=1e-12)


def test_interquartile_mean_ignores_extremes_and_keeps_nan() -> None:
    assert interquartile_mean(np.array([-1e9, 1.0, 2.0, 3.0, 4.0, 1e9])) == pytest.approx(2.5)
    table = np.array([[0.0, 1.0], [np.nan, 3.0]])
    result = interquartile_mean(table)
    assert np.isnan(result[0]) and result[1] == 2.0


def test_band_is_the_percentiles_of_a_slow_bootstrap() -> None:
    values = np.random.default_rng(3).normal(size=(7, 3))
    _, low, high = bootstrap_band([values], resamples=400, seed=11)
    draws = np.random.default_rng(11).integers(7, size=(400, 7))
    for column in range(3):
        means = [slow_interquartile_mean([values[i, column] for i in draw]) for draw in draws]
        assert low[column] == pytest.approx(np.percentile(means, 2.5), abs=1e-12)
        assert high[column] == pytest.approx(np.percentile(means, 97.5), abs=1e-12)


def test_band_does_not_depend_on_how_it_is_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(6, 9))
    whole = bootstrap_band([values], resamples=50)
    monkeypatch.setattr("explorax.report.statistics._CHUNK", 700)
    for a, b in zip(whole, bootstrap_band([values], resamples=50), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seeds", [10, 20])
def test_band_covers_the_true_value_about_19_times_of_20(seeds: int) -> None:
    # Each column is an experiment of its own; the interquartile mean of a symmetric law is 0.
    data = np.random.default_rng(seeds).normal(size=(seeds, 800))
    _, low, high = bootstrap_band([data], resamples=500)
    coverage = np.mean((low <= 0) & (high >= 0))
    assert 0.90 < coverage < 0.98


def test_band_of_equal_seeds_has_no_width_and_of_one_seed_is_blank() -> None:
    same = bootstrap_interval([np.full(8, 3.0)])
    assert (same.estimate, same.low, same.high) == (3.0, 3.0, 3.0)
    single = bootstrap_interval([np.array([3.0])])
    assert single.estimate == 3.0 and not single.has_width


def test_strata_are_drawn_within_themselves() -> None:
    # Two tasks of constant returns: drawing across tasks would give the interval a width.
    pooled = bootstrap_interval([np.zeros(6), np.ones(6)])
    assert (pooled.estimate, pooled.low, pooled.high) == (0.5, 0.5, 0.5)


def test_band_without_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="none without seeds"):
        bootstrap_band([np.zeros((0, 2))])


def test_probability_of_improvement_counts_pairs() -> None:
    x, y = np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0])
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y)
    assert probability_of_improvement([(x, y)]).estimate == pytest.approx(wins / 6)


def test_probability_of_improvement_of_extremes() -> None:
    low, high = np.arange(5.0), np.arange(5.0) + 10
    assert probability_of_improvement([(high, low)]).low == 1.0
    assert probability_of_improvement([(low, high)]).high == 0.0
    same = probability_of_improvement([(np.ones(5), np.ones(5))])
    assert (same.estimate, same.low, same.high) == (0.5, 0.5, 0.5)
    both = probability_of_improvement([(high, low), (low, high)])
    assert (both.estimate, both.low, both.high) == (0.5, 0.5, 0.5)


def test_probability_of_improvement_is_a_bootstrap_of_seeds() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(0.5, 1, 9), rng.normal(0, 1, 7)
    fast = probability_of_improvement([(x, y)], resamples=4000)
    means = []
    for _ in range(4000):
        a, b = rng.choice(x, 9), rng.choice(y, 7)
        means.append(np.mean(a[:, None] > b[None, :]) + 0.5 * np.mean(a[:, None] == b[None, :]))
    low, high = np.percentile(means, [2.5, 97.5])
    assert fast.low == pytest.approx(low, abs=0.03)
    assert fast.high == pytest.approx(high, abs=0.03)


def test_probability_of_improvement_finds_none_where_there_is_none() -> None:
    rng = np.random.default_rng(8)
    found = 0
    for trial in range(300):
        pair = (rng.normal(size=10), rng.normal(size=10))
        its = probability_of_improvement([pair], resamples=400, seed=trial)
        found += not its.low <= 0.5 <= its.high
    assert found / 300 < 0.10


def test_censored_median_counts_those_that_never_got_there() -> None:
    inf = np.inf
    assert censored_median(np.array([3.0, inf, 1.0])) == 3.0
    assert censored_median(np.array([1.0, 2.0, 3.0, inf])) == 2.5
    assert censored_median(np.array([1.0, inf])) == inf
    assert censored_median(np.array([inf, inf])) == inf

"""The factored density against a loop of dictionaries in float64, and where values are cut."""

import math
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.densities import Factored
from explorax.densities.factored import bin_of
from explorax.ops.frame import place

KEY = jax.random.key(0)


def spec_of(box):
    return Spec(box, Discrete(2), 1)


def trained(density, box, rows):
    state = jax.jit(partial(density.init, spec=spec_of(box)))(KEY)
    return jax.jit(density.observe)(state, jnp.asarray(rows))


def slow(symbols, values, prior):
    """Return (log ρ, log ρ′) of each row of symbols [N, P]."""
    counts, out = [{} for _ in symbols[0]], []

    def log_prob(row, n):
        return math.fsum(
            math.log((table.get(value, 0) + prior) / (n + prior * values))
            for table, value in zip(counts, row, strict=True)
        )

    for n, row in enumerate(symbols.tolist()):
        before = log_prob(row, n)
        for table, value in zip(counts, row, strict=True):
            table[value] = table.get(value, 0) + 1
        out.append((before, log_prob(row, n + 1)))
    return np.array(out).T


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_images_as_a_loop_over_pixels(prior):
    rng = np.random.default_rng(0)
    images = np.minimum(rng.integers(4, size=(300, 4, 5)), rng.integers(4, size=(4, 5)))
    density = Factored(levels=4, prior=prior)
    box = Box((4, 5), 0, 3, "uint8")
    found, _ = trained(density, box, images.astype(np.uint8))
    before, after = slow(images.reshape(300, -1), 4, prior)
    np.testing.assert_allclose(found.log_prob, before, rtol=2e-6)
    np.testing.assert_allclose(found.log_prob_after, after, rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(found.gain, after - before, rtol=2e-5)
    assert (np.asarray(found.gain) > 0).all()


def test_vectors_fall_into_bins_over_their_bounds():
    lows, highs = (0.0, -1.0, -5.0), (1.0, 1.0, 5.0)
    box = Box((3,), lows, highs)
    rows = np.random.default_rng(1).uniform(-0.3, 1.3, size=(200, 3)).astype(np.float32)
    rows = rows * [1.0, 2.0, 10.0] - [0.0, 1.0, 5.0]
    rows[0], rows[1] = lows, highs  # the bounds themselves are inside
    found, _ = trained(Factored(levels=4), box, rows.astype(np.float32))
    edges = [np.linspace(low, high, 5) for low, high in zip(lows, highs, strict=True)]
    symbols = np.array(
        [[np.searchsorted(e, x, side="right") for e, x in zip(edges, r, strict=True)] for r in rows]
    )
    symbols[1] = 4
    before, after = slow(symbols, 6, 0.5)
    np.testing.assert_allclose(found.log_prob, before, rtol=2e-6)
    np.testing.assert_allclose(found.gain, after - before, rtol=2e-5)


def test_entries_without_bounds_are_cut_by_the_deviations_of_the_first_rows():
    box = Box((2,), -math.inf, math.inf)
    rng = np.random.default_rng(2)
    rows = (rng.normal(size=(500, 2)) * [0.01, 300.0] + [5.0, -7e3]).astype(np.float32)
    density = Factored(levels=6, scale_rows=400)
    _, state = trained(density, box, rows)
    centre, deviation = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    places = np.stack([centre + k * deviation for k in (-9.0, -2.5, -0.5, 0.5, 2.5, 9.0)])
    cut = bin_of(jax.jit(place)(state.scale, jnp.asarray(places, jnp.float32)), 6)
    np.testing.assert_array_equal(cut.T, [[0, 1, 3, 4, 6, 7]] * 2)
    # settled: later rows, from elsewhere, move no bin
    _, later = jax.jit(density.observe)(state, jnp.asarray(rows + 1e4))
    np.testing.assert_array_equal(later.scale.moments.mean, state.scale.moments.mean)
    assert later.counts[:, 7].min() > 400  # all of them above


def test_small_batches_count_nothing_under_bins_that_have_moved_since():
    box = Box((1,), -math.inf, math.inf)
    rng = np.random.default_rng(5)
    places = np.where(np.arange(1000) < 500, 0.0, 100.0) + rng.normal(0, 0.1, 1000)
    density = Factored(scale_rows=800)
    state = jax.jit(partial(density.init, spec=Spec(box, Discrete(2), 1)))(jax.random.key(0))
    observe = jax.jit(density.observe)
    for batch in places.astype(np.float32).reshape(125, 8, 1):
        _, state = observe(state, jnp.asarray(batch))
    # the batch that settles the bins, and the 25 behind it, are counted where they belong
    assert state.counts.sum() == 26 * 8
    hit = int(bin_of(jax.jit(place)(state.scale, jnp.asarray([100.0])), 8)[0])
    assert state.counts[0, hit] > 0.9 * 26 * 8


def test_probabilities_sum_to_one():
    box = Box((3,), 0.0, 1.0)
    rows = np.random.default_rng(3).random((40, 3)).astype(np.float32)
    density = Factored(levels=2)
    _, state = trained(density, box, rows)
    middles = np.array(list(product((-1.0, 0.2, 0.8, 2.0), repeat=3)), np.float32)
    found = jax.jit(density.recode)(state, jnp.asarray(middles))
    np.testing.assert_allclose(np.exp(found.log_prob).sum(), 1.0, rtol=1e-5)


def test_recode_is_what_observe_does_and_changes_nothing():
    box = Box((2,), -1.0, 1.0)
    rows = np.random.default_rng(4).uniform(-1, 1, size=(50, 2)).astype(np.float32)
    density = Factored()
    _, state = trained(density, box, rows)
    found = jax.jit(density.recode)(state, jnp.asarray(rows[:5]))
    for index in range(5):
        live, learnt = jax.jit(density.observe)(state, jnp.asarray(rows[index : index + 1]))
        once_more = jax.jit(density.recode)(learnt, jnp.asarray(rows[index : index + 1]))
        np.testing.assert_allclose(found.gain[index], live.gain[0], rtol=1e-6)
        np.testing.assert_allclose(found.log_prob_after[index], once_more.log_prob[0], rtol=1e-5)


def test_refusals():
    with pytest.raises(Incompatible, match="nothing to model"):
        Factored().init(KEY, spec_of(Box((0,))))
    with pytest.raises(Incompatible, match="no finite range"):
        Factored().init(KEY, spec_of(Box((4, 4), -math.inf, 1.0)))
    with pytest.raises(InvalidSetting, match="prior"):
        Factored(prior=0.0)
    with pytest.raises(InvalidSetting, match="levels"):
        Factored(levels=1)

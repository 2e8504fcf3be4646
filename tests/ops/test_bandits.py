"""Regret against sums over pulls, and the bound against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.bandits import divergence, lai_robbins, regret


def test_regret_is_the_sum_over_the_pulls():
    probabilities = (0.3, 0.55, 0.6, 0.1)
    rng = np.random.default_rng(0)
    pulled = rng.integers(4, size=(5, 200))
    counts = np.stack([np.bincount(row, minlength=4) for row in pulled])
    given = jax.jit(lambda counts: regret(counts, probabilities))(jnp.asarray(counts, jnp.int32))
    expected = [sum(0.6 - probabilities[arm] for arm in row) for row in pulled]
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_divergence_of_coins():
    assert divergence(0.5, 0.5) == 0.0
    # ½ ln(½/¼) + ½ ln(½/¾) = ½ ln(4/3)
    assert divergence(0.5, 0.25) == pytest.approx(0.5 * np.log(4 / 3), rel=1e-12)
    assert divergence(0.0, 0.3) == pytest.approx(-np.log(0.7), rel=1e-12)
    assert divergence(0.4, 1.0) == np.inf
    # for a small gap, Δ²/(2 p (1 − p))
    assert divergence(0.5, 0.501) == pytest.approx(1e-6 / 0.5, rel=1e-2)


def test_lai_robbins_by_hand():
    # 0.1 ln(1.2) ... : KL(0.5 ‖ 0.6) = ½ ln(5/6) + ½ ln(5/4) = ½ ln(25/24)
    one = 0.1 / (0.5 * np.log(25 / 24))
    assert lai_robbins((0.5, 0.6)) == pytest.approx(one, rel=1e-9)
    assert lai_robbins((0.5,) * 9 + (0.6,)) == pytest.approx(9 * one, rel=1e-9)
    assert lai_robbins((0.6, 0.6)) == 0.0  # nothing to lose
    assert lai_robbins((0.4, 1.0)) == 0.0  # one failure tells
    # UCB1's 8/Δ per arm is far above it, as it must be
    assert lai_robbins((0.5, 0.6)) < 8 / 0.1

"""Schedules against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.schedules import annealed

CLOSED = {
    "linear": lambda p: 2.0 + (0.5 - 2.0) * p,
    "cosine": lambda p: 0.5 + (2.0 - 0.5) * (1 + np.cos(np.pi * p)) / 2,
    "exponential": lambda p: 2.0 * (0.5 / 2.0) ** p,
}


@pytest.mark.parametrize("shape", CLOSED)
def test_annealed_follows_its_formula_and_then_stays(shape):
    at = jax.jit(annealed(2.0, 0.5, 40, shape))
    for step in (0, 1, 13, 20, 39, 40, 41, 10**9):
        expected = CLOSED[shape](min(step / 40, 1.0))
        np.testing.assert_allclose(at(jnp.int32(step)), expected, rtol=1e-5)

"""Schedules against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import OPTIMISED

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


@pytest.mark.parametrize("shape", CLOSED)
@pytest.mark.parametrize(("start", "end"), [(1e-20, 1e20), (1e30, 1e-30)])
def test_annealed_from_one_extreme_to_the_other_is_finite(shape, start, end):
    at = jax.jit(annealed(start, end, 1000, shape))
    found = np.asarray([at(jnp.int32(step)) for step in (0, 1, 500, 999, 1000)])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[[0, -1]], [start, end], rtol=1e-5)
    assert (np.diff(found) * np.sign(end - start) >= 0).all()


# The tests' programs are compiled without optimisation, and the rounding is in the optimised ones.
@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize("env_steps", [7, 500, 1000, 3000, 10_000, 30_000, 40_000])
def test_annealed_to_zero_is_zero_and_never_below(shape, env_steps):
    at = jax.jit(annealed(1.0, 0.0, env_steps, shape), compiler_options=OPTIMISED)
    assert at(jnp.int32(env_steps - 1)) >= 0
    for step in (env_steps, env_steps + 1, 10**9):
        assert at(jnp.int32(step)) == 0

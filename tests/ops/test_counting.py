"""Counts in time order against a dictionary and a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.counting import occurrence, payment, visit


@pytest.mark.parametrize("kinds", [1, 3, 1000])
def test_occurrence_counts_up_per_code(kinds):
    codes = np.random.default_rng(kinds).integers(kinds, size=400)
    seen: dict[int, int] = {}
    expected = []
    for code in codes:
        seen[code] = seen.get(code, 0) + 1
        expected.append(seen[code])
    np.testing.assert_array_equal(jax.jit(occurrence)(jnp.asarray(codes, jnp.int32)), expected)


def test_visits_go_by_time_and_then_by_environment():
    rng = np.random.default_rng(0)
    table = rng.integers(5, size=6)
    codes = rng.integers(7, size=(30, 4))  # 6 is no cell
    expected, counted = np.zeros((30, 4), int), np.append(table, 0)
    for t in range(30):
        for e in range(4):
            counted[codes[t, e]] += 1
            expected[t, e] = counted[codes[t, e]]
    counts, after = jax.jit(visit)(jnp.asarray(table, jnp.int32), jnp.asarray(codes, jnp.int32))
    inside = codes < 6
    np.testing.assert_array_equal(np.asarray(counts)[inside], expected[inside])
    np.testing.assert_array_equal(after, counted[:6])
    assert counts.dtype == after.dtype == jnp.int32


def test_one_row_is_a_rollout_too():
    counts, after = jax.jit(visit)(jnp.asarray([4, 0]), jnp.asarray([[0]]))
    assert counts.tolist() == [[5]] and after.tolist() == [5, 0]


def test_payment_falls_with_a_power_of_the_count():
    counts = jnp.asarray([0, 1, 4, 10_000])
    np.testing.assert_allclose(payment(counts, 3.0, 0.5), [3.0, 3.0, 1.5, 0.03], rtol=1e-6)
    np.testing.assert_allclose(payment(counts, 3.0, 1.0), [3.0, 3.0, 0.75, 3e-4], rtol=1e-6)

"""Running moments against NumPy on the whole stream."""

import jax
import jax.numpy as jnp
import numpy as np

from explorax.ops import moments as running


def of(batches, shape):
    moments = running.empty(shape)
    for batch in batches:
        moments = jax.jit(running.update)(moments, jnp.asarray(batch))
    return moments


def test_batches_of_any_size_add_up_to_the_whole_stream():
    rng = np.random.default_rng(0)
    stream = (rng.normal(size=(97, 3)) * [1e-2, 1.0, 30.0] + [5.0, 0.0, -200.0]).astype(np.float32)
    parts = np.split(stream, [1, 3, 40, 96])
    moments = of(parts, (3,))
    assert moments.count == 97
    np.testing.assert_allclose(moments.mean, stream.mean(0, dtype=np.float64), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        running.variance(moments), stream.var(0, dtype=np.float64), rtol=2e-3
    )
    np.testing.assert_allclose(
        running.variance(moments)[1:], stream.var(0, dtype=np.float64)[1:], rtol=1e-4
    )


def test_leading_axes_are_rows():
    stream = np.random.default_rng(1).normal(size=(6, 5, 2, 3)).astype(np.float32)
    moments = of([stream], (2, 3))
    assert moments.count == 30
    np.testing.assert_allclose(moments.mean, stream.mean((0, 1)), rtol=1e-4, atol=1e-6)


def test_standardised_rows_have_mean_0_and_deviation_1():
    stream = np.random.default_rng(2).normal(3.0, 0.07, size=(50, 4, 2)).astype(np.float32)
    out = running.standardise(of([stream], (2,)), jnp.asarray(stream), 10.0)
    np.testing.assert_allclose(out.mean((0, 1)), 0.0, atol=1e-4)
    np.testing.assert_allclose(out.std((0, 1)), 1.0, rtol=1e-4)


def test_before_any_row_and_where_nothing_varies_rows_are_not_scaled():
    rows = jnp.array([[0.5, -3.0]])
    np.testing.assert_array_equal(running.standardise(running.empty((2,)), rows, 10.0), rows)
    constant = np.tile(np.array([0.1, 1e4], np.float32), (1000, 1))
    moments = of([constant, constant], (2,))
    np.testing.assert_array_equal(running.std(moments), [1.0, 1.0])
    out = running.standardise(moments, jnp.asarray(constant), 10.0)
    assert np.abs(out).max() < 0.01


def test_a_deviation_that_is_not_a_number_stays_one():
    """It must be told, and must not become the 1 of what never varied."""
    broken = running.update(running.empty((2,)), jnp.asarray([[1.0, jnp.nan], [3.0, 0.0]]))
    np.testing.assert_array_equal(running.std(broken), [1.0, np.nan])


def test_what_is_far_out_is_clipped():
    moments = of([np.array([[-1.0], [1.0]], np.float32)], (1,))
    out = running.standardise(moments, jnp.array([[1e6], [-1e6]]), 5.0)
    np.testing.assert_array_equal(out, [[5.0], [-5.0]])


def test_integer_observations_are_rows_too():
    moments = of([np.array([[0, 255]], np.uint8), np.array([[2, 255]], np.uint8)], (2,))
    np.testing.assert_array_equal(moments.mean, [1.0, 255.0])

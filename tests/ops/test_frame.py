"""Frames against NumPy: bounds where there are some, else a deviation that settles."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box
from explorax.ops import frame as frames

HALF = Box((2,), (-2.0, -math.inf), (6.0, math.inf))  # one entry has bounds, the other none


def test_bounds_are_0_and_1_whatever_is_looked_at():
    frame = frames.frame_of(Box((2,), (0.0, -3.0), (1.0, 5.0)), reach=1.0)
    assert jax.jit(frames.is_settled, static_argnums=1)(frame, 10)
    rows = jnp.asarray([[0.0, -3.0], [1.0, 5.0], [0.5, 1.0], [2.0, -11.0]])
    want = [[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [2.0, -1.0]]
    np.testing.assert_allclose(frames.place(frame, rows), want)
    np.testing.assert_allclose(frames.place(frames.look(frame, rows, 10), rows), want)


def test_without_bounds_deviations_of_the_first_rows_are_the_scale_for_good():
    rng = np.random.default_rng(0)
    rows = rng.normal([1.0, 700.0], [1.0, 30.0], (3, 20, 2)).astype(np.float32)
    frame, look = frames.frame_of(HALF, reach=2.0), jax.jit(frames.look, static_argnums=2)
    settled = []
    for batch in rows:  # the third comes after the 40 rows that count
        frame = look(frame, jnp.asarray(batch), 40)
        settled.append(bool(frames.is_settled(frame, 40)))
    assert settled == [False, True, True]
    first = rows[:2].reshape(-1, 2)
    free = (rows[..., 1] - first[:, 1].mean()) / first[:, 1].std()
    want = np.stack([(rows[..., 0] + 2.0) / 8.0, (free + 2.0) / 4.0], -1)
    np.testing.assert_allclose(jax.jit(frames.place)(frame, rows), want, rtol=1e-4, atol=1e-5)


def test_bounds_that_only_floats_have_are_none():
    frame = frames.frame_of(Box((3,), (-1e38, 0.0, 2.0), (1e38, 1.0, 2.0)), reach=1.0)
    np.testing.assert_array_equal(frame.bounded, [False, True, False])

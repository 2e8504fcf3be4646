import jax
import numpy as np
import pytest

from explorax.ops.median import median


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_median_equals_numpys(size):
    rng = np.random.default_rng(size)
    values = (10.0 ** rng.uniform(-30, 30, size)).astype(np.float32)
    values[: size // 4] = 0.0
    expected = np.median(values)  # float32 in, float32 out
    assert jax.jit(median)(values) == expected
    negative = np.where(rng.random(size) < 0.3, -values, values)
    assert jax.jit(median)(negative) == np.median(np.maximum(negative, 0))
    assert jax.jit(median)(np.zeros(size, np.float32)) == 0
    assert jax.jit(median)(np.full((size, 2), 0.25, np.float32)) == 0.25

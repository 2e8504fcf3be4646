"""A sample of fixed size: all rows while they fit, and then each with the same chance."""

import jax
import jax.numpy as jnp
import numpy as np

from explorax.ops import reservoir

ROW = {"x": jax.ShapeDtypeStruct((), jnp.float32)}


def filled(key, size, rows, batch):
    held = reservoir.empty(ROW, size)
    for index, start in enumerate(range(0, rows, batch)):
        numbers = jnp.arange(start, start + batch, dtype=jnp.float32)
        held = reservoir.add(held, jax.random.fold_in(key, index), {"x": numbers})
    return held


def test_while_rows_fit_all_are_held_once_and_stand_for_themselves():
    held = filled(jax.random.key(0), size=20, rows=12, batch=4)
    assert sorted(np.asarray(held.rows["x"][:12])) == list(range(12))
    np.testing.assert_array_equal(reservoir.weights(held), [1.0] * 12 + [0.0] * 8)


def test_beyond_each_row_has_the_same_chance_and_the_weights_add_up_to_all_rows():
    size, rows = 10, 40
    many = jax.jit(jax.vmap(lambda key: filled(key, size, rows, 8).rows["x"]))
    drawn = np.asarray(many(jax.random.split(jax.random.key(1), 4000)))
    often = np.bincount(drawn.astype(int).ravel(), minlength=rows) / 4000
    # 4,000 draws of a chance of 1/4 deviate by 0.007
    np.testing.assert_allclose(often, size / rows, atol=0.03)
    assert all(len(set(one)) == size for one in drawn[:50])
    held = filled(jax.random.key(2), size, rows, 8)
    np.testing.assert_allclose(reservoir.weights(held).sum(), rows)

"""Numbers of states against mixed-radix arithmetic by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import Incompatible
from explorax.core.protocols import Box
from explorax.ops import finite

SIZES = [(4,), (1,), (3, 2), (2, 1, 3), (100, 2, 2)]


def every_observation(sizes):
    """All rows of codes, in the order of the digits; the last digit of each code: no 1 at all."""
    codes = [np.concatenate([np.eye(size), np.zeros((1, size))]) for size in sizes]
    return np.stack([np.concatenate(parts) for parts in itertools.product(*codes)])


@pytest.mark.parametrize("sizes", SIZES)
def test_observations_are_numbered_one_after_another(sizes):
    box = Box((sum(sizes),), 0.0, 1.0, one_hot=sizes)
    rows = jnp.asarray(every_observation(sizes), jnp.float32)
    assert finite.num_states(box) == len(rows)
    expected = np.arange(len(rows))
    by_digits = jax.jit(lambda rows: finite.state_index(box, rows))(rows)
    by_weights = jax.jit(lambda rows: finite.number_of(finite.numbering(box), rows))(rows)
    for given in (by_digits, by_weights):
        np.testing.assert_array_equal(given, expected)
        assert given.dtype == jnp.int32


def test_any_number_of_leading_axes():
    box = Box((2, 3), 0.0, 1.0, one_hot=(6,))
    rows = jnp.eye(6).reshape(2, 3, 2, 3)
    np.testing.assert_array_equal(finite.state_index(box, rows), np.arange(6).reshape(2, 3))
    flat = rows.reshape(2, 3, 6)
    np.testing.assert_array_equal(
        finite.number_of(finite.numbering(box), flat), np.arange(6).reshape(2, 3)
    )


def test_what_is_not_one_hot_has_no_numbers():
    box = Box((3,))
    assert finite.num_states(box) is None
    with pytest.raises(ValueError, match="not one-hot"):
        finite.state_index(box, jnp.zeros(3))
    with pytest.raises(ValueError, match="not one-hot"):
        finite.numbering(box)


def test_tables_are_refused_with_numbers_and_a_cure():
    assert finite.table_size(Box((5,), one_hot=(3, 2)), "Thing", 12, "Take another.") == 12
    with pytest.raises(Incompatible, match=r"Thing .* shape \(84, 84\) .* Take another\."):
        finite.table_size(Box((84, 84), 0, 255, "uint8"), "Thing", 12, "Take another.")
    message = r"at most 11 states \(max_states\), .* \(3, 2\) make \(3 \+ 1\) · \(2 \+ 1\) = 12\. T"
    with pytest.raises(Incompatible, match=message):
        finite.table_size(Box((5,), one_hot=(3, 2)), "Thing", 11, "Take another.")

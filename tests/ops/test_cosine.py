"""The cosine by its polynomial."""

import jax.numpy as jnp
import numpy as np

from explorax.ops.cosine import cosine_of_turns


def test_it_is_the_cosine():
    turns = np.linspace(-8, 8, 100_001).astype(np.float32)
    exact = np.cos(2 * np.pi * turns.astype(np.float64))
    np.testing.assert_allclose(cosine_of_turns(jnp.asarray(turns)), exact, atol=6e-6)


def test_at_quarters_of_a_turn_it_is_one_and_nought():
    values = cosine_of_turns(jnp.asarray([0.0, 0.25, 0.5, 0.75, 1.0, -0.25]))
    np.testing.assert_allclose(values, [1, 0, -1, 0, 1, 0], atol=1e-6)

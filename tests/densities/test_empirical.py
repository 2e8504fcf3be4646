"""The empirical density against whole numbers, and the identity that gives it its place here."""

import math
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.bonuses import PseudoCount
from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Spec
from explorax.core.pytree import replace
from explorax.densities import Empirical

KEY = jax.random.key(0)
SPEC = Spec(Box((6,), 0.0, 1.0, one_hot=(6,)), Discrete(2), 1)
COUNTS = jax.jit(PseudoCount(Empirical()).counts)
OBSERVE, RECODE = jax.jit(Empirical().observe), jax.jit(Empirical().recode)


def state_of(counts):
    """Return the model that has seen each of six states so many times; the seventh never."""
    state = Empirical().init(KEY, SPEC)
    table = jnp.asarray([*counts, 0], jnp.int32)
    return replace(state, counts=table, total=table.sum(dtype=jnp.int32))


def recode_all(counts):
    return RECODE(state_of(counts), jnp.eye(6))


@pytest.mark.parametrize("size", [1, 30, 1_000, 100_000, 1_000_000])
def test_the_pseudo_count_is_the_true_count(size):
    counts = [size, 1, 2, 7 * size, 3, 0]
    total = sum(counts)
    found = recode_all(counts)
    pseudo = COUNTS(found, jnp.full(6, total + 1, jnp.int32))
    np.testing.assert_allclose(pseudo, counts, rtol=2e-6)


def test_the_three_logarithms_are_those_of_the_fractions():
    counts = [50_000, 1, 900_000, 7, 0, 2]
    total = sum(counts)
    found = recode_all(counts)
    for index, count in enumerate(counts):
        after = Fraction(count + 1, total + 1)
        np.testing.assert_allclose(found.log_prob_after[index], math.log(after), rtol=1e-6)
        if count == 0:
            assert found.log_prob[index] == -np.inf and found.gain[index] == np.inf
            continue
        before = Fraction(count, total)
        np.testing.assert_allclose(found.log_prob[index], math.log(before), rtol=1e-6)
        gain = math.log1p(after / before - 1)
        np.testing.assert_allclose(found.gain[index], gain, rtol=1e-6)


def test_the_shortcut_overestimates():
    """1/(exp PG − 1) is N̂/(1 − ρ′): 8.30 for a count of 7 among 50."""
    found = recode_all([7, 43, 0, 0, 0, 0])
    shortcut = 1 / np.expm1(float(found.gain[0]))
    np.testing.assert_allclose(shortcut, 7 * 51 / 43, rtol=1e-5)
    np.testing.assert_allclose(COUNTS(found, jnp.full(6, 51, jnp.int32))[0], 7, rtol=1e-6)


def test_a_stream_is_counted_in_its_order():
    rng = np.random.default_rng(0)
    stream = rng.integers(6, size=200)
    state, seen = jax.jit(partial(Empirical().init, spec=SPEC))(KEY), []
    for part in np.split(stream, [1, 90]):
        found, state = OBSERVE(state, jnp.eye(6)[part])
        order = len(seen) + 1 + jnp.arange(len(part), dtype=jnp.int32)
        pseudo = COUNTS(found, order)
        true = [seen.count(s) + list(part[:i]).count(s) for i, s in enumerate(part)]
        np.testing.assert_allclose(pseudo, true, rtol=1e-5)
        seen += list(part)
    np.testing.assert_array_equal(state.counts[:6], np.bincount(stream, minlength=6))
    assert state.total == 200


def test_where_only_one_state_was_ever_seen_the_count_is_exact_too():
    """ρ = ρ′ = 1 leaves N̂ open."""
    state = Empirical().init(KEY, SPEC)
    found, state = OBSERVE(state, jnp.tile(jnp.eye(6)[2], (5, 1)))
    order = 1 + jnp.arange(5, dtype=jnp.int32)
    np.testing.assert_array_equal(COUNTS(found, order), [0, 1, 2, 3, 4])
    again = RECODE(state, jnp.eye(6)[2][None])
    assert COUNTS(again, jnp.array([6], jnp.int32)) == 5


def test_worlds_without_a_table_are_refused_with_the_cure():
    with pytest.raises(Incompatible, match=r"Empirical.*no one-hot codes.*Factored\(\).*CTS\(\)"):
        Empirical().init(KEY, Spec(Box((3,)), Discrete(2), 1))
    many = Spec(Box((40,), 0.0, 1.0, one_hot=(10,) * 4), Discrete(2), 1)
    with pytest.raises(Incompatible, match=r"at most 10,000 states.*Factored\(\)"):
        Empirical(max_states=10_000).init(KEY, many)

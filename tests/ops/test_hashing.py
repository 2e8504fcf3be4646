"""Codes against bit-by-bit integer arithmetic, and SimHash's odds against angles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops.hashing import exact_code, simhash

code_of = jax.jit(exact_code)


def test_simhash_is_the_signs_of_the_projections_as_a_binary_number():
    rng = np.random.default_rng(0)
    projection = rng.normal(size=(5, 31)).astype(np.float32)
    x = rng.normal(size=(3, 4, 5)).astype(np.float32)
    codes = jax.jit(simhash)(jnp.asarray(projection), jnp.asarray(x))
    assert codes.shape == (3, 4) and codes.dtype == jnp.int32
    for place in np.ndindex(3, 4):
        digits = [1 if float(x[place] @ projection[:, bit]) >= 0 else 0 for bit in range(31)]
        assert int(codes[place]) == sum(digit << bit for bit, digit in enumerate(digits))


def test_simhash_differs_in_a_share_of_bits_that_is_the_angle():
    """Charikar 2002: P(bit differs) = θ/π; lengths do not matter."""
    projection = jax.random.normal(jax.random.key(0), (2, 30, 400))
    for angle in (0.0, 0.3, 1.0, 2.0, np.pi):
        pair = jnp.asarray([[1.0, 0.0], [3 * np.cos(angle), 3 * np.sin(angle)]])
        one, other = jax.jit(jax.vmap(simhash, (2, None), 1))(projection, pair)
        differing = np.mean([int(a ^ b).bit_count() for a, b in zip(one, other, strict=True)]) / 30
        assert differing == pytest.approx(angle / np.pi, abs=4 * 0.5 / np.sqrt(12_000))


def test_more_bits_than_a_number_has_are_refused():
    with pytest.raises(ValueError, match="32 bits do not fit"):
        simhash(jnp.zeros((2, 32)), jnp.zeros((1, 2)))


def murmur(word):
    word = (word ^ (word >> 16)) * 0x85EBCA6B % 2**32
    word = (word ^ (word >> 13)) * 0xC2B2AE35 % 2**32
    return word ^ (word >> 16)


def test_exact_code_is_the_sum_of_mixed_words():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20, 6)).astype(np.float32)
    rows[3, 2] = -0.0
    expected = []
    for row in np.where(rows == 0, np.float32(0), rows):
        salts = [murmur((place * 0x9E3779B9 + 1) % 2**32) for place in range(6)]
        words = [int(word) ^ salt for word, salt in zip(row.view(np.uint32), salts, strict=True)]
        expected.append(murmur(sum(map(murmur, words)) % 2**32))
    codes = code_of(jnp.asarray(rows))
    assert codes.dtype == jnp.uint32
    np.testing.assert_array_equal(codes, np.array(expected, np.uint32))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, bool])
def test_equal_rows_have_equal_codes_and_others_do_not(dtype):
    rng = np.random.default_rng(2)
    rows = np.unique(rng.integers(0, 2, (3000, 40)).astype(dtype), axis=0)
    codes = np.asarray(code_of(jnp.asarray(rows)))
    assert len(np.unique(codes)) == len(rows) > 2900
    np.testing.assert_array_equal(codes, code_of(jnp.asarray(rows)))
    np.testing.assert_array_equal(codes[::-1], code_of(jnp.asarray(rows[::-1])))


def test_exact_code_sees_the_place_and_the_sign_but_no_negative_zero():
    one_hot = np.eye(100, dtype=np.float32)
    assert len(np.unique(code_of(jnp.asarray(one_hot)))) == 100
    assert len(np.unique(code_of(jnp.asarray(np.concatenate([one_hot, -one_hot]))))) == 200
    np.testing.assert_array_equal(
        code_of(jnp.asarray(-0.0 * one_hot)), code_of(jnp.zeros((100, 100)))
    )


def test_codes_are_spread_evenly():
    """Each of the 32 bits is set in half of the codes of a grid of points a step apart."""
    x, y = np.meshgrid(np.arange(100, dtype=np.float32), np.arange(100, dtype=np.float32))
    codes = np.asarray(code_of(jnp.asarray(np.stack([x.ravel(), y.ravel()], -1))))
    shares = [(codes >> np.uint32(bit) & 1).mean() for bit in range(32)]
    assert np.abs(np.array(shares) - 0.5).max() < 4 * 0.5 / np.sqrt(10_000)
    assert len(np.unique(codes)) == 10_000

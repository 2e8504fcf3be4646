"""Probabilities against closed forms, and drawn frequencies against probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.behaviors import Boltzmann, EpsilonGreedy, Greedy
from explorax.core.errors import InvalidSetting

# The tests' programs are compiled without optimisation, and rounding is in the optimised ones.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
VALUES = [[1.0, 3.0, 2.0], [5.0, 5.0, -1.0], [0.0, 0.0, 0.0], [-1e6, 0.0, 1e6]]


def probabilities(behavior, values, env_steps=0):
    return np.asarray(jax.jit(behavior.probabilities)(jnp.asarray(values), jnp.int32(env_steps)))


def test_greedy_shares_ties_equally():
    expected = [[0, 1, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]]
    np.testing.assert_allclose(probabilities(Greedy(), VALUES), expected, rtol=1e-6)


@pytest.mark.parametrize("env_steps, epsilon", [(0, 0.9), (50, 0.5), (100, 0.1), (10**9, 0.1)])
def test_epsilon_greedy_linear(env_steps, epsilon):
    behavior = EpsilonGreedy(start=0.9, end=0.1, decay_env_steps=100)
    third = epsilon / 3
    expected = [
        [third, 1 - 2 * third, third],
        [(1 - epsilon) / 2 + third, (1 - epsilon) / 2 + third, third],
    ]
    np.testing.assert_allclose(
        probabilities(behavior, VALUES[:2], env_steps), expected, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("env_steps, epsilon", [(0, 1.0), (50, 0.1), (100, 0.01), (200, 0.01)])
def test_epsilon_greedy_exponential(env_steps, epsilon):
    behavior = EpsilonGreedy(start=1.0, end=0.01, decay_env_steps=100, decay="exponential")
    assert float(behavior.epsilon(jnp.int32(env_steps))) == pytest.approx(epsilon, rel=1e-5)


def test_epsilon_zero_is_greedy_and_one_is_uniform():
    none = EpsilonGreedy(start=0.0, end=0.0)
    np.testing.assert_array_equal(probabilities(none, VALUES), probabilities(Greedy(), VALUES))
    np.testing.assert_allclose(probabilities(EpsilonGreedy(start=1.0), VALUES), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("decay_env_steps", [500, 1000, 30_000, 40_000])
def test_epsilon_that_decayed_to_zero_is_greedy(decay_env_steps):
    behavior = EpsilonGreedy(1.0, 0.0, decay_env_steps)
    values = jnp.tile(jnp.asarray([[0.0, 1.0, 2.0]]), (50, 1))
    choose = jax.jit(behavior.choose, compiler_options=OPTIMISED)
    chosen = choose(jax.random.key(0), values, jnp.int32(decay_env_steps))
    np.testing.assert_array_equal(chosen, 2)


def test_boltzmann_is_the_softmax_and_stays_finite():
    exponent = np.exp(np.array(VALUES[0]) / 0.7)
    given = probabilities(Boltzmann(temperature=0.7), VALUES)
    np.testing.assert_allclose(given[0], exponent / exponent.sum(), rtol=1e-5)
    np.testing.assert_allclose(given[2], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(given[3], [0, 0, 1], rtol=1e-6)


def test_boltzmann_cools():
    behavior = Boltzmann(2.0, end_temperature=0.5, decay_env_steps=10, decay="exponential")
    for env_steps, temperature in [(0, 2.0), (5, 1.0), (10, 0.5), (99, 0.5)]:
        exponent = np.exp(np.array(VALUES[0]) / temperature)
        np.testing.assert_allclose(
            probabilities(behavior, VALUES[:1], env_steps)[0], exponent / exponent.sum(), rtol=1e-4
        )


@pytest.mark.parametrize(
    "behavior",
    [Greedy(), EpsilonGreedy(0.6, 0.2, 100), Boltzmann(2.0)],
    ids=lambda behavior: type(behavior).__name__,
)
def test_actions_are_drawn_with_the_probabilities_stated(behavior):
    draws, env_steps = 20_000, jnp.int32(30)
    values = jnp.repeat(jnp.asarray(VALUES), draws, axis=0)
    actions = jax.jit(behavior.choose)(jax.random.key(0), values, env_steps)
    assert actions.dtype == jnp.int32 and actions.shape == (4 * draws,)
    frequency = np.stack(
        [np.bincount(row, minlength=3) / draws for row in np.asarray(actions).reshape(4, draws)]
    )
    exact = probabilities(behavior, VALUES, 30)
    assert (frequency[exact == 0] == 0).all()
    assert np.abs(frequency - exact).max() < 4 * np.sqrt(0.25 / draws)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: EpsilonGreedy(start=1.5), r"EpsilonGreedy\(start=1.5\): start must be a prob"),
        (lambda: EpsilonGreedy(end=-0.1), "end must be a probability"),
        (lambda: EpsilonGreedy(decay_env_steps=0), "decay_env_steps must be at least 1"),
        (lambda: EpsilonGreedy(decay="stepwise"), "one of .*'linear', 'cosine'"),
        (lambda: EpsilonGreedy(start=0.0, decay="cosine"), "start must be above 0"),
        (lambda: EpsilonGreedy(end=0.0, decay="exponential"), "end must be above 0"),
        (lambda: Boltzmann(temperature=0.0), r"Boltzmann\(temperature=0.0\)"),
        (lambda: Boltzmann(end_temperature=-1.0), "end_temperature must be above 0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InvalidSetting, match=message):
        make()


def test_settings_are_constructor_text():
    for behavior in (Greedy(), EpsilonGreedy(0.5), Boltzmann(0.3)):
        assert eval(repr(behavior)) == behavior

"""Probabilities against closed forms, and drawn frequencies against probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.behaviors import UCB, UCB1, Boltzmann, EpsilonGreedy, Greedy
from explorax.core.errors import Incompatible, InvalidSetting

# The tests' programs are compiled without optimisation, and rounding is in the optimised ones.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
VALUES = [[1.0, 3.0, 2.0], [5.0, 5.0, -1.0], [0.0, 0.0, 0.0], [-1e6, 0.0, 1e6]]


COUNTS = [[3, 1, 2], [5, 5, 1], [0, 2, 0], [10**6, 10, 1]]


def probabilities(behavior, values, env_steps=0, counts=None):
    counts = None if counts is None else jnp.asarray(counts, jnp.int32)
    choice = jax.jit(behavior.probabilities)(jnp.asarray(values), jnp.int32(env_steps), counts)
    return np.asarray(choice)


def bounds(values, counts, scale):
    """Auer et al.'s index, action by action."""
    total = sum(counts)
    return [
        value + scale * np.sqrt(2 * np.log(total) / count)
        for value, count in zip(values, counts, strict=True)
    ]


@pytest.mark.parametrize("behavior, scale", [(UCB1(), 1.0), (UCB(), 1.0), (UCB(2.5), 2.5)])
def test_ucb_takes_the_largest_bound_and_nothing_else(behavior, scale):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 4)).astype(np.float32)
    counts = rng.integers(1, 50, (300, 4))
    given = probabilities(behavior, values, 0, counts)
    best = [int(np.argmax(bounds(*row, scale))) for row in zip(values, counts, strict=True)]
    np.testing.assert_array_equal(given, np.eye(4)[best])
    assert (given.argmax(-1) != values.argmax(-1)).mean() > 0.2  # it is not greedy


def test_ucb_tries_every_action_once_before_any_twice():
    untried = probabilities(UCB1(), VALUES, 0, COUNTS)[2]
    np.testing.assert_allclose(untried, [0.5, 0.0, 0.5])
    nothing = probabilities(UCB(0.0), VALUES, 0, np.zeros((4, 3), int))
    np.testing.assert_allclose(nothing, 1 / 3, rtol=1e-6)


def test_ucb_shares_ties_and_its_limits_are_greedy():
    equal = probabilities(UCB1(), [[1.0, 1.0, 0.0]], 0, [[7, 7, 7]])
    np.testing.assert_allclose(equal, [[0.5, 0.5, 0.0]])
    tried = np.full((4, 3), 9)
    greedy = probabilities(Greedy(), VALUES)
    np.testing.assert_array_equal(probabilities(UCB(0.0), VALUES, 0, tried), greedy)
    once = probabilities(UCB1(), [[0.2, 0.9]], 0, [[1, 1]])  # ln 2 for both: means decide
    np.testing.assert_array_equal(once, [[0.0, 1.0]])


@pytest.mark.parametrize("behavior", [UCB(), UCB1()])
def test_ucb_without_counts_names_an_agent_that_counts(behavior):
    assert behavior.needs_counts
    with pytest.raises(Incompatible, match=r"UCB.*\(.*\) needs counts .* TabularQ"):
        probabilities(behavior, VALUES)


def test_the_others_do_as_well_without_counts():
    for behavior in (Greedy(), EpsilonGreedy(0.6, 0.2, 100), Boltzmann(2.0)):
        assert not behavior.needs_counts
        np.testing.assert_array_equal(
            probabilities(behavior, VALUES), probabilities(behavior, VALUES, 0, COUNTS)
        )


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
    [Greedy(), EpsilonGreedy(0.6, 0.2, 100), Boltzmann(2.0), UCB(3.0), UCB1()],
    ids=lambda behavior: type(behavior).__name__,
)
def test_actions_are_drawn_with_the_probabilities_stated(behavior):
    draws, env_steps = 20_000, jnp.int32(30)
    values = jnp.repeat(jnp.asarray(VALUES), draws, axis=0)
    counts = jnp.repeat(jnp.asarray(COUNTS, jnp.int32), draws, axis=0)
    actions = jax.jit(behavior.choose)(jax.random.key(0), values, env_steps, counts)
    assert actions.dtype == jnp.int32 and actions.shape == (4 * draws,)
    frequency = np.stack(
        [np.bincount(row, minlength=3) / draws for row in np.asarray(actions).reshape(4, draws)]
    )
    exact = probabilities(behavior, VALUES, 30, COUNTS)
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
        (lambda: UCB(scale=-1.0), r"UCB\(scale=-1.0\): scale must be at least 0"),
        (lambda: UCB(scale=float("inf")), "scale must be at least 0 and finite"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InvalidSetting, match=message):
        make()


def test_settings_are_constructor_text():
    for behavior in (Greedy(), EpsilonGreedy(0.5), Boltzmann(0.3), UCB(0.7), UCB1()):
        assert eval(repr(behavior)) == behavior

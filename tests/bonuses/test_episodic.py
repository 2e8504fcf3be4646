"""Episodic: any bonus, less where the episode has been."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from episodes import Memories, normal, place, rollout_of, rollouts, spec_of
from test_combine import PaysObs

from explorax.bonuses import Episodic, NoBonus, Scale, Sum
from explorax.core.errors import InvalidSetting
from explorax.core.pytree import replace

KEY = jax.random.key(0)


def paid(bonus, spec, given):
    state, score, amounts = bonus.init(KEY, spec), jax.jit(bonus.score), []
    for rollout in given:
        amount, state = score(state, KEY, rollout)
        amounts.append(np.asarray(amount))
        state, _ = jax.jit(bonus.update)(state, KEY, rollout)
    return amounts


@pytest.mark.parametrize("rule", ["sqrt", "first"])
@pytest.mark.parametrize("capacity", [1000, 5])
def test_it_counts_the_episode_through_resets_and_rollouts(rule, capacity):
    bonus, memories = Episodic(PaysObs(), rule, capacity=capacity), Memories(capacity)
    given = list(rollouts(3, 40, place(4), ends=0.05))
    amounts = paid(bonus, spec_of(4, one_hot=True), given)
    for rollout, amount in zip(given, amounts, strict=True):
        visits, inner = memories.visits(rollout), np.asarray(rollout.obs[..., 0])
        factor = visits == 1 if rule == "first" else 1 / np.sqrt(visits)
        np.testing.assert_allclose(amount, inner * factor, rtol=1e-6)
        assert (visits == 1).any() and visits.max() >= 3 and inner.any()


def test_of_an_episode_longer_than_the_memory_the_oldest_are_new_again():
    """Round and round five places: new each time with room for four, counted with room for five."""
    at = np.eye(6)[np.arange(31) % 5][:, None]
    at[:, :, 5] = 1.0  # what is paid
    no = np.zeros((30, 1), bool)
    rollout = rollout_of(at[:-1, :, ::-1], at[1:, :, ::-1], no, no)
    for capacity, rounds in ((4, np.ones(30)), (5, np.where(np.arange(30) < 4, 1, 2))):
        (amount,) = paid(Episodic(PaysObs(), capacity=capacity), spec_of(6, envs=1), [rollout])
        np.testing.assert_allclose(amount[:, 0], 1 / np.sqrt(rounds), rtol=1e-6)


def test_with_bits_near_observations_are_the_same_and_far_ones_are_not():
    rng = np.random.default_rng(0)
    places = np.asarray([[-3.0, 1.0, 1.0], [3.0, -2.0, 1.0], [1.0, 3.0, -3.0]])
    at = rng.integers(0, 3, 61)
    obs = places[at] + 1e-4 * rng.normal(size=(61, 3))  # none comes twice
    obs[:, 0] = np.abs(obs[:, 0])
    no = np.zeros((60, 1), bool)
    rollout = rollout_of(obs[:-1, None], obs[1:, None], no, no)
    where = np.eye(3)[at][:, None]
    expected = Memories(envs=1).visits(rollout_of(where[:-1], where[1:], no, no))
    spec = spec_of(3, envs=1)
    amount, exact = (
        paid(Episodic(PaysObs(), bits=bits), spec, [rollout])[0] for bits in (24, None)
    )
    np.testing.assert_allclose(amount, np.asarray(rollout.obs[..., 0]) / np.sqrt(expected), 1e-5)
    np.testing.assert_allclose(exact, rollout.obs[..., 0])


def test_hash_codes_are_of_standardised_observations():
    """Far from the origin all observations lie in one direction of it, and would share one code."""
    first, second = rollouts(2, 100, lambda rng: 1e3 + normal(3)(rng), ends=0.0)
    before, after = paid(Episodic(PaysObs(), "first", bits=16), spec_of(3), [first, second])
    assert (before > 0).mean() < 0.1  # no moments yet
    assert (after > 0).mean() > 0.5


@pytest.mark.parametrize("replayable", [True, False])
def test_a_stored_bonus_is_never_divided_twice_and_update_is_passed_on(replayable):
    bonus = Scale(Episodic(PaysObs(replayable)), 3.0)
    assert not bonus.replayable
    assert not Sum((NoBonus(), Episodic(NoBonus()))).replayable
    (rollout,) = rollouts(1, 20, place(2))
    spec = spec_of(2, one_hot=True)
    amount, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, rollout)
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
    rows = replace(rows, bonus=amount.ravel())
    np.testing.assert_array_equal(jax.jit(bonus.rescore)(state, KEY, rows), amount.ravel())
    updated, metrics = jax.jit(bonus.update)(state, KEY, rollout)
    assert metrics == {"updates": 1} and updated.bonus == 1
    np.testing.assert_array_equal(updated.trail.rows, state.trail.rows)


def test_the_bonus_inside_starts_as_it_would_alone():
    class Keyed(PaysObs):
        def init(self, key, spec):
            return jax.random.normal(key)

    for bits in (None, 8):
        inner = Episodic(Keyed(), bits=bits).init(KEY, spec_of(2)).bonus
        assert inner == Keyed().init(KEY, spec_of(2))


def test_under_vmap_each_seed_has_a_memory_of_its_own():
    bonus, spec = Episodic(PaysObs()), spec_of(3, one_hot=True)
    given = [next(rollouts(1, 30, place(3), seed=seed)) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    keys = jax.random.split(KEY, 3)
    states = jax.vmap(lambda key: bonus.init(key, spec))(keys)
    together, _ = jax.jit(jax.vmap(bonus.score))(states, keys, stacked)
    for index, rollout in enumerate(given):
        np.testing.assert_allclose(together[index], paid(bonus, spec, [rollout])[0], rtol=1e-6)


def test_settings_that_cannot_be_are_refused():
    cases: tuple[dict[str, Any], ...] = (
        dict(rule="last"),
        dict(bits=0),
        dict(bits=32),
        dict(capacity=0),
    )
    for wrong in cases:
        (name,) = wrong
        with pytest.raises(InvalidSetting, match=f"{name} must be"):
            Episodic(NoBonus(), **wrong)

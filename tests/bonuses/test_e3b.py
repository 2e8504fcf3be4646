"""E3B: what it pays in worlds where that is known, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from episodes import Memories, normal, place, rollout_of, rollouts, spec_of

from explorax.bonuses import E3B
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box
from explorax.core.pytree import replace
from explorax.encoders import AgentLatent, InverseEncoder, Raw

KEY = jax.random.key(0)
AS_IT_IS = Raw(standardize=False, clip=1e6)


def paid(bonus, spec, given):
    """What each rollout is paid in turn, without an update between."""
    state, score, amounts = bonus.init(KEY, spec), jax.jit(bonus.score), []
    for rollout in given:
        amount, state = score(state, KEY, rollout)
        amounts.append(np.asarray(amount))
    return amounts


def at(places, first, size=3):
    """A rollout of one environment that goes through `places`, the first of which it starts in."""
    one_hot = np.eye(size)[np.asarray(places)][:, None]
    first = np.asarray(first)[:, None]
    return rollout_of(one_hot[:-1], one_hot[1:], first, np.roll(first, -1, 0))


def test_one_hot_a_first_visit_pays_one_over_the_ridge_and_a_second_one_over_one_and_the_ridge():
    # Starts at 0, stays there, goes to 1, stays, comes back to 0.
    trip = at([0, 0, 1, 1, 0], [True, False, False, False])
    amounts = paid(E3B(AS_IT_IS), spec_of(3, one_hot=True, envs=1), [trip])
    np.testing.assert_allclose(amounts[0][:, 0], [1 / 1.1, 10, 1 / 1.1, 1 / 2.1], rtol=1e-5)


@pytest.mark.parametrize("ridge", [0.1, 2.0])
def test_one_hot_it_is_a_count_of_the_episode_through_resets_and_rollouts(ridge):
    memories, given = Memories(), list(rollouts(3, 50, place(4), ends=0.1))
    amounts = paid(E3B(AS_IT_IS, ridge=ridge), spec_of(4, one_hot=True), given)
    for rollout, amount in zip(given, amounts, strict=True):
        expected = 1 / (memories.visits(rollout) - 1 + ridge)
        np.testing.assert_allclose(amount, expected, rtol=1e-5)


def test_it_is_the_quadratic_form_of_inverted_matrices():
    memories, given = Memories(), list(rollouts(2, 60, normal(5), ends=0.05))
    amounts = paid(E3B(AS_IT_IS, ridge=0.3), spec_of(5), given)
    for rollout, amount in zip(given, amounts, strict=True):
        for t, e, shown, after in memories.steps(rollout):
            inverse = np.linalg.inv(shown.T @ shown + 0.3 * np.eye(5))
            np.testing.assert_allclose(amount[t, e], after @ inverse @ after, rtol=1e-4)


def test_features_come_from_the_encoder_which_learns_after_the_score():
    bonus, spec = E3B(InverseEncoder(8, learning_rate=1e-2)), spec_of(5)
    state, rollout = bonus.init(KEY, spec), next(rollouts(1, 30, normal(5)))
    _, scored = jax.jit(bonus.score)(state, KEY, rollout)
    before, after = (jax.tree.leaves(each.encoder) for each in (state, scored))
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    updated, metrics = jax.jit(bonus.update)(scored, KEY, rollout)
    learnt = jax.tree.leaves(updated.encoder)
    assert any((a != b).any() for a, b in zip(after, learnt, strict=True))
    np.testing.assert_array_equal(updated.root, scored.root)
    assert {"inverse_loss", "directions_seen"} <= set(metrics)


def test_directions_seen_is_how_many_an_episode_has_shown():
    trip = at([0, 1, 0, 1] * 50, [True] + 198 * [False], size=6)
    bonus = E3B(AS_IT_IS)
    _, state = jax.jit(bonus.score)(bonus.init(KEY, spec_of(6, envs=1)), KEY, trip)
    _, metrics = jax.jit(bonus.update)(state, KEY, trip)
    np.testing.assert_allclose(metrics["directions_seen"], 2 * 100 / 100.1, rtol=1e-3)


def test_without_a_known_successor_nothing_is_paid_and_nothing_kept():
    spec = replace(spec_of(3), latent=Box((4,), -np.inf, np.inf))
    bonus = E3B(AgentLatent())
    rollout = next(rollouts(1, 12, normal(3), ends=0.2))
    latent = jax.random.normal(KEY, (12, 2, 4))
    rollout = replace(rollout, extras={"latent": latent})
    amount, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, rollout)
    ended = np.asarray(rollout.truncated)
    assert ended[:-1].any()
    known = ~ended & (np.arange(12) < 11)[:, None]
    assert ((np.asarray(amount) > 0) == known).all()
    # The last row again, this time unknown as well, changes nothing.
    last = jax.tree.map(lambda leaf: leaf[-1:], rollout)
    last = replace(last, first=jnp.zeros((1, 2), bool))
    _, same = jax.jit(bonus.score)(state, KEY, last)
    np.testing.assert_array_equal(state.root, same.root)


def test_a_replayed_row_keeps_what_it_was_paid():
    bonus = E3B(AS_IT_IS)
    rollout = next(rollouts(1, 5, normal(3)))
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
    rows = replace(rows, bonus=jnp.arange(10.0))
    assert not bonus.replayable
    stored = bonus.rescore(bonus.init(KEY, spec_of(3)), KEY, rows)
    np.testing.assert_array_equal(stored, rows.bonus)


@pytest.mark.parametrize("ridge", [0.0, -0.1, float("inf")])
def test_a_ridge_that_is_not_positive_is_refused(ridge):
    with pytest.raises(InvalidSetting, match="ridge must be positive"):
        E3B(ridge=ridge)


def test_too_many_features_and_a_missing_latent_are_refused_with_the_cure():
    with pytest.raises(Incompatible, match=r"3,000 features are more.*InverseEncoder\(features=64"):
        E3B(Raw()).init(KEY, spec_of(3000))
    with pytest.raises(Incompatible, match="2,049 features are more than 2,048"):
        E3B(Raw()).init(KEY, spec_of(2049))
    jax.eval_shape(lambda: E3B(Raw()).init(KEY, spec_of(2048)))
    with pytest.raises(Incompatible, match="Agents that do: TRPO"):
        E3B(AgentLatent()).init(KEY, spec_of(3))

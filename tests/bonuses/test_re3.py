"""RE3, against all distances to a memory that is kept as a list."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from episodes import normal, place, rollouts, spec_of

from explorax.bonuses import RE3
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box
from explorax.core.pytree import replace
from explorax.encoders import AgentLatent, RandomEncoder, Raw

KEY = jax.random.key(0)
AS_IT_IS = Raw(standardize=False, clip=1e6)


def settled(bonus, spec):
    """The state of a bonus that forgets nothing at its first update."""
    return replace(bonus.init(KEY, spec), learnt=jnp.bool_(True))


def rows_of(rollout):
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)


class SlowMemory:
    """The last rows, as pairs of a number that tells them apart and a feature."""

    def __init__(self, size):
        self.size, self.rows, self.added = size, [], 0

    def paid(self, features, k):
        """log(1 + distance to the k-th other) [N] for new rows [N, F], which are remembered."""
        features = np.asarray(features, np.float64)
        new = list(zip(range(self.added, self.added + len(features)), features, strict=True))
        self.added += len(features)
        self.rows = (self.rows + new)[-self.size :]
        amounts = []
        for number, feature in new:
            others = [other for its, other in self.rows if its != number]
            apart = sorted(np.linalg.norm(feature - other) for other in others)
            amounts.append(np.log(1 + apart[k - 1]) if len(apart) >= k else 0.0)
        return np.asarray(amounts)


# A rollout has 40 rows: the memory holds a part of one, several, or all.
@pytest.mark.parametrize(
    ("draw", "size", "k"),
    [
        (normal(3), 1000, 3),
        (normal(3), 90, 1),
        (normal(3), 25, 5),
        (normal(3, 1e-3), 60, 3),
        (place(3), 100, 3),
    ],
)
def test_it_pays_the_distance_to_the_kth_other_of_the_last_rows(draw, size, k):
    bonus, spec, slow = RE3(AS_IT_IS, k=k, memory_size=size), spec_of(3), SlowMemory(size)
    state, score = settled(bonus, spec), jax.jit(bonus.score)
    for rollout in rollouts(4, 20, draw):
        amount, state = score(state, KEY, rollout)
        expected = slow.paid(rollout.next_obs.reshape(40, 3), k)
        np.testing.assert_allclose(amount.ravel(), expected, rtol=1e-5, atol=1e-12)
        state, metrics = bonus.update(state, KEY, rollout)
        assert metrics["remembered"] == min(size, slow.added)


def test_it_is_a_distance_and_not_a_place():
    """RLlib pays the index that argsort gives the k-th neighbour (random_encoder.py): it is of the
    order of the batch, and does not scale with the features."""
    spec = spec_of(3)
    (rollout,) = rollouts(1, 50, normal(3))
    bonus, amounts = RE3(AS_IT_IS), []
    for scale in (1.0, 7.0):
        scaled = replace(rollout, next_obs=scale * rollout.next_obs)
        amount, _ = jax.jit(bonus.score)(settled(bonus, spec), KEY, scaled)
        amounts.append(np.expm1(np.asarray(amount)))
    np.testing.assert_allclose(7 * amounts[0], amounts[1], rtol=1e-4)
    assert 0 < amounts[0].max() < 5


def test_features_are_those_of_a_random_network_that_stays_as_it_is():
    bonus, spec = RE3(RandomEncoder(6, (8,))), spec_of(4)
    first, second = rollouts(2, 20, normal(4))
    state = bonus.init(KEY, spec)
    _, scored = jax.jit(bonus.score)(state, KEY, first)
    updated, _ = jax.jit(bonus.update)(scored, KEY, first)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), state.encoder.params, updated.encoder.params)
    )
    # What the first rollout left was encoded before there were moments, and is forgotten.
    assert scored.memory.count == 40 and updated.memory.count == 0
    amount, scored = jax.jit(bonus.score)(updated, KEY, second)
    features = bonus.encoder.pairs(updated.encoder, second).after.reshape(40, 6)
    np.testing.assert_allclose(amount.ravel(), SlowMemory(5000).paid(features, 3), rtol=1e-4)
    again, _ = jax.jit(bonus.update)(scored, KEY, second)
    assert again.memory.count == 40


def test_after_the_first_rollout_is_forgotten_the_ring_goes_on_where_it_was():
    bonus, spec, slow = RE3(AS_IT_IS, memory_size=70), spec_of(3), SlowMemory(70)
    first, *given = rollouts(4, 20, normal(3))
    _, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, first)
    state, _ = bonus.update(state, KEY, first)
    for rollout in given:
        amount, state = jax.jit(bonus.score)(state, KEY, rollout)
        expected = slow.paid(rollout.next_obs.reshape(40, 3), 3)
        np.testing.assert_allclose(amount.ravel(), expected, rtol=1e-5)
        state, _ = bonus.update(state, KEY, rollout)


def test_a_replayed_row_is_compared_with_the_memory_as_it_is_now_less_itself():
    bonus, spec = RE3(AS_IT_IS, k=2, memory_size=60), spec_of(3)
    score, rescore = jax.jit(bonus.score), jax.jit(bonus.rescore)
    old, new = rollouts(2, 20, normal(3))
    amount, state = score(settled(bonus, spec), KEY, old)
    assert bonus.replayable
    np.testing.assert_allclose(rescore(state, KEY, rows_of(old)), amount.ravel(), rtol=1e-6)
    _, state = score(state, KEY, new)
    remembered = np.asarray(jnp.concatenate([rows_of(old).next_obs, rows_of(new).next_obs])[-60:])
    for row, paid in zip(rows_of(old).next_obs, rescore(state, KEY, rows_of(old)), strict=True):
        others = remembered[(remembered != np.asarray(row)).any(1)]
        apart = np.sort(np.linalg.norm(others - np.asarray(row), axis=1))
        np.testing.assert_allclose(paid, np.log1p(apart[1]), rtol=1e-5)


def test_in_a_finite_world_places_seen_often_pay_nothing():
    given = list(rollouts(1, 50, place(3)))
    bonus, spec = RE3(AS_IT_IS, k=3), spec_of(3, one_hot=True)
    amount, state = jax.jit(bonus.score)(settled(bonus, spec), KEY, given[0])
    assert (amount == 0).all()  # each of three places came up more than three times
    rescored = jax.jit(bonus.rescore)(state, KEY, rows_of(given[0]))
    assert (rescored == 0).all()


def test_while_there_are_too_few_others_nothing_is_paid():
    bonus, spec = RE3(AS_IT_IS, k=2), spec_of(3, envs=1)
    first, second, third = rollouts(3, 1, normal(3), envs=1)
    state, amounts = settled(bonus, spec), []
    for rollout in (first, second, third):
        amount, state = jax.jit(bonus.score)(state, KEY, rollout)
        amounts.append(float(amount[0, 0]))
    assert amounts[:2] == [0.0, 0.0] and amounts[2] > 0


def test_a_successor_that_is_not_known_is_paid_nothing_and_is_nobodys_neighbour():
    spec = replace(spec_of(3), latent=Box((4,), -np.inf, np.inf))
    (rollout,) = rollouts(1, 30, normal(3), ends=0.2)
    latent = jax.random.normal(KEY, (30, 2, 4))
    rollout = replace(rollout, extras={"latent": latent})
    bonus = RE3(AgentLatent(clip=1e6), k=1)
    assert not bonus.replayable
    amount, state = jax.jit(bonus.score)(settled(bonus, spec), KEY, rollout)
    known = ~np.asarray(rollout.truncated) & (np.arange(30) < 29)[:, None]
    after = np.concatenate([latent[1:], latent[:1]])
    np.testing.assert_allclose(amount[known], SlowMemory(100).paid(after[known], 1), rtol=1e-5)
    assert (np.asarray(amount)[~known] == 0).all()
    rows = replace(rows_of(rollout), bonus=jnp.arange(60.0))
    np.testing.assert_array_equal(bonus.rescore(state, KEY, rows), rows.bonus)


def test_settings_that_cannot_be_are_refused_with_the_numbers():
    with pytest.raises(InvalidSetting, match="k=10.*below memory_size=10"):
        RE3(k=10, memory_size=10)
    with pytest.raises(InvalidSetting, match="k must be at least 1"):
        RE3(k=0)
    with pytest.raises(Incompatible, match="needs an agent that gives a latent"):
        RE3(AgentLatent()).init(KEY, spec_of(3))

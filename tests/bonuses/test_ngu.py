"""NGU, against its Algorithm 1 as a slow loop."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from episodes import SlowKernel, normal, place, rollout_of, rollouts, spec_of

from explorax.bonuses import NGU, RND, NoBonus
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


def within_the_episode(**settings: Any):
    return NGU(AS_IT_IS, NoBonus(), **settings)


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        (dict(k=10), 0.05),
        (dict(k=3, capacity=8, epsilon=0.05, cluster_distance=0.2, constant=0.1), 0.05),
        (dict(k=1, capacity=1), 0.2),
    ],
)
def test_the_episodic_part_is_algorithm_1_through_resets_and_rollouts(settings, ends):
    slow = SlowKernel(**settings)
    given = list(rollouts(3, 70, normal(4), ends=ends))  # 70 steps are a block and a part of one
    amounts = paid(within_the_episode(**settings), spec_of(4), given)
    for rollout, amount in zip(given, amounts, strict=True):
        slow.forget(1 - rollout.reward.size / 100_000)
        np.testing.assert_allclose(amount, slow.novelty(rollout), rtol=2e-4)


def test_the_mean_distance_is_multiplied_by_what_it_keeps_and_never_grows_without_bound():
    """RLlib's running mean adds the momentum where it should multiply by it (random_encoder.py)."""
    bonus, slow = within_the_episode(k=2, horizon=60), SlowKernel(2)
    state = bonus.init(KEY, spec_of(3))
    for scale in (1.0, 1.0, 10.0, 10.0, 10.0):
        rollout = next(rollouts(1, 20, normal(3, scale), seed=int(scale)))
        amount, state = jax.jit(bonus.score)(state, KEY, rollout)
        slow.forget(1 - 40 / 60)
        np.testing.assert_allclose(amount, slow.novelty(rollout), rtol=2e-4)
        _, metrics = bonus.update(state, KEY, rollout)
        np.testing.assert_allclose(metrics["squared_distance"], slow.total / slow.count, rtol=1e-5)
    assert metrics["squared_distance"] < 2 * 3 * 100  # E‖a − b‖² of two drawn alike


@pytest.mark.parametrize("scale", [30.0, 0.03, 0.01, 1e-4])
def test_the_scale_of_the_features_does_not_matter(scale):
    """rlax takes negative scores for distances: its bonus is constant at scale 0.01."""
    bonus, spec = within_the_episode(), spec_of(6)
    ones, scaled = (
        np.stack(paid(bonus, spec, rollouts(2, 40, normal(6, factor)))) for factor in (1.0, scale)
    )
    np.testing.assert_allclose(ones, scaled, rtol=1e-3)
    assert ones.std() > 0.5  # and is not constant


def test_what_the_episode_has_shown_pays_little_and_is_new_again_in_the_next():
    home, away = np.eye(4)[0], np.eye(4)[1]
    before = np.stack([home] + [home, away] * 20)[:, None]
    after = np.concatenate([before[1:], before[:1]])
    first = (np.arange(41) % 20 == 0)[:, None]
    rollout = rollout_of(before, after, first, np.roll(first, -1, 0))
    (amount,) = paid(within_the_episode(k=1), spec_of(4, envs=1), [rollout])
    # The first row stays at home, the next one goes away for the first time.
    visited_before = np.asarray(
        [(before[t - t % 20 : t + 1] == after[t]).all(2).any() for t in range(41)]
    )
    np.testing.assert_allclose(amount[visited_before], 1 / (1 + 1e-3), rtol=1e-5)  # K = 1
    assert (amount[~visited_before] > 10).all() and (~visited_before).sum() == 3


def test_above_the_greatest_similarity_nothing_is_paid():
    still = np.ones((100, 1, 2))
    first = np.zeros((100, 1), bool)
    rollout = rollout_of(still, still, first, first)
    # K = 1 for all of the t + 1 neighbours at distance 0, so s = √(t + 1) + c.
    (amount,) = paid(within_the_episode(k=100), spec_of(2, envs=1), [rollout])
    assert (amount[:63, 0] > 0).all() and (amount[63:] == 0).all()
    np.testing.assert_allclose(amount[:63, 0], 1 / (np.sqrt(1 + np.arange(63)) + 1e-3), rtol=1e-5)


@dataclass(frozen=True)
class PaysTheSecondEntry:
    """What `lifelong` may be: pays s'[1], and counts its updates."""

    replayable = True

    def init(self, key, spec):
        return jnp.int32(0)

    def score(self, state, key, rollout):
        return rollout.next_obs[..., 1], state

    def update(self, state, key, rollout):
        return state + 1, {"updates": state + 1}

    def rescore(self, state, key, rows):
        return rows.next_obs[..., 1]


def test_the_lifelong_part_multiplies_by_one_to_five_in_deviations_from_its_mean():
    spec, given = spec_of(3), list(rollouts(3, 40, normal(3)))
    given[1] = replace(given[1], next_obs=given[1].next_obs.at[..., 1].set(0.0))  # pays nothing
    given[2] = replace(given[2], next_obs=given[2].next_obs.at[3, 0, 1].set(40.0))
    bonus = NGU(AS_IT_IS, PaysTheSecondEntry(), k=3, horizon=200)
    both = paid(bonus, spec, given)
    alone = paid(within_the_episode(k=3, horizon=200), spec, given)
    np.testing.assert_allclose(both[1], alone[1])  # not counted either
    seen = np.zeros(0)
    for index in (0, 2):
        error = np.asarray(given[index].next_obs[..., 1], np.float64)
        if index == 2:
            weights = np.concatenate([np.full(seen.size, 1 - 80 / 200), np.ones(error.size)])
        else:
            weights = np.ones(error.size)
        seen = np.concatenate([seen, error.ravel()])
        mean = np.average(seen, weights=weights)
        std = np.sqrt(np.average((seen - mean) ** 2, weights=weights))
        factor = np.clip(1 + (error - mean) / std, 1, 5)
        np.testing.assert_allclose(both[index], alone[index] * factor, rtol=1e-3)
    assert factor.max() == 5 and factor.min() == 1


def test_both_parts_learn_and_say_so():
    bonus, spec = NGU(InverseEncoder(4), RND(4, (4,), (4,))), spec_of(3)
    state, rollout = bonus.init(KEY, spec), next(rollouts(1, 20, normal(3)))
    amount, scored = jax.jit(bonus.score)(state, KEY, rollout)
    assert (amount > 0).all()  # RND has nothing to say of the first rollout: the factor is 1
    updated, metrics = jax.jit(bonus.update)(scored, KEY, rollout)
    assert {"inverse_loss", "lifelong/loss", "squared_distance"} <= set(metrics)
    for part in ("encoder", "lifelong"):
        pairs = zip(
            jax.tree.leaves(getattr(scored, part)),
            jax.tree.leaves(getattr(updated, part)),
            strict=True,
        )
        assert any((old != new).any() for old, new in pairs)
    assert not bonus.replayable
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
    rows = replace(rows, bonus=jnp.arange(40.0))
    np.testing.assert_array_equal(bonus.rescore(state, KEY, rows), rows.bonus)


def test_a_successor_that_is_not_known_is_paid_nothing_and_is_in_no_mean():
    spec = replace(spec_of(3), latent=Box((4,), -np.inf, np.inf))
    rollout = next(rollouts(1, 30, normal(3), ends=0.2))
    latent = jax.random.normal(KEY, (30, 2, 4))
    rollout = replace(rollout, extras={"latent": latent})
    bonus = NGU(AgentLatent(clip=1e6), NoBonus(), k=2)
    amount, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, rollout)
    known = ~np.asarray(rollout.truncated) & (np.arange(30) < 29)[:, None]
    assert ((np.asarray(amount) > 0) == known).all()
    slow = SlowKernel(2)
    after = np.concatenate([latent[1:], latent[:1]])
    found = []
    for t, e, shown, wanted in slow.memories.steps(replace(rollout, obs=latent, next_obs=after)):
        if known[t, e]:
            found.extend(np.sort(np.square(shown - wanted).sum(1))[:2])
    np.testing.assert_allclose(state.kernel.distance, np.mean(found), rtol=1e-5)


def test_settings_that_cannot_be_are_refused_with_the_numbers():
    with pytest.raises(InvalidSetting, match="k=11.*at most capacity=10"):
        NGU(k=11, capacity=10)
    cases: tuple[dict[str, Any], ...] = (
        dict(k=0),
        dict(capacity=0),
        dict(epsilon=0.0),
        dict(constant=-1.0),
        dict(cluster_distance=-0.1),
        dict(max_similarity=0.0),
        dict(max_lifelong=0.5),
        dict(horizon=0),
    )
    for wrong in cases:
        (name,) = wrong
        with pytest.raises(InvalidSetting, match=f"{name} must be"):
            NGU(**wrong)
    with pytest.raises(Incompatible, match="needs an agent that gives a latent"):
        NGU(AgentLatent()).init(KEY, spec_of(3))


def test_in_a_finite_world_it_falls_with_every_visit():
    """Equal places are 0 apart: with k neighbours there, s = √k + c."""
    given = list(rollouts(1, 200, place(3), ends=0.0))
    (amount,) = paid(within_the_episode(k=10), spec_of(3, one_hot=True), given)
    np.testing.assert_allclose(amount[100:], 1 / (np.sqrt(10) + 1e-3), rtol=1e-4)

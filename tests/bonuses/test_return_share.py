"""A bonus scaled by what the task pays, against a slow loop."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.bonuses import MedianRatio, NoBonus, ReturnShare
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec

KEY = jax.random.key(0)
SPEC = Spec(Box((1,)), Discrete(2), 2)


@dataclass(frozen=True)
class PaysObs(NoBonus):
    """Pays the observation."""

    def score(self, state, key, rollout):
        return rollout.obs[..., 0], state

    def rescore(self, state, key, rows):
        return rows.obs[..., 0]


def rollout_of(paid, reward=None, first=None):
    paid = jnp.asarray(paid, jnp.float32)
    no = jnp.zeros(paid.shape, bool)
    reward = jnp.zeros(paid.shape) if reward is None else jnp.asarray(reward, jnp.float32)
    began = no if first is None else jnp.asarray(first)
    obs = paid[..., None]
    action = jnp.zeros(paid.shape, jnp.int32)
    return Rollout(obs, action, reward, obs, no, no, began, jnp.zeros(paid.shape))


def runs(bonus, rollouts):
    """Return (what each rollout is paid, what is told in the end)."""
    state, amounts, told = bonus.init(KEY, SPEC), [], {}
    for rollout in rollouts:
        amount, state = jax.jit(bonus.score)(state, KEY, rollout)
        amounts.append(np.asarray(amount))
        state, told = bonus.update(state, KEY, rollout)
    return amounts, told


@pytest.mark.parametrize("center", [None, 10, 1_000])
def test_what_is_paid_is_that_of_a_slow_loop(center):
    rng = np.random.default_rng(0)
    drawn = [rng.random((6, 2)) / (1 + n) for n in range(5)]
    bonus = ReturnShare(PaysObs(), share=0.5, discount=0.9, limit=1e6, warmup=20, center=center)
    got, told = runs(bonus, [rollout_of(each) for each in drawn])
    mean, total, sums = 0.0, np.zeros(2), []
    for n, (amount, rows) in enumerate(zip(got, drawn, strict=True)):
        if 12 * n < 20:  # env steps before this rollout
            assert (amount == 0).all()
            continue
        if center is not None:
            paid_before = len(sums) * 2
            weight = max(1 - np.exp(-12 / center), 12 / (paid_before + 12))
            mean = (1 - weight) * mean + weight * rows.mean()
        for row in rows:
            total = 0.9 * total + row - mean
            sums.append(total)
        want = 0.5 * (rows - mean) / np.std(sums)
        np.testing.assert_allclose(amount, want, rtol=2e-4, atol=1e-6)
    assert ("mean" in told) == (center is not None)
    if center is not None:
        np.testing.assert_allclose(told["mean"], mean, rtol=1e-5)


def one_at_a_time(stream, **settings):
    bonus = ReturnShare(PaysObs(), warmup=0, **settings)
    state, score = bonus.init(KEY, SPEC), jax.jit(bonus.score)
    rows = [rollout_of(row[None]) for row in stream]
    amounts = []
    for row in rows:
        amount, state = score(state, KEY, row)
        amounts.append(np.asarray(amount)[0])
    return np.asarray(amounts), state


def test_one_row_is_not_the_mean_of_the_next_thousand():
    stream = np.abs(np.random.default_rng(1).normal(size=(800, 2)))
    stream[0] = 20.0
    centered, state = one_at_a_time(stream, center=200)
    plain, _ = one_at_a_time(stream, center=None)
    late = slice(400, None)
    np.testing.assert_allclose(state.mean, stream[late].mean(), rtol=0.15)
    assert abs(centered[late].mean()) < 0.1 * centered[late].std()
    assert 0.5 < centered[late].std() / plain[late].std() < 2.0


@pytest.mark.parametrize("value", [0.1, 7e-4, 1e6])
@pytest.mark.parametrize("shape", [(100, 2), (128, 2), (1, 2)])
def test_a_constant_bonus_is_paid_nothing(value, shape):
    amounts, _ = runs(ReturnShare(PaysObs(), warmup=0), [rollout_of(np.full(shape, value))] * 4)
    np.testing.assert_array_equal(np.concatenate(amounts), 0.0)


def test_a_spike_does_not_charge_the_others():
    rng = np.random.default_rng(2)
    drawn = [rng.random((100, 2)) for _ in range(30)]
    drawn[20][50, 0] = 1e9
    amounts, _ = runs(ReturnShare(PaysObs(), warmup=0), [rollout_of(each) for each in drawn])
    others = np.delete(amounts[20].ravel(), 100)
    assert np.abs(others).max() < 1e-6
    assert abs(np.concatenate(amounts[21:]).sum()) < 1e-3


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("center", [None, 1_000])
def test_what_a_spike_is_paid_is_bounded_by_what_the_task_pays(center, sign):
    spiky = np.ones((20, 2))
    spiky[7] = sign * 1e9
    bonus = ReturnShare(PaysObs(), 0.5, discount=0.9, limit=2.0, warmup=0, center=center)
    amounts, _ = runs(bonus, [rollout_of(spiky)] * 3)
    assert max(np.abs(each).max() for each in amounts) <= 0.1 * 2.0 * 1.0 + 1e-6
    # Rewards of 50 here and there: R is the deviation of their discounted sums within episodes.
    rng = np.random.default_rng(1)
    reward, first = 50.0 * (rng.random((20, 2)) < 0.3), rng.random((20, 2)) < 0.2
    sums, total = [np.zeros((60, 2))], np.zeros(2)
    for row, begins in zip(reward, first, strict=True):
        total = 0.9 * np.where(begins, 0.0, total) + row
        sums.append(total[None])
    spread = np.std(np.concatenate(sums))
    rollouts = [rollout_of(spiky)] * 3 + [rollout_of(spiky, reward, first)]
    amounts, told = runs(bonus, rollouts)
    np.testing.assert_allclose(told["return_spread"], spread, rtol=1e-4)
    assert 0.1 < np.abs(amounts[-1]).max() <= 0.1 * 2.0 * spread * (1 + 1e-5)


@pytest.mark.parametrize("center", [None, 1_000])
def test_the_share_is_the_deviation_of_the_bonuss_returns(center):
    drawn = np.abs(np.random.default_rng(9).normal(size=(400, 2)))
    bonus = ReturnShare(PaysObs(), share=0.01, discount=0.5, warmup=0, center=center)
    ((paid,), _) = runs(bonus, [rollout_of(drawn)])
    returns, total = [], np.zeros(2)
    for row in paid:
        total = 0.5 * total + row
        returns.append(total)
    np.testing.assert_allclose(np.std(returns), 0.01, rtol=1e-3)


def test_what_is_centered_may_be_negative_and_says_so():
    with pytest.raises(InvalidSetting, match="may pay less than 0"):
        MedianRatio(ReturnShare(NoBonus()))
    MedianRatio(ReturnShare(NoBonus(), center=None))


@pytest.mark.parametrize("setting", [{"center": 0}, {"limit": 0.0}, {"goal": float("inf")}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(InvalidSetting, match="must be"):
        ReturnShare(NoBonus(), **setting)

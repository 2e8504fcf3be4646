"""Wrappers: what they pay, that they change nothing else, and that they stay replayable or not."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorax.bonuses import (
    Clip,
    Decay,
    Episodic,
    MedianRatio,
    NoBonus,
    Product,
    ReturnShare,
    RunningMean,
    RunningStd,
    Scale,
    Sum,
    Surprise,
)
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace

SPEC = Spec(obs=Box((1,)), action=Discrete(2), num_envs=2)


@dataclass(frozen=True)
class PaysObs:
    """Pays the observation; counts its updates."""

    replayable: bool = True

    def init(self, key, spec):
        return jnp.int32(0)

    def score(self, state, key, rollout):
        return rollout.obs[..., 0], state

    def update(self, state, key, rollout):
        return state + 1, {"updates": state + 1}

    def rescore(self, state, key, rows):
        return rows.obs[..., 0] if self.replayable else rows.bonus


def rollout_of(values):
    values = jnp.asarray(values, jnp.float32)
    no = jnp.zeros(values.shape, bool)
    obs = values[..., None]
    return Rollout(obs, jnp.zeros(values.shape, jnp.int32), values * 0, obs, no, no, no, values * 0)


ONE = [[1.0, 2.0], [3.0, 6.0]]


def paid(bonus, *rollouts):
    """What each rollout is paid in turn, with an update behind each."""
    state, key = bonus.init(jax.random.key(0), SPEC), jax.random.key(1)
    amounts = []
    for values in rollouts:
        amount, state = jax.jit(bonus.score)(state, key, rollout_of(values))
        amounts.append(np.asarray(amount))
        state, _ = bonus.update(state, key, rollout_of(values))
    return amounts


def test_scale_clip_and_sum_pay_what_they_say():
    np.testing.assert_allclose(paid(Scale(PaysObs(), 0.5), ONE)[0], np.multiply(ONE, 0.5))
    np.testing.assert_allclose(paid(Clip(PaysObs(), 1.5, 4.0), ONE)[0], np.clip(ONE, 1.5, 4))
    both = Sum((PaysObs(), Scale(PaysObs(), 10.0), NoBonus()))
    np.testing.assert_allclose(paid(both, ONE)[0], np.multiply(ONE, 11))


def test_median_ratio_divides_by_the_mean_of_the_last_medians_the_newest_included():
    rounds = [np.asarray(ONE) * factor for factor in (1, 4, 0, 2)]
    amounts = paid(MedianRatio(PaysObs(), window=2), *rounds)
    # Medians are 2.5 times the factor; a rollout that pays nothing is not counted.
    for amount, values, usual in zip(amounts, rounds, (2.5, 6.25, 6.25, 7.5), strict=True):
        np.testing.assert_allclose(amount, values / usual, rtol=1e-6)


def test_normalisers_pay_nothing_while_there_is_nothing_to_divide_by():
    for bonus in (MedianRatio(PaysObs()), RunningMean(PaysObs())):
        assert (paid(bonus, np.zeros((2, 2)))[0] == 0).all()


def test_running_mean_is_the_debiased_exponential_average():
    rounds = [np.asarray(ONE) * factor for factor in (1.0, 4.0, 2.0)]
    amounts = paid(RunningMean(PaysObs(), decay=0.5), *rounds)
    average = weight = 0.0
    for amount, values in zip(amounts, rounds, strict=True):
        average, weight = 0.5 * average + 0.5 * values.mean(), 0.5 * weight + 0.5
        np.testing.assert_allclose(amount, values / (average / weight), rtol=1e-6)


def test_product_multiplies():
    bonus = Product((PaysObs(), Scale(PaysObs(), 0.5), Clip(PaysObs(), 0.0, 2.0)))
    want = np.multiply(ONE, np.multiply(ONE, 0.5)) * np.clip(ONE, 0, 2)
    np.testing.assert_allclose(paid(bonus, ONE)[0], want)


@pytest.mark.parametrize("discount", [0.0, 0.9])
def test_running_std_divides_by_the_deviation_of_filtered_returns_and_pays_the_bonus(discount):
    """A slow loop. rllte pays the filtered return itself: that mutant must not pass."""
    rollouts = [np.random.default_rng(n).random((6, 2)) for n in range(3)]
    got = paid(RunningStd(PaysObs(), discount), *rollouts)
    running, returns = np.zeros(2), []
    for amount, rollout in zip(got, rollouts, strict=True):
        own = []
        for row in rollout:
            running = discount * running + row
            own.append(running)
        returns += own
        std = np.std(np.asarray(returns))
        np.testing.assert_allclose(amount, rollout / std, rtol=1e-4)
        if discount > 0:
            assert not np.allclose(amount, np.asarray(own) / std, rtol=0.05)


def test_centred_running_std_pays_less_than_nothing_for_less_than_usual():
    rollouts = [np.random.default_rng(n).random((50, 2)) for n in range(3)]
    got = paid(RunningStd(PaysObs(), 0.0, center=True), *rollouts)
    so_far = np.concatenate(rollouts)
    np.testing.assert_allclose(got[-1], (rollouts[-1] - so_far.mean()) / so_far.std(), rtol=1e-3)
    assert (got[-1] < 0).any()


def test_running_std_of_nothing_pays_nothing():
    np.testing.assert_array_equal(paid(RunningStd(NoBonus()), ONE, ONE)[-1], 0.0)


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential"])
def test_decay_follows_optax_in_env_steps(shape):
    bonus = Decay(PaysObs(), env_steps=16, end=0.1, shape=shape)
    amounts = paid(bonus, *[ONE] * 8)  # four env steps each
    schedule = {
        "linear": optax.linear_schedule(1.0, 0.1, 16),
        "cosine": optax.cosine_decay_schedule(1.0, 16, 0.1),
        "exponential": optax.exponential_decay(1.0, 16, 0.1, end_value=0.1),
    }[shape]
    for index, amount in enumerate(amounts):
        np.testing.assert_allclose(amount, np.multiply(ONE, schedule(4 * index)), rtol=1e-5)
    np.testing.assert_allclose(amounts[-1], np.multiply(ONE, 0.1), rtol=1e-5)


WRAPPERS = [
    lambda inner: Scale(inner, 3.0),
    lambda inner: Clip(inner, 0.0, 4.0),
    lambda inner: Sum((inner, NoBonus())),
    lambda inner: Decay(inner, 100, 0.5),
    lambda inner: MedianRatio(inner),
    lambda inner: RunningMean(inner),
    lambda inner: RunningStd(inner, 0.5),
    lambda inner: RunningStd(inner, 0.0, center=True),
    lambda inner: ReturnShare(inner, warmup=0),
    lambda inner: Product((inner, Scale(inner, 2.0))),
    lambda inner: Product((inner, Clip(PaysObs(), 1.0, 2.0))),
    lambda inner: Scale(MedianRatio(Sum((inner, Scale(inner, 2.0)))), 0.1),
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("replayable", [True, False])
def test_wrappers_keep_replayable_right_and_never_scale_a_stored_bonus_twice(wrap, replayable):
    bonus = wrap(PaysObs(replayable))
    assert bonus.replayable is replayable
    key = jax.random.key(0)
    live, state = jax.jit(bonus.score)(bonus.init(key, SPEC), key, rollout_of(ONE))
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout_of(ONE))
    stored = replace(rows, bonus=live.ravel())
    again = jax.jit(bonus.rescore)(state, key, stored)
    if replayable and isinstance(bonus, Decay):
        again = again / bonus.factor(jnp.int32(4))  # time has moved on since the live score
    np.testing.assert_allclose(again, live.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: Scale(Episodic(inner), 3.0),
        lambda inner: Decay(Episodic(inner), 100, 0.5),
        lambda inner: Sum((inner, Episodic(inner))),
        lambda inner: Product((Episodic(inner), inner)),
        lambda inner: Episodic(RunningStd(inner)),
    ],
)
def test_with_an_episodic_part_the_stored_payment_stands(wrap):
    bonus, key = wrap(PaysObs()), jax.random.key(0)
    assert not bonus.replayable
    live, state = jax.jit(bonus.score)(bonus.init(key, SPEC), key, rollout_of(ONE))
    assert (np.asarray(live) != 0).any()
    state, metrics = jax.jit(bonus.update)(state, key, rollout_of(ONE))
    assert any(name.endswith("updates") for name in metrics)
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout_of(ONE))
    again = jax.jit(bonus.rescore)(state, key, replace(rows, bonus=live.ravel()))
    np.testing.assert_array_equal(again, live.ravel())


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_wrappers_pass_every_update_on(wrap):
    bonus = wrap(PaysObs())
    state, key = bonus.init(jax.random.key(0), SPEC), jax.random.key(0)
    metrics = {}
    for _ in range(3):
        state, metrics = bonus.update(state, key, rollout_of(ONE))
    counted = [value for name, value in metrics.items() if name.endswith("updates")]
    assert counted and all(value == 3 for value in counted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scale(NoBonus(), -1.0),
        lambda: Scale(NoBonus(), float("nan")),
        lambda: Clip(NoBonus(), 2.0, 1.0),
        lambda: Sum(()),
        lambda: Decay(NoBonus(), 0),
        lambda: Decay(NoBonus(), 10, 0.0, "exponential"),
        lambda: Decay(NoBonus(), 10, 0.5, "stairs"),
        lambda: MedianRatio(NoBonus(), 0),
        lambda: RunningMean(NoBonus(), 1.0),
        lambda: RunningStd(NoBonus(), 1.0),
        lambda: ReturnShare(NoBonus(), share=0.0),
        lambda: ReturnShare(NoBonus(), discount=1.0),
        lambda: ReturnShare(NoBonus(), warmup=-1),
        lambda: Product(()),
    ],
)
def test_impossible_wrappers_are_refused(make):
    with pytest.raises(InvalidSetting, match="must be"):
        make()


NEGATIVE = {
    "Surprise": Surprise(),
    "progress": Surprise(form="progress"),
    "Scale": Scale(Surprise(), 0.5),
    "Decay": Decay(Surprise(), 10),
    "Episodic": Episodic(Surprise()),
    "Sum": Sum((NoBonus(), Surprise())),
    "Product": Product((Surprise(), NoBonus())),
    "Clip": Clip(Surprise(), -1.0, 1.0),
    "a Clip below 0": Clip(NoBonus(), -2.0, -1.0),
    "RunningStd": RunningStd(Surprise()),
    "a centred RunningStd": Scale(RunningStd(NoBonus(), center=True), 0.5),
}


@pytest.mark.parametrize("name", NEGATIVE)
@pytest.mark.parametrize("normaliser", [MedianRatio, RunningMean])
def test_normalisers_refuse_what_may_be_negative(normaliser, name):
    told = f"{normaliser.__name__} divides by .* may pay less than 0.*RunningStd.*center=True"
    with pytest.raises(InvalidSetting, match=told):
        normaliser(NEGATIVE[name])


@pytest.mark.parametrize("normaliser", [MedianRatio, RunningMean])
def test_normalisers_take_what_cannot_be_negative(normaliser):
    for bonus in (Clip(Surprise(), 0.0, 5.0), Clip(NoBonus(), -1.0, 1.0), RunningStd(NoBonus())):
        assert normaliser(bonus).bonus == bonus


def test_a_bonus_of_ones_own_says_that_it_may_be_negative():
    class Regret(NoBonus):
        may_be_negative = True

    with pytest.raises(InvalidSetting, match="may pay less than 0"):
        MedianRatio(Scale(Regret(), 2.0))

"""Pseudo-counts against the equations in float64, and the wiring around the density."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.bonuses import PseudoCount
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.densities import CTS, Empirical, Factored
from explorax.densities.density import Recoding

KEY = jax.random.key(0)
SPEC = Spec(Box((6,), 0.0, 1.0, one_hot=(6,)), Discrete(2), 3)


def arriving(next_obs):
    """Return a rollout [T, E] that arrives at these observations."""
    zeros, no = jnp.zeros(next_obs.shape[:2]), jnp.zeros(next_obs.shape[:2], bool)
    action = jnp.zeros(next_obs.shape[:2], jnp.int32)
    return Rollout(jnp.zeros_like(next_obs), action, zeros, next_obs, no, no, no, zeros)


def rollout_of(states):
    """Return a rollout [T, E] that arrives in `states`, of six."""
    return arriving(jnp.eye(6)[jnp.asarray(states)])


def flat(rollout):
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)


def started(bonus, spec=SPEC):
    return jax.jit(partial(bonus.init, spec=spec))(KEY)


@dataclass(frozen=True)
class Says:
    """A density that says always the same."""

    log_prob: float
    gain: float

    def init(self, key, spec):
        return ()

    def observe(self, state, obs):
        return self.recode(state, obs), state

    def recode(self, state, obs):
        ones = jnp.ones(obs.shape[0])
        return Recoding(self.log_prob * ones, (self.log_prob + self.gain) * ones, self.gain * ones)


def paid(bonus, rows=4):
    return jax.jit(bonus.score)(started(bonus), KEY, rollout_of(np.zeros((rows, 1), int)))


def test_with_the_empirical_density_it_pays_by_true_counts_in_time_order():
    bonus = PseudoCount(Empirical(), beta=0.3)
    rng, seen, state = np.random.default_rng(0), [], started(bonus)
    score = jax.jit(bonus.score)
    for _ in range(4):
        states = rng.integers(6, size=(10, 3))
        wanted = np.zeros((10, 3))
        for (t, e), s in np.ndenumerate(states):  # the environments of one step in their order
            wanted[t, e] = 0.3 / math.sqrt(seen.count(s) + 0.01)
            seen.append(s)
        found, state = score(state, KEY, rollout_of(states))
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert state.observed == 120


@pytest.mark.parametrize("log_prob", [-3.0, -900.0, -40_000.0])
@pytest.mark.parametrize("gain", [3.0, 0.02, 1e-6])
def test_count_form_is_the_equation_where_probabilities_are_too_small_for_floats(log_prob, gain):
    found, _ = paid(PseudoCount(Says(log_prob, gain), beta=1.0))
    gain = float(np.float32(gain))
    count = -math.expm1(log_prob + gain) / math.expm1(gain)
    np.testing.assert_allclose(found, 1 / math.sqrt(count + 0.01), rtol=1e-4)


def test_gain_form_is_the_equation():
    found, state = paid(PseudoCount(Says(-500.0, 2.0), 1.0, "gain", gain_scale=0.3), rows=5)
    counts = [1 / math.expm1(0.3 * 2.0 / math.sqrt(n)) for n in range(1, 6)]
    np.testing.assert_allclose(found[:, 0], 1 / np.sqrt(np.add(counts, 0.01)), rtol=1e-5)
    np.testing.assert_allclose(
        jax.jit(PseudoCount(Says(-500.0, 2.0), 1.0, "gain", 0.3).rescore)(
            state, KEY, flat(rollout_of(np.zeros((1, 1), int)))
        ),
        1 / math.sqrt(1 / math.expm1(0.3 * 2.0 / math.sqrt(6)) + 0.01),
        rtol=1e-5,
    )


@pytest.mark.parametrize("form", ["count", "gain"])
@pytest.mark.parametrize(
    ("log_prob", "gain"),
    [(-5.0, -1.0), (-5.0, 0.0), (-5.0, -math.inf), (-1e-7, -1e-9), (-5.0, 1e-30)],
)
def test_a_model_that_gains_nothing_is_paid_as_for_a_very_large_count(form, log_prob, gain):
    found, state = paid(PseudoCount(Says(log_prob, gain), beta=1.0, form=form))
    np.testing.assert_allclose(found, 1e9**-0.5, rtol=1e-5)
    share = jax.jit(PseudoCount(Says(log_prob, gain)).update)(state, KEY, rollout_of([[0]]))[1]
    assert share["no_gain_share"] == (1.0 if gain <= 0 else 0.0)


@pytest.mark.parametrize("form", ["count", "gain"])
def test_the_impossible_is_paid_as_the_first_visit(form):
    found, _ = paid(PseudoCount(Empirical(), beta=0.05, form=form), rows=1)
    np.testing.assert_allclose(found, 0.5, rtol=1e-6)


def test_rescore_prices_by_the_density_as_it_is_and_changes_nothing():
    bonus = PseudoCount(Empirical(), beta=1.0)
    rollout = rollout_of([[0, 0, 1], [0, 2, 2]])
    _, state = jax.jit(bonus.score)(started(bonus), KEY, rollout)
    found = jax.jit(bonus.rescore)(state, KEY, flat(rollout))
    np.testing.assert_allclose(found, 1 / np.sqrt(np.add([3, 3, 1, 3, 2, 2], 0.01)), rtol=1e-4)
    assert bonus.replayable


def test_metrics_are_of_the_last_rollout():
    bonus = PseudoCount(Empirical())
    _, state = jax.jit(bonus.score)(started(bonus), KEY, rollout_of([[0, 0, 1]]))
    state, metrics = jax.jit(bonus.update)(state, KEY, rollout_of([[0, 0, 1]]))
    assert metrics["pseudo_count_median"] == 0.0  # of 0, 1, 0
    assert metrics["log_prob_mean"] == 0.0  # only the second was possible, and certain
    _, state = jax.jit(bonus.score)(state, KEY, rollout_of([[0, 0, 1]]))
    _, metrics = jax.jit(bonus.update)(state, KEY, rollout_of([[0, 0, 1]]))
    np.testing.assert_allclose(metrics["pseudo_count_median"], 2.0, rtol=1e-5)
    wanted = np.mean(np.log([2 / 3, 3 / 4, 1 / 5]))
    np.testing.assert_allclose(metrics["log_prob_mean"], wanted, rtol=1e-5)
    assert metrics["no_gain_share"] == 0.0


@pytest.mark.parametrize(
    "density", [CTS(), CTS(depth=2, levels=4), Factored()], ids=["CTS", "small CTS", "Factored"]
)
def test_images_seen_often_are_paid_less_than_new_ones(density):
    """A walk over a 6×6 world drawn as images: pseudo-counts rise with true counts."""
    spec = Spec(Box((6, 6), 0.0, 1.0, one_hot=(36,)), Discrete(2), 1)
    bonus = PseudoCount(density)
    rng = np.random.default_rng(5)
    cells = rng.choice(30, size=400, p=np.arange(30, 0, -1) / 465)
    pictures = jnp.eye(36).reshape(36, 1, 6, 6)
    _, state = jax.jit(bonus.score)(started(bonus, spec), KEY, arriving(pictures[cells]))
    prices = np.asarray(jax.jit(bonus.rescore)(state, KEY, flat(arriving(pictures))))
    counts = np.bincount(cells, minlength=36)
    assert prices[counts == 0].min() > 1.5 * prices[counts > 10].max()
    order = np.corrcoef(np.argsort(np.argsort(-prices)), np.argsort(np.argsort(counts)))[0, 1]
    assert order > 0.8


def test_refusals():
    with pytest.raises(Incompatible, match=r"CTS models images.*Factored\(\)"):
        PseudoCount(CTS()).init(KEY, SPEC)
    with pytest.raises(InvalidSetting, match="form must be one of"):
        PseudoCount(form="median")
    with pytest.raises(InvalidSetting, match="beta"):
        PseudoCount(beta=-1.0)
    with pytest.raises(InvalidSetting, match="gain_scale"):
        PseudoCount(gain_scale=0.0)

"""Counting bonuses against a loop over single rows, and where their codes come from."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import TabularQ
from explorax.behaviors import UCB, EpsilonGreedy
from explorax.bonuses import NoBonus
from explorax.bonuses.count import Count
from explorax.bonuses.hash_count import HashCount
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.envs import Chain
from explorax.envs.task import Batched

STEPS, ENVS, KEY = 12, 5, jax.random.key(0)
CODES = Spec(Box((5,), 0.0, 1.0, one_hot=(3, 2)), Discrete(2), ENVS)


def rollout_of(obs, next_obs, action=None):
    shape = obs.shape[:2]
    zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
    action = jnp.zeros(shape, jnp.int32) if action is None else jnp.asarray(action, jnp.int32)
    return Rollout(jnp.asarray(obs), action, zeros, jnp.asarray(next_obs), no, no, no, zeros)


def flat(rollout):
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)


def coded(seed):
    """Return made-up rows [T, E] of two one-hot codes, some of them of zeros."""
    rng = np.random.default_rng(seed)
    place, mark = rng.integers(4, size=(2, STEPS, ENVS)), rng.integers(3, size=(2, STEPS, ENVS))
    obs = np.concatenate([np.eye(4)[place][..., :3], np.eye(3)[mark][..., :2]], -1)
    rows = rollout_of(*obs.astype(np.float32), action=rng.integers(2, size=(STEPS, ENVS)))
    return rows, place * 3 + mark


@pytest.mark.parametrize("of", ["successor", "state_action"])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_count_pays_the_kth_visit_as_a_loop_does(of, power):
    bonus = Count(beta=0.7, power=power, of=of)
    state = jax.jit(partial(bonus.init, spec=CODES))(KEY)
    score, rescore = jax.jit(bonus.score), jax.jit(bonus.rescore)
    visits: dict[tuple, int] = {}

    def cell(rows, states, t, e):
        if of == "successor":
            return (states[1, t, e],)
        return (states[0, t, e], int(rows.action[t, e]))

    for seed in range(3):
        rows, states = coded(seed)
        paid, state = score(state, KEY, rows)
        for t in range(STEPS):  # time first, and the environments of a step in their order
            for e in range(ENVS):
                here = cell(rows, states, t, e)
                visits[here] = visits.get(here, 0) + 1
                expected = 0.7 / visits[here] ** power
                assert float(paid[t, e]) == pytest.approx(expected, rel=1e-6)
        assert bonus.update(state, KEY, rows)[1]["seen"] == len(visits)
    rows, states = coded(0)
    before = np.asarray(state.counts)
    again = np.asarray(rescore(state, KEY, flat(rows))).reshape(STEPS, ENVS)
    for t in range(STEPS):
        for e in range(ENVS):
            count = visits[cell(rows, states, t, e)]
            assert again[t, e] == pytest.approx(0.7 / count**power, rel=1e-6)
    assert before.sum() == 3 * STEPS * ENVS


def test_rescore_counts_nothing_and_pays_a_new_state_as_on_its_first_visit():
    bonus = Count(beta=0.3)
    state = jax.jit(partial(bonus.init, spec=CODES))(KEY)
    rows, _ = coded(0)
    np.testing.assert_allclose(jax.jit(bonus.rescore)(state, KEY, flat(rows)), 0.3)


@pytest.mark.parametrize(
    "bonus, spec, words",
    [
        (Count(), Spec(Box((3,)), Discrete(2), 1), r"Count .* no one-hot codes .* HashCount"),
        (Count(), Spec(Box((84, 84), 0.0, 255.0, "uint8"), Discrete(2), 1), r"\(84, 84\)"),
        (Count(max_states=11), CODES, r"at most 11 states .* = 12\. HashCount"),
        (
            Count(of="state_action"),
            Spec(Box((3,), one_hot=(3,)), Box((1,)), 1),
            r"continuous: .* Count\(of='successor'\) counts states alone",
        ),
    ],
)
def test_worlds_that_cannot_be_counted_are_refused(bonus, spec, words):
    with pytest.raises(Incompatible, match=words):
        bonus.init(KEY, spec)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Count(beta=-1.0), "beta must be at least 0"),
        (lambda: Count(power=0.0), "power must be above 0"),
        (lambda: Count(of="action"), "of must be one of .*'successor', 'state_action'"),
        (lambda: Count(max_states=0), "max_states must be at least 1"),
        (lambda: HashCount(beta=float("inf")), "beta must be at least 0 and finite"),
        (lambda: HashCount(bits=25), "bits must be in 1 .. 24"),
        (lambda: HashCount(power=-1.0), "power must be above 0"),
        (lambda: HashCount(scale_env_steps=0), "scale_env_steps must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(InvalidSetting, match=words):
        make()


def loop_of_hashes(bonus, state, batches, g):
    """Return what a dictionary of sign patterns pays for rows of `batches`, g(rows) scaled."""
    projection = np.asarray(state.projection, np.float64)
    visits: dict[bytes, int] = {}
    paid = []
    for rows in batches:
        scaled = np.concatenate([g(rows), np.ones((STEPS, ENVS, 1))], -1)
        signs = scaled @ projection >= 0
        for t in range(STEPS):
            for e in range(ENVS):
                code = signs[t, e].tobytes()
                visits[code] = visits.get(code, 0) + 1
                paid.append(bonus.beta / visits[code] ** bonus.power)
    return np.array(paid).reshape(-1, STEPS, ENVS), visits


def drawn(seed, low, high):
    rng = np.random.default_rng(seed)
    shape = (2, STEPS, ENVS, len(low))
    return rollout_of(*rng.uniform(low, high, shape).astype(np.float32))


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_hash_count_pays_as_a_dictionary_of_signs_does(power):
    low, high = (-1.2, -0.07, 3.0), (0.6, 0.07, 9.0)
    spec = Spec(Box((3,), low, high), Discrete(2), ENVS)
    bonus = HashCount(beta=0.4, bits=5, power=power)
    state = jax.jit(partial(bonus.init, spec=spec))(jax.random.key(7))
    middle, half = np.add(low, high) / 2, np.subtract(high, low) / 2
    batches = [drawn(seed, low, high) for seed in range(3)]
    expected, visits = loop_of_hashes(
        bonus, state, batches, lambda rows: (np.asarray(rows.next_obs) - middle) / half
    )
    score, paid = jax.jit(bonus.score), jnp.zeros((STEPS, ENVS))
    for rows, wanted in zip(batches, expected, strict=True):
        paid, state = score(state, KEY, rows)
        np.testing.assert_allclose(paid, wanted, rtol=1e-6)
    assert bonus.update(state, KEY, batches[0])[1]["seen"] == len(visits) > 5
    last = jax.jit(bonus.rescore)(state, KEY, flat(batches[-1]))
    assert (last <= paid.ravel() * (1 + 1e-6)).all() and (last < paid.ravel()).any()


def test_without_bounds_the_first_steps_set_the_scale_for_good():
    spec = Spec(Box((2,), -np.inf, np.inf), Discrete(2), ENVS)
    bonus = HashCount(beta=1.0, bits=6, scale_env_steps=2 * STEPS * ENVS)
    state = jax.jit(partial(bonus.init, spec=spec))(KEY)
    score = jax.jit(bonus.score)
    low, high = (100.0, -0.01), (130.0, 0.01)
    batches = [drawn(seed, low, high) for seed in range(5)]
    for index, rows in enumerate(batches[:2]):
        paid, state = score(state, KEY, rows)
        assert (np.asarray(paid) == 0).all() and (np.asarray(state.counts) == 0).all()
        settled = index == 1  # and a replayed row is worth a first visit
        np.testing.assert_array_equal(
            jax.jit(bonus.rescore)(state, KEY, flat(rows)), float(settled)
        )
    first = np.concatenate([np.asarray(rows.next_obs).reshape(-1, 2) for rows in batches[:2]])
    mean, std = first.mean(0), first.std(0)
    expected, _ = loop_of_hashes(
        bonus, state, batches[2:], lambda rows: (np.asarray(rows.next_obs) - mean) / std
    )
    for rows, wanted in zip(batches[2:], expected, strict=True):
        paid, state = score(state, KEY, rows)
        np.testing.assert_allclose(paid, wanted, rtol=1e-5)
    np.testing.assert_allclose(state.frame.moments.mean, mean, rtol=1e-5)


def test_codes_of_one_hot_states_are_nearly_all_different():
    """Taken as they are; scaled to ±1 they would be nearly the same vector and share their code."""
    spec = Spec(Box((20, 20), 0.0, 1.0, one_hot=(400,)), Discrete(2), 1)
    bonus = HashCount(beta=1.0, bits=20)
    state = jax.jit(partial(bonus.init, spec=spec))(KEY)
    obs = np.eye(400, dtype=np.float32).reshape(400, 1, 20, 20)
    paid, state = jax.jit(bonus.score)(state, KEY, rollout_of(obs, obs))
    assert state.seen > 300 and (np.asarray(paid) == 1).sum() == state.seen


def test_pictures_are_hashed_flat():
    spec = Spec(Box((8, 8, 3), 0.0, 255.0, "uint8"), Discrete(2), ENVS)
    bonus = HashCount(bits=10)
    state = jax.jit(partial(bonus.init, spec=spec))(KEY)
    obs = np.random.default_rng(0).integers(256, size=(STEPS, ENVS, 8, 8, 3)).astype(np.uint8)
    _, state = jax.jit(bonus.score)(state, KEY, rollout_of(obs, obs))
    assert state.counts.sum() == STEPS * ENVS and 10 < state.seen <= STEPS * ENVS


@pytest.mark.parametrize(
    "behavior, bonus, finds",
    [
        (EpsilonGreedy(0.1, 0.1), NoBonus(), False),
        (UCB(0.1), NoBonus(), True),
        (EpsilonGreedy(0.1, 0.1), Count(beta=0.1), True),
        (EpsilonGreedy(0.1, 0.1), HashCount(beta=0.1, bits=12), True),
    ],
    ids=["epsilon-greedy", "UCB", "Count", "HashCount"],
)
def test_who_counts_finds_the_large_reward_and_who_does_not_stays_with_the_small(
    behavior, bonus, finds
):
    """chain/10, 4,000 steps: the share of successes in the last fifth, of 8 seeds."""
    env, agent = Batched(Chain(10), 1), TabularQ(behavior, discount=0.95, step_size=0.5)

    def train(key):
        training = loop.start(env, agent, bonus, key)
        training, _ = loop.chunk_on_device(env, agent, bonus, 3200, training)
        return loop.chunk_on_device(env, agent, bonus, 800, training)[1]["success_rate"]

    keys = jax.vmap(jax.random.key)(jnp.arange(8))
    rates = np.asarray(jax.jit(jax.vmap(train))(keys))
    assert (rates > 0.8).sum() == 8 if finds else (rates > 0.8).sum() <= 1, rates

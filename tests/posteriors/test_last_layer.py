"""The last layer: what it pays where that is known, its features, its noise, what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.bonuses import VIME, Count
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.encoders import AgentLatent, DynamicsEncoder, Fourier, InverseEncoder, Raw
from explorax.posteriors import LastLayer

KEY = jax.random.key(0)
CELLS = Spec(Box((6,), 0.0, 1.0, one_hot=(6,)), Discrete(2), 2)
CODES = Spec(Box((7,), 0.0, 1.0, one_hot=(4, 3)), Discrete(2), 2)
VECTOR = Spec(Box((3,)), Discrete(2), 2)
TORQUE = Spec(Box((3,)), Box((2,)), 2)
AS_IT_IS = Raw(standardize=False, clip=1e6)


def rollout_of(obs, next_obs, action=None, extras=()):
    obs, next_obs = (jnp.asarray(each, jnp.float32) for each in (obs, next_obs))
    shape = obs.shape[:2]
    zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
    action = jnp.zeros(shape, jnp.int32) if action is None else jnp.asarray(action)
    return Rollout(obs, action, zeros, next_obs, no, no, no, zeros, extras=extras)


def cells(seed, steps=20, size=6):
    places = np.random.default_rng(seed).integers(0, size, (steps + 1, 2))
    action = np.random.default_rng(seed + 1).integers(0, 2, (steps, 2)).astype(np.int32)
    return rollout_of(np.eye(size)[places[:-1]], np.eye(size)[places[1:]], action), places, action


def vectors(seed, steps=20, spread=1.0, width=3):
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(steps + 1, 2, width)) * spread
    return rollout_of(obs[:-1], obs[1:], rng.integers(0, 2, (steps, 2)).astype(np.int32))


def run(model, spec, *rollouts):
    """What each is paid in turn, and the state after all."""
    state, paid = jax.jit(model.init, static_argnums=1)(KEY, spec), []
    gain, update = jax.jit(model.information_gain), jax.jit(model.update)
    for index, rollout in enumerate(rollouts):
        paid.append(np.asarray(gain(state, KEY, rollout)))
        state, _ = update(state, jax.random.fold_in(KEY, index), rollout)
    return paid, state


def test_on_cells_it_is_a_count_of_earlier_rollouts():
    first, places, _ = cells(0)
    second, more, _ = cells(1)
    paid, _ = run(LastLayer(), CELLS, first, second)
    np.testing.assert_allclose(paid[0], 0.5 * np.log(2), rtol=1e-6)
    visits = np.bincount(places[1:].ravel(), minlength=6)
    np.testing.assert_allclose(paid[1], 0.5 * np.log1p(1 / (1 + visits[more[1:]])), rtol=1e-5)


def test_given_the_rollout_it_is_paid_like_a_count_in_time_order():
    rollout, places, _ = cells(2)
    paid, _ = run(LastLayer(given="rollout", noise=0.5), CELLS, rollout)
    before = np.zeros(6)
    for t, row in enumerate(places[1:]):
        for e, cell in enumerate(row):
            expected = 0.5 * np.log1p(1 / (0.5 + before[cell]))
            np.testing.assert_allclose(paid[0][t, e], expected, rtol=1e-5)
            before[cell] += 1


def test_counting_cells_is_the_posterior_over_their_codes():
    # Raw() of another clip is not known to be the code itself, and keeps the whole matrix.
    rollouts = [cells(seed)[0] for seed in range(3)]
    cases: list[dict[str, Any]] = [
        {},
        {"given": "rollout"},
        {"of": "state_action"},
        {"power": 0.5},
    ]
    for settings in cases:
        counted, _ = run(LastLayer(**settings), CELLS, *rollouts)
        solved, _ = run(LastLayer(**settings, features=AS_IT_IS), CELLS, *rollouts)
        np.testing.assert_allclose(counted, solved, rtol=1e-4)


def test_over_pairs_of_state_and_action_each_pair_is_counted():
    first, places, action = cells(3)
    second, more, again = cells(4)
    paid, _ = run(LastLayer(of="state_action"), CELLS, first, second)
    visits = np.zeros((6, 2))
    np.add.at(visits, (places[:-1].ravel(), action.ravel()), 1)
    expected = 0.5 * np.log1p(1 / (1 + visits[more[:-1], again]))
    np.testing.assert_allclose(paid[1], expected, rtol=1e-5)


def test_power_one_half_pays_the_root():
    rollouts = [cells(seed)[0] for seed in range(2)]
    whole, _ = run(LastLayer(), CELLS, *rollouts)
    root, _ = run(LastLayer(power=0.5), CELLS, *rollouts)
    np.testing.assert_allclose(root, np.sqrt(whole), rtol=1e-5)


@pytest.mark.parametrize("given", ["replay", "rollout"])
@pytest.mark.parametrize("form", ["expected", "realized"])
def test_over_codes_it_is_the_gain_of_a_ridge_regression(form, given):
    rng = np.random.default_rng(5)
    kinds = [rng.integers(0, size, (3, 21, 2)) for size in (4, 3)]
    obs = np.concatenate([np.eye(size)[kind] for size, kind in zip((4, 3), kinds, strict=True)], -1)
    actions = rng.integers(0, 2, (3, 20, 2)).astype(np.int32)
    rollouts = [rollout_of(each[:-1], each[1:], a) for each, a in zip(obs, actions, strict=True)]
    model = LastLayer(of="state_action", gain=form, given=given, noise=0.3)
    paid, _ = run(model, CODES, *rollouts)
    seen, told = np.zeros((0, 14)), np.zeros((0, 7))
    for each, a, amount in zip(obs, actions, paid, strict=True):
        code = np.eye(2)[a]
        u = (code[..., :, None] * each[:-1][..., None, :]).reshape(40, 14) / np.sqrt(0.3)
        y = each[1:].reshape(40, 7) / np.sqrt(0.3)
        gains = []
        for t in range(40):
            past = (seen, told)
            if given == "rollout":
                past = (np.concatenate([seen, u[:t]]), np.concatenate([told, y[:t]]))
            covariance = np.linalg.inv(np.eye(14) + past[0].T @ past[0])
            ratio = u[t] @ covariance @ u[t]
            error = y[t] - u[t] @ covariance @ past[0].T @ past[1]
            gain = np.log1p(ratio)
            if form == "realized":
                gain = gain + ratio * (error**2 - 1 - ratio) / (1 + ratio) ** 2
            gains.append(np.mean(0.5 * gain))
        np.testing.assert_allclose(amount.ravel(), gains, rtol=2e-3, atol=2e-5)
        seen, told = np.concatenate([seen, u]), np.concatenate([told, y])


def test_a_television_beside_the_codes_is_soon_known():
    # The second code is noise. A place never seen is paid, another picture hardly.
    rng = np.random.default_rng(6)
    place, picture = rng.integers(0, 3, (2001, 2)), rng.integers(0, 3, (2001, 2))
    obs = np.concatenate([np.eye(4)[place], np.eye(3)[picture]], -1)
    _, state = run(LastLayer(), CODES, rollout_of(obs[:-1], obs[1:]))
    probe = np.stack([np.eye(7)[0] + np.eye(7)[5], np.eye(7)[3] + np.eye(7)[5]])[None]
    known, new = LastLayer().information_gain(state, KEY, rollout_of(probe, probe))[0]
    assert known < 1e-3 and new > 0.3


def test_nothing_is_paid_before_features_are_measured_and_they_are_after_the_first_rollout():
    paid, _ = run(LastLayer(), VECTOR, vectors(0), vectors(1))
    assert (paid[0] == 0).all() and (paid[1] > 0).all()


@pytest.mark.parametrize(
    "features",
    [None, Raw(), Fourier(features=32, interactions=(0,)), InverseEncoder(), DynamicsEncoder()],
)
def test_what_was_seen_often_is_paid_less_and_what_is_far_away_more(features):
    model = LastLayer(features=features)
    _, state = run(model, VECTOR, *(vectors(seed, spread=0.3) for seed in range(12)))
    gain = jax.jit(model.information_gain)
    near = gain(state, KEY, vectors(3, spread=0.3))
    far = gain(state, KEY, vectors(40, spread=3.0))
    assert np.median(far) > 1.5 * np.median(near)


def test_made_anew_the_posterior_is_that_of_all_rows_and_scaled_to_those_that_the_pool_lost():
    rollouts = [vectors(seed) for seed in range(8)]
    features = Fourier(features=8)
    held = LastLayer(features=features, pool_size=1000)
    _, state = run(held, VECTOR, *rollouts)
    # 40 rows a rollout: made anew with 40, 80, 160 and 320 rows, the last time with all.
    rows = np.concatenate([np.asarray(each.next_obs).reshape(-1, 3) for each in rollouts])
    every = rollout_of(rows[:, None], rows[:, None])
    phi = np.asarray(features.pairs(state.basis.encoder, every).after)[:, 0]
    length = np.sqrt(np.mean(np.sum(phi**2, -1)))
    u = phi / length
    expected = np.linalg.inv(np.eye(8) + u.T @ u)
    root = np.asarray(state.belief.root, np.float64)
    np.testing.assert_allclose(root @ root.T, expected, rtol=5e-3, atol=1e-4)
    # A pool of 80 rows stays as it was then: what settles is settled, and all rows are known.
    small = LastLayer(features=features, pool_size=80)
    _, state = run(small, VECTOR, *rollouts)
    root = np.asarray(state.belief.root, np.float64)
    phi = np.asarray(features.pairs(state.basis.encoder, every).after)[:, 0]
    u = phi / float(state.basis.length)
    np.testing.assert_allclose(
        root @ root.T, np.linalg.inv(np.eye(8) + u.T @ u), rtol=5e-3, atol=1e-4
    )


def test_features_that_learn_are_frozen_between_two_doublings():
    model = LastLayer(features=InverseEncoder(features=8, learning_rate=1e-2))
    state = jax.jit(model.init, static_argnums=1)(KEY, VECTOR)
    update, moved = jax.jit(model.update), []
    for index in range(8):
        before = state.basis.encoder
        state, _ = update(state, KEY, vectors(index))
        same = jax.tree.map(lambda a, b: bool((a == b).all()), before, state.basis.encoder)
        moved.append(not all(jax.tree.leaves(same)))
    # 40, 80, 120, ... rows: made anew beyond 32, 64, 128 and 256 of them
    assert moved == [True, True, False, True, False, False, True, False]


def test_with_a_horizon_old_rows_fade():
    # 40 rows a rollout of one cell, then of another.
    stay = [np.eye(6)[np.full((21, 2), place)] for place in (0, 1)]
    there, elsewhere = (rollout_of(each[:-1], each[1:]) for each in stay)
    model = LastLayer(horizon=40)
    paid, _ = run(model, CELLS, there, there, *[elsewhere] * 6, there)
    assert paid[1].max() < 0.02 < 0.15 < paid[-1].min()
    keep, evidence = np.exp(-1.0), 0.0
    for seen in (40, 40, 0, 0, 0, 0, 0, 0):
        evidence = keep * evidence + seen
    np.testing.assert_allclose(paid[-1], 0.5 * np.log1p(1 / (1 + evidence)), rtol=1e-3)


def test_over_an_agents_latent_it_needs_a_horizon_and_keeps_what_was_paid():
    with pytest.raises(InvalidSetting, match="horizon must be a number of env steps"):
        LastLayer(features=AgentLatent())
    model = LastLayer(features=AgentLatent(), horizon=1000)
    bonus = VIME(model=model)
    assert not bonus.replayable
    spec = Spec(Box((3,)), Discrete(2), 2, latent=Box((4,)))
    rng = np.random.default_rng(7)

    def seen(seed):
        latent = jnp.asarray(rng.normal(size=(20, 2, 4)), jnp.float32)
        plain = vectors(seed)
        return rollout_of(plain.obs, plain.next_obs, plain.action, {"latent": latent})

    paid, _ = run(model, spec, *(seen(seed) for seed in range(4)))
    assert (paid[0] == 0).all() and (paid[3][:-1] > 0).all()
    assert (paid[3][-1] == 0).all()  # no next latent, so that nothing is known of it


def noisy(seed, steps=200):
    """Entry 0 follows from the state, entry 1 is noise where the action is 1, entry 2 always."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(steps, 2, 3))
    action = rng.integers(0, 2, (steps, 2)).astype(np.int32)
    drawn = rng.normal(size=(steps, 2, 2))
    after = np.stack(
        [-obs[..., 0], np.where(action == 1, drawn[..., 0], obs[..., 1]), drawn[..., 1]], -1
    )
    return rollout_of(obs, after, action)


def test_estimated_noise_is_that_of_each_output():
    model = LastLayer(of="state_action", noise="estimated", features=AS_IT_IS)
    # Codes as they are: targets are not standardized, and linear in the features times the action.
    _, state = run(model, VECTOR, *(noisy(seed) for seed in range(15)))
    variance = np.asarray(state.noise.variance)
    assert variance[0] < 0.1
    np.testing.assert_allclose(variance[1:], [0.5, 1.0], rtol=0.2)


def test_a_noise_head_knows_where_the_noise_is():
    model = LastLayer(of="state_action", noise="head", features=AS_IT_IS)
    _, state = run(model, VECTOR, *(noisy(seed) for seed in range(60)))
    probe = noisy(100)
    std = np.asarray(model._std(state, probe)).reshape(200, 2, 3)
    action = np.asarray(probe.action)
    assert np.median(std[..., 0]) < 0.3
    assert np.median(std[action == 1][:, 1]) > 2 * np.median(std[action == 0][:, 1])
    np.testing.assert_allclose(np.median(std[..., 2]), 1.0, rtol=0.2)


def test_no_row_is_paid_more_than_the_bound():
    for noise in (0.1, 1.0):
        model = LastLayer(noise=noise)
        paid, _ = run(model, VECTOR, *(vectors(s, spread=10.0**s) for s in range(4)))
        # features of unit length on average, and √2 at most
        assert np.max(paid) <= 0.5 * np.log1p(2.1 / noise)


@pytest.mark.parametrize("spec", [VECTOR, TORQUE, CODES], ids=["vector", "torque", "codes"])
def test_a_row_can_be_paid_again(spec):
    rollout = vectors(0, width=7 if spec is CODES else 3)
    if spec is TORQUE:
        rng = np.random.default_rng(8)
        action = jnp.asarray(rng.normal(size=(20, 2, 2)), jnp.float32)
        rollout = rollout_of(rollout.obs, rollout.next_obs, action)
    for of in ("successor", "state_action"):
        bonus = VIME(model=LastLayer(of=of))
        state = bonus.init(KEY, spec)
        state, _ = bonus.update(state, KEY, rollout)
        paid, _ = bonus.score(state, KEY, rollout)
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
        again = bonus.rescore(state, KEY, rows)
        np.testing.assert_allclose(again, paid.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"of": "state"}, "of must be one of"),
        ({"gain": "realized"}, "gain must be 'expected' with of='successor'"),
        ({"noise": "head"}, "noise must be a variance with of='successor'"),
        (
            {"noise": "none", "of": "state_action"},
            "noise must be a variance, 'estimated' or 'head'",
        ),
        ({"noise": 0.0}, "noise must be a variance of at least 0.0001"),
        ({"power": 2.0}, "power must be above 0 and at most 1"),
        ({"horizon": 0}, "horizon must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(InvalidSetting, match=told):
        LastLayer(**settings)


def test_settings_of_the_network_beside_a_model_are_refused():
    with pytest.raises(InvalidSetting, match="hidden, samples: settings of VIME's own network"):
        VIME(hidden=(8,), samples=3, model=LastLayer())


def test_too_many_features_are_refused_with_a_cure():
    spec = Spec(Box((5000,), 0.0, 1.0, one_hot=(2500, 2500)), Discrete(2), 2)
    with pytest.raises(Incompatible, match=r"4,096 in all.*Fourier\(features=64\)"):
        LastLayer().init(KEY, spec)


def test_a_count_and_the_gain_rank_cells_alike():
    rollout, *_ = cells(11)
    _, state = run(LastLayer(given="rollout"), CELLS, rollout)
    count = Count()
    _, counts = count.score(count.init(KEY, CELLS), KEY, rollout)
    every = rollout_of(np.eye(6)[:, None], np.eye(6)[:, None])
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), every)
    by_gain = np.argsort(np.asarray(LastLayer().information_gain(state, KEY, rows)), kind="stable")
    by_count = np.argsort(np.asarray(count.rescore(counts, KEY, rows)), kind="stable")
    np.testing.assert_array_equal(by_gain, by_count)

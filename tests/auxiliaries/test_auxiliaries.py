"""Auxiliary losses against slow loops."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.agents import UNREAL
from explorax.auxiliaries import FeatureControl, PixelControl, RewardPrediction, ValueReplay
from explorax.auxiliaries.auxiliary import About, Scene
from explorax.auxiliaries.control import control_loss, dueling
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout
from explorax.ops import replay

STEPS, DRAWS = 6, 4  # L and B


def rows(seed=0, obs=(3, 5, 2), actions=3):
    rng = np.random.default_rng(seed)
    lead = (STEPS + 1, DRAWS)
    done = rng.random(lead) < 0.3
    cut = rng.random(lead) < 0.5
    return Rollout(
        next_obs=(),
        obs=jnp.asarray(rng.integers(0, 256, (*lead, *obs)), jnp.uint8),
        action=jnp.asarray(rng.integers(0, actions, lead), jnp.int32),
        reward=jnp.asarray(rng.integers(-1, 2, lead), jnp.float32),
        bonus=jnp.asarray(rng.random(lead), jnp.float32),
        terminated=jnp.asarray(done & ~cut),
        truncated=jnp.asarray(done & cut),
        first=jnp.asarray(np.roll(done, 1, 0)),
    )


def scene(drawn, **changes):
    rng = np.random.default_rng(9)
    lead = (STEPS + 1, DRAWS)
    told: dict[str, Any] = dict(
        rows=drawn,
        newest=drawn.obs,
        latent=jnp.asarray(rng.normal(size=(*lead, 7)), jnp.float32),
        encoded=jnp.asarray(rng.normal(size=(*lead, 4)), jnp.float32),
        value=jnp.asarray(rng.normal(size=(*lead, 1)), jnp.float32),
        streams=drawn.reward[..., None],
        ended=drawn.terminated[..., None],
        unknown=drawn.truncated[..., None],
        discounts=(0.9,),
        std=jnp.asarray([2.0]),
        skewed=jax.tree.map(lambda leaf: leaf[:3], drawn),
        skewed_encoded=jnp.asarray(rng.normal(size=(3, DRAWS, 4)), jnp.float32),
        skewed_known=jnp.asarray([True, True, False, True]),
    )
    return Scene(**(told | changes))


def slow_control_loss(q, change, drawn, discount):
    total = 0.0
    cut = np.asarray(drawn.terminated | drawn.truncated)
    for b in range(DRAWS):
        for t in range(STEPS):
            if cut[t, b]:
                continue
            wanted, factor, now = 0.0, 1.0, t
            while True:  # rewards until the window or the episode ends, and the best value there
                wanted = wanted + factor * change[now, b]
                factor, now = factor * discount, now + 1
                if now == STEPS or cut[now, b]:
                    break
            wanted = wanted + factor * q[now, b].max(0)
            taken = q[t, b, int(drawn.action[t, b])]
            total += 0.5 * np.square(wanted - taken).sum()
    return total / (STEPS * DRAWS)


@pytest.mark.parametrize("seed", range(3))
def test_control_learns_n_step_returns_that_stop_at_episodes(seed):
    rng = np.random.default_rng(seed)
    drawn = rows(seed)
    q = rng.normal(size=(STEPS + 1, DRAWS, 3, 5)).astype(np.float32)
    change = rng.random((STEPS, DRAWS, 5)).astype(np.float32)
    found = jax.jit(control_loss, static_argnums=3)(q, change, drawn, 0.8)
    np.testing.assert_allclose(found, slow_control_loss(q, change, drawn, 0.8), rtol=1e-5)


def test_dueling_heads_differ_by_their_advantages():
    value, advantage = np.ones((2, 4), np.float32), np.arange(24.0).reshape(2, 3, 4)
    q = dueling(jnp.asarray(value), jnp.asarray(advantage, jnp.float32))
    np.testing.assert_allclose(q.mean(1), value, atol=1e-6)
    np.testing.assert_allclose(q[:, 2] - q[:, 0], advantage[:, 2] - advantage[:, 0], atol=1e-5)


def test_the_reward_of_a_cell_is_the_mean_change_of_its_pixels():
    """7×9 pixels in cells of 2×2: one row at the bottom and one column at the right is left out."""
    obs = np.asarray(rows(1, obs=(7, 9, 3)).obs)
    found = np.asarray(PixelControl(cell=2).changes(jnp.asarray(obs)))
    for t in range(STEPS):
        for row in range(3):
            for column in range(4):
                part = (slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
                apart = np.abs(obs[t + 1][part] / 255.0 - obs[t][part] / 255.0)
                want = apart.mean((1, 2, 3))
                np.testing.assert_allclose(found[t, :, row * 4 + column], want, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "cell", "cells", "grid"),
    [
        ((84, 84, 3), 4, (21, 21), (10, 10)),
        ((42, 42, 3), 4, (10, 10), (4, 4)),
        ((5, 7, 2), 1, (5, 7), (2, 3)),
        ((4, 9, 1), 4, (1, 2), (1, 1)),
    ],
)
def test_pixel_control_has_a_value_for_each_cell_and_action(shape, cell, cells, grid):
    """A grid of n rows becomes 2n + 2: `grid` is the smallest that has the cells."""
    from explorax.auxiliaries.pixel_control import _Head

    task = PixelControl(cell=cell)
    about = About(Box(shape, 0, 255, "uint8"), Discrete(3), latent=7, encoded=4)
    params = jax.jit(lambda key: task.init(key, about))(jax.random.key(0))
    shapes = {name: leaf["kernel"].shape for name, leaf in params["params"].items()}
    assert shapes == {"Dense_0": (7, 32 * grid[0] * grid[1]), "ConvTranspose_0": (4, 4, 32, 4)}

    drawn = rows(2, obs=shape)
    given = scene(drawn)
    latent = given.latent.reshape(-1, 7)
    q = np.asarray(jax.jit(_Head(3, cells).apply)(params, latent))
    assert q.shape == ((STEPS + 1) * DRAWS, 3, cells[0] * cells[1])
    loss, told = jax.jit(task.loss)(params, given)
    q = q.reshape(STEPS + 1, DRAWS, 3, -1)
    want = slow_control_loss(q, np.asarray(task.changes(drawn.obs)), drawn, 0.9)
    np.testing.assert_allclose(loss, want, rtol=1e-4)
    rest = [(side - cell * n) // 2 for side, n in zip(shape, cells, strict=False)]
    seen = np.asarray(drawn.obs) / 255.0
    seen = seen[:, :, rest[0] : rest[0] + cell * cells[0], rest[1] : rest[1] + cell * cells[1]]
    np.testing.assert_allclose(told["change"], np.abs(np.diff(seen, axis=0)).mean(), rtol=1e-5)


def test_of_a_stack_of_frames_pixel_control_is_paid_for_the_newest():
    task, drawn = PixelControl(cell=1), rows(3, obs=(5, 7, 4))
    about = About(Box((5, 7, 4), 0, 255, "uint8", stack=4), Discrete(3), latent=7, encoded=4)
    params = jax.jit(lambda key: task.init(key, about))(jax.random.key(0))
    newest = drawn.obs[..., -1:]
    _, told = jax.jit(task.loss)(params, scene(drawn, newest=newest))
    seen = np.asarray(newest) / 255.0
    np.testing.assert_allclose(told["change"], np.abs(seen[1:] - seen[:-1]).mean(), rtol=1e-5)


def test_the_deconvolution_is_a_slow_loop_s():
    from explorax.auxiliaries.pixel_control import _Head

    head = _Head(2, (6, 5))
    latent = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    params = jax.jit(head.init)(jax.random.key(0), latent)
    weights = jax.tree.map(np.asarray, params["params"])
    x = np.maximum(latent @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"], 0.0)
    x = x.reshape(3, 2, 2, 32)
    kernel = weights["ConvTranspose_0"]["kernel"]  # [4, 4, 32, 3]
    out = np.zeros((3, 6, 6, 3)) + weights["ConvTranspose_0"]["bias"]
    for row in range(2):
        for column in range(2):
            for down in range(4):
                for right in range(4):
                    spread = x[:, row, column] @ kernel[3 - down, 3 - right]
                    out[:, 2 * row + down, 2 * column + right] += spread
    out = out[:, :, :5].reshape(3, 30, 3)
    want = out[..., :1] + out[..., 1:] - out[..., 1:].mean(-1, keepdims=True)
    found = jax.jit(head.apply)(params, latent)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), want, atol=1e-4)


def test_feature_control_s_rewards_teach_the_head_and_not_the_features():
    task = FeatureControl()
    params = task.init(jax.random.key(0), About(Box((4,)), Discrete(3), latent=7, encoded=4))
    drawn = rows(3)
    before = scene(drawn)
    q_of = jax.grad(lambda latent: task.loss(params, dataclasses.replace(before, latent=latent))[0])
    of_features = jax.grad(
        lambda encoded: task.loss(params, dataclasses.replace(before, encoded=encoded))[0]
    )
    assert jnp.abs(q_of(before.latent)).max() > 0
    np.testing.assert_array_equal(of_features(before.encoded), 0.0)
    change = np.abs(np.diff(np.asarray(before.encoded), axis=0))
    kernel = np.asarray(params["params"]["output"]["kernel"])
    out = (np.asarray(before.latent) @ kernel).reshape(STEPS + 1, DRAWS, 4, 4)
    q = out[:, :, :1] + out[:, :, 1:] - out[:, :, 1:].mean(2, keepdims=True)
    want = slow_control_loss(q, change, drawn, 0.9)
    np.testing.assert_allclose(task.loss(params, before)[0], want, rtol=1e-4)


def test_reward_prediction_is_a_cross_entropy_over_what_is_known():
    task = RewardPrediction(hidden=6)
    params = task.init(jax.random.key(0), About(Box((4,)), Discrete(3), latent=7, encoded=4))
    told = scene(rows(4))
    weights = jax.tree.map(np.asarray, params["params"])
    x = np.asarray(told.skewed_encoded).transpose(1, 0, 2).reshape(DRAWS, 12)
    x = np.maximum(x @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"], 0.0)
    logits = x @ weights["output"]["kernel"] + weights["output"]["bias"]
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    kinds = [int(np.sign(reward)) + 1 for reward in told.skewed.reward[2]]
    want = -np.mean([log[n, kinds[n]] for n in (0, 1, 3)])
    loss, metrics = jax.jit(task.loss)(params, told)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    right = np.mean([logits[n].argmax() == kinds[n] for n in (0, 1, 3)])
    np.testing.assert_allclose(metrics["right"], right, atol=1e-6)
    nothing = dataclasses.replace(told, skewed_known=jnp.zeros(DRAWS, bool))
    assert task.loss(params, nothing)[0] == 0


def test_value_replay_s_targets_stop_where_the_task_ends_and_where_nothing_is_kept():
    drawn = rows(5)
    told = scene(drawn)
    reward, value = np.asarray(drawn.reward), np.asarray(told.value)[..., 0]
    ended, unknown = np.asarray(drawn.terminated), np.asarray(drawn.truncated)
    total = 0.0
    for b in range(DRAWS):
        for t in range(STEPS):
            if unknown[t, b]:
                continue
            wanted, factor, now = 0.0, 1.0, t
            while True:
                wanted += factor * reward[now, b]
                if ended[now, b]:
                    break
                factor, now = factor * 0.9, now + 1
                if now == STEPS or unknown[now, b]:
                    wanted += factor * value[now, b]
                    break
            total += 0.5 * ((wanted - value[t, b]) / 2.0) ** 2
    loss, _ = jax.jit(lambda: ValueReplay().loss((), told))()
    np.testing.assert_allclose(loss, total / (STEPS * DRAWS), rtol=1e-5)


def test_half_of_the_skewed_draws_end_in_a_hit_and_none_crosses_a_gap():
    rng = np.random.default_rng(0)
    capacity, envs, given = 40, 3, 57
    hit = rng.random((given, envs)) < 0.05
    joined = rng.random((given, envs)) < 0.8
    time = np.arange(given)[:, None] + 1000 * np.arange(envs)[None]
    stream = {"time": jnp.asarray(time), "hit": jnp.asarray(hit), "joined": jnp.asarray(joined)}
    ring = replay.empty(jax.tree.map(lambda leaf: leaf[0], stream), capacity)
    for part in np.split(np.arange(given), 3):
        ring = replay.add(ring, {name: leaf[part] for name, leaf in stream.items()})
    draw = jax.jit(partial(replay.sample_skewed, batch_size=2000, length=3))
    drawn, known = draw(ring, jax.random.key(0), hit=ring.data["hit"], joined=ring.data["joined"])
    assert known.all()
    times = np.asarray(drawn["time"])
    np.testing.assert_array_equal(np.diff(times, axis=0), 1)
    assert (times[0] % 1000).min() >= given - capacity
    assert np.asarray(drawn["joined"])[1:].all()
    assert abs(np.asarray(drawn["hit"])[2].mean() - 0.5) < 0.04
    for kind in (True, False):  # each of them as likely as another
        some = times[0][np.asarray(drawn["hit"])[2] == kind]
        whole = [
            time[t, e]
            for t in range(given - capacity, given - 2)
            for e in range(envs)
            if joined[t + 1, e] and joined[t + 2, e] and hit[t + 2, e] == kind
        ]
        assert set(some) == set(whole) if len(whole) < 100 else set(some) <= set(whole)


def test_skewed_draws_without_hits_or_without_windows():
    data = {"time": jnp.zeros((1, 2)), "hit": jnp.zeros((1, 2), bool)}
    ring = replay.empty(jax.tree.map(lambda leaf: leaf[0], data), 8)
    draw = jax.jit(partial(replay.sample_skewed, batch_size=5, length=3))
    joined = jnp.ones((8, 2), bool)
    _, known = draw(ring, jax.random.key(0), hit=ring.data["hit"], joined=joined)
    assert not known.any()
    ring = replay.add(ring, jax.tree.map(lambda leaf: jnp.repeat(leaf, 4, 0), data))
    drawn, known = draw(ring, jax.random.key(0), hit=ring.data["hit"], joined=joined)
    assert known.all() and not drawn["hit"].any()


def test_settings_that_mean_nothing_are_refused():
    for make, word in (
        (lambda: UNREAL(windows=0), "at least 1"),
        (lambda: PixelControl(weight=-1.0), "0 or more"),
        (lambda: PixelControl(cell=0), "at least 1"),
        (lambda: FeatureControl(discount=2.0), "between 0 and 1"),
        (lambda: RewardPrediction(hidden=0), "at least 1"),
        (lambda: ValueReplay(weight=float("inf")), "finite"),
    ):
        with pytest.raises(InvalidSetting, match=word):
            make()

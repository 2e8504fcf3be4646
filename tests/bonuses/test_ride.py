"""RIDE: the size of the change, over the visits of the episode."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from episodes import Memories, SlowKernel, normal, place, rollout_of, rollouts, spec_of

from explorax.bonuses import RIDE
from explorax.core.errors import InvalidSetting
from explorax.core.pytree import replace

KEY = jax.random.key(0)
SMALL: dict[str, Any] = dict(features=4, hidden=(8,), clip=1e6)


def learnt(bonus, spec, rollout):
    """A state that has learnt from one rollout."""
    _, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, rollout)
    return jax.jit(bonus.update)(state, KEY, rollout)[0]


def features(bonus, state, rollout):
    """φ(s) and φ(s') [T, E, F]."""
    pairs = bonus._model.encoder.pairs(state.model, rollout)
    return np.asarray(pairs.before, np.float64), np.asarray(pairs.after, np.float64)


@pytest.mark.parametrize(("draw", "capacity"), [(place(4), 1000), (place(4), 6), (normal(4), 1000)])
def test_it_pays_the_change_in_features_over_the_root_of_the_visits(draw, capacity):
    bonus, spec = RIDE(**SMALL, capacity=capacity), spec_of(4)
    first, *given = rollouts(4, 30, draw, ends=0.05)
    memories = Memories(capacity)
    memories.visits(first)  # the episodes that it leaves under way
    state, most = learnt(bonus, spec, first), 0
    for rollout in given:
        amount, state = jax.jit(bonus.score)(state, KEY, rollout)
        before, after = features(bonus, state, rollout)
        change = np.linalg.norm(after - before, axis=-1)
        visits = memories.visits(rollout)
        most = max(most, visits.max())
        np.testing.assert_allclose(amount, change / np.sqrt(visits), rtol=1e-4, atol=1e-6)
    assert most > 2 if draw(np.random.default_rng(0)).max() == 1 else most == 1


def test_to_and_fro_pays_less_each_time_and_in_a_new_episode_as_at_first():
    at = np.eye(3)[[0, 1, 0, 1, 0, 1, 0]][:, None]
    first = np.asarray([True, False, False, True, False, False])[:, None]
    rollout = rollout_of(at[:-1], at[1:], first, np.roll(first, -1, 0))
    bonus = RIDE(**SMALL)
    state = learnt(bonus, spec_of(3, envs=1), rollout)
    amount, state = jax.jit(bonus.score)(state, KEY, rollout)
    change = np.linalg.norm(np.subtract(*features(bonus, state, rollout)), axis=-1)[0]
    # 0 → 1 (new), → 0 (where it began), → 1; then 1 → 0 (new), → 1 (where it began), → 0.
    visits = np.asarray([1, 2, 2, 1, 2, 2])
    np.testing.assert_allclose(amount[:, 0], change / np.sqrt(visits), rtol=1e-4)


def test_kernel_divides_by_the_similarity_of_ngu():
    bonus, spec = RIDE(**SMALL, count="kernel", k=3, capacity=20), spec_of(4)
    rollout, after_it = rollouts(2, 70, normal(4), ends=0.05)
    state = learnt(bonus, spec, rollout)
    fresh = replace(state, episode=bonus.init(KEY, spec).episode)
    after_it = replace(after_it, first=after_it.first.at[0].set(True))
    amount, _ = jax.jit(bonus.score)(fresh, KEY, after_it)
    before, after = features(bonus, state, after_it)
    seen = replace(after_it, obs=jnp.asarray(before), next_obs=jnp.asarray(after))
    expected = np.linalg.norm(after - before, axis=-1) * SlowKernel(3, 20).novelty(seen)
    np.testing.assert_allclose(amount, expected, rtol=1e-3)


@pytest.mark.parametrize("count", ["exact", "kernel"])
def test_the_first_rollout_is_paid_nothing_and_counted(count):
    bonus, spec = RIDE(**SMALL, count=count), spec_of(3, envs=1)
    still = np.ones((10, 1, 3))
    no = np.zeros((10, 1), bool)
    rollout = rollout_of(still, still, no, no)
    amount, state = jax.jit(bonus.score)(bonus.init(KEY, spec), KEY, rollout)
    assert (amount == 0).all()
    trail = state.episode if count == "exact" else state.episode.trail
    np.testing.assert_array_equal(trail.age, [10])
    assert not bonus.replayable
    rows = jax.tree.map(lambda leaf: leaf[:, 0], rollout)
    rows = replace(rows, bonus=jnp.arange(10.0))
    np.testing.assert_array_equal(bonus.rescore(state, KEY, rows), rows.bonus)


def test_images_are_told_apart_by_their_bytes():
    """uint8 observations of more than one axis: N counts equal ones."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 5, 5, 1), np.uint8)
    shown = frames[rng.integers(0, 4, 21)][:, None]
    no = jnp.zeros((20, 1), bool)
    rollout = rollout_of(shown[:-1], shown[1:], no, no)
    rollout = replace(rollout, obs=jnp.asarray(shown[:-1]), next_obs=jnp.asarray(shown[1:]))
    spec = spec_of(3, envs=1)
    spec = replace(spec, obs=replace(spec.obs, shape=(5, 5, 1), dtype="uint8"))
    bonus = RIDE(**SMALL)
    state = learnt(bonus, spec, rollout)
    state = replace(state, episode=bonus.init(KEY, spec).episode)
    amount, _ = jax.jit(bonus.score)(state, KEY, rollout)
    before, after = features(bonus, state, rollout)
    flat = replace(
        rollout, obs=shown[:-1].reshape(20, 1, 25), next_obs=shown[1:].reshape(20, 1, 25)
    )
    expected = np.linalg.norm(after - before, axis=-1) / np.sqrt(Memories(envs=1).visits(flat))
    np.testing.assert_allclose(amount, expected, rtol=1e-4, atol=1e-6)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InvalidSetting, match="count must be one of"):
        RIDE(count="hash")
    with pytest.raises(InvalidSetting, match="k=11.*at most capacity=10"):
        RIDE(count="kernel", k=11, capacity=10)
    cases: tuple[dict[str, Any], ...] = (
        dict(capacity=0),
        dict(features=0),
        dict(forward_weight=2.0),
    )
    for wrong in cases:
        (name,) = wrong
        with pytest.raises(InvalidSetting, match=f"{name} must be"):
            RIDE(**wrong)

"""RND: what it pays, that it learns, and the ways in which others got it wrong."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import (
    DISCRETE,
    check_gradient,
    compiled,
    experience,
    first_gradient,
    learnt,
    network,
    paid,
    rows_of,
    standardised,
)

from explorax.bonuses import RND, RunningStd
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace

SMALL: dict[str, Any] = dict(features=5, hidden=(6,), predictor_hidden=(8, 7), batch_size=16)
FITTED = RND(**SMALL, learning_rate=1e-2, updates_per_step=1.0)


@pytest.mark.parametrize("rollouts", [1, 3])
def test_pays_the_mean_square_of_predictor_less_target(rollouts):
    state, fresh = learnt(FITTED, rollouts=rollouts), experience(seed=50, centre=1.0)
    seen = [experience(seed=index).next_obs.reshape(-1, 3) for index in range(rollouts)]
    x = standardised(rows_of(fresh).next_obs, seen, clip=5.0)
    apart = network(state.trained.params, x) - network(state.target, x)
    wanted = np.square(apart).mean(-1)
    np.testing.assert_allclose(paid(FITTED, state, fresh).ravel(), wanted, rtol=2e-4)
    rescored = jax.jit(FITTED.rescore)(state, jax.random.key(9), rows_of(fresh))
    np.testing.assert_allclose(rescored, wanted, rtol=2e-4)


def test_the_scale_does_not_grow_with_the_number_of_features():
    """A mean over features and not a sum (jcwleo/random-network-distillation-pytorch, issue 33)."""
    fresh, sizes = experience(seed=3, centre=1.0), (4, 256)
    few, many = (
        paid(bonus, learnt(bonus), fresh).mean()
        for bonus in (RND(features=size, updates_per_step=1e-9) for size in sizes)
    )
    assert 0.4 < many / few < 2.5  # a sum would make it 64


def test_the_first_rollout_is_paid_nothing_and_starts_the_moments():
    state = learnt(FITTED, rollouts=0)
    assert (paid(FITTED, state, experience()) == 0).all()
    assert (paid(FITTED, learnt(FITTED), experience(seed=1)) > 0).all()


def test_observations_are_clipped():
    """Beyond five deviations nothing can be told apart, and at 50 nothing explodes."""
    state, rollout = learnt(FITTED), experience(seed=4)
    near, far = (
        paid(FITTED, state, replace(rollout, next_obs=jnp.full((30, 2, 3), size)))
        for size in (50.0, 5e6)
    )
    np.testing.assert_array_equal(near, far)


def test_update_trains_the_predictor_alone_and_score_trains_nothing():
    """DI-engine's example with DQN never trains RND (its issue 676): scoring is not learning."""
    state, rollout = learnt(FITTED), experience(seed=7)
    same, again = jax.jit(FITTED.score)(state, jax.random.key(0), rollout)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    after = learnt(FITTED, rollouts=30, state=state, rollout=rollout)
    for one, other in zip(
        jax.tree.leaves(state.target), jax.tree.leaves(after.target), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        jax.tree.leaves(state.trained.params), jax.tree.leaves(after.trained.params), strict=True
    ):
        assert (np.asarray(one) != np.asarray(other)).any()
    # What is seen again and again is soon worth nothing, and what never was stays worth much.
    assert paid(FITTED, after, rollout).mean() < 0.1 * np.asarray(same).mean()
    novel = paid(FITTED, after, experience(seed=8, centre=3.0))
    assert np.median(novel) > 10 * np.median(paid(FITTED, after, rollout))


def test_neither_loss_nor_payment_explodes_as_training_goes_on():
    """As both did in a pull request to baselines (817), observations growing all the time."""
    bonus = RunningStd(FITTED)
    state = jax.jit(partial(bonus.init, spec=DISCRETE))(jax.random.key(0))
    score, update = compiled(bonus, "score"), compiled(bonus, "update")
    raw, divided, losses = [], [], []
    for index in range(150):
        rollout = experience(seed=index)
        grown = replace(rollout, next_obs=rollout.next_obs * (1.0 + 0.1 * index))
        raw.append(paid(FITTED, state.bonus, grown).max())
        amount, state = score(state, jax.random.key(index), grown)
        state, metrics = update(state, jax.random.key(index), grown)
        divided.append(float(np.abs(amount).max()))
        losses.append(float(metrics["loss"]))
    early, late = slice(1, 6), slice(-20, None)  # the first rollout is paid nothing
    assert np.max(raw[late]) < np.max(raw[early])
    assert np.max(losses[late]) < np.max(losses[early])
    assert 0 < np.max(divided[late]) < np.max(divided[early])


def test_the_predictor_goes_down_the_slope_of_what_is_paid():
    bonus = RND(**SMALL, updates_per_step=1e-9)
    state, one = learnt(bonus), experience(seed=2, steps=1)
    one = jax.tree.map(lambda leaf: leaf[:, :1], one)  # a single row, so that all batches are alike
    x = standardised(one.next_obs[0], [experience().next_obs.reshape(-1, 3), one.next_obs[0]], 5.0)

    def error(params):
        return np.square(network(params, x) - network(state.target, x)).mean()

    gradient, loss = first_gradient(bonus, state, one)
    np.testing.assert_allclose(loss, error(state.trained.params), rtol=1e-4)
    check_gradient(gradient, error, state.trained.params)


def test_update_share_is_the_share_of_rows_that_are_learnt_from():
    """Of a minibatch of one row, the predictor moves exactly when the row is kept."""
    bonus = RND(features=3, hidden=(4,), predictor_hidden=(), batch_size=1, updates_per_step=1e-9,
                update_share=0.25)  # fmt: skip
    state, one = learnt(bonus, rollouts=0), experience(steps=1)

    @jax.jit
    @jax.vmap
    def moved(key):
        after, _ = bonus.update(state, key, one)
        pairs = zip(
            jax.tree.leaves(after.trained.params),
            jax.tree.leaves(state.trained.params),
            strict=True,
        )
        return jnp.stack([(new != old).any() for new, old in pairs]).any()

    share = moved(jax.random.split(jax.random.key(0), 1000)).mean()
    assert abs(share - 0.25) < 0.05


IMAGES = Spec(Box((36, 36, 4), dtype="uint8"), Discrete(2), 1)


def test_of_stacked_frames_the_newest_counts():
    """deep_rl_zoo's RND looked at all of them (its issue 12)."""
    bonus = RND(features=4, hidden=(), predictor_hidden=(), last_frame=True, batch_size=4)
    rng = np.random.default_rng(0)
    shape, zeros = (3, 1), jnp.zeros((3, 1))
    no = zeros.astype(bool)

    def rollout(frames):
        obs = jnp.asarray(frames, jnp.uint8)
        return Rollout(obs, no.astype(jnp.int32), zeros, obs, no, no, no, zeros)

    frames = rng.integers(0, 256, (*shape, 36, 36, 4))
    state = learnt(bonus, IMAGES, rollout=rollout(frames))
    older, newest = frames.copy(), frames.copy()
    older[..., :3] = 255 - older[..., :3]
    newest[..., 3] = 255 - newest[..., 3]
    before = paid(bonus, state, rollout(frames))
    np.testing.assert_array_equal(paid(bonus, state, rollout(older)), before)
    assert (paid(bonus, state, rollout(newest)) != before).all()
    assert state.moments.mean.shape == (36, 36, 1)


def test_the_papers_networks_take_images():
    state = jax.eval_shape(partial(RND.paper().init, spec=IMAGES), jax.random.key(0))
    shapes = [leaf.shape for leaf in jax.tree.leaves(state.trained.params)]
    assert (512, 512) in shapes and (8, 8, 1, 32) in shapes
    with pytest.raises(Incompatible, match="Leave last_frame False"):
        RND.paper().init(jax.random.key(0), DISCRETE)


def test_impossible_settings_are_refused():
    wrong: list[dict[str, Any]] = [
        dict(features=0),
        dict(hidden=(0,)),
        dict(predictor_hidden=(-1,)),
        dict(update_share=0.0),
        dict(update_share=1.5),
        dict(learning_rate=float("nan")),
        dict(batch_size=0),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting, match="must be"):
            RND(**each)

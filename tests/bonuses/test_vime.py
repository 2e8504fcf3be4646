"""VIME and its L2 baseline: pool, targets, both kinds of gain, what is paid when."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorax.bonuses import VIME, MedianRatio, PredictionError
from explorax.bonuses.vime import gain_by_gradient_steps
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.nets import bayes

SPEC = Spec(obs=Box((3,)), action=Discrete(4), num_envs=2)


def rollout(steps=8, seed=0, spec=SPEC, dones=()):
    """A random walk whose episodes end at the steps named."""
    keys = jax.random.split(jax.random.key(seed), 3)
    envs = spec.num_envs
    walk = jnp.cumsum(0.3 * jax.random.normal(keys[0], (steps + 1, envs, *spec.obs.shape)), 0)
    if isinstance(spec.action, Discrete):
        action = jax.random.randint(keys[1], (steps, envs), 0, spec.action.n)
    else:
        action = 2 * jax.random.normal(keys[1], (steps, envs, *spec.action.shape))
    ended = jnp.zeros((steps, envs), bool)
    next_obs = walk[1:]
    for step in dones:
        ended = ended.at[step].set(True)
        next_obs = next_obs.at[step].add(7.0)  # the true successor, not what is seen next
    zeros = jnp.zeros((steps, envs))
    return Rollout(
        obs=walk[:-1],
        action=action,
        reward=zeros,
        next_obs=next_obs,
        terminated=ended,
        truncated=jnp.zeros_like(ended),
        first=jnp.zeros_like(ended),
        bonus=zeros,
    )


def fitted(bonus, rollouts, spec=SPEC):
    state = bonus.init(jax.random.key(0), spec)
    update = jax.jit(bonus.update)
    metrics = {}
    for index, experience in enumerate(rollouts):
        state, metrics = update(state, jax.random.key(100 + index), experience)
    return state, metrics


def test_nothing_is_paid_or_learnt_before_the_pool_has_its_minimum():
    bonus = VIME(min_pool_size=20, pool_size=50, updates_per_step=0.2)
    before = bonus.init(jax.random.key(0), SPEC)
    state, metrics = fitted(bonus, [rollout(8)])  # 16 rows
    assert all(np.isnan(value) for value in metrics.values())
    for new, old in zip(
        jax.tree.leaves(state.trained), jax.tree.leaves(before.trained), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    paid, _ = jax.jit(bonus.score)(state, jax.random.key(1), rollout(8, 1))
    assert (paid == 0).all()
    state, metrics = fitted(bonus, [rollout(8), rollout(8, 1)])
    assert all(np.isfinite(value) for value in metrics.values())
    paid, _ = jax.jit(bonus.score)(state, jax.random.key(1), rollout(8, 2))
    assert (paid > 0).all() and paid.shape == (8, 2)


def test_pool_keeps_true_successors_unless_told_to_cross_episodes():
    experience = rollout(6, dones=(2,))
    own = VIME(pool_size=24, min_pool_size=1, batch_size=1)
    state, _ = fitted(own, [experience])
    stored = np.asarray(state.pool.data["y"])[:12].reshape(6, 2, 3)
    np.testing.assert_allclose(stored, experience.next_obs)
    crossing = VIME(pool_size=24, min_pool_size=1, batch_size=1, cross_episodes=True)
    state, _ = fitted(crossing, [experience])
    stored = np.asarray(state.pool.data["y"])[:12].reshape(6, 2, 3)
    np.testing.assert_allclose(stored[2], experience.obs[3])
    np.testing.assert_allclose(stored[5], experience.next_obs[5])


def test_inputs_are_observation_and_one_hot_action_and_target_may_be_the_difference():
    experience = rollout(4)
    state, _ = fitted(
        VIME(target="difference", pool_size=8, min_pool_size=1, batch_size=1), [experience]
    )
    x = np.asarray(state.pool.data["x"])
    np.testing.assert_allclose(x[:, :3], np.asarray(experience.obs).reshape(8, 3))
    np.testing.assert_array_equal(x[:, 3:], np.eye(4)[np.asarray(experience.action).ravel()])
    change = (experience.next_obs - experience.obs).reshape(8, 3)
    np.testing.assert_allclose(state.pool.data["y"], change, rtol=1e-6)


def test_continuous_actions_are_seen_as_the_environment_executes_them():
    spec = Spec(obs=Box((3,)), action=Box((2,)), num_envs=2)
    experience = rollout(4, spec=spec)
    assert (jnp.abs(experience.action) > 1).any()
    state, _ = fitted(VIME(pool_size=8, min_pool_size=1, batch_size=1), [experience], spec)
    executed = np.clip(np.asarray(experience.action), -1, 1).reshape(8, 2)
    np.testing.assert_allclose(state.pool.data["x"][:, 3:], executed)


def test_gain_of_a_transition_seen_many_times_shrinks_under_the_true_elbo():
    bonus = VIME(
        elbo_scale="dataset",
        likelihood_std=0.5,
        pool_size=4000,
        min_pool_size=16,
        batch_size=32,
        learning_rate=1e-2,
        updates_per_step=4,
        shared_noise=False,
    )
    experience = rollout(16)
    score, update = jax.jit(bonus.score), jax.jit(bonus.update)
    state = bonus.init(jax.random.key(0), SPEC)
    medians = []
    for index in range(40):
        state, _ = update(state, jax.random.key(index), experience)
        if index in (0, 39):
            paid = [score(state, jax.random.key(50 + k), experience)[0] for k in range(8)]
            medians.append(float(np.median(paid)))
    assert medians[1] < 0.05 * medians[0]


def test_second_order_gain_is_the_kl_of_one_small_newton_step():
    """KL[φ − λH⁻¹g ‖ φ] → ½ λ² gᵀH⁻¹g as λ → 0."""
    network = bayes.BayesianMLP((4,), 2, "tanh")
    params = bayes.initialise(network, jax.random.key(0), 3)
    keys = jax.random.split(jax.random.key(1), 3)
    x, y = jax.random.normal(keys[0], (5, 3)), jax.random.normal(keys[1], (5, 2))
    noise = network.draw_noise(keys[2], 4, 1)

    def newton(step_size):
        def precondition(updates: Any, state: Any, params: Any = None) -> Any:
            def one(name, field, g):
                std = jax.nn.softplus(params[name]["rho"])
                inverse = std**2
                if field == "rho":
                    inverse = 0.5 * jnp.square(std / jax.nn.sigmoid(params[name]["rho"]))
                return -step_size * inverse * g

            return {
                name: {field: one(name, field, g) for field, g in layer.items()}
                for name, layer in updates.items()
            }, state

        return optax.GradientTransformation(lambda params: (), precondition)

    exact = jax.jit(
        lambda: gain_by_gradient_steps(
            network, params, x, y, noise, likelihood_std=1.0, optimizer=newton(0.01), steps=1
        )
    )()
    closed = jax.jit(
        lambda: bayes.information_gain(
            network, params, x, y, noise, likelihood_std=1.0, step_size=0.01
        )
    )()
    np.testing.assert_allclose(exact, closed, rtol=0.03)


def test_one_small_gradient_step_ranks_transitions_as_the_second_order_does():
    experience = rollout(60)
    settings: dict[str, Any] = dict(hidden=(8,), pool_size=256, min_pool_size=8)
    second = VIME(**settings)
    state, _ = fitted(second, [experience])
    expected, _ = jax.jit(second.score)(state, jax.random.key(3), experience)
    rank = {}
    for optimizer in ("sgd", "adam"):
        bonus = VIME(
            **settings, method="gradient_steps", gain_steps=1, gain_optimizer=optimizer,
            step_size=1e-2,
        )  # fmt: skip
        paid, _ = jax.jit(bonus.score)(state, jax.random.key(3), experience)
        ranks = [np.argsort(np.argsort(np.ravel(gain))) for gain in (expected, paid)]
        rank[optimizer] = float(np.corrcoef(ranks[0], ranks[1]).min())  # Spearman's
    assert rank["sgd"] > 0.98
    assert rank["adam"] < 0.7  # its first step is of one size for all


def test_gradient_steps_start_from_the_same_posterior_for_every_row():
    bonus = VIME(hidden=(4,), method="gradient_steps", pool_size=64, min_pool_size=8, gain_steps=3)
    experience = rollout(8)
    state, _ = fitted(bonus, [experience])
    score = jax.jit(bonus.score)
    paid, after = score(state, jax.random.key(3), experience)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(new, old)
    order = jnp.arange(7, -1, -1)
    backwards, _ = score(state, jax.random.key(3), jax.tree.map(lambda v: v[order], experience))
    np.testing.assert_allclose(backwards[order], paid, rtol=1e-5)
    assert (paid > 0).all()


def test_compression_improvement_turns_the_kl_round():
    common: dict[str, Any] = dict(
        hidden=(4,), method="gradient_steps", pool_size=64, min_pool_size=8
    )
    experience = rollout(8)
    bonus = VIME(**common, step_size=0.3)
    turned = VIME(**common, step_size=0.3, gain="compression")
    state, _ = fitted(bonus, [experience])
    paid, _ = jax.jit(bonus.score)(state, jax.random.key(3), experience)
    other, _ = jax.jit(turned.score)(state, jax.random.key(3), experience)
    assert not np.allclose(paid, other, rtol=0.01)
    # Both are ½ δᵀHδ to second order.
    small = VIME(**common, step_size=1e-3)
    small_turned = VIME(**common, step_size=1e-3, gain="compression")
    paid, _ = jax.jit(small.score)(state, jax.random.key(3), experience)
    other, _ = jax.jit(small_turned.score)(state, jax.random.key(3), experience)
    np.testing.assert_allclose(paid, other, rtol=0.05, atol=1e-6)


def test_step_size_cancels_in_the_normaliser_unless_the_clip_binds():
    experience = [rollout(8), rollout(8, 1)]
    paid = []
    for step_size in (0.01, 1.0):
        bonus = MedianRatio(VIME(step_size=step_size, min_pool_size=8, pool_size=64))
        state, _ = fitted(bonus, experience)
        paid.append(jax.jit(bonus.score)(state, jax.random.key(9), rollout(8, 2))[0])
    np.testing.assert_allclose(paid[0], paid[1], rtol=1e-4)
    clipped = MedianRatio(VIME(step_size=1.0, min_pool_size=8, pool_size=64, clip=1e-9))
    state, _ = fitted(clipped, experience)
    np.testing.assert_allclose(
        jax.jit(clipped.score)(state, jax.random.key(9), rollout(8, 2))[0], 1.0
    )


def test_learned_likelihood_deviation_approaches_the_residual_and_a_fixed_one_stays():
    common: dict[str, Any] = dict(
        elbo_scale="dataset", pool_size=512, min_pool_size=8, updates_per_step=8, batch_size=32
    )
    experience = [rollout(16, seed) for seed in range(4)] * 4
    _, fixed = fitted(VIME(**common, likelihood_std=2.0), experience)
    assert fixed["likelihood_std"] == 2.0
    _, learned = fitted(
        VIME(**common, likelihood_std=2.0, learn_likelihood=True, learning_rate=1e-2), experience
    )
    assert learned["likelihood_std"] < 1.2


def test_likelihood_deviation_goes_down_the_gradient_that_finite_differences_give():
    network = bayes.BayesianMLP((4,), 2)
    params = bayes.initialise(network, jax.random.key(0), 3)
    x, y = jnp.ones((6, 3)), jnp.ones((6, 2))
    noise = network.draw_noise(jax.random.key(1), 2, 1)

    @jax.jit
    def loss(log_std):
        return bayes.negative_elbo(
            network,
            params,
            x,
            y,
            noise,
            likelihood_std=jnp.exp(log_std),
            prior_std=0.5,
            batches=3.0,
        )

    slope = (loss(0.51) - loss(0.49)) / 0.02
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.5), slope, rtol=0.02)


def test_prediction_error_is_the_squared_error_of_the_mean_prediction():
    bonus = PredictionError(hidden=(4,), pool_size=64, min_pool_size=8)
    experience = rollout(8)
    state, _ = fitted(bonus, [experience])
    paid, _ = jax.jit(bonus.score)(state, jax.random.key(0), experience)
    x = np.concatenate(
        [
            np.asarray(experience.obs).reshape(16, 3),
            np.eye(4)[np.asarray(experience.action).ravel()],
        ],
        1,
    )
    y = np.asarray(experience.next_obs).reshape(16, 3)
    h = np.clip((x - x.mean(0)) / x.std(0), -10, 10)
    y = np.clip((y - y.mean(0)) / y.std(0), -10, 10)
    layers = state.trained["posterior"]
    for index in range(2):
        mean = np.asarray(layers[f"layer_{index}"]["mean"])
        h = h @ mean[:-1] + mean[-1]
        h = np.maximum(h, 0) if index == 0 else h
    np.testing.assert_allclose(paid.ravel(), ((h - y) ** 2).sum(1), rtol=1e-4)


@pytest.mark.parametrize("bonus", [VIME(), PredictionError(), VIME(method="gradient_steps")])
def test_rescore_agrees_with_score(bonus):
    import dataclasses

    bonus = dataclasses.replace(bonus, hidden=(4,), min_pool_size=8, pool_size=64)
    experience = rollout(8)
    state, _ = fitted(bonus, [experience])
    paid, state = jax.jit(bonus.score)(state, jax.random.key(3), experience)
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), experience)
    again = jax.jit(bonus.rescore)(state, jax.random.key(3), rows)
    np.testing.assert_allclose(again, paid.ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(likelihood_std=-1.0), "likelihood_std=-1.0"),
        (dict(hidden=(0,)), "hidden=(0,)"),
        (dict(elbo_scale="pool"), "elbo_scale='pool'"),
        (dict(method="newton"), "second_order"),
        (dict(pool_size=100), "min_pool_size"),
        (dict(samples=0), "samples=0"),
        (dict(gain="both"), "compression"),
        (dict(activation="gelu"), "'relu' or 'tanh'"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, words):
    with pytest.raises(InvalidSetting) as refused:
        VIME(**settings)
    assert words in str(refused.value) and "VIME(" in str(refused.value)


def test_paper_settings_are_those_of_the_authors_scripts():
    paper = VIME.paper()
    assert (paper.hidden, paper.samples, paper.batch_size) == ((32,), 10, 10)
    assert (paper.likelihood_std, paper.elbo_scale, paper.prior_std) == (5.0, 5.0, 0.5)
    assert (paper.learning_rate, paper.updates_per_step * 5000) == (1e-4, 500)
    assert paper.cross_episodes and paper.mean_init_std == 1.0 and paper.method == "second_order"

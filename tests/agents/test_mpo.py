"""MPO: each part of a gradient step against a closed form, and every variant learns."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import MPO, action_values, mpo_critic, mpo_policy
from explorax.bonuses import Count, NoBonus, Scale
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.envs.chain import Chain
from explorax.envs.probes import ProbeBoth
from explorax.envs.task import Batched
from explorax.ops.distributions import Categorical, FullGaussian, Gaussian

SMALL: dict[str, Any] = dict(
    hidden=(16,), rollout_length=8, updates_per_learn=4, batch_size=32, sequence_length=4,
    warmup_env_steps=0, replay_capacity=2000,
)  # fmt: skip
KEY = jax.random.key(0)


def states(shape, seed=0, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, scale, shape), jnp.float32)


def test_the_discrete_m_step_goes_from_the_policy_to_the_weights():
    """∇_logits −Σ_a q_a log π_a = π − q, with q ∝ π_old exp(Q/η) and KL[q ‖ π_old] = ε."""
    agent, q = MPO(max_kl=0.05), states((6, 4), 1)
    old, new = Categorical(states((6, 4), 2)), Categorical(states((6, 4), 3))
    multipliers = {"policy": jnp.float32(-18.0)}  # nothing holds it back

    def loss(logits):
        return mpo_policy.loss(agent, Categorical(logits), old, multipliers, None, q)

    (_, metrics), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(new.logits)
    p_old = np.exp(old.logits) / np.exp(old.logits).sum(-1, keepdims=True)
    weights = p_old * np.exp(q / metrics["temperature"])
    weights /= weights.sum(-1, keepdims=True)
    policy = np.exp(new.logits) / np.exp(new.logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(gradient, (policy - weights) / 6, atol=1e-6)
    kl = (weights * np.log(weights / p_old)).sum(-1).mean()
    np.testing.assert_allclose([kl, metrics["e_step_kl"]], 0.05, rtol=1e-3)


def test_targets_of_n_steps_are_discounted_sums_to_the_end_of_the_sequence():
    agent, steps, rows = MPO(evaluation="n_step", discount=0.5), 3, 2
    nothing, ends = jnp.zeros((steps, rows, 1)), jnp.zeros((steps, rows), bool)
    reward, next_value = states((steps, rows), 1), states((steps, rows), 2)
    sequences = mpo_critic.Sequences(
        nothing,
        nothing,
        jnp.zeros((steps, rows), jnp.int32),
        nothing[..., 0],
        reward,
        terminated=ends,
        truncated=ends,
        known=~ends,
    )
    told = mpo_critic.targets(agent, Discrete(2), {}, sequences, next_value)
    third = reward[2] + 0.5 * next_value[2]
    second = reward[1] + 0.5 * third
    np.testing.assert_allclose(told, [reward[0] + 0.5 * second, second, third], rtol=1e-5)


def test_the_parametric_discrete_step_climbs_the_expected_value():
    """∇_logits E_π[Q] = π (Q − E_π[Q]); the baseline E_{π_old}[Q] moves nothing."""
    agent, q = MPO(variant="parametric"), states((6, 4), 1)
    old, new = Categorical(states((6, 4), 2)), Categorical(states((6, 4), 3))

    def loss(logits):
        multipliers = {"policy": jnp.float32(-18.0)}
        return mpo_policy.loss(agent, Categorical(logits), old, multipliers, None, q)[0]

    policy = np.asarray(jax.nn.softmax(new.logits))
    want = -policy * (q - (policy * q).sum(-1, keepdims=True)) / 6
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(new.logits), want, atol=1e-6)


def test_the_parametric_ratio_is_an_unbiased_value_of_the_new_policy():
    """For Q = −(a − 1)², E_π[Q] = −(μ − 1)² − σ² is known, and the loss is E_old[Q] − E_π[Q]."""
    agent = MPO(variant="parametric", per_dimension=False)
    old = Gaussian(jnp.zeros((1, 1)), jnp.full((1, 1), np.log(0.5)))
    new = Gaussian(jnp.full((1, 1), 0.1), jnp.full((1, 1), np.log(0.45)))
    actions = 0.5 * jax.random.normal(KEY, (1, 200_000, 1))
    q = -jnp.square(actions[..., 0] - 1.0)
    multipliers = mpo_policy.start_multipliers(agent, Spec(Box((1,)), Box((1,)), 1))

    def loss(mean):
        return mpo_policy.loss(
            agent, dataclasses.replace(new, mean=mean), old, multipliers, actions, q
        )[1]["policy_loss"]

    told, slope = jax.jit(jax.value_and_grad(loss))(new.mean)
    want = -(1.0 + 0.25) + (0.9**2 + 0.45**2)
    np.testing.assert_allclose(told, want, atol=0.01)
    np.testing.assert_allclose(slope, 2 * (0.1 - 1.0), atol=0.03)  # −dE_π[Q]/dμ = 2 (μ − 1)


def test_weights_pull_the_mean_and_the_covariance_to_the_weighted_moments():
    """Where the gradient of the decoupled likelihood vanishes, mean and variance are q's."""
    agent = MPO(per_dimension=False, action_penalty=None)  # whose weights sum to 1
    actions, q = states((1, 500, 1), 4), states((1, 500), 5)
    weights = np.asarray(mpo_policy._weights(agent, actions, q, None)[0])[0]
    mean = float((weights * np.asarray(actions)[0, :, 0]).sum())
    old = Gaussian(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    spread = float((weights * np.square(np.asarray(actions)[0, :, 0])).sum())  # around old mean
    multipliers = {name: jnp.float32(-18.0) for name in ("mean", "covariance")}

    def slope(mean, log_std):
        def loss(new):
            return mpo_policy.loss(agent, new, old, multipliers, actions, q)[0]

        return jax.grad(loss)(Gaussian(jnp.full((1, 1), mean), jnp.full((1, 1), log_std)))

    still = slope(mean, 0.5 * np.log(spread))
    np.testing.assert_allclose([still.mean[0, 0], still.log_std[0, 0]], 0.0, atol=1e-5)
    assert abs(slope(mean + 0.1, 0.0).mean[0, 0]) > 0.05


def test_an_action_penalty_weighs_what_stays_in_the_box():
    actions = jnp.asarray(np.linspace(-3, 3, 21), jnp.float32).reshape(1, 21, 1)
    q = jnp.zeros((1, 21))
    plain, _ = mpo_policy._weights(MPO(action_penalty=None), actions, q, None)
    held, metrics = mpo_policy._weights(MPO(action_penalty=0.1), actions, q, None)
    np.testing.assert_allclose([plain.sum(), held.sum()], [1.0, 2.0], rtol=1e-5)
    inside = np.abs(np.asarray(actions)[0, :, 0]) <= 1
    assert held[0][inside].min() > held[0][~inside].max() and metrics["penalty_temperature"] > 0


@pytest.mark.parametrize("penalty", [None, 1e-3])
def test_only_the_penalty_calls_a_mean_back_that_has_left_the_box(penalty):
    """Q falls with the clipped action, so that −1 is best; from 3 ± 0.3 no sample sees it fall."""
    agent = MPO(action_penalty=penalty)
    multipliers = mpo_policy.start_multipliers(agent, Spec(Box((1,)), Box((1,)), 1))

    def one(mean, key):
        old = Gaussian(mean, jnp.full_like(mean, np.log(0.3)))
        actions, _ = mpo_policy.candidates(agent, old, key)
        assert actions is not None
        actions = jnp.moveaxis(actions, 0, 1)
        q = -jnp.clip(actions, -1.0, 1.0)[..., 0]

        def loss(mean):
            new = dataclasses.replace(old, mean=mean)
            return mpo_policy.loss(agent, new, old, multipliers, actions, q)[0]

        return mean - 0.05 * jax.grad(loss)(mean) * mean.shape[0], None

    start = jnp.full((32, 1), 3.0)
    mean = jax.jit(partial(jax.lax.scan, one))(start, jax.random.split(KEY, 300))[0]
    back = np.asarray(mean < 1.0).mean()  # the rest walk at random, far from where Q has a slope
    assert back < 0.2 if penalty is None else back > 0.8


@pytest.mark.parametrize("space", [Discrete(3), Box((2,))])
def test_candidates_are_valued_as_actions_taken_are(space):
    agent = MPO(**SMALL)
    features = states((2, 3, 5))
    params = action_values.init(agent, KEY, space, jnp.zeros((1, 5)), None)
    if isinstance(space, Discrete):
        every = action_values.q_of_candidates(agent, space, params, features, None)
        for action in range(3):
            taken = jnp.full((2, 3), action, jnp.int32)
            one = action_values.q_of(agent, space, params, features, taken)
            np.testing.assert_array_equal(one, every[..., action])
        return
    actions = states((4, 2, 3, 2), 1, scale=2.0)
    every = action_values.q_of_candidates(agent, space, params, features, actions)
    for index in range(4):
        one = action_values.q_of(agent, space, params, features, actions[index])
        np.testing.assert_allclose(one, every[..., index], rtol=1e-5)
    beyond = action_values.q_of(agent, space, params, features, 5.0 * jnp.sign(actions[0]))
    at_the_edge = action_values.q_of(agent, space, params, features, jnp.sign(actions[0]))
    np.testing.assert_array_equal(beyond, at_the_edge)  # as the environment clips it


def test_a_continuous_policy_starts_wide_and_nearly_alike_everywhere():
    for covariance, kind in (("diagonal", Gaussian), ("full", FullGaussian)):
        agent = MPO(covariance=covariance, per_dimension=False, init_std=0.7)
        space = Box((3,))
        params = mpo_policy.network(agent, space).init(KEY, jnp.zeros((1, 4)))
        policy, _ = mpo_policy.distribution(agent, space, params, states((50, 4)))
        assert isinstance(policy, kind)
        sampled = np.asarray(jax.vmap(policy.sample)(jax.random.split(KEY, 500)))
        np.testing.assert_allclose(sampled.std((0, 1)), 0.7, atol=0.1)
        assert np.abs(sampled.mean(0)).mean() < 0.2


VARIANTS = {
    "as it is": {},
    "parametric": {"variant": "parametric"},
    "n-step": {"evaluation": "n_step"},
    "joint": {"kl": "joint", "max_kl_policy": 0.05},
    "full covariance": {"covariance": "full", "per_dimension": False},
    "without a penalty": {"action_penalty": None},
    "at collection": {"bonus_at": "collection"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_where_right_depends_on_what_is_seen(name):
    settings = dict(SMALL, updates_per_learn=8, learning_rate=3e-3, target_copy_every=20)
    settings |= dict(max_kl_mean=0.05, max_kl_covariance=1e-3) | VARIANTS[name]
    env, agent = Batched(ProbeBoth(continuous=True), 16), MPO(**settings)
    start = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 80))
    early, metrics = chunk(start)
    assert all(np.isfinite(value) for value in metrics.values())
    _, metrics = chunk(early)
    assert metrics["reward_mean"] > 0.5  # 0 for a policy that does not look


@dataclass(frozen=True)
class Opening:
    """Two steps, and only the action of the first counts: its state is the successor of none."""

    ends: bool  # by itself, or by the clock

    obs = Box((2,), low=0.0, high=1.0)
    action = Discrete(2)
    success_return = None
    view = None

    @property
    def max_episode_steps(self) -> int | None:
        return 2 if not self.ends else 3

    def reset(self, key: Any) -> Any:
        return jnp.int32(0)

    def observe(self, state: Any) -> Any:
        return jnp.eye(2)[jnp.minimum(state, 1)]

    def step(self, state: Any, key: Any, action: Any) -> Any:
        pay = jnp.where((state == 0) & (action == 1), 1.0, 0.0)
        return state + 1, pay, (state == 1) & self.ends

    def place(self, point: Any) -> Any:
        return jnp.int32(0)

    def draw(self, state: Any) -> np.ndarray:
        return np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize("ends", [False, True])
def test_where_an_episode_begins_is_learnt_too(ends):
    settings = dict(SMALL, updates_per_learn=8, learning_rate=3e-3, target_copy_every=20)
    agent, env = MPO(**settings, max_kl_policy=0.05), Batched(Opening(ends), 16)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 80))
    _, metrics = chunk(chunk(training)[0])
    assert metrics["reward_mean"] > 0.45  # 0.5 for always right, 0.25 for not looking


def test_a_bonus_is_paid_by_the_model_as_it_is_now():
    """Count's pay falls as states are visited, and old rows are worth less when drawn again."""
    env, bonus = Batched(Chain(6), 4), Scale(Count(beta=1.0), 1.0)
    values = {}
    for bonus_at in ("replay", "collection"):
        agent = MPO(**SMALL, bonus_at=bonus_at)
        training = jax.jit(partial(loop.start, env, agent, bonus))(KEY)
        chunk = jax.jit(partial(loop.chunk_on_device, env, agent, bonus, 60))
        values[bonus_at] = float(chunk(training)[1]["agent/q_mean"])
    assert values["replay"] < values["collection"]


def test_nothing_is_learnt_before_the_warm_up():
    agent = MPO(**{**SMALL, "warmup_env_steps": 10_000})
    env = Batched(ProbeBoth(continuous=True), 4)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    after, metrics = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 3))(training)
    before, now = (each.learner.agent for each in (training, after))
    for one, other in zip(
        jax.tree.leaves((before.params, before.multipliers)),
        jax.tree.leaves((now.params, now.multipliers)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert np.isnan(metrics["agent/critic_loss"]) and now.env_steps == 96


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_kl": 0.0}, "positive and finite"),
        ({"action_samples": 1}, "at least 2"),
        ({"variant": "both"}, "'nonparametric' or 'parametric'"),
        ({"evaluation": "vtrace"}, "'retrace' or 'n_step'"),
        ({"covariance": "full"}, "False with a full covariance"),
        ({"batch_size": 30}, "a multiple of sequence_length=8"),
        ({"action_penalty": -1.0}, "positive and finite, or None"),
        ({"sequence_length": 64, "batch_size": 64, "replay_capacity": 10}, "at most replay_cap"),
        ({"retrace_lambda": 1.5}, "between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        MPO(**settings)


def test_a_replay_shorter_than_a_sequence_is_refused_with_the_numbers():
    agent = dataclasses.replace(MPO(**SMALL), replay_capacity=100)
    with pytest.raises(Incompatible, match="holds 3 steps of each of 32 environments"):
        agent.init(KEY, Spec(Box((2,)), Discrete(2), 32))

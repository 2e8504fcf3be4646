"""Soft Q-learning: each part of a gradient step against a closed form, and what it refuses."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from explorax import loop
from explorax.agents import SoftQ, action_values, soft_q_sampler
from explorax.bonuses import Count, NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Spec
from explorax.envs import BernoulliBandit, Chain
from explorax.envs.probes import ProbeBoth
from explorax.envs.task import Batched
from explorax.ops import noise
from explorax.ops.soft_values import soft_q_iteration
from explorax.ops.svgd import release_bandwidth, stein_direction

SMALL: dict[str, Any] = dict(
    hidden=(16,), rollout_length=8, updates_per_learn=8, batch_size=32, warmup_env_steps=0,
    replay_capacity=2000, target_copy_every=20, learning_rate=3e-3,
)  # fmt: skip
KEY = jax.random.key(0)
FLAT = Box((2,))
LINEAR = SoftQ(hidden=())  # f(ξ; s) = A ξ + B s + c and Q(s, a) = w·a + v·s + q0


def random(shape, seed=0, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(0, scale, shape), jnp.float32)


def linear(rows, columns, seed):
    kernel, bias = random((rows, columns), seed), random((columns,), seed + 1)
    return {"params": {"output": {"kernel": kernel, "bias": bias}}}


def trained(env, agent, iterations, bonus=None):
    bonus = NoBonus() if bonus is None else bonus
    training = jax.jit(partial(loop.start, env, agent, bonus))(KEY)
    return jax.jit(partial(loop.chunk_on_device, env, agent, bonus, iterations))(training)


def test_density_of_the_samplers_actions_is_that_of_a_squashed_normal():
    features, xi, params = random((4, 3)), random((4, 6, 2), 1), linear(5, 2, 2)
    actions, log_density = jax.jit(partial(soft_q_sampler.density, LINEAR, FLAT))(
        params, features, xi
    )
    layer = {name: np.asarray(each, float) for name, each in params["params"]["output"].items()}
    for s in range(4):
        mean = np.asarray(features[s]) @ layer["kernel"][:3] + layer["bias"]
        covariance: Any = layer["kernel"][3:].T @ layer["kernel"][3:]
        normal = scipy.stats.multivariate_normal(mean, covariance)
        u = np.asarray(xi[s], float) @ layer["kernel"][3:] + mean
        want = normal.logpdf(u) - np.log(1 - np.tanh(u) ** 2).sum(-1)
        np.testing.assert_allclose(actions[s], np.tanh(u), atol=1e-5)
        np.testing.assert_allclose(log_density[s], want, rtol=1e-3, atol=1e-3)
    far = soft_q_sampler.log_squash_slope(jnp.asarray([-40.0, 40.0]))
    np.testing.assert_allclose(far, 2 * np.log(2) - 80, rtol=1e-6)


@pytest.mark.parametrize("proposal", ["uniform", "sampler"])
def test_soft_values_of_a_linear_q_are_the_integral(proposal):
    """α log ∫ exp(w a/α) da over [−1, 1] = α log[2 sinh(w/α) α/w]."""
    agent = dataclasses.replace(LINEAR, value_proposal=proposal, value_samples=100_000)
    space, alpha, weight = Box((1,)), 0.5, 0.8
    critic = {"params": {"output": {"kernel": jnp.asarray([[0.3], [weight]]),
                                    "bias": jnp.asarray([0.1])}}}  # fmt: skip
    sampler = {"params": {"output": {"kernel": jnp.asarray([[0.0], [0.9]]),
                                     "bias": jnp.asarray([0.2])}}}  # fmt: skip
    features = jnp.asarray([[0.0], [2.0]])
    value = jax.jit(partial(soft_q_sampler.state_values, agent, space))(
        critic, sampler, features, jnp.float32(alpha), KEY
    )
    ratio = weight / alpha
    want = alpha * np.log(2 * np.sinh(ratio) / ratio) + np.asarray([0.1, 0.7])
    np.testing.assert_allclose(value, want, atol=0.01)


def test_values_are_estimated_by_the_proposal_that_was_set():
    """Of a Q that is 0.1 everywhere: by uniform draws 0.1 + α log 2, by a narrow sampler's less."""
    critic = {"params": {"output": {"kernel": jnp.zeros((2, 1)), "bias": jnp.asarray([0.1])}}}
    sampler = {
        "params": {"output": {"kernel": jnp.asarray([[0.0], [1e-3]]), "bias": jnp.asarray([0.0])}}
    }
    uniform, narrow = (
        soft_q_sampler.state_values(
            dataclasses.replace(LINEAR, value_proposal=proposal, value_samples=3),
            Box((1,)),
            critic,
            sampler,
            jnp.ones((4, 1)),
            jnp.float32(0.5),
            KEY,
        )
        for proposal in ("uniform", "sampler")
    )
    np.testing.assert_allclose(uniform, 0.1 + 0.5 * np.log(2), rtol=1e-5)
    assert (narrow < -1.0).all()  # 0.1 − α log p, and log p is some six nats


def test_discrete_soft_values_are_exact():
    agent, space = SoftQ(hidden=()), Discrete(3)
    critic, features = linear(4, 3, 0), random((5, 4), 3)
    value = jax.jit(partial(soft_q_sampler.state_values, agent, space))(
        critic, None, features, jnp.float32(0.2), KEY
    )
    q = np.asarray(features @ critic["params"]["output"]["kernel"], float)
    q += np.asarray(critic["params"]["output"]["bias"])
    np.testing.assert_allclose(value, 0.2 * np.log(np.exp(q / 0.2).sum(-1)), rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.3, 3.0])
@pytest.mark.parametrize("where", ["action", "pre_action", "release"])
def test_what_particles_climb_in_each_space(where, alpha):
    """α, at most 1, times ∇Q/α; ∇Q/α (1 − a²) − 2a; the release's ∇Q/α − 2a/(1 − a² + 10⁻⁶)."""
    agent = dataclasses.replace(LINEAR, stein_space=where)
    critic, x = linear(5, 1, 4), random((4, 6, 2), 5, 0.3)
    slope = jax.jit(partial(soft_q_sampler.log_target_gradient, agent, FLAT))(
        critic, random((4, 3)), x, jnp.float32(alpha)
    )
    weight = np.asarray(critic["params"]["output"]["kernel"])[3:, 0] / alpha
    x = np.asarray(x)
    want = {
        "action": np.broadcast_to(weight, x.shape),
        "pre_action": weight * (1 - np.tanh(x) ** 2) - 2 * np.tanh(x),
        "release": weight - 2 * x / (1 - x**2 + 1e-6),
    }[where]
    np.testing.assert_allclose(slope, min(1.0, alpha) * want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("where", ["action", "pre_action"])
def test_the_samplers_gradient_moves_particles_along_steins_direction(where):
    """∂loss/∂c of a sampler u = A ξ + B s + c is −mean_s Σ_j Δ_j, times 1 − a² where x = a."""
    agent = dataclasses.replace(LINEAR, stein_space=where, fixed_particles=5, updated_particles=4)
    critic, params, features = linear(5, 1, 4), linear(5, 2, 6), random((3, 3))
    alpha = jnp.float32(0.7)

    def loss(params):
        return soft_q_sampler.loss(agent, FLAT, critic, params, features, alpha, KEY)[0]

    @jax.jit
    def moved():
        fixed, updated = (
            soft_q_sampler.before_tanh(
                agent, FLAT, params, features, jax.random.normal(key, (3, count, 2))
            )[0]
            for key, count in zip(jax.random.split(KEY), (5, 4), strict=True)
        )
        if where == "action":
            fixed, updated = jnp.tanh(fixed), jnp.tanh(updated)
        slope = soft_q_sampler.log_target_gradient(agent, FLAT, critic, features, fixed, alpha)
        width = release_bandwidth(fixed, updated)
        return stein_direction(fixed, updated, slope, width, alpha), updated

    gradient = jax.jit(jax.grad(loss))(params)["params"]["output"]["bias"]
    direction, updated = moved()
    step = direction if where == "pre_action" else direction * (1 - updated**2)
    np.testing.assert_allclose(gradient, -step.sum(1).mean(0), rtol=1e-4, atol=1e-6)


def test_discrete_values_are_those_of_soft_q_iteration():
    """On a chain whose laws are known, with as much entropy as reward at stake."""
    task, alpha, discount = Chain(4), 0.3, 0.8
    agent = SoftQ(**{**SMALL, "hidden": (32,)}, temperature=alpha, discount=discount,
                  normalize_obs=False)  # fmt: skip
    training, _ = trained(Batched(task, 16), agent, 500)
    to = np.clip(np.arange(4)[:, None] + [-1, 1], 0, 3)
    reward = np.zeros((4, 2), np.float32)
    reward[0, 0], reward[3, 1] = 0.001, 1.0
    want, _, _ = soft_q_iteration(
        jnp.asarray(np.eye(4, dtype=np.float32)[to]), jnp.asarray(reward), discount, alpha
    )
    state = training.learner.agent
    q, _ = action_values.network(agent, Discrete(2)).run(state.params["critic"], jnp.eye(4))
    np.testing.assert_allclose(q, want, rtol=0.02)  # time limits are not the end
    percept = Percept(jnp.eye(4)[:, None], jnp.zeros(4), jnp.ones(4, bool))
    drawn = jax.jit(jax.vmap(lambda key: agent.act(state, (), key, percept)[0]))(
        jax.random.split(KEY, 20_000)
    )
    right = 1 / (1 + np.exp(-(want[:, 1] - want[:, 0]) / alpha))
    np.testing.assert_allclose(drawn.mean(0), right, atol=0.02)


def test_an_end_has_no_value_after_it():
    """A bandit pays 0 or 1 and ends: Q is the pay, without γ α log 2 on top."""
    task = BernoulliBandit(2, best=1.0, gap=1.0)
    agent = SoftQ(**SMALL, temperature=1.0)
    training, _ = trained(Batched(task, 8), agent, 200)
    params = training.learner.agent.params["critic"]
    q, _ = action_values.network(agent, Discrete(2)).run(params, jnp.zeros((1, 1)))
    np.testing.assert_allclose(np.sort(q[0]), [0.0, 1.0], atol=0.03)


VARIANTS = {
    "as it is": {},
    "on actions": {"stein_space": "action"},
    "as released": {"stein_space": "release"},
    "paper's bandwidth": {"bandwidth": "paper"},
    "values by the sampler": {"value_proposal": "sampler"},
    "with noise": {"noise_std": 0.3},
    "clipped, at collection": {"max_grad_norm": 10.0, "bonus_at": "collection"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_where_right_depends_on_what_is_seen(name):
    agent = SoftQ(**SMALL, sampler_learning_rate=3e-3, **VARIANTS[name])
    env = Batched(ProbeBoth(continuous=True), 16)
    training, metrics = trained(env, agent, 80)
    assert all(np.isfinite(value) for value in metrics.values())
    obs = jnp.asarray([[1.0], [-1.0]])
    actions = agent.sample(training.learner.agent, KEY, obs, 500)
    best = [float(ProbeBoth(continuous=True).best_action(each)[0]) for each in obs]
    agree = (np.sign(actions[..., 0]) == np.sign(best)[:, None]).mean(1)
    assert (agree > 0.9).all()  # half for a policy that does not look


def test_noise_wanders_and_starts_over_with_an_episode():
    agent = SoftQ(**SMALL, noise_std=0.3)
    carry = agent.carry(Spec(Box((1,)), FLAT, 3))
    first = jnp.asarray([True, False, False])
    after = jax.jit(partial(noise.following, reversion=0.15, std=0.3))(carry + 0.5, KEY, first)
    want = np.asarray([[0.0], [0.425], [0.425]]) + 0.3 * jax.random.normal(KEY, (3, 2))
    np.testing.assert_allclose(after, want, rtol=1e-5)
    assert agent.carry(Spec(Box((1,)), Discrete(2), 3)) == ()
    state = agent.init(KEY, Spec(Box((1,)), FLAT, 3))
    percept = Percept(jnp.zeros((3, 1)), jnp.zeros(3), ~first)
    action, moved, _ = jax.jit(agent.act)(state, carry + 5.0, KEY, percept)
    assert np.abs(action).max() == 1.0 and (np.abs(moved[0]) > 3).all()
    assert (np.abs(moved[1:]) < 2).all()


def test_the_temperature_goes_down_a_straight_line_of_its_logarithm():
    agent = SoftQ(temperature=10.0, end_temperature=0.1, decay_env_steps=100)
    told = [float(agent.temperature_at(jnp.int32(step))) for step in (0, 50, 100, 1000)]
    np.testing.assert_allclose(told, [10.0, 1.0, 0.1, 0.1], rtol=1e-5)
    extreme = SoftQ(temperature=1e-30, end_temperature=1e30, decay_env_steps=2)
    np.testing.assert_allclose(extreme.temperature_at(jnp.int32(1)), 1.0, rtol=1e-3)


@pytest.mark.parametrize("temperature", [1e-30, 1e30])
@pytest.mark.parametrize("space", [Discrete(3), FLAT])
def test_no_temperature_overflows(space, temperature):
    features = random((4, 3))
    rows = 3 if isinstance(space, Discrete) else 5
    critic, sampler = linear(rows, 3 if isinstance(space, Discrete) else 1, 0), linear(5, 2, 2)
    value = soft_q_sampler.state_values(
        LINEAR, space, critic, sampler, features, jnp.float32(temperature), KEY
    )
    assert np.isfinite(value).all()
    if isinstance(space, Box):
        for where in ("action", "pre_action", "release"):
            agent = dataclasses.replace(LINEAR, stein_space=where)
            told, metrics = soft_q_sampler.loss(
                agent, space, critic, sampler, features, jnp.float32(temperature), KEY
            )
            assert np.isfinite([told, *metrics.values()]).all()


def test_a_bonus_is_paid_by_the_model_as_it_is_now():
    values = {}
    for bonus_at in ("replay", "collection"):
        agent = SoftQ(**SMALL, bonus_at=bonus_at)
        _, metrics = trained(Batched(Chain(6), 4), agent, 60, Count(beta=1.0))
        values[bonus_at] = float(metrics["agent/q_mean"])
    assert values["replay"] < values["collection"]


def test_nothing_is_learnt_before_the_warm_up():
    agent = SoftQ(**{**SMALL, "warmup_env_steps": 10_000})
    env = Batched(ProbeBoth(continuous=True), 4)
    start = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    after, metrics = trained(env, agent, 3)
    jax.tree.map(
        np.testing.assert_array_equal, start.learner.agent.params, after.learner.agent.params
    )
    assert np.isnan(metrics["agent/critic_loss"]) and after.learner.agent.env_steps == 96


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.0}, "positive, from 1e-30"),
        ({"temperature": 1e-50}, "positive, from 1e-30"),
        ({"end_temperature": -1.0}, "positive, from 1e-30 to 1e.30"),
        ({"value_samples": 1}, "at least 2"),
        ({"fixed_particles": 1}, "at least 2"),
        ({"updated_particles": 1}, "at least 2"),
        ({"bandwidth": "wide"}, "'release' or 'paper'"),
        ({"stein_space": "latent"}, "'pre_action' or 'action' or 'release'"),
        ({"noise_reversion": 0.0}, "above 0 and at most 1"),
        ({"discount": 1.5}, "between 0 and 1"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        SoftQ(**settings)


def test_samplers_that_do_not_go_with_the_actions_are_refused():
    with pytest.raises(Incompatible, match="'stein'.*2 discrete actions.*sampler='softmax'"):
        SoftQ(sampler="stein").init(KEY, Spec(Box((2,)), Discrete(2), 4))
    with pytest.raises(Incompatible, match="'softmax'.*continuous actions.*sampler='stein'"):
        SoftQ(sampler="softmax").init(KEY, Spec(Box((2,)), FLAT, 4))
    with pytest.raises(Incompatible, match="holds 3 steps of each of 32 environments"):
        SoftQ(**{**SMALL, "replay_capacity": 100}).init(KEY, Spec(Box((2,)), FLAT, 32))

"""What TRPO, REINFORCE and ERWR share: the wiring bit by bit, the critic, and probe tasks."""

from dataclasses import replace as with_settings
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import critic, on_policy
from explorax.agents.erwr import ERWR
from explorax.agents.reinforce import REINFORCE
from explorax.agents.trpo import TRPO
from explorax.bonuses.combine import NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec
from explorax.core.pytree import replace
from explorax.envs.probes import ProbeDelay
from explorax.envs.task import Batched

SMALL = [
    TRPO(rollout_length=20, hidden=(8,), value_hidden=(8,), bonus_scale=0.5),
    REINFORCE(rollout_length=20, hidden=(8,), value_hidden=(8,), bonus_scale=0.5),
    ERWR(rollout_length=20, hidden=(8,), value_hidden=(8,), bonus_scale=0.5, iterations=4),
]
OBS, ENVS = Box((2, 2)), 3
SPECS = {
    "continuous": Spec(obs=OBS, action=Box((2,)), num_envs=ENVS),
    "discrete": Spec(obs=OBS, action=Discrete(3), num_envs=ENVS),
}
each_agent = pytest.mark.parametrize("agent", SMALL, ids=lambda agent: type(agent).__name__)
each_kind = pytest.mark.parametrize("kind", list(SPECS))


def percepts(seed, steps):
    """Observations of unlike scales, as a stream [T, E]."""
    obs = np.random.default_rng(seed).normal(size=(steps, ENVS, 2, 2)).astype(np.float32)
    zeros = jnp.zeros((steps, ENVS))
    return Percept(jnp.asarray(obs * [[0.05, 1.0], [3.0, 40.0]], jnp.float32), zeros, zeros > 0)


@partial(jax.jit, static_argnums=0)
def acted(agent, state, seed_obs, key):
    """Return actions and extras [T, E] of a scan over percepts, as the loop collects them."""

    def one(carry, row):
        action, carry, extras = agent.act(state, carry, row[1], row[0])
        return carry, (action, extras)

    return jax.lax.scan(one, (), (seed_obs, jax.random.split(key, 20)))[1]


@lru_cache
def experience(agent, kind, seed=0):
    """Return (state after one learn, a rollout [T, E] that it acted in)."""
    state = jax.jit(partial(agent.init, spec=SPECS[kind]))(jax.random.key(seed))
    state, _ = learn(agent, state, made_up(agent, state, seed))
    return state, made_up(agent, state, seed + 1)


def made_up(agent, state, seed):
    rng = np.random.default_rng(100 + seed)
    seen = percepts(seed, 20)
    action, extras = acted(agent, state, seen, jax.random.key(seed))
    terminated = rng.random((20, ENVS)) < 0.1
    return Rollout(
        obs=seen.obs,
        action=action,
        reward=jnp.asarray(rng.normal(size=(20, ENVS)).astype(np.float32)),
        next_obs=percepts(seed + 50, 20).obs,
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray((rng.random((20, ENVS)) < 0.1) & ~terminated),
        first=jnp.zeros((20, ENVS), bool),
        bonus=jnp.zeros((20, ENVS)),
        extras=extras,
    )


@partial(jax.jit, static_argnums=0)
def learn(agent, state, rollout):
    return agent.learn(state, jax.random.key(9), rollout, lambda key, rows: rows.bonus)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@each_kind
def test_the_learner_sees_what_the_actor_saw(kind):
    agent = SMALL[0]
    state, rollout = experience(agent, kind)
    assert np.abs(state.obs_moments.mean).max() > 0.1  # the moments are not the initial ones

    @jax.jit
    def learner(state, rollout):
        batch = on_policy.prepare(agent, state, rollout)
        policy = on_policy.distribution(agent, state.policy, batch.features)
        return batch.features, policy.log_prob(batch.action)

    @jax.jit
    def actor(state, rollout):
        return jax.lax.map(partial(on_policy.features, agent, state), rollout.obs)

    seen, log_prob = learner(state, rollout)
    np.testing.assert_array_equal(seen, actor(state, rollout))
    # Products of E rows and of T·E rows may round differently: a few units in the last place.
    np.testing.assert_allclose(log_prob, rollout.extras["log_prob"], rtol=1e-6, atol=2e-6)
    after, _ = learn(agent, state, rollout)
    for stale in (replace(state, obs_moments=after.obs_moments), after):
        difference = np.abs(learner(stale, rollout)[1] - rollout.extras["log_prob"])
        assert difference.max() > 1e-3


@each_agent
@each_kind
def test_shapes_finite_numbers_and_a_state_of_constant_structure(agent, kind):
    state, rollout = experience(agent, kind)
    wanted = (ENVS, 2) if kind == "continuous" else (ENVS,)
    assert rollout.action.shape[1:] == wanted
    assert rollout.action.dtype == (jnp.float32 if kind == "continuous" else jnp.int32)
    after, metrics = learn(agent, state, rollout)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        assert np.isfinite(new).all()
    assert {"kl", "entropy", "surrogate_improvement", "explained_variance"} <= set(metrics)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert bits(after.policy) != bits(state.policy)


@each_agent
def test_a_bonus_is_worth_exactly_the_reward_that_it_is(agent):
    state, rollout = experience(agent, "continuous")
    pay = jnp.round(4.0 * rollout.reward[::-1]) / 4.0
    reward = jnp.round(4.0 * rollout.reward) / 4.0  # sums of quarters are exact
    as_bonus = learn(agent, state, replace(rollout, reward=reward, bonus=2.0 * pay))
    as_reward = learn(agent, state, replace(rollout, reward=reward + pay))
    assert bits(as_bonus) == bits(as_reward)
    without = learn(agent, state, replace(rollout, reward=reward))
    assert bits(as_bonus[0].policy) != bits(without[0].policy)


def test_a_bonus_of_scale_zero_is_no_bonus():
    deaf = with_settings(SMALL[0], bonus_scale=0.0)
    state, rollout = experience(SMALL[0], "continuous")
    prepare = jax.jit(partial(on_policy.prepare, deaf))
    paid = replace(rollout, bonus=1.0 + rollout.reward)
    assert bits(prepare(state, paid)) == bits(prepare(state, rollout))


@each_kind
def test_greedy_actions_are_the_mode_and_need_no_key(kind):
    agent = SMALL[0]
    state, rollout = experience(agent, kind)
    act = jax.jit(partial(agent.act, greedy=True))
    percept = Percept(rollout.obs[0], jnp.zeros(ENVS), jnp.zeros(ENVS, bool))
    one, two = (act(state, (), jax.random.key(k), percept)[0] for k in (1, 2))
    np.testing.assert_array_equal(one, two)
    seen = on_policy.features(agent, state, percept.obs)
    want = on_policy.distribution(agent, state.policy, seen).mode()
    np.testing.assert_allclose(one, want, rtol=1e-5)
    sampled = jax.jit(agent.act)(state, (), jax.random.key(1), percept)[0]
    assert kind == "discrete" or not np.allclose(one, sampled)


def test_actions_keep_the_shape_of_their_space():
    spec = Spec(obs=Box((3,)), action=Box((2, 3)), num_envs=4)
    agent = SMALL[1]
    state = agent.init(jax.random.key(0), spec)
    percept = Percept(jnp.ones((4, 3)), jnp.zeros(4), jnp.zeros(4, bool))
    action, _, extras = agent.act(state, (), jax.random.key(1), percept)
    assert action.shape == (4, 2, 3) and extras["log_prob"].shape == (4,)


def test_moments_are_those_of_the_observations_and_change_last():
    agent = SMALL[0]
    state, rollout = experience(agent, "continuous")
    first = percepts(0, 20).obs
    np.testing.assert_allclose(state.obs_moments.mean, first.mean((0, 1)), rtol=1e-4, atol=1e-5)
    after, _ = learn(agent, state, rollout)
    both = jnp.concatenate([first, rollout.obs])
    np.testing.assert_allclose(after.obs_moments.mean, both.mean((0, 1)), rtol=1e-3, atol=1e-4)
    still = with_settings(agent, normalize_obs=False)
    assert learn(still, state, rollout)[0].obs_moments.count == state.obs_moments.count


def test_advantages_use_the_value_of_the_true_successor():
    agent = with_settings(SMALL[0], normalize_advantages=False, gae_lambda=0.0, discount=0.5)
    state, rollout = experience(agent, "continuous")
    batch = jax.jit(partial(on_policy.prepare, agent))(state, rollout)

    def v(obs):
        return critic.values(agent, state.critic, on_policy.features(agent, state, obs))

    successor = jnp.where(rollout.terminated, 0.0, v(rollout.next_obs))
    want = rollout.reward + 0.5 * successor - v(rollout.obs)
    np.testing.assert_allclose(batch.advantage, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batch.target, want + v(rollout.obs), rtol=1e-4, atol=1e-4)


def test_the_baseline_may_be_fitted_to_the_extrinsic_reward_alone():
    agent = with_settings(SMALL[0], baseline_on_extrinsic=True)
    state, rollout = experience(agent, "continuous")
    paid = replace(rollout, bonus=jnp.ones_like(rollout.reward).at[0].set(5.0))
    prepare = jax.jit(on_policy.prepare, static_argnums=0)
    without, with_bonus = prepare(agent, state, rollout), prepare(agent, state, paid)
    np.testing.assert_array_equal(without.target, with_bonus.target)
    assert not np.allclose(without.advantage, with_bonus.advantage)
    on_total = with_settings(agent, baseline_on_extrinsic=False)
    assert not np.allclose(prepare(on_total, state, paid).target, with_bonus.target)


def test_rescaling_the_critic_leaves_its_predictions_alone():
    agent = SMALL[0]
    state, rollout = experience(agent, "continuous")
    seen = on_policy.features(agent, state, rollout.obs)
    target = 50.0 + 30.0 * rollout.reward
    moved = critic.rescaled(state.critic, target)
    assert abs(moved.scale.mean - state.critic.scale.mean) > 10.0
    value = jax.jit(partial(critic.values, agent))
    before, after = value(state.critic, seen), value(moved, seen)
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)


@each_agent
def test_without_any_reward_the_policy_does_not_move(agent):
    state = jax.jit(partial(agent.init, spec=SPECS["discrete"]))(jax.random.key(0))
    rollout = made_up(agent, state, 0)
    after, _ = learn(agent, state, replace(rollout, reward=jnp.zeros_like(rollout.reward)))
    assert bits(after.policy) == bits(state.policy)


def trained(agent, task, iterations):
    env = Batched(task, 8)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), iterations))
    return chunk(training)[0].learner.agent


def test_values_see_the_discount_and_stop_at_the_end():
    agent = with_settings(SMALL[1], discount=0.6, value_epochs=10)
    state = trained(agent, ProbeDelay(), 60)
    obs = jnp.array([[-1.0], [1.0]])
    value = critic.values(agent, state.critic, on_policy.features(agent, state, obs))
    np.testing.assert_allclose(value, [0.6, 1.0], atol=0.05)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rollout_length", 0),
        ("hidden", (32, 0)),
        ("hidden", 32),
        ("activation", "sigmoid"),
        ("init_std", 0.0),
        ("init_mean_scale", -1.0),
        ("discount", 1.5),
        ("gae_lambda", -0.1),
        ("bonus_scale", -1.0),
        ("bonus_scale", float("nan")),
        ("entropy_coef", -0.1),
        ("value_epochs", 0),
        ("value_minibatches", 0),
        ("value_learning_rate", -1e-3),
    ],
)
@each_agent
def test_impossible_settings_are_named(agent, field, value):
    with pytest.raises(InvalidSetting, match=rf"{type(agent).__name__}\({field}="):
        # The wrong type is what is tested here too, so the checked constructor is not called.
        broken = object.__new__(type(agent))
        broken.__dict__.update({**agent.__dict__, field: value})
        broken.__post_init__()


def test_a_linear_policy_and_any_number_of_minibatches_are_possible():
    odd = with_settings(SMALL[1], hidden=(), value_minibatches=7, value_hidden=())
    state = jax.jit(partial(odd.init, spec=SPECS["discrete"]))(jax.random.key(0))
    after, metrics = learn(odd, state, made_up(odd, state, 0))
    assert np.isfinite(metrics["kl"])
    assert "output" in after.policy["network"]["params"]


@each_agent
def test_an_environment_without_observations_is_refused(agent):
    spec = Spec(obs=Box((0,)), action=Discrete(2), num_envs=1)
    with pytest.raises(Incompatible, match=f"{type(agent).__name__} needs observations"):
        agent.init(jax.random.key(0), spec)

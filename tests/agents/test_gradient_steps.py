"""What becomes of a gradient in the actor-critics and in soft Q-learning: bounds, rates, counts."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import A2C, PPO, UNREAL, SoftQ, action_values, actor_critic, soft_q
from explorax.auxiliaries import ValueReplay
from explorax.bonuses import NoBonus
from explorax.core.protocols import Box, Discrete, Percept, Spec
from explorax.envs import CartPole
from explorax.envs.probes import ProbeBoth
from explorax.envs.task import Batched

KEY = jax.random.key(0)
A2C_LSTM = A2C(rollout_length=8, hidden=(8,), memory="lstm", memory_size=8, sees_last=True)
ON_POLICY = {
    "A2C": dataclasses.replace(A2C_LSTM, memory=None, sees_last=False),
    "A2C, LSTM": A2C_LSTM,
    "PPO": PPO(rollout_length=8, hidden=(8,), epochs=2, minibatches=2),
    "UNREAL": UNREAL(A2C_LSTM, (ValueReplay(),), replay_capacity=400, windows=4, window_length=5),
}


def test_steps_of_actor_critics_are_adams_within_a_bound_and_shrink():
    agent = A2C(learning_rate=0.1, max_grad_norm=0.5, decay_env_steps=100)
    state = agent.init(KEY, Spec(Box((4,)), Discrete(2), 2))
    params, want = jnp.asarray([1.0, -2.0]), np.asarray([1.0, -2.0])
    optimizer = actor_critic.optimizer_of(agent).init(params)
    first, second = np.zeros(2), np.zeros(2)
    gradients = np.asarray([[3.0, -4.0], [0.1, 0.2], [-0.6, 0.8]])  # of norms 5, 0.22 and 1
    for t, gradient in enumerate(gradients, 1):
        now = dataclasses.replace(state, env_steps=jnp.int32(30 * (t - 1)))
        params, optimizer = actor_critic.stepped(
            agent, now, params, optimizer, jnp.asarray(gradient, jnp.float32)
        )
        held = gradient * min(1.0, 0.5 / np.linalg.norm(gradient))
        first = 0.9 * first + 0.1 * held
        second = 0.999 * second + 0.001 * held**2
        way = first / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.999**t)) + 1e-5)
        want = want - 0.1 * (1 - 0.3 * (t - 1)) * way
        np.testing.assert_allclose(params, want, rtol=1e-4)


@pytest.mark.parametrize("name", ON_POLICY)
def test_actor_critics_count_what_they_saw(name):
    agent, env = ON_POLICY[name], Batched(CartPole(), 4)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    collect = jax.jit(partial(loop.collect_on_device, env, agent))
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    state, actor, seen = training.learner.agent, training.actor, []
    for t in range(3):
        learner = dataclasses.replace(training.learner, agent=state)
        actor, rollout = collect(learner, actor)
        state, told = learn(state, jax.random.key(t), rollout)
        seen.append(np.asarray(rollout.obs, np.float64).reshape(-1, 4))
        assert state.env_steps == 32 * (t + 1)
        rows = np.concatenate(seen)
        np.testing.assert_allclose(state.moments.mean, rows.mean(0), rtol=1e-4, atol=1e-6)
        squares = np.square(rows - rows.mean(0)).sum(0)
        np.testing.assert_allclose(state.moments.squares, squares, rtol=1e-4)
        assert told["value_mean"] == pytest.approx(float(rollout.extras["value"].mean()), abs=1e-6)


def soft_q_steps(iterations=1, **settings):
    """Return (the state before, that after each of so many learns of one gradient step)."""
    agent = SoftQ(
        hidden=(8,), rollout_length=8, updates_per_learn=1, batch_size=16, warmup_env_steps=0,
        **settings,
    )  # fmt: skip
    env = Batched(ProbeBoth(continuous=True), 4)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(KEY)
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 1))
    states = [training.learner.agent]
    for _ in range(iterations):
        training, _ = chunk(training)
        states.append(training.learner.agent)
    return states


def farthest(one, other):
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), one, other)
    return max(jax.tree.leaves(apart))


def test_soft_q_s_target_is_the_critic_of_every_third_step():
    states = soft_q_steps(4, target_copy_every=3)
    critics = [each.params["critic"] for each in states]
    for state, steps in zip(states, (0, 0, 0, 3, 3), strict=True):
        assert farthest(state.target, critics[steps]) < 1e-7
    assert farthest(critics[0], critics[3]) > 1e-4 < farthest(critics[3], critics[4])


@pytest.mark.parametrize(("name", "still"), [("learning_rate", "critic"),
                                             ("sampler_learning_rate", "sampler")])  # fmt: skip
def test_soft_q_s_networks_have_rates_of_their_own(name, still):
    slow: dict[str, Any] = {name: 1e-12}
    before, after = soft_q_steps(**slow)
    for network in ("critic", "sampler"):
        moved = farthest(before.params[network], after.params[network])
        assert moved < 1e-9 if network == still else moved > 1e-4


def test_soft_q_bounds_each_gradient():
    """Adam's ε is 1e-8: only gradients that are smaller still make its first steps smaller."""
    before, after = soft_q_steps(max_grad_norm=1e-11)
    assert 0 < farthest(before.params, after.params) < 1e-6
    before, after = soft_q_steps(max_grad_norm=None)
    assert farthest(before.params, after.params) > 1e-4


def test_soft_q_s_loss_is_of_known_successors_alone():
    agent = SoftQ(hidden=(), discount=0.9, temperature=0.5)
    state = agent.init(KEY, Spec(Box((3,)), Discrete(2), 4))
    rng = np.random.default_rng(0)
    features, after = rng.normal(size=(2, 8, 3)).astype(np.float32)
    action, reward = rng.integers(0, 2, 8), rng.normal(size=8)
    terminated, known = rng.random(8) < 0.4, rng.random(8) < 0.6
    batch = soft_q.Batch(
        features=jnp.asarray(features),
        action=jnp.asarray(action, jnp.int32),
        reward=jnp.asarray(reward, jnp.float32),
        next_features=jnp.asarray(after),
        terminated=jnp.asarray(terminated),
        known=jnp.asarray(known),
    )
    learned = (state.params, state.target, state.optimizer, state.gradient_steps)
    update = jax.jit(partial(agent._update, Discrete(2), jnp.float32(0.5)))
    _, told = update(learned, batch, KEY)
    layer = {name: np.asarray(each) for name, each in
             state.params["critic"]["params"]["output"].items()}  # fmt: skip
    q = features @ layer["kernel"] + layer["bias"]
    following = after @ layer["kernel"] + layer["bias"]
    value = 0.5 * np.log(np.exp(following / 0.5).sum(-1))
    error = q[np.arange(8), action] - (reward + 0.9 * np.where(terminated, 0.0, value))
    want = 0.5 * np.where(known, error**2, 0.0).mean()
    assert 0 < known.sum() < 8 and terminated.any()
    np.testing.assert_allclose(told["critic_loss"], want, rtol=1e-4)


def test_soft_q_s_greedy_action_is_nearly_the_best_of_many():
    agent, spec = SoftQ(hidden=(8,)), Spec(Box((3,)), Box((2,)), 64)
    state = agent.init(KEY, spec)
    obs = jax.random.normal(jax.random.key(1), (64, 3))
    percept = Percept(obs, jnp.zeros(64), jnp.ones(64, bool))
    act = jax.jit(partial(agent.act, greedy=True))
    chosen, again = (act(state, (), jax.random.key(n), percept)[0] for n in (0, 1))
    np.testing.assert_array_equal(chosen, again)
    drawn = jax.jit(partial(agent.sample, count=400))(state, jax.random.key(2), obs)
    values = jax.jit(partial(action_values.q_of_candidates, agent, spec.action))
    q = values(state.params["critic"], obs, jnp.moveaxis(drawn, 1, 0))
    mine = values(state.params["critic"], obs, chosen[None])
    better = np.asarray(q > mine).mean(-1)
    assert better.mean() < 0.1  # the best of 32 has 3 in 100 above it, any of them half

"""A critic for the bonus alone: RND's two value heads, and its non-episodic return."""

from dataclasses import replace as with_settings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import TRPO, critic, on_policy
from explorax.bonuses import NoBonus
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.envs.mountain_car_sparse import MountainCarSparse
from explorax.envs.task import Batched

STEPS, ENVS = 12, 3
SPEC = Spec(obs=Box((2,)), action=Discrete(3), num_envs=ENVS)
ONE = TRPO(
    rollout_length=STEPS,
    hidden=(8,),
    value_hidden=(8,),
    value_minibatches=2,
    discount=0.9,
    gae_lambda=0.8,
    bonus_scale=0.5,
    normalize_advantages=False,
)
TWO = with_settings(ONE, bonus_discount=0.7)


def experience(seed=0):
    rng = np.random.default_rng(seed)
    done = rng.random((STEPS, ENVS)) < 0.25
    done[-1, 0] = True
    cut = rng.random((STEPS, ENVS)) < 0.5
    obs = rng.normal(size=(STEPS + 1, ENVS, 2)).astype(np.float32)
    ended_at = rng.normal(size=(STEPS, ENVS, 2)).astype(np.float32)
    return Rollout(
        obs=jnp.asarray(obs[:-1]),
        action=jnp.asarray(rng.integers(0, 3, (STEPS, ENVS)), jnp.int32),
        reward=jnp.asarray(rng.normal(size=(STEPS, ENVS)), jnp.float32),
        next_obs=jnp.asarray(np.where(done[..., None], ended_at, obs[1:])),
        terminated=jnp.asarray(done & ~cut),
        truncated=jnp.asarray(done & cut),
        first=jnp.asarray(np.concatenate([np.ones((1, ENVS), bool), done[:-1]])),
        bonus=jnp.asarray(rng.random((STEPS, ENVS)), jnp.float32),
    )


def learned(agent):
    """Return a state whose critics say something."""
    state = jax.jit(partial(agent.init, spec=SPEC))(jax.random.key(0))
    learn = jax.jit(lambda s, r: agent.learn(s, jax.random.key(1), r, lambda k, rows: rows.bonus))
    return learn(state, experience(7))[0]


def slow_advantages(reward, value, next_value, terminated, cut, discount, gae_lambda):
    """GAE by its definition, a row at a time, from the back."""
    advantage = np.zeros((STEPS, ENVS))
    for env in range(ENVS):
        later = 0.0
        for t in reversed(range(STEPS)):
            bootstrap = 0.0 if terminated[t, env] else next_value[t, env]
            delta = reward[t, env] + discount * bootstrap - value[t, env]
            later = delta + (0.0 if cut[t, env] else discount * gae_lambda * later)
            advantage[t, env] = later
    return advantage


@pytest.mark.parametrize("episodic", [True, False])
def test_advantages_are_those_of_two_streams_with_two_discounts(episodic):
    agent = with_settings(TWO, bonus_episodic=episodic)
    state, rollout = learned(agent), experience()
    batch = jax.jit(partial(on_policy.prepare, agent))(state, rollout)

    def said(head, obs):
        seen = on_policy.features(agent, state, obs)
        return np.asarray(critic.values(agent, head, seen), np.float64)

    terminated, done = (np.asarray(x) for x in (rollout.terminated, rollout.truncated))
    done = done | terminated
    of_reward = slow_advantages(
        np.asarray(rollout.reward, np.float64),
        said(state.critic, rollout.obs),
        said(state.critic, rollout.next_obs),
        terminated,
        done,
        0.9,
        0.8,
    )
    value = said(state.bonus_critic, rollout.obs)
    next_value = said(state.bonus_critic, rollout.next_obs)
    if not episodic:  # what follows an end is the next episode's first observation
        next_value[:-1] = value[1:]
        terminated, done = np.zeros_like(done), np.zeros_like(done)
    bonus = np.asarray(rollout.bonus, np.float64)
    of_bonus = slow_advantages(bonus, value, next_value, terminated, done, 0.7, 0.8)
    np.testing.assert_allclose(batch.advantage, of_reward + 0.5 * of_bonus, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        batch.target, of_reward + said(state.critic, rollout.obs), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(batch.bonus_target, of_bonus + value, rtol=1e-4, atol=1e-4)


def test_only_the_non_episodic_return_hears_what_is_paid_after_an_end():
    """The mutant here is the episodic agent itself: it must be deaf where the other is not."""
    rollout = experience()
    end = int(np.flatnonzero(np.asarray(rollout.terminated)[:-1, 1])[0])
    richer = replace(rollout, bonus=rollout.bonus.at[end + 1 :].add(10.0))
    changed = {}
    for episodic in (True, False):
        agent = with_settings(TWO, bonus_episodic=episodic)
        state = learned(agent)
        prepare = jax.jit(partial(on_policy.prepare, agent))
        before, after = prepare(state, rollout), prepare(state, richer)
        changed[episodic] = float(abs(after.bonus_target - before.bonus_target)[end, 1])
        np.testing.assert_array_equal(before.target, after.target)  # the other critic never does
    assert changed[True] == 0.0 and changed[False] > 1.0


def test_each_critic_is_fitted_to_its_own_stream():
    agent = with_settings(TWO, discount=0.0, bonus_discount=0.0, value_epochs=200)
    noise = experience().reward
    rollout = replace(experience(), reward=2.0 + noise, bonus=7.0 + noise)
    state = jax.jit(partial(agent.init, spec=SPEC))(jax.random.key(0))
    learn = jax.jit(
        lambda s: agent.learn(s, jax.random.key(1), rollout, lambda k, rows: rows.bonus)
    )
    state, metrics = learn(state)
    seen = on_policy.features(agent, state, rollout.obs)
    means = [critic.values(agent, head, seen).mean() for head in (state.critic, state.bonus_critic)]
    np.testing.assert_allclose(means, [2.0 + noise.mean(), 7.0 + noise.mean()], atol=0.25)
    np.testing.assert_allclose(metrics["bonus_value_mean"], means[1], rtol=1e-4)


def test_without_a_bonus_discount_there_is_no_second_critic():
    state = jax.jit(partial(ONE.init, spec=SPEC))(jax.random.key(0))
    assert state.bonus_critic == ()


def test_a_second_critic_of_nothing_changes_nothing():
    """With no bonus paid, two critics train the policy to the bit as one does."""
    env = Batched(MountainCarSparse(), 4)
    policies = []
    for agent in (ONE, TWO):
        training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
        chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 2))
        policies.append(chunk(training)[0].learner.agent.policy)
    for one, two in zip(*map(jax.tree.leaves, policies), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bonus_discount": 1.5}, "between 0 and 1, or None"),
        ({"bonus_episodic": False}, "True without a bonus_discount"),
        ({"bonus_discount": 0.9, "baseline_on_extrinsic": True}, "False with a bonus_discount"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        TRPO(**settings)

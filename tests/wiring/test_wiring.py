"""Which bonus reaches the learner, does it see what the actor saw, do both drivers agree?

That every agent trains on the sum of reward and bonus is in test_sum.py. Each check is a function
that raises; the mutants at the end of the file must make it raise.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import AS_USERS_DO
from two_streams import Passing

from explorax import host_loop, loop
from explorax.agents import DQN, REINFORCE, TRPO, on_policy
from explorax.bonuses import RND, VIME, MedianRatio, NoBonus, PredictionError, Scale, Sum
from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_sparse import MountainCarSparse
from explorax.envs.task import Batched

SMALL: dict[str, Any] = dict(rollout_length=20, hidden=(8,), value_hidden=(8,), value_minibatches=2)
AGENTS = {
    "TRPO": TRPO(**SMALL, cg_iterations=3),
    "REINFORCE": REINFORCE(**SMALL),
    "DQN": DQN(hidden=(8,), rollout_length=10, warmup_env_steps=20, replay_capacity=400),
    "DQN at collection": DQN(
        hidden=(8,),
        rollout_length=10,
        warmup_env_steps=20,
        replay_capacity=400,
        bonus_at="collection",
    ),
}
ITERATIONS = 3


def position(obs, like):
    """Return the first entry [*like.shape] of each observation [*like.shape, ...]."""
    return obs.reshape(*like.shape, -1)[..., 0]


@dataclass(frozen=True)
class PaysPosition:
    """Pays a function of the state arrived at, the same at any time."""

    replayable = True

    def init(self, key, spec):
        return ()

    def score(self, state, key, rollout):
        return jnp.square(position(rollout.next_obs, rollout.reward)), state

    def update(self, state, key, rollout):
        return state, {}

    def rescore(self, state, key, rows):
        return jnp.square(position(rows.next_obs, rows.reward))


@cache
def _program(env, agent, bonus):
    start = jax.jit(partial(loop.start, env, agent, bonus))
    chunk = partial(loop.chunk_on_device, env, agent, bonus, ITERATIONS)
    return start, jax.jit(chunk, compiler_options=AS_USERS_DO)


def trained(env, agent, bonus, seed=0):
    start, chunk = _program(env, agent, bonus)
    training, metrics = chunk(start(jax.random.key(seed)))
    return training.learner.agent, metrics


def same(one, other):
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def env_for(agent):
    return Batched(MountainCar() if isinstance(agent, DQN) else MountainCarSparse(), 4)


@pytest.mark.parametrize("name", ["TRPO", "DQN"])
@pytest.mark.parametrize("inner", [VIME(hidden=(4,), pool_size=500), PredictionError(hidden=(4,))])
def test_scale_zero_is_no_bonus_to_the_bit(name, inner):
    env, agent = env_for(AGENTS[name]), AGENTS[name]
    inner = dataclasses.replace(inner, min_pool_size=50)
    silent, metrics = trained(env, agent, Scale(MedianRatio(inner), 0.0))
    none, _ = trained(env, agent, NoBonus())
    same(silent, none)
    assert metrics["bonus_max"] == 0


@pytest.mark.parametrize("name", ["TRPO", "DQN", "DQN at collection"])
def test_a_bonus_that_learns_does_learn_and_reaches_the_learner(name):
    """DI-engine's DQN with RND never trained RND, and paid it into a copy (its issue 676)."""
    env, agent = env_for(AGENTS[name]), AGENTS[name]
    rnd = RND(features=4, hidden=(4,), predictor_hidden=(4, 4), learning_rate=1e-2)
    start, chunk = _program(env, agent, rnd)
    before = start(jax.random.key(0))
    after, metrics = chunk(before)
    with pytest.raises(AssertionError):
        same(after.learner.bonus.trained.params, before.learner.bonus.trained.params)
    same(after.learner.bonus.target, before.learner.bonus.target)
    assert metrics["bonus_mean"] > 0 and np.isfinite(metrics["bonus/loss"])
    none, _ = trained(env, agent, NoBonus())
    part = "params" if isinstance(agent, DQN) else "policy"
    with pytest.raises(AssertionError):
        same(getattr(after.learner.agent, part), getattr(none, part))
    same(trained(env, agent, Scale(rnd, 0.0))[0], none)


def test_a_replayed_row_is_not_paid_what_the_predictor_once_made_of_it():
    env = env_for(AGENTS["DQN"])
    rnd = RND(features=4, hidden=(4,), predictor_hidden=(4, 4), learning_rate=1e-2)
    replayed, _ = trained(env, AGENTS["DQN"], rnd)
    collected, _ = trained(env, AGENTS["DQN at collection"], rnd)
    with pytest.raises(AssertionError):
        same(replayed.params, collected.params)


def test_agents_own_scale_does_what_the_wrapper_does():
    env = env_for(AGENTS["TRPO"])
    scaled = dataclasses.replace(AGENTS["TRPO"], bonus_scale=0.25)
    same(
        trained(env, scaled, PaysPosition())[0],
        trained(env, AGENTS["TRPO"], Scale(PaysPosition(), 0.25))[0],
    )


def test_sum_of_one_is_that_one():
    env, agent = env_for(AGENTS["TRPO"]), AGENTS["TRPO"]
    vime = VIME(hidden=(4,), pool_size=500, min_pool_size=50)
    same(trained(env, agent, Sum((vime,)))[0], trained(env, agent, vime)[0])


def test_reported_return_is_extrinsic_only():
    env, agent = env_for(AGENTS["REINFORCE"]), AGENTS["REINFORCE"]
    paid = Scale(PaysPosition(), 1000.0)
    training = _program(env, agent, paid)[0](jax.random.key(0))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, paid, 26))  # beyond 500 steps
    _, metrics = chunk(training)
    assert metrics["episodes"] == 4 and metrics["return_mean"] <= 1.0
    assert metrics["bonus_mean"] > 1.0


@pytest.mark.parametrize("name", ["TRPO", "DQN"])
def test_both_drivers_draw_the_same_numbers(name):
    agent = AGENTS[name]
    env = env_for(agent)
    bonus = Scale(MedianRatio(VIME(hidden=(4,), pool_size=500, min_pool_size=50)), 0.1)
    start, chunk = _program(env, agent, bonus)
    on_device, metrics = chunk(start(jax.random.key(3)))
    on_host, host_metrics = host_loop.chunk_on_host(
        env, agent, bonus, ITERATIONS, start(jax.random.key(3))
    )
    for a, b in zip(
        jax.tree.leaves(jax.tree.map(_data, on_device)),
        jax.tree.leaves(jax.tree.map(_data, on_host)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    assert metrics.keys() == host_metrics.keys()


def _data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_seeds_in_one_program_are_the_seeds_one_by_one():
    agent = AGENTS["DQN"]
    env = env_for(agent)
    bonus = Scale(VIME(hidden=(4,), pool_size=500, min_pool_size=50), 0.1)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    start, chunk = _program(env, agent, bonus)
    all_seeds = jax.vmap(partial(loop.chunk_on_device, env, agent, bonus, ITERATIONS))
    together, _ = jax.jit(all_seeds)(jax.jit(jax.vmap(start))(keys))
    for index in range(2):
        alone, _ = chunk(start(keys[index]))
        for a, b in zip(
            jax.tree.leaves(together.learner.agent.params),
            jax.tree.leaves(alone.learner.agent.params),
            strict=True,
        ):
            np.testing.assert_allclose(a[index], b, rtol=1e-3, atol=1e-5)


def collected(agent, iterations=30):
    env = Batched(MountainCar(), 3)  # 200 steps
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
    collect = jax.jit(partial(loop.collect_on_device, env, agent))
    actor, parts = training.actor, []
    for _ in range(iterations):
        actor, rollout = collect(training.learner, actor)
        parts.append(dataclasses.replace(rollout, extras=(), carry=()))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def check_rollout(rollout):
    """Raise unless the episode marks are where they belong."""
    done = rollout.terminated | rollout.truncated
    assert rollout.first[0].all()
    np.testing.assert_array_equal(rollout.first[1:], done[:-1])
    going = ~done[:-1]
    np.testing.assert_array_equal(rollout.obs[1:][going], rollout.next_obs[:-1][going])
    assert (rollout.obs[1:][~going] != rollout.next_obs[:-1][~going]).any(-1).all()
    assert not (rollout.terminated & rollout.truncated).any()
    lengths = np.diff(np.flatnonzero(np.append(rollout.first[:, 0], True)))
    assert lengths.max() == 200, "an episode outlived its time limit, or never reached it"
    at_limit = np.cumsum(lengths)[lengths == 200] - 1
    assert (rollout.truncated | rollout.terminated)[at_limit[at_limit < len(done) - 1], 0].all()
    assert rollout.truncated.any()


def test_rollouts_mark_episodes_where_they_begin_and_end():
    check_rollout(collected(AGENTS["TRPO"]))


def check_ends_shield_what_came_before(prepare):
    """Raise unless what is learnt of an episode is deaf to the rewards of the one after it."""
    rollout = collected(AGENTS["TRPO"])
    end = int(np.flatnonzero(rollout.truncated[:, 0] & ~rollout.terminated[:, 0])[0])
    richer = np.array(rollout.reward)
    richer[end + 1 :] += 100.0
    before = prepare(rollout).target[: end + 1, 0]
    after = prepare(dataclasses.replace(rollout, reward=richer)).target[: end + 1, 0]
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)


def test_nothing_is_learnt_across_a_truncation_and_a_learner_that_drops_it_is_caught():
    agent = AGENTS["TRPO"]
    state = jax.jit(partial(agent.init, spec=Batched(MountainCar(), 3).spec))(jax.random.key(0))
    prepare = jax.jit(partial(on_policy.prepare, agent, state))
    check_ends_shield_what_came_before(prepare)

    def deaf_to_truncation(rollout):
        truncated = np.zeros_like(rollout.truncated)
        return prepare(dataclasses.replace(rollout, truncated=truncated))

    with pytest.raises(AssertionError):
        check_ends_shield_what_came_before(deaf_to_truncation)


def test_mutants_of_the_marks_are_caught():
    rollout = collected(AGENTS["TRPO"])
    shifted = dataclasses.replace(rollout, first=np.roll(rollout.first, 1, axis=0))
    dropped = dataclasses.replace(rollout, truncated=np.zeros_like(rollout.truncated))
    already_reset = dataclasses.replace(
        rollout, next_obs=np.concatenate([rollout.obs[1:], rollout.next_obs[-1:]])
    )
    for mutant in (shifted, dropped, already_reset):
        with pytest.raises(AssertionError):
            check_rollout(mutant)


def test_score_comes_before_learn_and_update_comes_last():
    calls = []

    @dataclass(frozen=True)
    class Listening(PaysPosition):
        def score(self, state, key, rollout):
            calls.append("score")
            return super().score(state, key, rollout)

        def update(self, state, key, rollout):
            calls.append("update")
            return super().update(state, key, rollout)

    @dataclass(frozen=True)
    class ListeningAgent(Passing):
        def learn(self, state, key, rollout, rescore):
            calls.append("learn")
            return self.agent.learn(state, key, rollout, rescore)

    env = env_for(AGENTS["REINFORCE"])
    agent, bonus = ListeningAgent(AGENTS["REINFORCE"]), Listening()
    training = loop.start(env, agent, bonus, jax.random.key(0))
    _, rollout = jax.jit(partial(loop.collect_on_device, env, agent))(
        training.learner, training.actor
    )
    jax.jit(partial(loop.improve, agent, bonus))(training.learner, rollout)
    assert calls == ["score", "learn", "update"]

"""Q-learning in a table: against a loop over single rows, value iteration, and UCB1's own rule."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import DQN, TabularQ
from explorax.behaviors import UCB, UCB1, Boltzmann, EpsilonGreedy, Greedy
from explorax.bonuses import NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec
from explorax.envs import BernoulliBandit, Chain, DeepSea
from explorax.envs.task import Batched, Task

STATES, ACTIONS, STEPS, ENVS = 3, 2, 15, 4  # few cells, so that environments meet in them
SPEC = Spec(Box((1, STATES), 0.0, 1.0, one_hot=(STATES,)), Discrete(ACTIONS), ENVS)


def experience(seed):
    """Return made-up rows [T, E] and the numbers of their states (STATES: zeros)."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, ENVS)
    before, after = rng.integers(STATES + 1, size=(2, *shape))
    codes = np.concatenate([np.eye(STATES), np.zeros((1, STATES))]).astype(np.float32)[:, None]
    terminated = rng.random(shape) < 0.3
    rows = Rollout(
        obs=codes[before],
        action=rng.integers(ACTIONS, size=shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        next_obs=codes[after],
        terminated=terminated,
        truncated=~terminated & (rng.random(shape) < 0.3),
        first=np.zeros(shape, bool),
        bonus=rng.random(shape).astype(np.float32),
    )
    return jax.tree.map(jnp.asarray, rows), before, after


@pytest.mark.parametrize(
    "settings",
    [
        dict(step_size=0.3),
        dict(step_size=None),
        dict(step_size=None, initial_value=2.0, initial_weight=1.5, bonus_scale=0.5),
    ],
    ids=str,
)
def test_the_table_is_that_of_a_loop_over_single_rows(settings):
    agent = TabularQ(**settings, discount=0.8, rollout_length=STEPS)
    state = jax.jit(partial(agent.init, spec=SPEC))(jax.random.key(0))
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    table = np.full((STATES + 1, ACTIONS), agent.initial_value)
    visits = np.zeros((STATES + 1, ACTIONS), int)
    metrics: dict[str, Any] = {}
    errors: list[float] = []
    for seed in range(3):
        rows, before, after = experience(seed)
        state, metrics = learn(state, jax.random.key(seed), rows)
        errors = []
        for t in range(STEPS):
            for e in range(ENVS):
                s, a = before[t, e], int(rows.action[t, e])
                target = float(rows.reward[t, e]) + agent.bonus_scale * float(rows.bonus[t, e])
                if not rows.terminated[t, e]:  # truncated or not
                    target += 0.8 * table[after[t, e]].max()
                visits[s, a] += 1
                rate = agent.step_size or 1 / (visits[s, a] + agent.initial_weight)
                errors.append(abs(target - table[s, a]))
                table[s, a] += rate * (target - table[s, a])
    np.testing.assert_allclose(state.values, table, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(state.counts, visits)
    assert metrics["td_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert state.env_steps == 3 * STEPS * ENVS
    seen = agent.values(state, experience(0)[0].obs[0])
    np.testing.assert_array_equal(seen, np.asarray(state.values)[experience(0)[1][0]])


def test_sample_averages_are_means_of_targets_and_of_the_initial_value():
    agent = TabularQ(step_size=None, discount=0.0, initial_value=3.0, initial_weight=2.0)
    state = jax.jit(partial(agent.init, spec=SPEC))(jax.random.key(0))
    rows, before, _ = experience(5)
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    state, _ = learn(state, jax.random.key(0), rows)
    total = np.asarray(rows.reward + rows.bonus)
    for s in range(STATES + 1):
        for a in range(ACTIONS):
            targets = total[(before == s) & (np.asarray(rows.action) == a)]
            expected = (2.0 * 3.0 + targets.sum()) / (2.0 + len(targets))
            assert float(state.values[s, a]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def trained(task: Task, agent, iterations, envs=1, seed=0, bonus=None):
    env, bonus = Batched(task, envs), bonus or NoBonus()
    training = jax.jit(partial(loop.start, env, agent, bonus))(jax.random.key(seed))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, bonus, iterations))
    return env, *chunk(training)


def optimal_values(task: Task, points, discount):
    """Return (observations [N, ...], Q* [N, A]) of a deterministic task, by value iteration."""
    key, places = jax.random.key(0), [task.place(jnp.asarray(point)) for point in points]
    assert isinstance(task.action, Discrete)
    observations = [np.asarray(task.observe(place)) for place in places]
    index = {obs.tobytes(): i for i, obs in enumerate(observations)}
    step = jax.jit(task.step)
    model = []
    for place in places:
        for action in range(task.action.n):
            after, reward, terminated = step(place, key, jnp.int32(action))
            follower = None if terminated else index[np.asarray(task.observe(after)).tobytes()]
            model.append((float(reward), follower))
    value = np.zeros(len(places))
    table = np.zeros((len(places), task.action.n))
    for _ in range(2000):
        backed = [reward + discount * (0 if f is None else value[f]) for reward, f in model]
        table = np.array(backed).reshape(table.shape)
        value = table.max(1)
    return jnp.asarray(np.stack(observations)), table


@pytest.mark.parametrize(
    "task, points, iterations",
    [
        # the time limit truncates: values are those of a walk without end
        (Chain(10), [(float(i), 0.0) for i in range(10)], 1500),
        (DeepSea(5), [(float(c), float(r)) for r in range(5) for c in range(r + 1)], 400),
    ],
    ids=["chain/10", "deep_sea/5"],
)
def test_values_are_those_of_value_iteration(task, points, iterations):
    agent = TabularQ(EpsilonGreedy(1.0, 1.0), step_size=1.0, discount=0.9, rollout_length=5)
    obs, best = optimal_values(task, points, 0.9)
    _, training, _ = trained(task, agent, iterations, envs=10)
    found = jax.jit(agent.values)(training.learner.agent, obs)
    np.testing.assert_allclose(found, best, rtol=1e-3, atol=1e-4)
    percept = Percept(obs, jnp.zeros(len(obs)), jnp.ones(len(obs), bool))
    act = jax.jit(partial(agent.act, greedy=True))
    chosen, _, extras = act(training.learner.agent, (), jax.random.key(0), percept)
    np.testing.assert_array_equal(chosen, best.argmax(1))
    assert extras == ()


def test_a_run_with_ucb1_follows_its_rule_pull_by_pull():
    task, pulls = BernoulliBandit(4), 300
    agent = TabularQ(UCB1(), step_size=None, discount=0.0)
    env = Batched(task, 1)

    @jax.jit
    def run(key):
        def one(training, _):
            actor, rows = loop.collect_on_device(env, agent, training.learner, training.actor)
            learner, _, _ = loop.improve(agent, NoBonus(), training.learner, rows)
            return loop.Training(learner, actor, training.tally), (rows.action, rows.reward)

        return jax.lax.scan(one, loop.start(env, agent, NoBonus(), key), None, pulls)[1]

    actions, rewards = (np.asarray(leaf).ravel() for leaf in run(jax.random.key(3)))
    assert sorted(actions[:4]) == [0, 1, 2, 3]  # every arm once first
    decided = 0
    for n in range(4, pulls):
        counts = np.bincount(actions[:n], minlength=4)
        means = np.bincount(actions[:n], rewards[:n], minlength=4) / counts
        index = means + np.sqrt(2 * np.log(n) / counts)
        assert index[actions[n]] >= index.max() - 1e-5
        decided += (index >= index.max() - 1e-5).sum() == 1
    assert decided > 200


def test_optimism_makes_the_greedy_try_everything():
    task = DeepSea(4)
    _, bold, _ = trained(task, TabularQ(Greedy(), initial_value=1.0, discount=1.0), 1500)
    _, timid, _ = trained(task, TabularQ(Greedy(), initial_value=0.0, discount=1.0), 1500)

    def reached(training):
        return int((training.learner.agent.counts.sum(1) > 0).sum())

    assert reached(bold) == 4 * 5 // 2  # the cells that can be reached
    assert reached(timid) < 8
    assert bold.tally.first_success_env_steps > 0 > timid.tally.first_success_env_steps


@pytest.mark.parametrize("behavior", [EpsilonGreedy(), Boltzmann(), Greedy(), UCB(0.5)])
def test_it_acts_with_every_behaviour(behavior):
    agent = TabularQ(behavior=behavior, rollout_length=2)
    _, training, metrics = trained(Chain(4), agent, 50, envs=3)
    state = training.learner.agent
    assert state.counts.sum() == state.env_steps == 300
    assert all(np.isfinite(metrics[f"agent/{name}"]) for name in ("td_error", "q_mean"))


@pytest.mark.parametrize(
    "spec, words",
    [
        (Spec(Box((2,)), Discrete(2), 1), r"shape \(2,\).* no one-hot codes .* DQN"),
        (Spec(Box((84, 84), 0.0, 255.0, "uint8"), Discrete(2), 1), r"\(84, 84\).* DQN"),
        (Spec(Box((3,), one_hot=(3,)), Box((1,)), 1), "continuous.* TRPO, REINFORCE, ERWR"),
        (
            Spec(Box((2500,), one_hot=(2000, 500)), Discrete(2), 1),
            r"at most 1,000,000 states .* \(2000 \+ 1\) · \(500 \+ 1\) = 1,002,501\. DQN",
        ),
    ],
)
def test_worlds_without_a_table_are_refused(spec, words):
    with pytest.raises(Incompatible, match=words):
        TabularQ().init(jax.random.key(0), spec)


def test_an_agent_that_does_not_count_refuses_ucb():
    spec = Batched(Chain(4), 2).spec
    with pytest.raises(Incompatible, match=r"DQN does not count .* UCB\(scale=1.0\) .* TabularQ"):
        DQN(behavior=UCB()).init(jax.random.key(0), spec)


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(rollout_length=0), "rollout_length must be at least 1"),
        (dict(step_size=0.0), "step_size must be above 0 and at most 1, or None"),
        (dict(discount=1.1), "discount must be between 0 and 1"),
        (dict(initial_weight=1.0), "initial_weight must be 0 with a step_size"),
        (dict(behavior=UCB1()), "step_size must be None with UCB1"),
        (dict(behavior=UCB1(), step_size=None), "discount must be 0 with UCB1"),
        (dict(bonus_scale=-1.0), "bonus_scale must be at least 0"),
        (dict(max_states=0), "max_states must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        TabularQ(**settings)

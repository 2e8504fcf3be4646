"""DQN: its wiring bit by bit, and values it must find where they are known."""

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from explorax import loop
from explorax.agents import q_learner
from explorax.agents.dqn import DQN
from explorax.behaviors import Boltzmann, EpsilonGreedy, Greedy
from explorax.bonuses.combine import NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec
from explorax.core.pytree import replace
from explorax.envs.task import Batched

SMALL = DQN(
    hidden=(8,),
    rollout_length=4,
    updates_per_learn=2,
    batch_size=16,
    replay_capacity=60,
    warmup_env_steps=0,
    n_steps=2,
    target_update="copy",
    target_copy_every=3,
)
SPEC = Spec(obs=Box((2, 2)), action=Discrete(3), num_envs=5)


def rollout(seed, length=4):
    """Made-up experience [T, E], with bonus `paid` for its rows."""
    rng = np.random.default_rng(seed)
    shape = (length, SPEC.num_envs)
    terminated = rng.random(shape) < 0.2
    obs, next_obs = rng.normal(size=(2, *shape, 2, 2)).astype(np.float32)
    rows = Rollout(
        obs=obs,
        action=rng.integers(0, 3, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        next_obs=next_obs,
        terminated=terminated,
        truncated=(rng.random(shape) < 0.2) & ~terminated,
        first=rng.random(shape) < 0.2,
        bonus=np.zeros(shape, np.float32),
    )
    rows = jax.tree.map(jnp.asarray, rows)
    return replace(rows, bonus=paid(None, rows))


def paid(key, rows):
    return jnp.abs(rows.obs).sum((-1, -2)) + rows.action.astype(jnp.float32)


def nothing(key, rows):
    return jnp.zeros_like(rows.reward)


def as_paid(key, rows):
    return rows.bonus


@lru_cache
def learner(agent, rescore):
    return jax.jit(lambda state, key, rows: agent.learn(state, key, rows, rescore))


@lru_cache
def started(agent):
    return jax.jit(lambda key: agent.init(key, SPEC))(jax.random.key(0))


def trained(agent, rescore, change=lambda rows: rows, learns=6):
    """The state after some learning from rollouts that `change` has edited."""
    state, metrics = started(agent), {}
    for i in range(learns):
        state, metrics = learner(agent, rescore)(state, jax.random.key(i), change(rollout(i)))
    return state, metrics


def same(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def close(one, other):
    """Equal but for the last bits: XLA may compute a value once for each of its two uses."""
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in leaves)


def without_bonus(rows):
    return replace(rows, bonus=jnp.zeros_like(rows.bonus))


def folded(scale):
    return lambda rows: without_bonus(replace(rows, reward=rows.reward + scale * rows.bonus))


def assert_same_learning(one, other):
    for name in ("params", "target_params", "optimizer"):
        assert same(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize(
    "bonus_at, rescore, scale", [("replay", paid, 0.25), ("collection", nothing, 1.0)]
)
def test_reward_with_bonus_trains_exactly_as_their_sum(bonus_at, rescore, scale):
    with_bonus, _ = trained(replace(SMALL, bonus_at=bonus_at, bonus_scale=scale), rescore)
    their_sum, _ = trained(SMALL, nothing, folded(scale))
    assert_same_learning(with_bonus, their_sum)
    deaf, _ = trained(SMALL, nothing, without_bonus)
    assert not same(with_bonus.params, deaf.params)


def test_scale_zero_is_no_bonus_to_the_bit():
    zero, _ = trained(replace(SMALL, bonus_scale=0.0), paid)
    none, _ = trained(SMALL, nothing, without_bonus)
    assert_same_learning(zero, none)


def test_a_bonus_that_cannot_be_replayed_is_paid_as_at_collection():
    replayed, _ = trained(replace(SMALL, bonus_at="replay"), as_paid)
    collected, _ = trained(replace(SMALL, bonus_at="collection"), nothing)
    assert same(replayed.params, collected.params)


def test_replay_pays_the_fresh_bonus_and_not_the_stored_one():
    fresh, _ = trained(SMALL, paid, without_bonus)
    stored, _ = trained(SMALL, paid)
    assert same(fresh.params, stored.params)


def test_rescore_sees_rows_as_they_were_stored():
    seen = []

    def look(key, rows):
        jax.debug.callback(seen.append, rows)
        return rows.bonus

    state = started(SMALL)
    rows = rollout(3)
    jax.block_until_ready(learner(SMALL, look)(state, jax.random.key(1), rows))
    jax.effects_barrier()
    (given,) = seen
    assert given.obs.shape == (2 * 16 * 2, 2, 2) and given.reward.shape == (64,)
    places = [int(np.flatnonzero(np.ravel(rows.reward) == r)[0]) for r in given.reward]
    for name in ("obs", "action", "next_obs", "terminated", "truncated", "first", "bonus"):
        stored = np.asarray(getattr(rows, name))
        stored = stored.reshape(-1, *stored.shape[2:])
        np.testing.assert_array_equal(getattr(given, name), stored[places], err_msg=name)


def test_target_is_copied_every_k_gradient_steps():
    agent = replace(SMALL, updates_per_learn=1, target_copy_every=3)
    state = {learns: trained(agent, paid, learns=learns)[0] for learns in (2, 3, 5, 6)}
    assert [int(state[learns].gradient_steps) for learns in state] == [2, 3, 5, 6]
    assert same(state[2].target_params, started(agent).params)
    assert close(state[3].target_params, state[3].params)
    assert close(state[5].target_params, state[3].params)
    assert close(state[6].target_params, state[6].params)
    assert not close(state[3].params, state[6].params)


def test_polyak_moves_the_target_by_its_share():
    agent = replace(SMALL, updates_per_learn=1, target_update="polyak", polyak_rate=0.25)
    before, _ = trained(agent, paid, learns=2)
    after, _ = trained(agent, paid, learns=3)
    expected = jax.tree.map(lambda t, p: 0.75 * t + 0.25 * p, before.target_params, after.params)

    assert close(after.target_params, expected)


def test_the_whole_gradient_is_clipped_by_its_norm():
    one = replace(SMALL, updates_per_learn=1, max_grad_norm=None)
    free, metrics = trained(one, paid, learns=1)
    clipped, _ = trained(replace(one, max_grad_norm=0.01), paid, learns=1)
    norm = float(metrics["gradient_norm"])
    assert norm > 0.1
    # Adam's first moment after one step is a tenth of the gradient it was given.
    moment = optax.tree.get(free.optimizer, "mu")
    given = optax.tree.get(clipped.optimizer, "mu")
    assert float(optax.tree.norm(given)) == pytest.approx(0.001, rel=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b * 0.01 / norm, rtol=1e-4, atol=1e-9),
        given,
        moment,
    )


def test_nothing_is_learned_before_the_warmup_is_over():
    agent = replace(SMALL, warmup_env_steps=41)  # each rollout has 20
    start = started(agent)
    early, metrics = trained(agent, paid, learns=2)
    assert same(early.params, start.params) and same(early.optimizer, start.optimizer)
    assert int(early.gradient_steps) == 0 and int(early.ring.count) == 8
    assert all(np.isnan(value) for value in metrics.values())
    late, metrics = trained(agent, paid, learns=3)
    assert int(late.gradient_steps) == 2 and int(late.env_steps) == 60
    assert all(np.isfinite(value) for value in metrics.values())


def test_greedy_is_deterministic_and_takes_the_best():
    state, _ = trained(SMALL, paid, learns=2)
    obs = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32))
    percept = Percept(obs, jnp.zeros(5), jnp.ones(5, bool))
    act = jax.jit(partial(SMALL.act, greedy=True))
    actions = [act(state, (), jax.random.key(i), percept)[0] for i in range(5)]
    assert all(same(action, actions[0]) for action in actions)
    values = jax.jit(SMALL.values)(state, obs)
    np.testing.assert_array_equal(actions[0], np.argmax(values, axis=1))
    explore = jax.jit(SMALL.act)
    drawn = [explore(state, (), jax.random.key(i), percept)[0] for i in range(20)]
    assert set(np.ravel(drawn).tolist()) == {0, 1, 2}


@dataclass(frozen=True)
class Probe:
    """A line of `length` cells walked from left to right; the last step pays.

    It pays 1, or ±1 by the sign that the observation shows, or ±1 by the action. It terminates, or,
    with `endless`, does not: time runs out after one step, and the successor's value counts.
    """

    length: int = 1
    pays_by: str = "constant"  # or "obs", "action"
    endless: bool = False

    obs = Box((2,))
    action = Discrete(2)
    success_return = None
    view = None

    @property
    def max_episode_steps(self):
        return 1 if self.endless else None

    def reset(self, key):
        sign = jax.random.rademacher(key, (), jnp.float32) if self.pays_by == "obs" else 1.0
        return jnp.stack([jnp.float32(0), jnp.float32(sign)])

    def observe(self, state):
        return state

    def step(self, state, key, action):
        cell, sign = state
        last = cell >= self.length - 1
        by = {"constant": 1.0, "obs": sign, "action": 2.0 * action.astype(jnp.float32) - 1.0}
        reward = jnp.where(last, jnp.float32(by[self.pays_by]), 0.0)
        moved = jnp.stack([cell + (0.0 if self.endless else 1.0), sign])
        return moved, reward, last & (not self.endless)

    def place(self, point):
        return point

    def draw(self, state):
        return np.zeros((2, 2, 3), np.uint8)


PROBER = DQN(
    behavior=EpsilonGreedy(start=1.0, end=1.0),
    hidden=(16,),
    rollout_length=4,
    updates_per_learn=4,
    batch_size=32,
    replay_capacity=400,
    warmup_env_steps=100,
    discount=0.5,
    learning_rate=1e-2,
    loss="huber",
    target_update="copy",
    target_copy_every=20,
    n_steps=1,
)
UP, DOWN = [0.0, 1.0], [0.0, -1.0]


@pytest.mark.parametrize(
    "probe, changes, cells, expected",
    [
        (Probe(pays_by="obs"), {}, [UP, DOWN], [[1, 1], [-1, -1]]),
        (
            Probe(2, "action"),
            {"normalize_obs": False, "double": False},
            [UP, [1.0, 1.0]],
            [[0.5, 0.5], [-1, 1]],
        ),
        (
            Probe(3),
            {"n_steps": 3, "target_update": "polyak", "polyak_rate": 0.05, "loss": "squared"},
            [UP, [1.0, 1.0], [2.0, 1.0]],
            [[0.25, 0.25], [0.5, 0.5], [1, 1]],
        ),
        (Probe(endless=True), {"n_steps": 3, "activation": "tanh"}, [UP], [[2, 2]]),
    ],
    ids=["observation", "a-choice-later", "a-reward-later", "time-out"],
)
def test_finds_the_values_of(probe, changes, cells, expected):
    agent = replace(PROBER, **changes)
    env = Batched(probe, 4)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(1))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), 150))
    training, _ = chunk(training)
    values = jax.jit(agent.values)(training.learner.agent, jnp.asarray(cells))
    np.testing.assert_allclose(values, expected, atol=0.06)


CODES = replace(SPEC, obs=Box((1, 4), 0.0, 1.0, one_hot=(4,)))
HOPEFUL = replace(SMALL, optimism=2.0, optimism_power=0.5, normalize_obs=False)


def coded(seed):
    """Made-up experience in five states, the last of which is a code without a 1."""
    rows = rollout(seed)
    code = jnp.concatenate([jnp.eye(4), jnp.zeros((1, 4))])[:, None]
    places = np.random.default_rng(seed).integers(0, 5, (2, *rows.reward.shape))
    return replace(rows, obs=code[places[0]], next_obs=code[places[1]]), places


def test_optimism_is_added_where_actions_are_compared_by_how_often_they_were_tried():
    state = jax.jit(partial(HOPEFUL.init, spec=CODES))(jax.random.key(0))
    learn = jax.jit(partial(HOPEFUL.learn, rescore=nothing))
    tried = np.zeros((5, 3))
    for i in range(3):
        rows, (place, _) = coded(i)
        state, _ = learn(state, jax.random.key(i), rows)
        for where, action in zip(place.ravel(), np.ravel(rows.action), strict=True):
            tried[where, action] += 1
    rows, (place, _) = coded(9)
    obs, place = rows.obs[0], place[0]
    expected = 2.0 / np.sqrt(tried[place] + 1)
    added = jax.jit(partial(q_learner.optimism, HOPEFUL))(state, obs)
    np.testing.assert_allclose(added, expected, rtol=1e-5)
    # when acting, but not where an agent is evaluated
    behaved = replace(HOPEFUL, behavior=Greedy())
    percept = Percept(obs, jnp.zeros(5), jnp.ones(5, bool))
    values = np.asarray(jax.jit(HOPEFUL.values)(state, obs))
    act = jax.jit(behaved.act, static_argnames="greedy")
    for greedy, compared in ((False, values + expected), (True, values)):
        action, _, _ = act(state, (), jax.random.key(0), percept, greedy=greedy)
        np.testing.assert_array_equal(action, compared.argmax(-1))
    assert ((values + expected).argmax(-1) != values.argmax(-1)).any()


@pytest.mark.parametrize("double", [True, False])
def test_optimism_raises_targets_by_that_of_the_action_they_look_ahead_to(double):
    rng, agent = np.random.default_rng(0), replace(HOPEFUL, double=double)
    online, behind, added = rng.normal(size=(3, 6, 3)).astype(np.float32)
    reward, discount = rng.normal(size=6), np.asarray([0.9, 0.9, 0.0, 0.9, 0.9, 0.9])
    batch = q_learner.Batch(
        features=jnp.zeros((6, 1)),
        action=jnp.zeros(6, jnp.int32),
        reward=jnp.asarray(reward, jnp.float32),
        discount=jnp.asarray(discount, jnp.float32),
        next_features=jnp.zeros((6, 1)),
        next_optimism=jnp.asarray(added),
        known=jnp.ones(6, bool),
        extras=(),
    )
    learned = (jnp.asarray(online), jnp.asarray(behind))
    optimizer = q_learner.optimizer_of(agent).init(learned[0])
    _, told = jax.jit(partial(q_learner.stepped, agent, lambda params, _: params))(
        (*learned, optimizer, jnp.int32(0)), batch
    )
    targets = []
    for i in range(6):
        best = int(np.argmax((online if double else behind)[i] + added[i]))
        targets.append(reward[i] + discount[i] * (behind[i, best] + added[i, best]))
    np.testing.assert_allclose(told["target_mean"], np.mean(targets), rtol=1e-5)


def test_optimism_without_codes_to_count_is_refused():
    with pytest.raises(Incompatible, match=r"optimism=2.0 has a table.*no one-hot codes"):
        HOPEFUL.init(jax.random.key(0), SPEC)


def test_continuous_actions_are_refused_with_agents_that_take_them():
    with pytest.raises(Incompatible, match=r"continuous: Box.*TRPO, REINFORCE, ERWR"):
        DQN().init(jax.random.key(0), replace(SPEC, action=Box((1,))))


def test_a_replay_too_small_for_its_rollouts_is_refused():
    with pytest.raises(Incompatible, match="holds 3 steps of each of 5 environments"):
        replace(SMALL, replay_capacity=19).init(jax.random.key(0), SPEC)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 0}, r"DQN\(batch_size=0\): batch_size must be at least 1"),
        ({"hidden": (64, 0)}, "hidden must be widths"),
        ({"discount": 1.5}, "discount must be between 0 and 1"),
        ({"loss": "hinge"}, "'huber' or 'squared'"),
        ({"target_update": "never"}, "'copy' or 'polyak'"),
        ({"bonus_at": "birth"}, "'replay' or 'collection'"),
        ({"bonus_scale": -1.0}, "bonus_scale must be at least 0"),
        ({"max_grad_norm": 0.0}, "above 0, or None"),
        ({"activation": "swish"}, "one of"),
        ({"polyak_rate": 0.0}, "polyak_rate must be"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InvalidSetting, match=message):
        DQN(**changes)


def test_settings_are_constructor_text():
    agent = DQN(behavior=Boltzmann(0.5), hidden=(32,))
    assert eval(repr(agent)) == agent and hash(agent) == hash(eval(repr(agent)))

"""EnsembleDQN: one DQN per head, each with its own prior, target and rows, and who acts when."""

from dataclasses import replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import DQN, EnsembleDQN
from explorax.agents.ensemble_dqn import majority
from explorax.agents.q_learner import Batch
from explorax.behaviors import UCB, Greedy
from explorax.bonuses import Count, NoBonus, Scale
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec
from explorax.envs.deep_sea import DeepSea
from explorax.envs.task import Batched

HEADS, ENVS, ACTIONS = 3, 5, 4
BASE = DQN(
    behavior=Greedy(),
    hidden=(8,),
    rollout_length=4,
    updates_per_learn=2,
    batch_size=16,
    replay_capacity=100,
    warmup_env_steps=0,
    n_steps=2,
    learning_rate=0.01,
    target_update="copy",
    target_copy_every=3,
)
AGENT = EnsembleDQN(BASE, heads=HEADS)
SPEC = Spec(obs=Box((3,)), action=Discrete(ACTIONS), num_envs=ENVS)


def rollout(seed, spec=SPEC, length=4):
    """Made-up experience [T, E]."""
    rng, shape = np.random.default_rng(seed), (length, spec.num_envs)
    terminated = rng.random(shape) < 0.2
    obs, next_obs = rng.normal(size=(2, *shape, *spec.obs.shape)).astype(spec.obs.dtype)
    rows = Rollout(
        obs=obs,
        action=rng.integers(0, ACTIONS, shape).astype(np.int32),
        reward=rng.normal(size=shape).astype(np.float32),
        next_obs=next_obs,
        terminated=terminated,
        truncated=(rng.random(shape) < 0.2) & ~terminated,
        first=rng.random(shape) < 0.2,
        bonus=rng.normal(size=shape).astype(np.float32),
    )
    return jax.tree.map(jnp.asarray, rows)


def as_paid(key, rows):
    return rows.bonus


@lru_cache
def learner(agent):
    return jax.jit(lambda state, key, rows: agent.learn(state, key, rows, as_paid))


@lru_cache
def started(agent):
    return jax.jit(partial(agent.init, spec=SPEC))(jax.random.key(0))


def trained(agent, learns=4):
    state, metrics = started(agent), {}
    for i in range(learns):
        state, metrics = learner(agent)(state, jax.random.key(i), rollout(i))
    return state, metrics


def apart(tree):
    """Return how far the heads' leaves [K, ...] are from the first head's at most, of each leaf."""
    return [float(jnp.abs(leaf[1:] - leaf[:1]).max()) for leaf in jax.tree.leaves(tree)]


def equal(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_priors_differ_by_head_count_in_the_values_and_are_never_learned():
    before, (after, _) = started(AGENT), trained(AGENT)
    assert equal(before.priors, after.priors) and not equal(before.params, after.params)
    kernels = [leaf for leaf in jax.tree.leaves(before.priors) if leaf.ndim == 3]
    assert min(apart(kernels)) > 0.1 and not equal(before.priors, before.params)
    obs = rollout(9).obs[0]
    with_prior = jax.jit(AGENT.values)(after, obs)
    without = jax.jit(replace(AGENT, prior_scale=0.0).values)(after, obs)
    only = replace(after, params=jax.tree.map(jnp.zeros_like, after.params))
    prior = jax.jit(AGENT.values)(only, obs)
    assert with_prior.shape == (HEADS, ENVS, ACTIONS) and jnp.abs(prior).max() > 0.1
    np.testing.assert_allclose(with_prior, without + prior, atol=1e-5)


def test_one_head_without_prior_and_masks_is_dqn():
    """From the same weights, rows and draws it learns the same, but for the order of sums."""
    alone = EnsembleDQN(BASE, heads=1, prior_scale=0.0, mask_prob=1.0)
    ensemble, single = started(alone), started(BASE)
    first = jax.tree.map(lambda leaf: leaf[0], ensemble.params)
    single, told, said = replace(single, params=first, target_params=first), {}, {}
    for i in range(5):
        key, rows = jax.random.key(i), rollout(i)
        ensemble, told = learner(alone)(ensemble, key, rows)
        single, said = learner(BASE)(single, jax.random.split(key)[0], rows)
    assert int(single.gradient_steps) == int(ensemble.gradient_steps) == 10
    for name in ("params", "target_params", "optimizer", "moments"):
        theirs, ours = getattr(single, name), getattr(ensemble, name)
        if name != "moments":
            ours = jax.tree.map(lambda leaf: leaf[0], ours)
        for a, b in zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=name)
    assert said.keys() == told.keys() and len(said) == 4
    for name in said:
        np.testing.assert_allclose(said[name], told[name], rtol=1e-4, atol=1e-6)
    obs = rollout(9).obs[0]
    values, ours = jax.jit(BASE.values)(single, obs), jax.jit(alone.values)(ensemble, obs)
    np.testing.assert_allclose(ours[0], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask_prob", [0.25, 1.0])
def test_masks_are_kept_with_the_row_and_have_their_frequency(mask_prob):
    agent = EnsembleDQN(replace(BASE, replay_capacity=5000), heads=HEADS, mask_prob=mask_prob)
    spec = replace(SPEC, num_envs=100)
    learn = jax.jit(lambda state, rows: agent.learn(state, jax.random.key(1), rows, as_paid)[0])
    state = learn(jax.jit(partial(agent.init, spec=spec))(jax.random.key(0)), rollout(0, spec, 40))
    mask = np.asarray(state.ring.data.extras["mask"])[:40]
    assert mask.shape == (40, 100, HEADS) and mask.dtype == bool
    np.testing.assert_allclose(mask.mean((0, 1)), mask_prob, atol=4 * np.sqrt(0.25 / 4000))
    together = (mask[..., 0] & mask[..., 1]).mean()
    np.testing.assert_allclose(together, mask_prob**2, atol=4 * np.sqrt(0.25 / 4000))


def batch_of(rng, rows=6):
    """Return made-up rows to learn from, of two numbers each."""
    features, next_features = rng.normal(size=(2, rows, 2)).astype(np.float32)
    return Batch(
        features=jnp.asarray(features),
        action=jnp.asarray(rng.integers(0, ACTIONS, rows), jnp.int32),
        reward=jnp.asarray(rng.normal(size=rows), jnp.float32),
        discount=jnp.asarray(rng.choice([0.0, 0.9], rows), jnp.float32),
        next_features=jnp.asarray(next_features),
        next_optimism=(),
        known=jnp.asarray(rng.random(rows) < 0.8),
        extras={"mask": jnp.asarray(rng.random((rows, HEADS)) < 0.5)},
    )


LINEAR = EnsembleDQN(replace(BASE, hidden=(), max_grad_norm=None), heads=HEADS, prior_scale=2.0)


@lru_cache
def linear():
    """Return (learned, priors, one gradient step) of linear heads, whose targets lag behind."""
    spec = replace(SPEC, obs=Box((2,)))
    state, other = (LINEAR.init(jax.random.key(i), spec) for i in (0, 1))
    learned = (state.params, other.params, state.optimizer, jnp.int32(0))
    return learned, state.priors, jax.jit(partial(LINEAR._update, state.priors))


def test_a_row_that_a_head_does_not_have_teaches_it_nothing():
    learned, _, update = linear()
    batch = batch_of(np.random.default_rng(0))
    mask = jnp.ones((6, HEADS), bool).at[2, 0].set(False)
    batch = replace(batch, known=jnp.ones(6, bool), extras={"mask": mask})
    before = update(learned, batch)[0]
    after = update(learned, replace(batch, reward=batch.reward.at[2].add(5.0)))[0]
    for a, b in zip(jax.tree.leaves(before[0]), jax.tree.leaves(after[0]), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert (a[1:] != b[1:]).any()
    nothing = replace(batch, extras={"mask": jnp.zeros((6, HEADS), bool)})
    assert equal(update(learned, nothing)[0][0], learned[0])


def test_targets_and_gradients_of_each_head_are_those_of_a_slow_loop():
    learned, priors, update = linear()
    batch = batch_of(np.random.default_rng(1))
    (_, _, optimizer, steps), metrics = update(learned, batch)
    weights = [
        jax.tree.map(np.asarray, each["params"]["output"])
        for each in (learned[0], learned[1], priors)
    ]

    def q(kind, k, x):
        own, prior = weights[kind], weights[2]
        value = x @ own["kernel"][k] + own["bias"][k]
        return value + 2.0 * (x @ prior["kernel"][k] + prior["bias"][k])

    rows = jax.tree.map(np.asarray, batch)
    kernel, losses, targets = np.zeros((HEADS, 2, ACTIONS)), [], []
    for k in range(HEADS):
        for i in range(6):
            best = int(np.argmax(q(0, k, rows.next_features[i])))  # double Q-learning
            target = rows.reward[i] + rows.discount[i] * q(1, k, rows.next_features[i])[best]
            targets.append(target)
            error = q(0, k, rows.features[i])[rows.action[i]] - target
            if rows.known[i] and rows.extras["mask"][i, k]:
                kernel[k, :, rows.action[i]] += error * rows.features[i] / 6
                losses.append(0.5 * error**2)
    assert int(steps) == 1 and 3 < len(losses) < 15
    # Adam's first moment after one step is a tenth of the gradient
    moment = optimizer[0].mu["params"]["output"]["kernel"]
    np.testing.assert_allclose(moment, 0.1 * kernel, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(metrics["loss"], np.sum(losses) / 6 / HEADS, rtol=1e-4)
    np.testing.assert_allclose(metrics["target_mean"], np.mean(targets), rtol=1e-4)


def test_one_head_acts_in_an_episode_and_each_environment_draws_its_own():
    agent = EnsembleDQN(replace(BASE, rollout_length=90, replay_capacity=8000), heads=HEADS)
    env = Batched(DeepSea(3), 40)  # episodes of three steps
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
    collect = jax.jit(partial(loop.collect_on_device, env, agent, training.learner))
    actor, rollout = collect(training.actor)
    _, later = collect(replace(actor, percept=replace(actor.percept, first=jnp.zeros(40, bool))))
    head, first = np.asarray(rollout.extras["head"]), np.asarray(rollout.first)
    within = ~first[1:]
    np.testing.assert_array_equal(head[1:][within], head[:-1][within])
    np.testing.assert_array_equal(later.extras["head"][:2], np.stack([head[-1]] * 2))
    drawn = head[first].reshape(-1, 40)  # [30 episodes, E]
    share = np.bincount(drawn.ravel(), minlength=HEADS) / drawn.size
    np.testing.assert_allclose(share, 1 / HEADS, atol=4 * np.sqrt(2 / 9 / drawn.size))
    for one, other in ((drawn[1:], drawn[:-1]), (drawn[:, 1:], drawn[:, :-1])):
        same = (one == other).mean()  # as episodes follow, and side by side
        np.testing.assert_allclose(same, 1 / HEADS, atol=4 * np.sqrt(2 / 9 / one.size))
    np.testing.assert_array_equal(rollout.carry["head"], 0)


def test_an_environment_acts_by_its_own_head_and_greedily_by_the_vote():
    state, _ = trained(AGENT)
    obs = rollout(7).obs[0]
    values = np.asarray(jax.jit(AGENT.values)(state, obs))
    head = np.asarray([0, 1, 2, 2, 0])
    percept = Percept(obs, jnp.zeros(ENVS), jnp.zeros(ENVS, bool))
    carry = {"head": jnp.asarray(head, jnp.int32)}
    action, after, extras = jax.jit(AGENT.act)(state, carry, jax.random.key(0), percept)
    np.testing.assert_array_equal(action, values.argmax(-1)[head, np.arange(ENVS)])
    np.testing.assert_array_equal(after["head"], head)
    assert extras["latent"].shape == (ENVS, HEADS * 8)
    greedy, _, _ = jax.jit(partial(AGENT.act, greedy=True))(
        state, carry, jax.random.key(0), percept
    )
    np.testing.assert_array_equal(greedy, majority(jnp.asarray(values)))


def test_the_vote_counts_heads_and_the_mean_breaks_ties():
    values = jnp.asarray(
        [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.9]],
            [[1.0, 0.0, 0.0], [3.0, 0.0, 0.9]],
            [[0.0, 99.0, 0.0], [0.0, 0.0, 0.9]],
        ]
    )
    # two of three want 0, whatever the third's size; where each wants another, the mean decides
    np.testing.assert_array_equal(majority(values), [0, 0])


def test_images_have_one_mask_per_kept_frame():
    box = Box((36, 36, 2), 0, 255, "uint8", stack=2)
    spec = Spec(obs=box, action=Discrete(ACTIONS), num_envs=2)
    agent = EnsembleDQN(replace(BASE, encoder="a3c", n_steps=1), heads=2)
    state = jax.eval_shape(partial(agent.init, spec=spec), jax.random.key(0))
    rows = jax.eval_shape(partial(rollout, 0, spec))
    learn = partial(agent.learn, rescore=as_paid)
    after, _ = jax.eval_shape(learn, state, jax.random.key(0), rows)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert after.ring.data.obs.shape == (50, 2, 36, 36, 1)
    assert after.ring.data.extras["mask"].shape == (50, 2, 2)


def test_what_it_cannot_do_is_refused_in_its_own_name():
    with pytest.raises(Incompatible, match=r"^EnsembleDQN chooses among discrete.*TRPO"):
        AGENT.init(jax.random.key(0), replace(SPEC, action=Box((1,))))
    counting = EnsembleDQN(replace(BASE, behavior=UCB()))
    with pytest.raises(Incompatible, match="^EnsembleDQN does not count"):
        counting.init(jax.random.key(0), SPEC)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 0}, r"EnsembleDQN\(heads=0\): heads must be at least 1"),
        ({"prior_scale": -1.0}, "at least 0 and finite"),
        ({"mask_prob": 0.0}, "above 0 and at most 1"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(InvalidSetting, match=message):
        EnsembleDQN(**changes)


DEEP = DQN(
    behavior=Greedy(),
    hidden=(),
    normalize_obs=False,
    n_steps=1,
    batch_size=64,
    rollout_length=4,
    updates_per_learn=5,
    warmup_env_steps=100,
    learning_rate=0.01,
    polyak_rate=0.1,
)
COUNTS = Count(0.1, of="state_action")


@pytest.mark.slow
@pytest.mark.parametrize(
    "agent, bonus, takes",
    [
        (EnsembleDQN(DEEP), NoBonus(), 1.0),
        (EnsembleDQN(DEEP), Scale(COUNTS, 0.1), 1.0),
        (replace(DEEP, optimism=1.0), COUNTS, 1.0),
        (DEEP, COUNTS, 0.0),  # what was never tried stays at 0, and what was is worth more
    ],
    ids=["ensemble", "ensemble with a bonus", "optimistic DQN with a bonus", "DQN with a bonus"],
)
def test_the_treasure_under_ten_rows_of_sea(agent, bonus, takes):
    """Without exploring on purpose it takes 2¹⁰ episodes to see it once; there are 1,600."""
    env, seeds = Batched(DeepSea(10), 10), jnp.arange(4)
    keys = jax.vmap(jax.random.key)(seeds)
    training = jax.jit(jax.vmap(partial(loop.start, env, agent, bonus)))(keys)
    chunk = jax.jit(jax.vmap(partial(loop.chunk_on_device, env, agent, bonus, 100)))
    metrics = {}
    for _ in range(4):
        training, metrics = chunk(training)
    np.testing.assert_allclose(metrics["success_rate"], takes, atol=0.4)

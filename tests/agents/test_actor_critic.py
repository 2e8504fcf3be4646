"""The learner sees what the actor saw, to the last bit; targets against slow loops."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import AS_USERS_DO

from explorax import loop
from explorax.agents import A2C, PPO, actor_critic, unrolling
from explorax.bonuses import NoBonus
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Spec
from explorax.core.pytree import replace
from explorax.envs import CartPole, KeyDoor, PointMass
from explorax.envs.probes import ProbeBoth, ProbeDelay
from explorax.envs.task import Batched

ENVS = 6
SMALL = A2C(rollout_length=12, hidden=(16,), memory_size=16, learning_rate=0.01)
MEMORIES = {
    "LSTM": dataclasses.replace(SMALL, memory="lstm", sees_last=True),
    "GRU": dataclasses.replace(SMALL, memory="gru", sees_last=True),
    "LSTM, blind to the past step": dataclasses.replace(SMALL, memory="lstm"),
    "none": SMALL,
}


class Short(KeyDoor):
    """Runs out of time again and again."""

    @property
    def max_episode_steps(self):
        return 7


@cache
def experienced(agent, task):
    """Return (env, the state of an agent with weights of some size, its second rollout)."""
    env = Batched(task, ENVS)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape, scale=0.2), jnp.float32),
        training.learner.agent.params,
    )
    learner = replace(training.learner, agent=replace(training.learner.agent, params=params))
    collect = jax.jit(partial(loop.collect_on_device, env, agent), compiler_options=AS_USERS_DO)
    actor, _ = collect(learner, training.actor)
    return env, learner.agent, collect(learner, actor)[1]


@partial(jax.jit, static_argnums=0, compiler_options=AS_USERS_DO)
def again(agent, state, rollout):
    """Return (log π, values, latents) as the learner finds them."""
    action = actor_critic.flat_action(state, rollout.action)
    inputs = unrolling.inputs_of(agent, state, rollout)
    said, log_prob = unrolling.unrolled(agent, state.params, inputs, action)
    return log_prob, actor_critic.values(state, said), said.latent


@pytest.mark.parametrize("task", [Short(4), ProbeDelay(continuous=True), CartPole()], ids=repr)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "LSTM, blind to the past step"])
def test_the_learner_sees_what_the_actor_saw_to_the_last_bit(name, task):
    agent = MEMORIES[name]
    _, state, rollout = experienced(agent, task)
    assert rollout.first.any() and not rollout.first.all()  # episodes are cut in the middle

    told = again(agent, state, rollout)
    for name, seen in zip(("log_prob", "value", "latent"), told, strict=True):
        np.testing.assert_array_equal(seen, rollout.extras[name])


def test_without_a_memory_it_sees_the_same_up_to_rounding():
    _, state, rollout = experienced(SMALL, Short(4))
    log_prob = again(SMALL, state, rollout)[0]
    np.testing.assert_allclose(log_prob, rollout.extras["log_prob"], atol=2e-6)


@pytest.mark.parametrize("name", MEMORIES)
def test_a_shifted_first_flag_would_be_seen(name):
    """A mutant kept in the suite: the memory emptied one step late gives other probabilities."""
    agent = MEMORIES[name]
    _, state, rollout = experienced(agent, Short(4))
    late = replace(rollout, first=jnp.roll(rollout.first, 1, axis=0))
    log_prob = again(agent, state, late)[0]
    same = np.allclose(log_prob, rollout.extras["log_prob"], atol=2e-6)
    assert same is (agent.memory is None)


@pytest.mark.parametrize("name", MEMORIES)
def test_successors_are_valued_with_the_memory_that_the_actor_had(name):
    """Where time ran out and after the last step, by a loop over `act` on the true successor."""
    agent = MEMORIES[name]
    _, state, rollout = experienced(agent, Short(4))
    found = jax.jit(partial(unrolling.next_values, agent))(state, rollout)
    act = jax.jit(agent.act)
    carry = rollout.carry
    assert rollout.truncated[:-1].any()
    for t in range(agent.rollout_length):
        # what the actor would have perceived, had the episode gone on
        reward = rollout.extras.get("last_reward", jnp.zeros((t + 1, ENVS)))[t]
        percept = Percept(rollout.obs[t], reward, rollout.first[t])
        _, carry, _ = act(state, carry, jax.random.key(0), percept)
        if agent.sees_last:
            carry = {**carry, "last": jax.nn.one_hot(rollout.action[t], 4)}
        on = Percept(rollout.next_obs[t], rollout.reward[t], jnp.zeros(ENVS, bool))
        _, _, extras = act(state, carry, jax.random.key(0), on)
        asked = ~rollout.terminated[t]
        np.testing.assert_allclose(found[t][asked], extras["value"][asked], atol=2e-5)


def slow_gae(reward, value, following, ended, cut, discount, decay):
    out, later = np.zeros_like(reward), np.zeros(reward.shape[1], reward.dtype)
    for t in reversed(range(len(reward))):
        for e in range(reward.shape[1]):
            delta = reward[t, e] - value[t, e]
            if not ended[t, e]:
                delta += discount * following[t, e]
            rest = 0.0 if ended[t, e] or cut[t, e] else discount * decay * later[e]
            later[e] = out[t, e] = delta + rest
    return out


def test_the_last_action_and_reward_are_nothing_where_an_episode_begins():
    action, reward = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]), jnp.asarray([3.0, 5.0])
    shown = actor_critic.last_inputs(action, reward, jnp.asarray([True, False]))
    np.testing.assert_array_equal(shown, [[0.0, 0.0, 0.0], [1.0, 0.0, 5.0]])


@pytest.mark.parametrize("episodic", [True, False])
def test_two_value_heads_have_discounts_of_their_own(episodic):
    agent = dataclasses.replace(
        MEMORIES["GRU"], bonus_discount=0.7, bonus_episodic=episodic, bonus_scale=0.5,
        gae_lambda=0.8,
    )  # fmt: skip
    _, state, rollout = experienced(agent, Short(4))
    rng = np.random.default_rng(0)
    rollout = replace(
        rollout,
        reward=jnp.asarray(rng.normal(size=rollout.reward.shape), jnp.float32),
        bonus=jnp.asarray(rng.random(rollout.reward.shape), jnp.float32),
    )
    wanted = jax.jit(partial(unrolling.targets, agent))(state, rollout)
    value = np.asarray(rollout.extras["value"])
    after = np.asarray(jax.jit(partial(unrolling.next_values, agent))(state, rollout))
    reward, bonus = np.asarray(rollout.reward), np.asarray(rollout.bonus)
    ended, cut = np.asarray(rollout.terminated), np.asarray(rollout.truncated)
    first = slow_gae(reward, value[..., 0], after[..., 0], ended, cut, 0.99, 0.8)
    following = after[..., 1].copy()
    if not episodic:
        following[:-1] = value[1:, :, 1]
        ended, cut = np.zeros_like(ended), np.zeros_like(cut)
    second = slow_gae(bonus, value[..., 1], following, ended, cut, 0.7, 0.8)
    np.testing.assert_allclose(wanted.advantage, first + 0.5 * second, atol=1e-5)
    np.testing.assert_allclose(wanted.value, np.stack([first, second], -1) + value, atol=1e-5)
    _, told = jax.jit(partial(unrolling.finish, agent))(state, rollout, wanted)
    explained = 1 - first.var() / (first + value[..., 0]).var()
    np.testing.assert_allclose(told["explained_variance"], explained, rtol=1e-4)


def test_a_stream_that_goes_on_values_the_true_successor_of_the_last_step():
    """Also of one that ended its episode: what the next episode begins with is not known yet."""
    agent = dataclasses.replace(
        MEMORIES["LSTM"], bonus_discount=0.7, bonus_episodic=False, gae_lambda=0.0
    )
    _, state, rollout = experienced(agent, Short(4))
    ended = jnp.arange(ENVS) < ENVS // 2
    flags = {"terminated": rollout.terminated, "truncated": rollout.truncated}
    flags = {name: each.at[-1].set(False) for name, each in flags.items()}
    flags["terminated"] = flags["terminated"].at[-1].set(ended)
    find = jax.jit(partial(unrolling.targets, agent))
    found = find(state, replace(rollout, **flags))
    going = find(state, replace(rollout, **flags | {"terminated": flags["terminated"] & False}))
    np.testing.assert_array_equal(found.value[-1, :, 1], going.value[-1, :, 1])
    apart = np.asarray(found.value[-1, :, 0] != going.value[-1, :, 0])
    np.testing.assert_array_equal(apart, ended)  # nothing follows for the reward


def test_rescaling_the_heads_changes_nothing_that_they_say():
    agent = dataclasses.replace(MEMORIES["LSTM"], bonus_discount=0.9)
    _, state, rollout = experienced(agent, Short(4))
    target = 7.0 + 30.0 * jax.random.normal(jax.random.key(0), rollout.extras["value"].shape)
    after = jax.jit(unrolling.rescaled)(state, target)
    assert (jnp.abs(after.scale.mean - state.scale.mean) > 0.1).all()
    inputs = unrolling.inputs_of(agent, state, rollout)
    said, _ = unrolling.unrolled(agent, after.params, inputs, rollout.action)
    np.testing.assert_allclose(actor_critic.values(after, said), rollout.extras["value"], atol=1e-4)


def test_after_many_rollouts_a_new_one_still_moves_the_scale_by_a_tenth():
    state = SMALL.init(jax.random.key(0), Batched(ProbeBoth(), 2).spec)
    old = replace(state, scale=replace(state.scale, updates=jnp.float32(10_000)))
    scale = unrolling.rescaled(old, jnp.full((4, 2, 1), 5.0)).scale
    np.testing.assert_allclose(scale.mean, 0.5, rtol=1e-5)  # from 0 towards 5
    np.testing.assert_allclose(scale.std, np.sqrt(0.9 * 1.0 + 0.1 * 4.5**2), rtol=1e-5)


def test_the_loss_of_a2c_is_the_papers():
    """Against its three terms written out, and its policy's gradient against their derivative."""
    from explorax.agents.a2c import loss

    agent = dataclasses.replace(MEMORIES["none"], entropy_coef=0.1, value_coef=0.25)
    _, state, rollout = experienced(agent, Short(4))
    inputs = unrolling.inputs_of(agent, state, rollout)
    wanted = unrolling.targets(agent, state, rollout)
    said, _ = unrolling.unrolled(agent, state.params, inputs, rollout.action)
    logits = np.asarray(said.policy, np.float64).reshape(-1, 4)
    log_all = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = log_all[np.arange(len(logits)), np.asarray(rollout.action).ravel()]
    gain = (chosen * np.asarray(wanted.advantage).ravel()).mean()
    entropy = -(np.exp(log_all) * log_all).sum(-1).mean()
    error = np.asarray(said.value - unrolling.in_units_of_heads(state, wanted.value))
    want = -gain - 0.1 * entropy + 0.25 * 0.5 * np.square(error).mean()
    total, _ = jax.jit(partial(loss, agent))(state, state.params, inputs, rollout, wanted)
    np.testing.assert_allclose(total, want, rtol=1e-4)


@pytest.mark.parametrize("name", MEMORIES)
def test_one_epoch_of_ppo_in_one_minibatch_is_a2c(name):
    """At the old policy the ratio is 1 and its gradient that of log π."""
    a2c = dataclasses.replace(MEMORIES[name], normalize_advantages=True)
    shared = {f.name: getattr(a2c, f.name) for f in dataclasses.fields(a2c)}
    ppo = PPO(**shared, epochs=1, minibatches=1)
    _, state, rollout = experienced(a2c, Short(4))
    rollout = replace(rollout, reward=jax.random.normal(jax.random.key(3), rollout.reward.shape))
    key = jax.random.key(1)
    one, _ = jax.jit(partial(a2c.learn, rescore=lambda key, rows: rows.bonus))(state, key, rollout)
    two, told = jax.jit(partial(ppo.learn, rescore=lambda key, rows: rows.bonus))(
        state, key, rollout
    )
    for (path, old), left, right in zip(
        jax.tree_util.tree_leaves_with_path(state.params),
        jax.tree.leaves(one.params),
        jax.tree.leaves(two.params),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, atol=2e-5, err_msg=str(path))
        # Adam's first step is about the learning rate, in every array
        assert np.abs(left - old).max() > 0.5 * a2c.learning_rate, path
    assert abs(float(told["kl"])) < 1e-6 and told["clipped"] == 0


@pytest.mark.parametrize("memory", ["lstm", None])
def test_minibatches_of_ppo_hold_what_was_seen(memory):
    """With steps too small to change anything, every minibatch finds the actor's probabilities."""
    agent = PPO(
        rollout_length=12, hidden=(16,), memory=memory, memory_size=16, epochs=3, minibatches=3,
        learning_rate=1e-12,
    )  # fmt: skip
    _, state, rollout = experienced(agent, Short(4))
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    _, told = learn(state, jax.random.key(1), rollout)
    assert abs(float(told["kl"])) < 1e-6 and told["clipped"] == 0


def test_the_clipped_objective_is_equation_7():
    agent = PPO(rollout_length=4, hidden=(8,), epochs=1, minibatches=1, clip=0.2,
                normalize_advantages=False, entropy_coef=0.0, value_coef=0.0)  # fmt: skip
    _, state, rollout = experienced(agent, Short(4))
    rng = np.random.default_rng(0)
    away = rng.normal(size=rollout.reward.shape, scale=0.4).astype(np.float32)
    advantage = rng.normal(size=rollout.reward.shape).astype(np.float32)
    from explorax.agents.ppo import Batch

    value = rollout.extras["value"]
    batch = Batch(
        unrolling.inputs_of(agent, state, rollout), rollout.action,
        rollout.extras["log_prob"] - away, jnp.asarray(advantage), value, value,
    )  # fmt: skip
    total, told = jax.jit(agent._loss)(state.params, batch)
    ratio = np.exp(away.astype(np.float64))
    want = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage).mean()
    np.testing.assert_allclose(total, -want, atol=1e-5)
    np.testing.assert_allclose(told["clipped"], (np.abs(ratio - 1) > 0.2).mean(), atol=1e-6)


def test_the_clipped_loss_of_values_is_the_larger_of_two():
    agent = PPO(rollout_length=4, hidden=(8,), epochs=1, minibatches=1, clip=0.2, clip_value=True,
                entropy_coef=0.0, value_coef=1.0)  # fmt: skip
    _, state, rollout = experienced(agent, Short(4))
    from explorax.agents.ppo import Batch

    inputs = unrolling.inputs_of(agent, state, rollout)
    said, log_prob = unrolling.unrolled(agent, state.params, inputs, rollout.action)
    rng = np.random.default_rng(0)
    now = np.asarray(said.value, np.float64)
    old = now + rng.normal(size=now.shape, scale=0.4)
    target = now + rng.normal(size=now.shape, scale=0.4)
    batch = Batch(
        inputs, rollout.action, log_prob, jnp.zeros(rollout.reward.shape),
        jnp.asarray(target, jnp.float32), jnp.asarray(old, jnp.float32),
    )  # fmt: skip
    told = jax.jit(agent._loss)(state.params, batch)[1]
    want, held = 0.0, 0
    for value, before, wanted in zip(now.ravel(), old.ravel(), target.ravel(), strict=True):
        near = min(max(value, before - 0.2), before + 0.2)
        held += (near - wanted) ** 2 > (value - wanted) ** 2
        want += 0.5 * max((value - wanted) ** 2, (near - wanted) ** 2) / now.size
    assert 0 < held < now.size  # both sides of the maximum are met
    np.testing.assert_allclose(told["value_loss"], want, rtol=1e-5)


def test_the_learning_rate_falls_to_nothing():
    agent = dataclasses.replace(SMALL, decay_env_steps=1000)
    rates = [float(actor_critic.step_size(agent, jnp.int32(n))) for n in (0, 250, 1000, 5000)]
    np.testing.assert_allclose(rates, [0.01, 0.0075, 0.0, 0.0], atol=1e-8)


@pytest.mark.parametrize(
    ("agent", "change", "word"),
    [
        (A2C, {"memory": "rnn"}, "'lstm' or 'gru'"),
        (A2C, {"sees_last": True}, "memory='lstm'"),
        (A2C, {"hidden": ()}, "such as"),
        (A2C, {"encoder": "vgg"}, "'impala'"),
        (A2C, {"memory_size": 0}, "at least 1"),
        (A2C, {"decay_env_steps": 0}, "or None"),
        (A2C, {"bonus_episodic": False}, "bonus_discount"),
        (A2C, {"discount": 1.5}, "between 0 and 1"),
        (PPO, {"clip": 0.0}, "between 0 and 1"),
        (PPO, {"epochs": 0}, "at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(agent, change, word):
    with pytest.raises(InvalidSetting, match=word):
        agent(**change)


def test_minibatches_that_do_not_divide_are_refused():
    spec = Spec(Box((4,)), Discrete(2), num_envs=10)
    with pytest.raises(Incompatible, match=r"10 environments.*minibatches=2"):
        PPO(memory="gru", minibatches=4).init(jax.random.key(0), spec)
    with pytest.raises(Incompatible, match=r"70 steps.*minibatches=2"):
        PPO(rollout_length=7, minibatches=4).init(jax.random.key(0), spec)


@pytest.mark.parametrize(
    "agent",
    [
        PPO(rollout_length=2, minibatches=4),
        PPO(rollout_length=1, minibatches=2, memory="lstm"),
        A2C(rollout_length=1, normalize_advantages=True),
    ],
)
def test_the_advantage_of_a_single_step_is_not_standardised(agent):
    num_envs = 1 if isinstance(agent, A2C) else 2
    spec = Spec(Box((4,)), Discrete(2), num_envs)
    with pytest.raises(Incompatible, match="or normalize_advantages=False"):
        agent.init(jax.random.key(0), spec)
    dataclasses.replace(agent, normalize_advantages=False).init(jax.random.key(0), spec)


@pytest.mark.parametrize("memory", ["lstm", None])
def test_actions_of_any_shape_come_back_in_it(memory):
    task = PointMass()
    agent = dataclasses.replace(SMALL, memory=memory, sees_last=memory is not None)
    _, _, rollout = experienced(agent, task)
    assert rollout.action.shape == (12, ENVS, *task.action.shape)
    assert np.isfinite(rollout.extras["log_prob"]).all()


def test_greedy_does_not_draw():
    env = Batched(ProbeBoth(continuous=True), 3)
    agent = MEMORIES["LSTM"]
    state = agent.init(jax.random.key(0), env.spec)
    percept = Percept(jnp.ones((3, 1)), jnp.zeros(3), jnp.ones(3, bool))
    carry = agent.carry(env.spec)
    one, two = (agent.act(state, carry, jax.random.key(n), percept, greedy=True)[0] for n in (1, 2))
    np.testing.assert_array_equal(one, two)

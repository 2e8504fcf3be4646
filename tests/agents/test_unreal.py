"""UNREAL: what its replay gives to auxiliary losses, and with and without them."""

import dataclasses
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import A2C, UNREAL
from explorax.auxiliaries import FeatureControl, PixelControl, RewardPrediction, ValueReplay
from explorax.bonuses import NoBonus
from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Percept, Spec
from explorax.core.pytree import replace
from explorax.envs import CartPole, KeyDoor, MemoryMaze, PointMass
from explorax.envs.task import Batched

BASE = A2C(rollout_length=8, hidden=(12,), memory="lstm", memory_size=12, sees_last=True)
SMALL = UNREAL(BASE, (), replay_capacity=400, windows=4, window_length=5)


def test_a_replayed_scene_has_the_newest_frames_of_its_stacks():
    spec = Spec(Box((36, 36, 8), 0, 255, "uint8", stack=4), Discrete(3), 2)
    agent = dataclasses.replace(SMALL, auxiliaries=(PixelControl(),))

    def drawn(key):
        state = agent.init(key, spec)
        ring = state.replay
        count = ring.data.obs.shape[0]
        frames = jnp.arange(ring.data.obs.size, dtype=jnp.uint32).reshape(ring.data.obs.shape)
        data = replace(ring.data, obs=(frames // (36 * 36 * 2)).astype(jnp.uint8))
        ring = replace(ring, data=data, count=jnp.full_like(ring.count, count))
        rows, triples, known, _ = agent._draw(ring, key, 4)
        scene = agent._scene(replace(state, replay=ring), state.params, rows, triples, known)
        return scene.newest, scene.rows.obs

    newest, whole = jax.jit(drawn)(jax.random.key(0))
    assert newest.shape == (agent.window_length + 1, agent.windows, 36, 36, 2)
    np.testing.assert_array_equal(newest, whole[..., -2:])
    assert (np.asarray(newest) != np.asarray(whole[..., :2])).any()


def random_replay(state, seed=0):
    """Return the state with a full replay of random rows."""
    rng, kept = np.random.default_rng(seed), state.replay.data
    lead = kept.reward.shape
    ended, terminal = rng.random(lead) < 0.3, rng.random(lead) < 0.5
    data = replace(
        kept,
        obs=jnp.asarray(rng.normal(size=kept.obs.shape), jnp.float32),
        action=jnp.asarray(rng.integers(0, 3, lead), jnp.int32),
        reward=jnp.asarray(rng.normal(size=lead), jnp.float32),
        bonus=jnp.asarray(rng.random(lead), jnp.float32),
        terminated=jnp.asarray(ended & terminal),
        truncated=jnp.asarray(ended & ~terminal),
        first=jnp.asarray(np.roll(ended, 1, 0)),
    )
    full = jnp.full_like(state.replay.count, lead[0])
    return replace(state, replay=replace(state.replay, data=data, count=full))


HEADS = {
    "one": {"bonus_scale": 0.5},
    "two": {"bonus_discount": 0.7},
    "two, one of which goes on": {"bonus_discount": 0.7, "bonus_episodic": False},
}


@pytest.mark.parametrize("heads", HEADS)
def test_a_replayed_scene_says_what_the_actor_would_have_said(heads):
    """By a loop over `act` from an empty memory, and what each value head is to learn from."""
    base = dataclasses.replace(BASE, **HEADS[heads])
    agent = dataclasses.replace(SMALL, base=base, auxiliaries=(ValueReplay(),))
    spec = Spec(Box((4,)), Discrete(3), agent.windows)
    rng = np.random.default_rng(1)

    def noisy(leaf):
        return leaf + jnp.asarray(rng.normal(size=leaf.shape, scale=0.3), jnp.float32)

    state = random_replay(agent.init(jax.random.key(0), spec))
    state = replace(state, params=jax.tree.map(noisy, state.params))
    state = replace(state, scale=jax.tree.map(lambda leaf: leaf + 1.5, state.scale))

    @jax.jit
    def drawn(state):
        rows, triples, known, _ = agent._draw(state.replay, jax.random.key(2), 1)
        return agent._scene(state, state.params, rows, triples, known), triples, known

    scene, triples, known = drawn(state)
    rows, act, carry = scene.rows, jax.jit(agent.act), agent.carry(spec)
    reward = jnp.zeros(agent.windows)
    for t in range(agent.window_length + 1):
        percept = Percept(rows.obs[t], reward, rows.first[t])
        _, carry, extras = act(state, carry, jax.random.key(0), percept)
        for name in ("latent", "encoded", "value"):
            np.testing.assert_allclose(getattr(scene, name)[t], extras[name], atol=2e-5)
        carry, reward = {**carry, "last": jax.nn.one_hot(rows.action[t], 3)}, rows.reward[t]
    percept = Percept(triples.obs[1], reward, triples.first[1])
    seen = act(state, carry, jax.random.key(0), percept)[2]["encoded"]
    np.testing.assert_allclose(scene.skewed_encoded[1], seen, atol=2e-5)
    np.testing.assert_array_equal(scene.skewed_known, known)

    none, ends, cuts = jnp.zeros_like(rows.first), rows.terminated, rows.truncated
    wanted = {
        "one": ((0.99,), [rows.reward + 0.5 * rows.bonus], [ends], [cuts]),
        "two": ((0.99, 0.7), [rows.reward, rows.bonus], [ends, ends], [cuts, cuts]),
        "two, one of which goes on": (
            (0.99, 0.7), [rows.reward, rows.bonus], [ends, none], [cuts, none],
        ),
    }[heads]  # fmt: skip
    assert scene.discounts == wanted[0]
    for name, each in zip(("streams", "ended", "unknown"), wanted[1:], strict=True):
        np.testing.assert_allclose(getattr(scene, name), np.stack(each, -1), rtol=1e-6)
    assert ends.any() and cuts.any()
    np.testing.assert_allclose(scene.std, 2.5, rtol=1e-5)


@cache
def trained(agent, task, iterations=6, envs=4):
    env = Batched(task, envs)
    training = jax.jit(partial(loop.start, env, agent, NoBonus()))(jax.random.key(0))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, NoBonus(), iterations))
    return chunk(training)


def networks(training):
    return jax.tree.leaves(training.learner.agent.params["network"])


@pytest.mark.parametrize("auxiliaries", [(), (ValueReplay(weight=0.0),)], ids=["none", "weight 0"])
def test_without_auxiliary_losses_it_is_its_base(auxiliaries):
    plain, _ = trained(BASE, CartPole())
    other, told = trained(dataclasses.replace(SMALL, auxiliaries=auxiliaries), CartPole())
    for one, two in zip(networks(plain), networks(other), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6 if auxiliaries else 0.0)
    assert ("agent/value_replay_loss" in told) is bool(auxiliaries)


@pytest.mark.parametrize(
    "auxiliary",
    [PixelControl(cell=1), FeatureControl(), RewardPrediction(), ValueReplay()],
    ids=lambda each: type(each).__name__,
)
def test_each_loss_teaches_the_network_alone_and_is_logged(auxiliary):
    task = MemoryMaze(5, max_episode_steps=13)
    plain, _ = trained(BASE, task)
    other, told = trained(dataclasses.replace(SMALL, auxiliaries=(auxiliary,)), task)
    apart = [float(jnp.abs(a - b).max()) for a, b in
             zip(networks(plain), networks(other), strict=True)]  # fmt: skip
    assert max(apart) > 1e-5
    (name,) = (name for name in told if name.startswith("agent/") and name.endswith("_loss")
               and name not in ("agent/policy_loss", "agent/value_loss"))  # fmt: skip
    assert (
        name
        == f"agent/{type(auxiliary).__name__[0].lower()}"
        + "".join("_" + c.lower() if c.isupper() else c for c in type(auxiliary).__name__[1:])
        + "_loss"
    )
    assert jnp.isfinite(told[name])


@dataclass(frozen=True)
class Smaller:
    """A user's own: latents are to be small."""

    weight: float = 50.0

    def init(self, key, about):
        return ()

    def loss(self, params, scene):
        return jnp.square(scene.latent).mean(), {}


def test_an_auxiliary_loss_of_one_s_own_is_one_small_class():
    agent = dataclasses.replace(SMALL, auxiliaries=(Smaller(), Smaller(weight=0.0)))
    _, told = trained(agent, CartPole(), 30)
    assert {"agent/smaller_loss", "agent/smaller2_loss"} <= set(told)
    _, other = trained(
        dataclasses.replace(SMALL, auxiliaries=(Smaller(weight=0.0),)), CartPole(), 30
    )
    assert told["agent/smaller_loss"] < 0.8 * other["agent/smaller_loss"]


def test_nothing_is_learned_from_a_replay_that_holds_no_window_yet():
    agent = dataclasses.replace(SMALL, auxiliaries=(Smaller(),), window_length=20)
    plain, _ = trained(BASE, CartPole(), 2)  # 16 steps, and a window needs 21
    other, told = trained(agent, CartPole(), 2)
    for one, two in zip(networks(plain), networks(other), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert jnp.isnan(told["agent/smaller_loss"])


@pytest.mark.parametrize(
    ("agent", "task", "word"),
    [
        (dataclasses.replace(SMALL, auxiliaries=(PixelControl(),)), CartPole(), "FeatureControl"),
        (dataclasses.replace(SMALL, auxiliaries=(PixelControl(),)), KeyDoor(4), "images"),
        (dataclasses.replace(SMALL, auxiliaries=(PixelControl(),)), MemoryMaze(5), r"cell=1\)\."),
        (dataclasses.replace(SMALL, auxiliaries=(FeatureControl(),)), PointMass(), "continuous"),
        (dataclasses.replace(SMALL, auxiliaries=(ValueReplay(),), replay_capacity=20), CartPole(),
         "holds 5 steps"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_put_together(agent, task, word):
    with pytest.raises(Incompatible, match=word):
        agent.init(jax.random.key(0), Batched(task, 4).spec)

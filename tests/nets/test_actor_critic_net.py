"""The actor-critic's network against NumPy loops written out gate by gate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.nets.actor_critic import ActorCritic, empty_memory

ROWS, SEEN, LAST = 5, 4, 3


def network(memory, heads=1):
    return ActorCritic(2, heads, (6,), "tanh", None, memory, 8)


def begun(memory, heads=1, seed=0):
    net = network(memory, heads)
    params = jax.jit(net.begin)(jax.random.key(seed), jnp.zeros((1, SEEN)), jnp.zeros((1, LAST)))
    rng = np.random.default_rng(seed)
    noisy = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape, scale=0.3), jnp.float32), params
    )
    return net, noisy


def inputs(seed=1):
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(ROWS, SEEN)).astype(np.float32)
    last = rng.normal(size=(ROWS, LAST)).astype(np.float32)
    return seen, last


def layer(x, of):
    return x @ np.asarray(of["kernel"]) + np.asarray(of.get("bias", 0.0))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(cell, memory, x):
    c, h = memory
    gates = {name: layer(x, cell["i" + name]) + layer(h, cell["h" + name]) for name in "ifgo"}
    c = sigmoid(gates["f"]) * c + sigmoid(gates["i"]) * np.tanh(gates["g"])
    h = sigmoid(gates["o"]) * np.tanh(c)
    return (c, h), h


def gru(cell, h, x):
    reset = sigmoid(layer(x, cell["ir"]) + layer(h, cell["hr"]))
    update = sigmoid(layer(x, cell["iz"]) + layer(h, cell["hz"]))
    new = np.tanh(layer(x, cell["in"]) + reset * layer(h, cell["hn"]))
    h = (1.0 - update) * new + update * h
    return h, h


@pytest.mark.parametrize(("memory", "slow"), [("lstm", lstm), ("gru", gru)])
def test_the_memory_is_the_textbooks_and_is_emptied_where_an_episode_begins(memory, slow):
    net, params = begun(memory, heads=2)
    weights = jax.tree.map(np.asarray, params["params"])
    (seen, last), first = inputs(), np.array([False, True, False, False, True])
    rng = np.random.default_rng(5)
    held = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), empty_memory(memory, 8, ROWS)
    )
    after, said = jax.jit(net.run)(params, held, seen, last, first)
    emptied = jax.tree.map(lambda leaf: np.where(first[:, None], 0.0, leaf), held)
    encoded = np.tanh(layer(seen, weights["body"]["Dense_0"]))
    want, latent = slow(weights["cell"], emptied, np.concatenate([encoded, last], -1))
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    np.testing.assert_allclose(said.latent, latent, atol=2e-6)
    np.testing.assert_allclose(said.encoded, encoded, atol=2e-6)
    np.testing.assert_allclose(said.policy, layer(latent, weights["policy"]), atol=5e-6)
    np.testing.assert_allclose(said.value, layer(latent, weights["value"]), atol=5e-6)
    assert said.value.shape == (ROWS, 2)


def test_without_a_memory_policy_and_critic_have_bodies_of_their_own():
    net, params = begun(None)
    weights = jax.tree.map(np.asarray, params["params"])
    seen, last = inputs()
    after, said = jax.jit(net.run)(params, (), seen, last, np.ones(ROWS, bool))
    assert after == ()
    latent = np.tanh(layer(seen, weights["body"]["Dense_0"]))
    other = np.tanh(layer(seen, weights["critic"]["Dense_0"]))
    np.testing.assert_allclose(said.policy, layer(latent, weights["policy"]), atol=5e-6)
    np.testing.assert_allclose(said.value, layer(other, weights["value"]), atol=5e-6)


def test_images_are_seen_by_one_body():
    net = ActorCritic(2, 1, (6,), "relu", "a3c", None, 8)
    seen = np.random.default_rng(0).integers(0, 256, (2, 36, 36, 3)).astype(np.uint8)
    nothing, first = jnp.zeros((2, 0)), jnp.ones(2, bool)
    params = jax.jit(net.begin)(jax.random.key(0), seen[:1], nothing[:1])
    assert "critic" not in params["params"]
    _, said = jax.jit(net.run)(params, (), seen, nothing, first)
    encoded = jax.jit(net.encode)(params, seen[None])[0]
    np.testing.assert_array_equal(said.encoded, encoded)
    np.testing.assert_array_equal(said.latent, said.encoded)
    floats = jax.jit(net.run)(params, (), seen / np.float32(255), nothing, first)[1]
    np.testing.assert_allclose(said.policy, floats.policy, atol=1e-5)


def test_the_first_policy_is_nearly_uniform_and_the_first_value_zero():
    net = network("lstm")
    seen, last = inputs()
    first = jnp.zeros(ROWS, bool)
    held = empty_memory("lstm", 8, ROWS)
    params = jax.jit(net.begin)(jax.random.key(0), seen[:1], last[:1])
    gates = params["params"]["cell"]
    np.testing.assert_array_equal(gates["hf"]["bias"], 1.0)
    np.testing.assert_array_equal(gates["hi"]["bias"], 0.0)
    _, said = jax.jit(net.run)(params, held, seen, last, first)
    np.testing.assert_array_equal(said.value, 0.0)
    assert 0.0 < np.abs(said.policy).max() < 0.02

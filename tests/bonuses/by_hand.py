"""Experience to pay for, and what networks make of it in plain NumPy, for the bonuses' tests."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.nets import fitting

STEPS, ENVS = 30, 2
DISCRETE = Spec(Box((3,)), Discrete(4), ENVS)
CONTINUOUS = Spec(Box((3,)), Box((2,)), ENVS)
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


def rollout_of(obs, action, after, reward=None):
    """Return a rollout [T, E] of one long episode; `reward` is zero unless given."""
    zeros, no = jnp.zeros(action.shape[:2]), jnp.zeros(action.shape[:2], bool)
    return Rollout(
        obs=jnp.asarray(obs, jnp.float32),
        action=jnp.asarray(action),
        reward=zeros if reward is None else jnp.asarray(reward, jnp.float32),
        next_obs=jnp.asarray(after, jnp.float32),
        terminated=no,
        truncated=no,
        first=no,
        bonus=zeros,
    )


def experience(spec=DISCRETE, seed=0, centre=0.0, steps=STEPS):
    """Return a rollout [steps, E] of observations around `centre` and of actions that move them."""
    rng = np.random.default_rng(seed)
    shape = (steps, spec.num_envs)
    obs = rng.normal(centre, 0.5, (*shape, *spec.obs.shape))
    if isinstance(spec.action, Discrete):
        action = rng.integers(0, spec.action.n, shape).astype(np.int32)
        push = np.sin(1.0 + action)[..., None]
    else:
        action = rng.normal(0.0, 0.7, (*shape, *spec.action.shape)).astype(np.float32)
        push = np.clip(action, -1.0, 1.0).sum(-1, keepdims=True)
    return rollout_of(obs, action, 0.8 * obs + 0.3 * push, rng.normal(size=shape))


def rows_of(rollout):
    """Return the rollout's rows [N, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)


@functools.cache
def compiled(bonus, method):
    """Return a jitted method; jitting it at each call would compile it each time."""
    return jax.jit(getattr(bonus, method))


def learnt(bonus, spec=DISCRETE, rollouts=1, state=None, rollout=None):
    """Return the state after so many rollouts: always the same one, if it is given."""
    if state is None:
        state = jax.jit(lambda key: bonus.init(key, spec))(jax.random.key(0))
    update = compiled(bonus, "update")
    for index in range(rollouts):
        given = experience(spec, index) if rollout is None else rollout
        state, _ = update(state, jax.random.key(index), given)
    return state


def paid(bonus, state, rollout):
    """Return what the rollout is paid [T, E]."""
    return np.asarray(compiled(bonus, "score")(state, jax.random.key(5), rollout)[0])


def check_first_rollout_is_free(bonus):
    """Check that nothing is paid until the first rollout was learnt from, and something then."""
    assert (paid(bonus, learnt(bonus, rollouts=0), experience()) == 0).all()
    assert (paid(bonus, learnt(bonus), experience(seed=1)) > 0).all()


def learning(bonus, rollouts):
    """Check that scoring changes no state, and return three payments [T, E].

    For experience that was hardly learnt from, for the same after so many `rollouts` of it, and
    then for experience of elsewhere.
    """
    rollout = experience(seed=7)
    state = learnt(dataclasses.replace(bonus, updates_per_step=1e-9), rollout=rollout)
    once, again = compiled(bonus, "score")(state, jax.random.key(0), rollout)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    after = learnt(bonus, rollouts=rollouts, state=state, rollout=rollout)
    novel = experience(seed=8, centre=4.0)
    return np.asarray(once), paid(bonus, after, rollout), paid(bonus, after, novel)


def dense(layer, x):
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def network(params, x, activation="relu"):
    """Return a linear layer of hidden layers of `x` [N, I]: an MLP, or a Torso of no images."""
    layers = params["params"]
    inner = sorted(name for name in layers if name.startswith("Dense"))
    last = layers["output"] if "output" in layers else layers[inner.pop()]
    for name in inner:
        x = ACTIVATIONS[activation](dense(layers[name], x))
    return dense(last, x)


def standardised(obs, all_before, clip):
    """Return `obs` in deviations of all rows of `all_before`, clipped."""
    seen = np.concatenate([np.asarray(rows, np.float64) for rows in all_before])
    return np.clip((np.asarray(obs, np.float64) - seen.mean(0)) / seen.std(0), -clip, clip)


def coded(action, spec):
    """Return actions [N, ...] as one-hot codes, or as what is executed."""
    if isinstance(spec.action, Discrete):
        return np.eye(spec.action.n)[np.asarray(action)]
    return np.clip(np.asarray(action, np.float64), -1.0, 1.0)


def first_gradient(bonus, state, rollout):
    """Return (gradient, loss) of a first minibatch, read from what Adam remembers of it."""
    fresh = replace(state, trained=fitting.start(state.trained.params, bonus.learning_rate))
    after, told = compiled(bonus, "update")(fresh, jax.random.key(0), rollout)
    return np.asarray(after.trained.optimizer[0].mu, np.float64) / 0.1, told["loss"]


def moved(params, by):
    """Return `params` with the numbers of `by` added to theirs, one after the other."""
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = [
        part.reshape(leaf.shape) for leaf, part in zip(leaves, np.split(by, ends), strict=True)
    ]
    added = [np.asarray(leaf, np.float64) + part for leaf, part in zip(leaves, parts, strict=True)]
    return jax.tree.unflatten(structure, added)


def check_gradient(gradient, loss, params):
    """Raise unless the slope of `loss` is the gradient's, in four directions drawn at random."""
    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=gradient.size)
        ahead, behind = (loss(moved(params, step * direction)) for step in (1e-6, -1e-6))
        slope = (ahead - behind) / 2e-6
        np.testing.assert_allclose(gradient @ direction, slope, rtol=5e-3, atol=1e-4)

"""Agents on images: they must find by sight which action is the right one."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import A2C, DQN, ERWR, MPO, PPO, REINFORCE, TRPO, UNREAL, SoftQ
from explorax.behaviors import EpsilonGreedy
from explorax.bonuses import ICM, RND, NoBonus, PseudoCount
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec
from explorax.densities import CTS
from explorax.envs.task import Batched

SIDE, ENVS = 36, 8


@dataclass(frozen=True)
class Square:
    """A bright square, left or right: going there pays 1, the other way −1, and ends the episode.

    The stack of two frames shows it in the newest one only from the second step on, so that the
    first step, which pays nothing, is grey. With `steps=1` it is there at once.
    """

    continuous: bool = False
    steps: int = 1

    obs = Box((SIDE, SIDE, 2), 0, 255, "uint8", stack=2)
    max_episode_steps = None
    success_return = None
    view = None

    @property
    def action(self):
        return Box((1,)) if self.continuous else Discrete(2)

    def reset(self, key):
        right = jax.random.bernoulli(key)
        return jnp.stack([right.astype(jnp.int32), jnp.int32(0)])

    def observe(self, state):
        def frame(step):
            column = jnp.arange(SIDE)[None, :]
            lit = jnp.where(state[0] == 1, column >= SIDE // 2, column < SIDE // 2)
            inside = jnp.abs(jnp.arange(SIDE)[:, None] - SIDE // 2) < 8
            shown = lit & inside & (step >= self.steps - 1)
            return jnp.where(shown, 255, 40).astype(jnp.uint8)

        return jnp.stack([frame(jnp.maximum(state[1] - 1, 0)), frame(state[1])], -1)

    def step(self, state, key, action):
        went = action[0] > 0 if self.continuous else action == 1
        last = state[1] == self.steps - 1
        reward = jnp.where(went == (state[0] == 1), 1.0, -1.0)
        return state + jnp.asarray([0, 1]), jnp.where(last, reward, 0.0), last

    def place(self, point):
        return point

    def draw(self, state):
        return np.zeros((2, 2, 3), np.uint8)


def right_ways(agent, task, state):
    """Which of a row of last observations the greedy actions are right at: all, when learned."""
    right = jnp.arange(ENVS) % 2
    obs = jax.vmap(task.observe)(jnp.stack([right, jnp.full(ENVS, task.steps - 1)], 1))
    spec = Batched(task, ENVS).spec
    percept = Percept(obs, jnp.zeros(ENVS), jnp.ones(ENVS, bool))
    act = jax.jit(partial(agent.act, greedy=True))
    action, _, _ = act(state, agent.carry(spec), jax.random.key(1), percept)
    went = np.asarray(action).reshape(ENVS) > 0
    return went == (np.asarray(right) == 1)


def trained(agent, task, bonus, iterations):
    env = Batched(task, ENVS)
    training = jax.jit(partial(loop.start, env, agent, bonus))(jax.random.key(0))
    chunk = jax.jit(partial(loop.chunk_on_device, env, agent, bonus, iterations))
    return chunk(training)


QUICK: dict[str, Any] = dict(hidden=(16,), encoder="a3c")
FROM_REPLAY: dict[str, Any] = dict(
    **QUICK,
    rollout_length=4,
    updates_per_learn=4,
    replay_capacity=1000,
    warmup_env_steps=100,
    learning_rate=1e-3,
    batch_size=16,
)
SEEING_DQN = DQN(**FROM_REPLAY, behavior=EpsilonGreedy(decay_env_steps=500), n_steps=2)
ON_POLICY: dict[str, Any] = dict(
    **QUICK, rollout_length=10, value_hidden=(16,), value_minibatches=2, value_epochs=1
)
MAXIMUM: dict[str, Any] = dict(
    FROM_REPLAY,
    sequence_length=2,
    batch_size=32,
    target_copy_every=10,
    max_kl_policy=0.1,
    max_kl_mean=0.1,
    max_kl_covariance=1e-2,
)
AGENTS = {
    "DQN": (SEEING_DQN, 40),
    "TRPO": (TRPO(**ON_POLICY, max_kl=0.1, cg_iterations=4), 10),
    "A2C": (A2C(**QUICK, rollout_length=5, learning_rate=5e-3), 40),
    "PPO": (PPO(**QUICK, rollout_length=10, learning_rate=3e-3, epochs=2, minibatches=2), 20),
    "MPO": (MPO(**MAXIMUM), 50),
    "SoftQ": (SoftQ(**FROM_REPLAY, temperature=0.1, target_copy_every=10), 40),
}


# Convolutions take minutes where their gradients are many: those are for `make test-slow`.
BRIEF = ("DQN", "A2C", "PPO")


@pytest.mark.parametrize(
    "name",
    [name if name in BRIEF else pytest.param(name, marks=pytest.mark.slow) for name in AGENTS],
)
def test_agents_find_the_best_action_by_sight(name):
    agent, iterations = AGENTS[name]
    training, _ = trained(agent, Square(), NoBonus(), iterations)
    assert right_ways(agent, Square(), training.learner.agent).all()
    latent = agent.act(
        training.learner.agent, agent.carry(Batched(Square(), ENVS).spec), jax.random.key(0),
        training.actor.percept,
    )[2]["latent"]  # fmt: skip
    assert latent.shape == (ENVS, 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MPO", "SoftQ"])
def test_critics_of_continuous_actions_see_images(name):
    agent, iterations = AGENTS[name]
    training, _ = trained(agent, Square(continuous=True), NoBonus(), 2 * iterations)
    state = training.learner.agent
    assert right_ways(agent, Square(continuous=True), state).mean() >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "bonus",
    [
        PseudoCount(CTS(size=(6, 6), levels=2, depth=2), beta=0.01),
        RND(features=8, hidden=(), predictor_hidden=(8,), last_frame=True),
    ],
    ids=lambda bonus: type(bonus).__name__,
)
def test_dqn_learns_with_a_bonus_that_looks_at_images(bonus):
    """Two steps, so that a value must pass from one frame to the one before it."""
    task = Square(steps=2)
    training, metrics = trained(replace(SEEING_DQN, bonus_scale=0.1), task, bonus, 80)
    assert right_ways(SEEING_DQN, task, training.learner.agent).all()
    assert np.isfinite(metrics["agent/loss"]) and metrics["bonus_mean"] > 0
    state = jnp.stack([jnp.arange(ENVS) % 2, jnp.zeros(ENVS, jnp.int32)], 1)
    grey = jax.vmap(task.observe)(state)
    values = jax.jit(SEEING_DQN.values)(training.learner.agent, grey)
    np.testing.assert_allclose(values, 0.99, atol=0.35)  # each way leads to the square, and to 1


@pytest.mark.parametrize(
    "bonus",
    [
        PseudoCount(CTS(size=(8, 8), levels=2, depth=2)),
        RND(features=8, hidden=(), predictor_hidden=(8,)),
        ICM(features=8, hidden=(8,)),
    ],
    ids=lambda bonus: type(bonus).__name__,
)
def test_bonuses_score_and_rescore_stacks_of_four_frames_of_84_by_84(bonus):
    box = Box((84, 84, 4), 0, 255, "uint8", stack=4)
    rng, shape = np.random.default_rng(0), (3, 2)
    obs, next_obs = rng.integers(0, 256, (2, *shape, 84, 84, 4)).astype(np.uint8)
    rows = Rollout(
        obs, rng.integers(0, 3, shape).astype(np.int32), np.zeros(shape, np.float32), next_obs,
        np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool),
        np.zeros(shape, np.float32),
    )  # fmt: skip
    rows, keys = jax.tree.map(jnp.asarray, rows), jax.random.split(jax.random.key(0), 4)
    state = bonus.init(keys[0], Spec(obs=box, action=Discrete(3), num_envs=2))

    @jax.jit
    def all_of_it(state, rows):
        _, state = bonus.score(state, keys[1], rows)
        state, _ = bonus.update(state, keys[2], rows)
        paid, _ = bonus.score(state, keys[1], rows)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
        return paid, bonus.rescore(state, keys[3], flat)

    paid, again = all_of_it(state, rows)
    assert paid.shape == shape and (np.asarray(paid) > 0).all()
    assert again.shape == (6,) and (np.asarray(again) > 0).all()


@pytest.mark.parametrize("agent", [DQN, TRPO, REINFORCE, ERWR, MPO, SoftQ])
def test_an_encoder_that_is_not_known_is_refused(agent):
    with pytest.raises(InvalidSetting, match="encoder must be 'dqn' or 'a3c' or 'impala'"):
        agent(encoder="resnet")


@pytest.mark.parametrize("encoder", ["dqn", "a3c", "impala"])
@pytest.mark.parametrize("agent", [DQN, TRPO, MPO, SoftQ])
def test_images_are_neither_flattened_nor_standardised(agent, encoder):
    box = Box((84, 84, 4), 0, 255, "uint8", stack=4)
    one = agent(encoder=encoder)
    spec = Spec(obs=box, action=Discrete(3), num_envs=2)
    state = jax.eval_shape(lambda key: one.init(key, spec), jax.random.key(0))
    named = jax.tree_util.tree_leaves_with_path(state)
    kernels = [leaf.shape for path, leaf in named if "images" in jax.tree_util.keystr(path)]
    size = {"dqn": 8, "a3c": 8, "impala": 3}[encoder]
    first = {"dqn": 32, "a3c": 16, "impala": 16}[encoder]
    assert (size, size, 4, first) in kernels
    dense = {"dqn": 7 * 7 * 64, "a3c": 9 * 9 * 32, "impala": 11 * 11 * 32}[encoder]
    assert all(84 * 84 * 4 not in leaf.shape for _, leaf in named)
    assert any(leaf.shape[:1] == (dense,) for _, leaf in named)


@pytest.mark.parametrize("shape", [(3, 84, 84), (84, 84)], ids=["channels first", "no channels"])
@pytest.mark.parametrize("agent", [A2C(memory="lstm"), DQN(), TRPO()], ids=["A2C", "DQN", "TRPO"])
def test_frames_with_channels_elsewhere_are_refused(agent, shape):
    """They would pass for flat observations, and be learned from badly, without a word."""
    spec = Spec(Box(shape, 0, 255, "uint8"), Discrete(3), 2)
    with pytest.raises(Incompatible, match=r"\[height, width, channels\].*frame"):
        agent.init(jax.random.key(0), spec)


@pytest.mark.parametrize("agent", [A2C(memory="lstm"), DQN(), TRPO()], ids=["A2C", "DQN", "TRPO"])
def test_frames_of_large_floats_are_refused(agent):
    """Only whole numbers are divided by 255: these would go into the network as they are."""

    def start(box):
        spec = Spec(box, Discrete(3), 2)
        return jax.eval_shape(lambda key: agent.init(key, spec), jax.random.key(0))

    with pytest.raises(Incompatible, match=r"uint8 from 0 to 255.*float32, go to 255.*/ 255"):
        start(Box((84, 84, 3), 0.0, 255.0))
    for low, high in ((0.0, 1.0), (-np.inf, np.inf)):
        start(Box((84, 84, 3), low, high))
    start(Box((84, 84, 3), 0, 255, "uint8"))


@pytest.mark.parametrize("agent", [A2C(memory="lstm"), DQN(), TRPO()], ids=["A2C", "DQN", "TRPO"])
def test_frames_too_small_to_convolve_are_refused(agent):
    with pytest.raises(Incompatible, match=r"36 pixels per side.*\(32, 35, 3\).*ResizeObserv"):
        agent.init(jax.random.key(0), Spec(Box((32, 35, 3), 0, 255, "uint8"), Discrete(3), 2))


def test_unreal_trains_on_stacks_of_which_it_keeps_single_frames():
    """Traced, not run: the loop and each loss take what is put together again."""
    base = A2C(**QUICK, rollout_length=6, memory="lstm", memory_size=8, sees_last=True)
    agent = UNREAL(base, windows=3, window_length=4, replay_capacity=200)
    env = Batched(Square(steps=2), 4)
    before = jax.eval_shape(partial(loop.start, env, agent, NoBonus()), jax.random.key(0))
    chunk = partial(loop.chunk_on_device, env, agent, NoBonus(), 3)
    after, metrics = jax.eval_shape(chunk, before)
    assert before.learner.agent.replay.data.obs.shape == (50, 4, SIDE, SIDE, 1)
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)]
              for each in (before, after)]  # fmt: skip
    assert shapes[0] == shapes[1]
    assert {"agent/pixel_control_loss", "agent/reward_prediction_right"} <= set(metrics)


def test_small_grids_are_flat():
    spec = Spec(Box((3, 7, 7), 0, 255, "uint8"), Discrete(3), 2)
    state = A2C().init(jax.random.key(0), spec)
    assert state.params["network"]["params"]["body"]["Dense_0"]["kernel"].shape[0] == 3 * 7 * 7

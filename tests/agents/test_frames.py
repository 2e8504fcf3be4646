"""A replay that keeps each frame once, against a list that keeps every stack and successor."""

from collections import deque
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.agents import DQN, MPO, UNREAL, SoftQ, experience, frames, unreal
from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.ops import replay
from explorax.ops.q_learning import n_step_sums

ENVS, CAPACITY, SIDE = 3, 29, 36


def stream(steps, stack, channels, rng):
    """All that E environments show, [T, E, ...]; a frame's pixels tell its number. Ends are rare
    enough for full stacks and frequent enough for episodes shorter than one."""
    shape = (steps, ENVS)
    ended = rng.random(shape) < 0.3
    terminated = ended & (rng.random(shape) < 0.5)
    frame, seen = 0, [deque(maxlen=stack) for _ in range(ENVS)]
    obs, after, first = [], [], np.ones(shape, bool)
    first[1:] = ended[:-1]
    for t in range(steps):
        now, then = [], []
        for env in range(ENVS):
            if first[t, env]:
                frame += 1
                seen[env].extend([frame] * stack)
            now.append(list(seen[env]))
            frame += 1
            seen[env].append(frame)
            then.append(list(seen[env]))
        obs.append(now)
        after.append(then)

    def images(numbers):
        """[T, E, k] to [T, E, 2, 2, k · channels], whose numbers differ from channel to channel."""
        each = np.asarray(numbers)[..., None] * channels + np.arange(channels)
        flat = each.reshape(*shape, 1, 1, -1)
        return np.broadcast_to(flat, (*shape, 2, 2, stack * channels)).astype(np.int32)

    number = np.arange(steps * ENVS, dtype=np.int32).reshape(shape)
    zeros = np.zeros(shape, np.float32)
    return Rollout(
        obs=images(obs), action=number, reward=rng.normal(size=shape).astype(np.float32),
        next_obs=images(after), terminated=terminated, truncated=ended & ~terminated, first=first,
        bonus=zeros,
    )  # fmt: skip


@partial(jax.jit, static_argnums=(1, 2, 3))
def drawn(rows, stack, length, draws):
    """Windows after `rows` [T, E] have gone into the ring in rollouts of four steps."""
    kept = jax.tree.map(lambda leaf: leaf[0], frames.newest(rows, rows.obs.shape[-1] // stack))
    ring = replay.empty(kept, CAPACITY)
    rollouts = jax.tree.map(lambda leaf: leaf.reshape(-1, 4, *leaf.shape[1:]), rows)

    def add(ring, rollout):
        return replay.add(ring, frames.newest(rollout, kept.obs.shape[-1])), None

    ring, _ = jax.lax.scan(add, ring, rollouts)
    rollout = jax.tree.map(lambda leaf: leaf[0], rollouts)
    return experience.windows(ring, jax.random.key(1), draws, length, rollout)


@pytest.mark.parametrize(
    ("stack", "channels", "length"), [(4, 1, 1), (3, 2, 3), (1, 3, 2)], ids=str
)
def test_stacks_and_successors_are_those_of_a_replay_that_keeps_everything(stack, channels, length):
    steps = 60  # the ring is full twice over, and its oldest row lies in the middle
    rows = stream(steps, stack, channels, np.random.default_rng(stack))
    windows = drawn(jax.tree.map(jnp.asarray, rows), stack, length, 500)
    at, env = np.divmod(np.asarray(windows.action), ENVS)
    assert (env == env[:, :1]).all()
    assert (np.diff(at, axis=1) == 1).all()
    # no start whose stack or whose last successor is not there, and every other one
    oldest, newest = steps - CAPACITY, steps - 1
    assert set(at[:, 0].tolist()) == set(range(oldest + stack - 1, newest - length + 1))
    np.testing.assert_array_equal(windows.obs, rows.obs[at, env])
    for name in ("reward", "terminated", "truncated", "first"):
        np.testing.assert_array_equal(getattr(windows, name), getattr(rows, name)[at, env])
    ended = (rows.terminated | rows.truncated)[at, env]
    assert ended.any() and not ended.all()
    np.testing.assert_array_equal(windows.next_obs[~ended], rows.next_obs[at, env][~ended])
    np.testing.assert_array_equal(windows.next_obs[ended], rows.obs[at, env][ended])


def test_unreal_puts_the_same_stacks_together():
    """In its windows, and in its triples, of which half end in a reward and none in two episodes.

    Before a triple's first row come frames of its own episode alone.
    """
    steps, stack, draws = 60, 3, 400
    rows = stream(steps, stack, 2, np.random.default_rng(5))
    rows = replace(rows, reward=(np.random.default_rng(6).random((steps, ENVS)) < 0.1) * 1.0)
    rows = jax.tree.map(jnp.asarray, rows)
    agent = UNREAL(windows=draws, window_length=4, replay_capacity=CAPACITY * ENVS)

    @jax.jit
    def draw(rows):
        channels = rows.obs.shape[-1] // stack
        kept = jax.tree.map(lambda leaf: leaf[0], frames.newest(rows, channels))
        ring = replay.empty(kept, CAPACITY)
        rollouts = jax.tree.map(lambda leaf: leaf.reshape(-1, 4, *leaf.shape[1:]), rows)

        def add(ring, rollout):
            return replay.add(ring, unreal._kept(rollout, ring)), None

        return agent._draw(jax.lax.scan(add, ring, rollouts)[0], jax.random.key(2), stack)

    windows, triples, known, full = draw(rows)
    assert known.all() and full
    for drawn, length in ((windows, 5), (triples, 3)):
        at, env = np.divmod(np.asarray(drawn.action), ENVS)
        assert at.shape == (length, draws) and (env == env[:1]).all()
        assert (np.diff(at, axis=0) == 1).all()
        assert set(at[0].tolist()) <= set(range(steps - CAPACITY + stack - 1, steps - length + 1))
        assert len(set(at[0].tolist())) > 15
        for name in ("obs", "reward", "first", "terminated"):
            want = np.asarray(getattr(rows, name))[at, env]
            np.testing.assert_array_equal(getattr(drawn, name), want)
    assert not np.asarray(triples.first)[1:].any() and np.asarray(triples.first)[0].any()
    assert abs(np.asarray(triples.reward)[2].mean() - 0.5) < 0.1


def test_returns_end_before_a_time_out_whose_successor_is_not_kept():
    rng = np.random.default_rng(0)
    shape, discount = (200, 4), 0.9
    ended = rng.random(shape) < 0.3
    terminated = ended & (rng.random(shape) < 0.5)
    truncated = ended & ~terminated
    reward = rng.normal(size=shape).astype(np.float32)
    rows = Rollout((), (), reward, (), terminated, truncated, (), ())
    windows, known = jax.jit(frames.cut_before_time_outs)(rows)
    sums = n_step_sums(windows.reward, windows.terminated, windows.truncated, discount)
    np.testing.assert_array_equal(known, ~truncated)
    for row in np.flatnonzero(~truncated[:, 0]):
        total, power, last = 0.0, 1.0, -1
        for step in range(4):
            if truncated[row, step]:
                break  # what came of it is not known: the return is of the steps before
            total, power, last = total + power * reward[row, step], power * discount, step
            if terminated[row, step]:
                power = 0.0
                break
        told = [float(each[row]) for each in sums]
        np.testing.assert_allclose(told, [total, power, last], rtol=1e-5, atol=1e-6)


def spec(stack=4, channels=4, side=SIDE):
    box = Box((side, side, channels), 0, 255, "uint8", stack=stack)
    return Spec(obs=box, action=Discrete(3), num_envs=2)


def test_unreal_keeps_one_frame_of_a_stack():
    atari, agent = spec(side=84), UNREAL(replay_capacity=200)
    state = jax.eval_shape(lambda key: agent.init(key, atari), jax.random.key(0))
    assert state.replay.data.obs.shape == (100, 2, 84, 84, 1)
    with pytest.raises(Incompatible, match=r"needs 24 of them: a window of 20 \+ 4"):
        UNREAL(replay_capacity=46).init(jax.random.key(0), atari)


@pytest.mark.parametrize("agent", [DQN(), MPO(), SoftQ()], ids=lambda agent: type(agent).__name__)
def test_an_image_takes_an_eighth_of_the_memory_that_stacks_and_successors_would(agent):
    atari = spec(side=84)
    ring = jax.eval_shape(lambda key: agent.init(key, atari).ring, jax.random.key(0))
    steps = agent.replay_capacity
    image_bytes = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(ring.data) if leaf.ndim > 2
    )
    two_stacks = 2 * np.prod(atari.obs.shape)  # of an observation and of its successor
    assert image_bytes / steps == two_stacks / 8
    all_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(ring.data))
    assert all_bytes / steps <= 84 * 84 + 20
    moments = jax.eval_shape(lambda key: agent.init(key, atari).moments, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(moments)) == 3


def test_channels_that_are_no_stack_are_refused():
    with pytest.raises(Incompatible, match=r"4 channels are no stack of 3 frames.*stack=1"):
        DQN().init(jax.random.key(0), spec(stack=3))


def test_a_replay_too_small_for_a_window_of_frames_is_refused():
    agent = DQN(replay_capacity=14, rollout_length=4, n_steps=4)
    with pytest.raises(Incompatible, match=r"holds 7 steps.*fewer than 8, which 4 steps of images"):
        agent.init(jax.random.key(0), spec())
    replace(agent, replay_capacity=16).init(jax.random.key(0), spec())

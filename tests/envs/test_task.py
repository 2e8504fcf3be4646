"""What every task of the catalogue promises, alone and side by side."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import scanned

import explorax.envs as envs
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Box, Discrete
from explorax.envs.suite import catalogue, make
from explorax.envs.task import Batched, Task

NAMES = [
    name.replace("/N", "/5" if "maze" in name or "labyrinth" in name else "/4")
    for name in catalogue()
]
NAMES += [f"{name}(continuous=True)" for name in NAMES if name.startswith("probe_")]
NAMES += ["cart_pole_swing_up_sparse(angle='cos_sin')", "four_rooms(slip=0.5)"]
NAMES += ["cart_pole_swing_up(sparse=True)", "reacher(target='hard')", "multi_goal(reward='paper')"]
NAMES += ["deep_sea/4(noisy_tv=3)", "mountain_car(noisy_tv=2)", "mountain_car_sparse(noisy_tv=1)"]
NAMES += ["reacher(noisy_tv=2)", "multi_goal(noisy_tv=1)", "memory_maze/5(noisy_tv=2)"]
NAMES += ["memory_maze/7(sight=7, apples=2)", "labyrinth/5(maze_seed=1, apples=0, pixels=36)"]
LANES = 3


def task_named(name: str) -> Task:
    env = make(name, 1)
    assert isinstance(env, Batched)
    return env.task


def random_actions(space: Discrete | Box, seed: int, shape: tuple[int, ...]) -> jax.Array:
    rng = np.random.default_rng(seed)
    if isinstance(space, Discrete):
        return jnp.asarray(rng.integers(space.n, size=shape), jnp.int32)
    return jnp.asarray(rng.uniform(-1, 1, (*shape, *space.shape)), jnp.float32)


def roll(env: Batched, seed: int, steps: int):
    """Return (first obs [E, ...], steps [T, E, ...], actions [T, E, ...])."""
    actions = random_actions(env.spec.action, seed, (steps, env.num_envs))
    return *scanned(env, actions, jax.random.key(seed)), actions


@pytest.mark.parametrize("name", NAMES)
def test_contract(name):
    env = Batched(task_named(name), LANES)
    spec = env.spec
    hash(env)
    assert env == make(name, LANES)
    steps = 30
    first, out, _ = roll(env, 0, steps)
    assert first.shape == (LANES, *spec.obs.shape)
    assert out.obs.shape == out.next_obs.shape == (steps, LANES, *spec.obs.shape)
    assert first.dtype == out.obs.dtype == out.next_obs.dtype == spec.obs.dtype
    assert out.reward.dtype == jnp.float32
    assert out.terminated.dtype == out.truncated.dtype == jnp.bool_
    assert out.reward.shape == out.terminated.shape == out.truncated.shape == (steps, LANES)
    low, high = np.asarray(spec.obs.low, np.float32), np.asarray(spec.obs.high, np.float32)
    for obs in map(np.asarray, (first, out.obs, out.next_obs)):
        assert np.isfinite(obs).all()
        assert (obs >= low).all()
        assert (obs <= high).all()
    # autoreset: obs is the true successor but where an episode ends, where another begins
    done = np.asarray(out.terminated | out.truncated)
    assert not (out.terminated & out.truncated).any()
    same = (np.asarray(out.obs) == np.asarray(out.next_obs)).reshape(steps, LANES, -1).all(-1)
    assert same[~done].all()
    # nothing is drawn but from the key
    _, again, _ = roll(env, 0, steps)
    jax.tree.map(np.testing.assert_array_equal, out, again)


@pytest.mark.parametrize("name", [name for name in NAMES if "=" not in name])
def test_time_limit_truncates_and_resets(name):
    task = task_named(name)
    limit = task.max_episode_steps
    assert limit is not None
    env = Batched(task, LANES)

    @jax.jit
    def last_step(key):
        state, _ = env.reset(key)
        state = dataclasses.replace(state, steps=jnp.full(LANES, limit - 1))
        return env.step(state, key, random_actions(task.action, 0, (LANES,)))

    state, out = last_step(jax.random.key(1))
    assert (out.truncated == ~out.terminated).all()  # where both would hold, terminated does
    assert (state.steps == 0).all()
    starts = jax.jit(jax.vmap(lambda key: task.observe(task.reset(key))))
    fresh = starts(jax.random.split(jax.random.key(9), 64))
    low, high = np.asarray(fresh).min(0) - 0.2, np.asarray(fresh).max(0) + 0.2
    if not re.search("double|swing|maze|labyrinth", name):  # those start almost anywhere
        obs = np.asarray(out.obs)
        assert ((obs >= low) & (obs <= high)).all()


def test_terminal_observation_is_the_end_and_the_next_one_a_start():
    env = make("mountain_car_sparse", 2)

    @jax.jit
    def arrive(key):
        state, _ = env.reset(key)
        at_goal = dataclasses.replace(
            state.task,
            position=state.task.position.at[0].set(0.44),
            velocity=state.task.velocity.at[0].set(0.05),
        )
        return env.step(dataclasses.replace(state, task=at_goal), key, jnp.ones((2, 1)))

    state, out = arrive(jax.random.key(0))
    np.testing.assert_array_equal(out.terminated, [True, False])
    np.testing.assert_array_equal(out.truncated, [False, False])
    np.testing.assert_array_equal(out.reward, [1.0, 0.0])
    assert out.next_obs[0, 0] > 0.45
    assert -0.6 <= out.obs[0, 0] <= -0.4
    assert out.obs[0, 1] == 0.0
    np.testing.assert_array_equal(out.obs[1], out.next_obs[1])
    np.testing.assert_array_equal(state.steps, [0, 1])


def test_lanes_and_resets_draw_different_numbers():
    first, out, _ = roll(Batched(envs.MountainCar(), 8), 0, 401)
    starts = np.concatenate([np.asarray(first), out.obs[199], out.obs[399]])[:, 0]
    assert out.truncated[199].all()
    assert out.truncated[399].all()
    assert len(np.unique(starts)) == 24


@pytest.mark.parametrize("name", [name for name in NAMES if "=" not in name])
def test_place_lands_on_the_point_of_the_map(name):
    task = task_named(name)
    if task.view is None:
        return
    view = task.view
    low, high = np.asarray(view.low, np.float32), np.asarray(view.high, np.float32)
    share = np.random.default_rng(0).uniform(0.05, 0.95, (20, 2)).astype(np.float32)
    points = low + share * (high - low)
    hidden: Any = task  # then the task says where it is

    def place(point):
        state = task.place(point)
        return hidden.where(state) if view.hidden else view.project(task.observe(state))

    landed = jax.jit(jax.vmap(place))(jnp.asarray(points))
    landed = np.floor(landed) if view.hidden else landed
    expected = np.floor(points) if view.grid else points
    walls = getattr(task, "walls", None)
    if walls is not None:  # who is sent into a wall stands beside it
        column, row = expected.astype(int).T
        kept = ~walls[row, column]
        assert 5 < kept.sum() < 20
        standing = np.asarray(landed).astype(int)
        assert not walls[standing[:, 1], standing[:, 0]].any()
        landed, expected = landed[kept], expected[kept]
    np.testing.assert_allclose(landed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if "=" not in name])
def test_drawing_changes_with_the_state_and_with_nothing_else(name):
    task = task_named(name)
    low, high = ((0, 0), (3, 3)) if task.view is None else (task.view.low, task.view.high)
    frames = []
    for share in (0.2, 0.2, 0.8):
        point = jnp.asarray(low, jnp.float32) * (1 - share) + jnp.asarray(high, jnp.float32) * share
        if name == "probe_both" or task.view is None:
            point = jnp.asarray([1.0 if share > 0.5 else -1.0, 0.0])
        frames.append(task.draw(jax.tree.map(np.asarray, task.place(point))))
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.shape in [(260, 400, 3), (268, 528, 3)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert (frames[0] != frames[2]).any()


def test_batched_draws_one_of_its_environments():
    env = make("deep_sea/4", 2)

    @jax.jit
    def moved_apart(key):
        return env.step(env.reset(key)[0], key, jnp.array([0, 1]))[0]

    moved = moved_apart(jax.random.key(0))
    assert (env.draw(moved, 0) != env.draw(moved, 1)).any()


def test_drawing_alone_needs_pillow():
    """Training imports no pillow: it is imported where a picture is drawn."""
    code = "import sys, explorax.envs, explorax.envs.suite; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_number_of_environments_is_checked():
    with pytest.raises(InvalidSetting, match="num_envs=0.*at least 1"):
        make("mountain_car", 0)


@pytest.mark.parametrize("continuous", [False, True])
def test_probes_answers_are_right(continuous):
    gamma = 0.7
    rng = np.random.default_rng(0)
    for cls in (envs.ProbeConstant, envs.ProbeObservation, envs.ProbeDelay, envs.ProbeAction,
                envs.ProbeBoth):  # fmt: skip
        task = cls(continuous=continuous)
        step = jax.jit(task.step)
        for seed in range(8):
            state = jax.jit(task.reset)(jax.random.key(seed))
            obs = task.observe(state)
            best, total, weight, done = getattr(task, "best_action", None), 0.0, 1.0, False
            wrong = []
            while not done:
                here = task.observe(state)
                random = random_actions(task.action, int(rng.integers(1000)), ())
                action = random if best is None else best(here)
                for other in (random_actions(task.action, other, ()) for other in range(5)):
                    wrong.append(float(step(state, jax.random.key(0), other)[1]))
                state, reward, end = step(state, jax.random.key(0), action)
                total, weight, done = total + weight * float(reward), weight * gamma, bool(end)
            assert total == pytest.approx(float(task.value(obs, gamma)), abs=1e-6)
            if best is not None:
                assert max(wrong) <= total
                assert min(wrong) < total  # the action does matter

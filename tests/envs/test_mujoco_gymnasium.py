"""The papers' tasks in MuJoCo as Gymnasium has them: one world, and many at once."""

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from explorax.core.errors import BadEnvironmentData, ExploraxError, InvalidSetting, UnknownName
from explorax.envs import mujoco as registered
from explorax.envs.mujoco_simulation import Simulation
from explorax.envs.mujoco_tasks import HalfCheetahSparse
from explorax.envs.suite import make as make_ours

NAMES = tuple(registered.REGISTERED)


def id_of(name: str) -> str:
    return f"explorax/{name}-v0"


def make(name: str, **settings: Any) -> Any:
    return gymnasium.make(id_of(name), **settings)


@pytest.mark.parametrize("name", NAMES)
def test_gymnasiums_checker_finds_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(name, render_mode="rgb_array").unwrapped)


def test_one_import_registers_them() -> None:
    code = (
        "import gymnasium, sys; "
        "env = gymnasium.make('explorax.envs.mujoco:explorax/Walker2dSparse-v0'); "
        "obs, info = env.reset(seed=0); print(obs.shape, env.spec.max_episode_steps)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(21,) 500"


@pytest.mark.parametrize("name", ["HalfCheetahSparse", "SwimmerGather", "AntMaze"])
def test_one_world_is_a_row_of_many(name: str) -> None:
    env = make(name)
    ours: Any = make_ours(f"mujoco:{name}", 1)
    worlds = Simulation("", ours.task, [np.random.default_rng(seed) for seed in (3, 7, 5)])
    obs, info = env.reset(seed=7)
    np.testing.assert_array_equal(obs, worlds.observe()[1])
    for action in np.random.default_rng(0).uniform(-1, 1, (30, 3, len(worlds.low))):
        reward, terminated = worlds.advance(action)
        obs, paid, over, truncated, info = env.step(action[1])
        np.testing.assert_array_equal(obs, worlds.observe()[1])
        assert (paid, over, truncated) == (reward[1], terminated[1], False)
        np.testing.assert_array_equal(info["place"], worlds.task.place(worlds.moment())[1])


def test_the_time_limit_truncates() -> None:
    env = make("HalfCheetahSparse", version="rllab")
    env.reset(seed=0)
    ends = [env.step(np.zeros(6))[2:4] for _ in range(500)]
    assert ends == [(False, False)] * 499 + [(False, True)]
    assert env.unwrapped.metadata["render_fps"] == 100


def test_settings_are_keywords() -> None:
    worlds = make("HalfCheetahSparse", both_sides=True).unwrapped._worlds
    assert worlds.task == HalfCheetahSparse(both_sides=True)
    refused: tuple[tuple[dict[str, Any], type[ExploraxError], str], ...] = (
        ({"sides": 2}, InvalidSetting, "mujoco:HalfCheetahSparse refuses {'sides': 2}"),
        ({"version": "2"}, InvalidSetting, "one of ('gymnasium', 'rllab')"),
        ({"render_mode": "human"}, InvalidSetting, "None or 'rgb_array'"),
        ({"task": "HalfCheeta"}, UnknownName, "Did you mean 'HalfCheetahSparse'?"),
    )
    for settings, error, told in refused:
        with pytest.raises(error) as raised:
            registered.MuJoCoEnv(**{"task": "HalfCheetahSparse", **settings})
        assert told in str(raised.value)


def test_a_frame_has_the_size_that_was_asked_for() -> None:
    env = make("SwimmerGather", render_mode="rgb_array", height=64, width=96)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (64, 96, 3) and before.dtype == np.uint8
    env.unwrapped._worlds.memory[:, :, 2] = 0.0  # all balls are taken
    assert (env.render() != before).any()
    env.close()
    env.close()


def test_each_of_several_worlds_draws_itself() -> None:
    """They share one context of OpenGL: each alone, and in turn, one of them closed between."""

    def world(seed: int) -> Any:
        env = make("HalfCheetahSparse", render_mode="rgb_array", height=48, width=64)
        env.reset(seed=seed)
        for _ in range(20):
            env.step(np.full(6, 1.0 if seed else -1.0))
        return env

    alone = [world(seed).render() for seed in (0, 1)]
    assert (alone[0] != alone[1]).any()
    pair = [world(0), world(1)]
    for _ in range(2):
        for env, wanted in zip(pair, alone, strict=True):
            np.testing.assert_array_equal(env.render(), wanted)
    pair[1].close()
    np.testing.assert_array_equal(pair[0].render(), alone[0])


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 6)])
def test_actions_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    env = make("HalfCheetahSparse").unwrapped
    env.reset(seed=0)
    with pytest.raises(BadEnvironmentData, match=r"and must have \(1, 6\)"):
        env.step(np.zeros(shape))


def play(mode: AutoresetMode, steps: int, num_envs: int = 3, limit: int = 20) -> tuple[Any, ...]:
    """Return (env, first obs, steps, actions) of walkers, which fall at different times."""
    env = gymnasium.make_vec(
        id_of("Walker2d"), num_envs, autoreset_mode=mode, max_episode_steps=limit
    )
    assert isinstance(env.unwrapped, registered.MuJoCoVectorEnv)
    assert env.metadata["autoreset_mode"] == mode
    obs, _ = env.reset(seed=11)
    chosen = np.random.default_rng(1).uniform(-1, 1, (steps, num_envs, 6)).astype(np.float32)
    return env, obs, [env.step(action) for action in chosen], chosen


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_at_once_do_what_gymnasiums_own_vector_does(mode: AutoresetMode) -> None:
    _, obs, rows, chosen = play(mode, 60)
    theirs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make(id_of("Walker2d"), max_episode_steps=20)] * 3, autoreset_mode=mode
    )
    their_obs, _ = theirs.reset(seed=11)
    np.testing.assert_array_equal(obs, their_obs)
    ends = 0
    for row, action in zip(rows, chosen, strict=True):
        *told, info = theirs.step(action)
        for ours, each in zip(row[:4], told, strict=True):
            np.testing.assert_array_equal(ours, each)
        np.testing.assert_array_equal(row[4]["place"], info["place"])
        assert ("final_obs" in row[4]) == ("final_obs" in info)
        for index in np.flatnonzero(info.get("_final_obs", [])):
            np.testing.assert_array_equal(row[4]["final_obs"][index], info["final_obs"][index])
            ends += 1
    assert ends > 3 or mode == AutoresetMode.NEXT_STEP
    assert any(row[2].any() for row in rows) and any(row[3].any() for row in rows)


def test_without_autoreset_episodes_go_on_until_they_are_reset() -> None:
    env, _, rows, _ = play(AutoresetMode.DISABLED, 20, limit=10)
    assert rows[-1][3].any()
    before = rows[-1][0]
    obs, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(obs[[0, 2]], before[[0, 2]])
    assert (obs[1] != before[1]).any() and env.unwrapped._worlds.steps.tolist() == [20, 0, 20]


def test_seeds_of_many() -> None:
    env: Any = gymnasium.make_vec(id_of("HalfCheetahSparse"), 2)
    one, _ = env.reset(seed=5)
    again, _ = env.reset(seed=[5, 6])
    other, _ = env.reset()
    np.testing.assert_array_equal(one, again)
    assert (other != one).all(axis=1).all()
    spaces = env.single_observation_space, env.single_action_space
    assert [space.shape for space in spaces] == [(17,), (6,)]
    assert one in env.observation_space
    env.close()

"""MiniGrid's tasks: what is seen, where the walker is, how episodes end, and a run."""

import re
import sys
from typing import Any

import jax
import numpy as np
import pytest
from playing import KEY, play

import explorax as ex
from explorax.cli import listing
from explorax.core.errors import Incompatible, InvalidSetting, UnknownName
from explorax.core.protocols import Box, Discrete
from explorax.envs.minigrid import CODES, MiniGridVector
from explorax.envs.suite import make, name_of

LEFT, RIGHT, FORWARD = 0, 1, 2


def random_actions(steps: int, num_envs: int) -> np.ndarray:
    # pick up, drop and toggle too, but not "done", which does nothing
    return np.random.default_rng(0).integers(6, size=(steps, num_envs))


def decoded(obs: Any) -> np.ndarray:
    """Return MiniGrid's image [columns, rows, 3] for one observation, cell by cell."""
    rows, columns, _ = obs.shape
    image = np.zeros((columns, rows, 3), int)
    for row in range(rows):
        for column in range(columns):
            rest = list(obs[row, column])
            for channel, size in enumerate(CODES):
                code, rest = rest[:size], rest[size:]
                assert sorted(code) == [0.0] * (size - 1) + [1.0]
                image[column, row, channel] = code.index(1.0)
    return image


def test_the_spec_tells_what_the_task_is():
    spec = MiniGridVector("DoorKey-8x8-v0", 3).spec
    assert (spec.num_envs, spec.action) == (3, Discrete(7))
    assert spec.obs == Box((7, 7, 21), 0.0, 1.0, "float32")
    assert (spec.max_episode_steps, spec.success_return) == (640, 0.1)
    assert spec.view is not None and spec.view.hidden
    assert spec.view.grid == spec.view.bins == (8, 8)
    assert MiniGridVector("DoorKey-5x5-v0", 1, full=True).spec.obs.shape == (5, 5, 21)
    wide = MiniGridVector("BlockedUnlockPickup-v0", 1, full=True).spec
    assert wide.obs.shape == (6, 11, 21)
    assert wide.view is not None and (wide.view.bins, wide.view.grid) == ((11, 6), (6, 11))


def test_observations_are_the_codes_of_what_the_walker_sees():
    env = MiniGridVector("DoorKey-6x6-v0", 2)
    state, obs = env.reset(KEY)
    assert obs.shape == (2, 7, 7, 21) and obs.dtype == np.float32
    for action in [None, *random_actions(40, 2)]:
        if action is not None:
            state, out = env.step(state, KEY, action)
            obs = out.obs
        for index, one in state.vector.shares[0].worlds.items():
            seen = one.unwrapped.gen_obs()["image"]
            np.testing.assert_array_equal(decoded(obs[index]), seen)


def test_the_full_grid_shows_the_walker_and_its_direction():
    env = MiniGridVector("DoorKey-6x6-v0", 1, full=True)
    state, _, _ = play(env, [])
    for action in random_actions(30, 1):
        state, out = env.step(state, KEY, action)
        world = state.vector.shares[0].worlds[0].unwrapped
        image = world.grid.encode().astype(int)
        column, row = world.agent_pos
        image[column, row] = (10, 0, world.agent_dir)  # MiniGrid's numbers of a red walker
        np.testing.assert_array_equal(decoded(out.obs[0]), image)


def test_place_is_where_the_walker_stands():
    env = MiniGridVector("FourRooms-v0", 3)
    state, _, _ = play(env, [])
    seen = set()
    for action in random_actions(60, 3):
        state, out = env.step(state, KEY, action)
        assert not (out.terminated | out.truncated).any()
        for index, one in state.vector.shares[0].worlds.items():
            np.testing.assert_array_equal(out.place[index], one.unwrapped.agent_pos)
        assert out.place.dtype == np.float32
        seen |= {tuple(place) for place in out.place}
    assert len(seen) > 6


def test_an_episode_ends_at_the_goal_and_a_new_one_begins_in_the_same_step():
    env = MiniGridVector("Empty-5x5-v0", 2)
    way = [FORWARD, FORWARD, RIGHT, FORWARD, FORWARD]  # from (1, 1), looking right, to (3, 3)
    _, first, rows = play(env, [(step, LEFT) for step in way])
    np.testing.assert_array_equal([row.terminated[0] for row in rows], [0, 0, 0, 0, 1])
    assert not any(row.truncated.any() or row.terminated[1] for row in rows)
    np.testing.assert_array_equal(
        [row.place[0] for row in rows[:4]], [(2, 1), (3, 1), (3, 1), (3, 2)]
    )
    last = rows[-1]
    np.testing.assert_array_equal(last.place, [(3, 3), (1, 1)])  # not that of the new episode
    np.testing.assert_allclose(last.reward, [1 - 0.9 * 5 / 100, 0], rtol=1e-6)
    np.testing.assert_array_equal(last.obs[0], first[0])
    # the true successor: from the goal, in the corner, one looks down and onto walls; only in the
    # walker's own row, and to its right, is there floor
    wall, floor = (2, 5, 0), (1, 0, 0)  # in MiniGrid's numbers: thing, colour, state
    image = decoded(last.next_obs[0])
    assert (image[:, :6] == wall).all()
    np.testing.assert_array_equal(image[:, 6], [wall] * 3 + [floor] * 3 + [wall])
    np.testing.assert_array_equal(last.next_obs[1], last.obs[1])


def test_time_runs_out_and_is_no_end_of_the_task():
    env = MiniGridVector("Empty-5x5-v0", 1)
    _, _, rows = play(env, [[LEFT]] * 101)
    np.testing.assert_array_equal([row.truncated[0] for row in rows], np.arange(1, 102) == 100)
    assert not any(row.terminated.any() for row in rows)


def test_the_key_decides_the_episodes():
    env = MiniGridVector("DoorKey-8x8-v0", 2)
    actions = random_actions(20, 2)
    _, obs, rows = play(env, actions)
    _, obs_again, rows_again = play(env, actions)
    np.testing.assert_array_equal(obs, obs_again)
    jax.tree.map(np.testing.assert_array_equal, rows, rows_again)
    _, other = env.reset(jax.random.key(4))
    assert (other != obs).any() and (obs[0] != obs[1]).any()


def test_names_and_settings():
    assert make("minigrid:DoorKey-8x8-v0", 2) == MiniGridVector("DoorKey-8x8-v0", 2)
    text = "minigrid:DoorKey-8x8-v0(full=True)"
    assert make(text, 2) == MiniGridVector("DoorKey-8x8-v0", 2, full=True)
    assert name_of(text) == name_of(make(text, 2)) == text
    assert name_of("minigrid:DoorKey-8x8-v0( full=False )") == "minigrid:DoorKey-8x8-v0"
    with pytest.raises(UnknownName, match="'ful'. Did you mean 'full'"):
        make("minigrid:DoorKey-8x8-v0(ful=True)", 2)
    with pytest.raises(InvalidSetting, match="full must be"):
        make("minigrid:DoorKey-8x8-v0(full=1)", 2)
    words = (
        "no task 'DorKey-8x8-v0' in MiniGrid. Did you mean 'DoorKey-8x8-v0'? `explorax list mini"
    )
    with pytest.raises(UnknownName, match=re.escape(words)):
        _ = MiniGridVector("DorKey-8x8-v0", 2).spec
    (entry,) = listing.describe("minigrid")
    assert "minigrid:DoorKey-5x5-v0 minigrid:DoorKey-6x6-v0" in entry.doc
    assert [setting.name for setting in entry.settings] == ["full"]


def test_without_the_package_the_cure_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "minigrid", None)
    cure = re.escape("minigrid:Empty-6x6-v0 needs a package that is not installed: ")
    with pytest.raises(Incompatible, match=cure + ".*pip install 'explorax\\[minigrid\\]'"):
        _ = MiniGridVector("Empty-6x6-v0", 1).spec
    with pytest.raises(Incompatible, match="The list needs a package"):
        listing.describe("minigrid")


def test_drawing():
    env = MiniGridVector("Empty-5x5-v0", 2, render=True)
    state, _, _ = play(env, [])
    frame = env.draw(state, 1)
    assert frame.shape == (160, 160, 3) and frame.dtype == np.uint8
    assert (frame[[-48, 40], [-48, 40]] == [(76, 255, 76), (255, 76, 76)]).all()  # goal and walker
    with pytest.raises(InvalidSetting, match="render=True"):
        MiniGridVector("Empty-5x5-v0", 2).draw(state)


def test_a_run_counts_where_the_walker_was(tmp_path):
    agent = ex.TRPO(hidden=(8,), rollout_length=32)
    result = ex.train(
        "minigrid:Empty-5x5-v0", agent, ex.HashCount(), 512, num_envs=4, log_points=4,
        film=False, root=tmp_path, progress=False,
    )  # fmt: skip
    (path,) = tmp_path.rglob("maps.npz")
    visits = np.load(path)["visits"].sum((0, 1))
    assert visits.shape == (5, 5) and visits.sum() == 512
    assert visits[1:4, 1:4].sum() == 512, "nobody stands in a wall"
    assert visits[1, 1] > 0
    assert path.parent == result.directory

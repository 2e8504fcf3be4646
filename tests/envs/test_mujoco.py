"""The papers' tasks in MuJoCo: beside Gymnasium's, beside slow loops, and at the border."""

import importlib
import importlib.util
import itertools
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from playing import KEY, play, simulation, uniform

from explorax.cli import main
from explorax.core.errors import BadEnvironmentData, InvalidSetting, UnknownName
from explorax.envs import mujoco as registered
from explorax.envs.mujoco_simulation import Simulation
from explorax.envs.mujoco_tasks import HalfCheetahSparse
from explorax.envs.mujoco_tasks.model import imported
from explorax.envs.mujoco_tasks.task import HORIZON
from explorax.envs.mujoco_vector import MuJoCoVector, task_names
from explorax.envs.suite import make, name_of

mujoco = imported()


@pytest.fixture
def gymnasium_cheetah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a file with its remarks on Gymnasium's model
    importlib.import_module("imageio")
    env = importlib.import_module("gymnasium").make("HalfCheetah-v5").unwrapped
    yield env
    env.close()


def test_half_cheetah_moves_as_gymnasiums_does(gymnasium_cheetah: Any) -> None:
    ours, theirs = simulation(HalfCheetahSparse()), gymnasium_cheetah
    assert theirs.dt == ours.task.frame_skip * ours.model.opt.timestep == 0.05
    for action in uniform(60, 3, 6):
        now = ours.moment()
        ours.advance(action)
        told = ours.observe()
        for row in range(3):
            theirs.data.qpos[:], theirs.data.qvel[:] = now.qpos[row], now.qvel[row]
            theirs.data.qacc_warmstart[:] = 0.0
            obs, *_ = theirs.step(action[row])
            np.testing.assert_array_equal(told[row], obs)


def test_half_cheetah_goes_on_as_gymnasiums_does(
    gymnasium_cheetah: Any,
) -> None:
    ours, theirs = simulation(HalfCheetahSparse(), 1), gymnasium_cheetah
    now = ours.moment()
    theirs.set_state(now.qpos[0], now.qvel[0])
    for action in uniform(20, 1, 6):
        ours.advance(action)
        obs, *_ = theirs.step(action[0])
        np.testing.assert_allclose(ours.observe()[0], obs, rtol=0, atol=1e-9)


def test_half_cheetah_of_rllab_is_the_simulator_stepped_once() -> None:
    ours = simulation(HalfCheetahSparse(version="rllab"), 2)
    data = [mujoco.MjData(ours.model) for _ in range(2)]
    for row, each in enumerate(data):
        each.qpos[:], each.qvel[:] = ours.moment().qpos[row], ours.moment().qvel[row]
    for action in uniform(40, 2, 6):
        ours.advance(action)
        for row, each in enumerate(data):
            each.qacc_warmstart[:] = 0.0
            each.ctrl[:] = action[row]
            mujoco.mj_step(ours.model, each)
            mujoco.mj_forward(ours.model, each)
            centre = np.average(each.xipos[1:], axis=0, weights=ours.model.body_mass[1:])
            by_hand = [*each.qpos[1:], *each.qvel, *centre]
            np.testing.assert_allclose(ours.observe()[row], by_hand, rtol=0, atol=1e-12)
    assert ours.observe().shape == (2, 20)


@pytest.mark.parametrize(
    ("x", "one_side", "both_sides"), [(0.0, 0, 0), (4.9, 0, 0), (5.2, 1, 1), (-5.2, 0, 1)]
)
@pytest.mark.parametrize("version", ["gymnasium", "rllab"])
def test_half_cheetah_is_paid_beyond_five_metres(
    x: float, one_side: int, both_sides: int, version: str
) -> None:
    for settings, pay in (({}, one_side), ({"both_sides": True}, both_sides)):
        worlds = simulation(HalfCheetahSparse(version=version, **settings), 1)
        worlds.state[:, 1] = x
        reward, terminated = worlds.advance(np.zeros((1, 6)))
        assert (reward.tolist(), terminated.tolist()) == ([pay], [False])
        assert worlds.task.place(worlds.moment())[0, 0] == pytest.approx(x, abs=0.1)


def test_half_cheetah_begins_where_the_papers_let_it() -> None:
    for version, spread in (("gymnasium", 0.1 / np.sqrt(3)), ("rllab", 0.01)):
        worlds = simulation(HalfCheetahSparse(version=version), 500, 1)
        now = worlds.moment()
        np.testing.assert_allclose(now.qpos.std(), spread, rtol=0.05)
        np.testing.assert_allclose(now.qvel.std(), 0.1, rtol=0.05)
        np.testing.assert_allclose(now.qpos.mean(0), 0.0, atol=0.01)


@pytest.mark.parametrize("name", task_names())
def test_what_it_says_of_itself_and_gives(name: str) -> None:
    env: Any = make(f"mujoco:{name}", 3)
    spec = env.spec
    assert isinstance(env, MuJoCoVector) and not env.traceable
    assert (spec.num_envs, spec.max_episode_steps) == (3, HORIZON)
    size = spec.action.shape[0]
    _, first, rows = play(env, uniform(2, 3, size))
    for out in rows:
        assert first.shape == out.obs.shape == out.next_obs.shape == (3, *spec.obs.shape)
        assert first.dtype == out.obs.dtype == out.next_obs.dtype == out.reward.dtype == np.float32
        assert out.reward.shape == out.terminated.shape == out.truncated.shape == (3,)
        assert out.terminated.dtype == out.truncated.dtype == bool
        assert spec.view is not None
        assert np.shape(out.place) == ((3, 2) if spec.view.hidden else (0,))


@pytest.mark.parametrize("name", task_names())
def test_the_same_key_gives_the_same_episodes(name: str) -> None:
    env: Any = make(f"mujoco:{name}", 3)
    chosen = uniform(5, 3, env.spec.action.shape[0])
    _, obs, rows = play(env, chosen)
    _, obs_again, rows_again = play(env, chosen)
    np.testing.assert_array_equal(obs, obs_again)
    jax.tree.map(np.testing.assert_array_equal, rows, rows_again)
    if name != "SwimmerUndirected":  # which always begins from rest
        _, other = env.reset(jax.random.key(1))
        assert (other != obs).any(-1).all()
        assert len({tuple(row) for row in obs}) == 3


@pytest.mark.parametrize("name", task_names())
def test_neither_threads_nor_neighbours_change_a_world(name: str) -> None:
    env: Any = make(f"mujoco:{name}", 1)
    task = env.task
    many, few = simulation(task, 5, 4), simulation(task, 2, 1)
    for action in uniform(25, 5, len(many.low)):
        reward, ends = many.advance(action)
        reward_of_few, ends_of_few = few.advance(action[:2])
        np.testing.assert_array_equal(reward[:2], reward_of_few)
        np.testing.assert_array_equal(ends[:2], ends_of_few)
        np.testing.assert_array_equal(many.observe()[:2], few.observe())


def test_the_time_limit_truncates_and_opens_another_episode() -> None:
    env = MuJoCoVector(HalfCheetahSparse(), 2)
    state, first, rows = play(env, uniform(HORIZON + 1, 2, 6))
    assert not any(row.terminated.any() for row in rows)
    np.testing.assert_array_equal([row.truncated.all() for row in rows], [0] * 499 + [1, 0])
    np.testing.assert_array_equal([row.truncated.any() for row in rows], [0] * 499 + [1, 0])
    last = rows[HORIZON - 1]
    assert (last.obs != last.next_obs).any(-1).all() and (last.obs != first).any(-1).all()
    np.testing.assert_allclose(last.obs[:, :8], 0.0, atol=0.1)  # where an episode begins
    np.testing.assert_array_equal(rows[0].obs, rows[0].next_obs)
    # the true successor: what a world that goes on without a limit comes to
    seeds = np.asarray(jax.random.bits(KEY, (2,), "uint32"))
    free = Simulation("", env.task, [np.random.default_rng(int(seed)) for seed in seeds])
    for action in uniform(HORIZON, 2, 6).astype(np.float32):
        free.advance(action.astype(np.float64))
    np.testing.assert_array_equal(last.next_obs, free.observe().astype(np.float32))
    assert state.vector.steps.tolist() == [1, 1]


def test_names_there_and_back() -> None:
    for name in ("mujoco:HalfCheetahSparse", "mujoco:HalfCheetahSparse(both_sides=True)"):
        assert name_of(make(name, 4)) == name_of(name) == name
    env = make("mujoco:HalfCheetahSparse(version='rllab')", 2)
    assert env == MuJoCoVector(HalfCheetahSparse(version="rllab"), 2)
    assert make(env, 5) == MuJoCoVector(HalfCheetahSparse(version="rllab"), 5)


def test_the_command_line_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "mujoco"])
    told = capsys.readouterr().out
    assert all(f"mujoco:{name}: " in told for name in task_names())
    main(["list", "mujoco:HalfCheetahSparse"])
    told = capsys.readouterr().out
    assert "both_sides=False" in told and "as EX2 and EMI do" in told
    main(["list", "environments"])
    assert "mujoco:HalfCheetahSparse" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("mujoco:HalfCheetah", UnknownName, "Did you mean 'HalfCheetahSparse'?"),
        ("mujoco:HalfCheetahSparse(side=1)", UnknownName, "Did you mean 'both_sides'?"),
        ("mujoco:HalfCheetahSparse(both_sides=1)", InvalidSetting, "must be of type bool"),
        ("mujoco:HalfCheetahSparse(version='2')", InvalidSetting, "one of ('gymnasium', 'rllab')"),
        ("mujoco:HalfCheetahSparse(noisy_tv=3)", InvalidSetting, "for our own tasks"),
    ],
)
def test_what_is_refused(name: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as raised:
        make(name, 2)
    assert told in str(raised.value)


def test_a_broken_world_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a file with its remarks
    env = MuJoCoVector(HalfCheetahSparse(), 3)
    state, _, _ = play(env, uniform(4, 3, 6))
    state.vector.state[1, 12] = 1e12
    with pytest.raises(BadEnvironmentData, match="environment 1, step 5: MuJoCo found"):
        env.step(state, KEY, np.zeros((3, 6), np.float32))
    state, _, _ = play(env, uniform(1, 3, 6))
    bad = np.zeros((3, 6), np.float32)
    bad[2, 0] = np.nan
    with pytest.raises(BadEnvironmentData, match="environment 2: the agent's action"):
        env.step(state, KEY, bad)


def test_without_mujoco_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'mujoco'")

    imported.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Exception, match=r"pip install 'explorax\[mujoco\]'"):
        simulation(HalfCheetahSparse())
    monkeypatch.undo()
    imported.cache_clear()


def test_a_picture_shows_what_moves() -> None:
    env = MuJoCoVector(HalfCheetahSparse(), 2, render=True)
    state, _, _ = play(env, uniform(1, 2, 6))
    frames = [env.draw(state, 1)]
    for action in uniform(20, 2, 6).astype(np.float32):
        state, _ = env.step(state, KEY, action)
    frames.append(env.draw(state, 1))
    assert all(frame.shape == (240, 320, 3) and frame.dtype == np.uint8 for frame in frames)
    assert (frames[0] != frames[1]).mean() > 0.01
    for one, other in itertools.pairwise([env.draw(state, 0), env.draw(state, 0)]):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InvalidSetting, match="render=True"):
        MuJoCoVector(HalfCheetahSparse(), 2).draw(state)


def test_the_page_has_every_task_and_the_pictures_that_its_script_draws() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "envs_mujoco.md").read_text()
    spec = importlib.util.spec_from_file_location("pictures", docs / "mujoco_pictures.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = {f"figures/mujoco-{file}.png" for file in script.PICTURES}
    assert drawn == set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", page))
    assert {name_of(task).partition("(")[0] for task, *_ in script.PICTURES.values()} == {
        f"mujoco:{name}" for name in task_names()
    }
    assert all(f"## {name}" in page and f"`mujoco:{name}`" in page for name in task_names())
    assert all(f"`explorax/{name}-v0`" in page for name in registered.REGISTERED)
    frame = np.asarray(script.draw(*script.PICTURES["half-cheetah-sparse"]))
    assert frame.shape == (240, 320, 3)

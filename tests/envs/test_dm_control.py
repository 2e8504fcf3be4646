"""The border to dm_control's suite, and the suite itself beside our tasks of the same names."""

import importlib
import itertools
import json
import logging
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from playing import KEY, followed, play

from explorax.cli import main
from explorax.core.errors import BadEnvironmentData, Incompatible, InvalidSetting, UnknownName
from explorax.core.protocols import Box
from explorax.envs import CartPoleSwingUp, PendulumSwingUp, PointMass, Reacher
from explorax.envs import dm_control as adapter
from explorax.envs.cart_pole import CartPoleState
from explorax.envs.dm_control import DMControlVector, task_names
from explorax.envs.pendulum_swing_up import SwingState
from explorax.envs.point_mass import PointMassState
from explorax.envs.reacher import ReacherState
from explorax.envs.suite import make, name_of

if sys.version_info >= adapter.WITHOUT_WHEELS:
    pytest.skip("labmaze, which dm_control needs, has no wheels here", allow_module_level=True)
theirs = adapter._suite()  # imported as it is where nothing is drawn
dm_env: Any = importlib.import_module("dm_env")
importlib.import_module("dm_env.specs")
NUMBERS = itertools.count()


def load(id, seed):
    """Return a task of the suite as it comes, a dict for each observation."""
    domain, task = id.split("-")
    return theirs.load(domain, task, task_kwargs={"random": seed})


@pytest.mark.parametrize(
    ("id", "obs", "action", "mapped"),
    [
        ("cheetah-run", 17, 6, False),
        ("cartpole-swingup_sparse", 5, 1, True),
        ("reacher-hard", 6, 2, True),
    ],
)
def test_what_it_says_of_itself_and_gives(id, obs, action, mapped):
    env = make(f"dm_control:{id}", 3)
    spec = env.spec
    assert not env.traceable
    assert (spec.obs, spec.action) == (Box((obs,), -np.inf, np.inf), Box((action,)))
    assert (spec.num_envs, spec.max_episode_steps, spec.success_return) == (3, 1000, None)
    assert (spec.view is not None) == mapped
    _, first, (row,) = play(env, np.zeros((1, 3, action), np.float32))
    assert first.shape == row.obs.shape == row.next_obs.shape == (3, obs)
    assert first.dtype == row.obs.dtype == row.next_obs.dtype == row.reward.dtype == np.float32
    assert row.reward.shape == row.terminated.shape == row.truncated.shape == (3,)
    assert row.terminated.dtype == row.truncated.dtype == bool


def test_observations_are_flattened_in_the_suites_own_order():
    env = DMControlVector("walker-walk", 2)
    seeds = np.asarray(jax.random.bits(KEY, (2,), "uint32"))
    twins = [load("walker-walk", int(seed)) for seed in seeds]
    assert [*twins[0].observation_spec()] == ["orientations", "height", "velocity"]  # not a, b, c
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 2, 6)).astype(np.float32)
    _, obs, rows = play(env, actions)

    def by_hand(given):
        return np.concatenate([np.ravel(part) for part in given.observation.values()])

    np.testing.assert_array_equal(obs, [by_hand(twin.reset()).astype(np.float32) for twin in twins])
    for action, row in zip(actions, rows, strict=True):
        given = [twin.step(each) for twin, each in zip(twins, action, strict=True)]
        np.testing.assert_allclose(row.obs, [by_hand(each) for each in given], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(row.reward, [each.reward for each in given], rtol=1e-5)


def test_the_same_key_gives_the_same_episodes():
    env = DMControlVector("cartpole-swingup", 3)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 3, 1)).astype(np.float32)
    _, obs, rows = play(env, actions)
    _, obs_again, rows_again = play(env, actions)
    np.testing.assert_array_equal(obs, obs_again)
    jax.tree.map(np.testing.assert_array_equal, rows, rows_again)
    assert len({tuple(row) for row in obs}) == 3
    _, other = env.reset(jax.random.key(1))
    assert (other != obs).any(-1).all()


def test_the_time_limit_truncates_and_opens_another_episode():
    env = DMControlVector("pendulum-swingup", 2)
    _, first, rows = play(env, np.zeros((1001, 2, 1), np.float32))
    assert not any(row.terminated.any() for row in rows)
    np.testing.assert_array_equal([row.truncated.any() for row in rows], [0] * 999 + [1, 0])
    last, after = rows[999], rows[1000]
    assert last.truncated.all()
    assert (last.obs != last.next_obs).any(-1).all()
    assert (last.obs != first).any(-1).all()  # another one, not the same again
    np.testing.assert_allclose(last.next_obs, rows[998].obs, atol=0.2)  # the true successor
    np.testing.assert_allclose(after.obs, last.obs, atol=1.0)
    np.testing.assert_array_equal(rows[0].obs, rows[0].next_obs)


@pytest.mark.parametrize(
    "id", ["ball_in_cup-catch", "finger-spin", "fish-swim", "hopper-hop", "walker-run"]
)
def test_episodes_of_the_suite_have_a_thousand_steps(id):
    # private, but there is no other word for it than to play the whole episode
    assert load(id, 0)._step_limit == DMControlVector(id, 1).spec.max_episode_steps


def test_actions_are_scaled_to_each_bound_and_clipped():
    env = DMControlVector("quadruped-walk", 3)
    bounds = load("quadruped-walk", 0).action_spec()
    assert len({*bounds.maximum.tolist()}) > 1
    actions = np.stack([np.full(12, by, np.float32) for by in (1.0, -7.0, 0.0)])
    state, _, _ = play(env, [actions])
    got = [world.env.physics.control() for world in state.vector]
    middle = (bounds.minimum + bounds.maximum) / 2
    np.testing.assert_allclose(got, [bounds.maximum, bounds.minimum, middle], atol=1e-7)


@pytest.fixture
def fake(monkeypatch):
    """Return a function that makes a vector of tasks that give what they are told to."""

    def make_fake(give, num_envs=2):
        class Fake:
            def __init__(self):
                self.count = 0

            def reset(self):
                self.count = 0
                return dm_env.restart({"observations": np.zeros(2)})

            def step(self, action):
                self.count += 1
                return give(self.count)

            def observation_spec(self):
                return {"observations": dm_env.specs.Array((2,), float)}

            def action_spec(self):
                return dm_env.specs.BoundedArray((1,), float, -2.0, 2.0)

        monkeypatch.setattr(adapter, "_load", lambda id, seed: Fake())
        return DMControlVector(f"fake-{next(NUMBERS)}", num_envs)  # never twice: specs are kept

    return make_fake


def counted(count):
    return {"observations": np.full(2, float(count))}


def test_a_discount_of_zero_terminates_and_no_other(fake):
    def give(count):
        if count == 3:
            return dm_env.termination(1.0, counted(count))
        return dm_env.transition(1.0, counted(count), discount=0.0)  # goes on nevertheless

    _, _, rows = play(fake(give), np.zeros((4, 2, 1), np.float32))
    np.testing.assert_array_equal([row.terminated[1] for row in rows], [0, 0, 1, 0])
    assert not any(row.truncated.any() for row in rows)
    np.testing.assert_array_equal([row.next_obs[0, 0] for row in rows], [1, 2, 3, 1])
    np.testing.assert_array_equal([row.obs[0, 0] for row in rows], [1, 2, 0, 1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1.0, [np.nan, 0.0]), "the observation is not finite in float32: [nan  0.]"),
        ((1.0, [0.0, 1e300]), "the observation is not finite in float32"),
        ((float("inf"), [0.0, 0.0]), "the reward is not finite in float32: inf"),
    ],
)
def test_numbers_that_are_not_finite_are_named(fake, given, words):
    reward, obs = given
    right = dm_env.transition(1.0, counted(0))
    wrong = dm_env.transition(reward, {"observations": np.array(obs)})
    env = fake(lambda count: wrong if count == 2 else right)
    with pytest.raises(BadEnvironmentData, match=re.escape(words)) as caught:
        play(env, np.zeros((3, 2, 1), np.float32))
    assert f"dm_control:{env.id}, environment 0, step 2:" in str(caught.value)


def test_a_simulation_that_fails_is_named(fake):
    def give(count):
        raise FloatingPointError("Physics state is invalid.")

    words = "environment 0, step 1: step raised FloatingPointError: Physics state is invalid."
    with pytest.raises(BadEnvironmentData, match=words):
        play(fake(give), np.zeros((1, 2, 1), np.float32))


def test_an_action_that_is_not_finite_is_refused(fake):
    env = fake(lambda count: dm_env.transition(1.0, counted(count)))
    with pytest.raises(BadEnvironmentData, match="environment 1: the agent's action is not finite"):
        play(env, [np.array([[0.0], [np.nan]], np.float32)])


def test_names():
    env = make("dm_control: cheetah-run", 2)
    assert env == DMControlVector("cheetah-run", 2)
    assert name_of("dm_control:cheetah-run ") == name_of(env) == "dm_control:cheetah-run"
    assert make(env, 5) == DMControlVector("cheetah-run", 5)
    with pytest.raises(InvalidSetting, match="takes no settings"):
        make("dm_control:cheetah-run(noisy_tv=3)", 2)
    assert {"cheetah-run", "cartpole-swingup_sparse"} <= set(task_names())


@pytest.mark.parametrize(
    ("id", "error", "words"),
    [
        ("cheeta-run", UnknownName, "'cheeta-run' in dm_control's suite. Did you mean 'cheetah-ru"),
        ("cartpole", UnknownName, "`explorax list dm_control` shows all"),
        ("", UnknownName, "`explorax list dm_control` shows all"),
        ("lqr-lqr_2_1", Incompatible, "has actions without bounds"),
    ],
)
def test_tasks_that_cannot_be_had_say_so_in_one_line(id, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        _ = DMControlVector(id, 2).spec
    assert "\n" not in str(caught.value)


def test_without_the_package_the_cure_is_named(tmp_path):
    given = ["train", "--env", "dm_control:cheetah-run", "--root", str(tmp_path / "runs")]
    code = (
        "import sys; sys.modules['dm_control'] = None\n"
        "from explorax.cli import main\n"
        f"sys.exit(main({given}) + 10 * main(['list', 'dm_control']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 11, done.stderr
    messages = done.stderr.splitlines()
    assert len(messages) == 2
    assert all(line.endswith("Install it: pip install 'explorax[dm_control]'") for line in messages)
    assert not (tmp_path / "runs").exists()


def test_where_it_cannot_be_installed_the_versions_of_python_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    monkeypatch.setattr(adapter, "WITHOUT_WHEELS", (3, 0))
    with pytest.raises(Incompatible, match=r"no wheels .* Python 3\.11 or 3\.12, and there pip"):
        task_names()


@pytest.mark.parametrize("missing", [AttributeError("'NoneType' has no 'glGetError'"), OSError()])
def test_versions_that_do_not_fit_are_told(monkeypatch, missing):
    def load(*_, **__):
        raise missing

    monkeypatch.setattr(theirs, "load", load)
    adapter._describe.cache_clear()
    with pytest.raises(Incompatible, match=re.escape("pip install 'explorax[dm_control]'")):
        _ = DMControlVector("cheetah-run", 1).spec


def test_nothing_of_it_is_imported_before_it_is_used_and_then_without_opengl():
    code = (
        "import os, sys\n"
        "os.environ.pop('MUJOCO_GL', None)\n"
        "from explorax.envs.suite import catalogue, make, name_of\n"
        "catalogue(), make('mountain_car', 2).spec, name_of(make('dm_control:cheetah-run', 2))\n"
        "assert not {'dm_control', 'mujoco', 'OpenGL'} & set(sys.modules)\n"
        "make('dm_control:pendulum-swingup', 1).spec\n"
        "assert {'dm_control', 'mujoco'} <= set(sys.modules)\n"
        "assert sys.platform != 'linux' or 'OpenGL' not in sys.modules\n"
        "assert 'MUJOCO_GL' not in os.environ\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_remarks_about_models_are_kept_off_the_terminal(caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        load("cheetah-run", 0)
        assert caplog.records  # or there is nothing to keep quiet any more
        caplog.clear()
        DMControlVector("cheetah-run", 1).reset(KEY)
        assert not caplog.records
        assert logging.getLogger("absl").level == logging.WARNING


def test_a_frame_shows_the_task_or_says_what_is_missing():
    env = DMControlVector("cartpole-swingup", 2, render=True)
    state, _ = env.reset(KEY)
    try:
        frame = env.draw(state, 1)
    except Incompatible as error:  # a machine without OpenGL
        assert "cannot be drawn" in str(error) and "\n" not in str(error)
        pytest.skip(str(error))
    assert (frame.shape, frame.dtype) == ((240, 320, 3), np.uint8)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 100
    for _ in range(30):
        state, _ = env.step(state, KEY, np.ones((2, 1), np.float32))
    moved = env.draw(state, 1)
    assert (moved != frame).any(-1).mean() > 0.01
    np.testing.assert_array_equal(env.draw(state, 1), moved)


@pytest.mark.parametrize(
    ("setting", "words"),
    [(None, "no OpenGL library was found"), ("off", "MUJOCO_GL=off is set. Unset it")],
)
def test_no_opengl_is_a_message_and_no_crash(monkeypatch, setting, words):
    import mujoco

    env = DMControlVector("cartpole-swingup", 1, render=True)
    state, _ = env.reset(KEY)
    monkeypatch.delattr(mujoco, "GLContext", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if setting is not None:
        monkeypatch.setenv("MUJOCO_GL", setting)
    with pytest.raises(Incompatible, match=words) as caught:
        env.draw(state)
    assert "dm_control:cartpole-swingup cannot be drawn" in str(caught.value)
    with pytest.raises(InvalidSetting, match="render=True"):
        DMControlVector("cartpole-swingup", 1).draw(state)


def test_training_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("explorax.run.film.FRAMES", 3)
    arguments = ["--env", "dm_control:cartpole-swingup_sparse", "--bonus", "NoBonus()"]
    arguments += ["--agent", "REINFORCE(rollout_length=400, hidden=(4,), value_hidden=(4,))"]
    arguments += ["--num-envs", "1", "--env-steps", "1200", "--root", str(tmp_path)]
    assert main(["train", *arguments]) == 0
    (config,) = tmp_path.rglob("config.json")
    run = config.parent
    assert json.loads(config.read_text())["env"] == "dm_control:cartpole-swingup_sparse"
    assert (run / "DONE").exists()
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    lengths = [row.split(",")[header.split(",").index("length_mean")] for row in rows]
    assert {float(length) for length in lengths if length} == {1000.0}
    told = capsys.readouterr()
    films = list((run / "films").glob("*.gif"))
    if not films:
        assert "cannot be drawn" in told.out + told.err
        return
    with Image.open(films[0]) as gif:
        assert getattr(gif, "n_frames", 1) == 3


def test_the_list_shows_every_task(capsys):
    assert main(["list", "dm_control"]) == 0
    told = capsys.readouterr().out
    assert all(f"dm_control:{name}" in told.split() for name in task_names())
    assert main(["list", "environments"]) == 0
    assert "explorax list dm_control" in capsys.readouterr().out


# Our task, the suite's name, and how far positions and velocities are drawn: within the rail.
TWINS = [
    (PendulumSwingUp(), "pendulum-swingup", [np.pi], [5.0]),
    (CartPoleSwingUp(), "cartpole-swingup", [1.5, np.pi], [1.0, 5.0]),
    (CartPoleSwingUp(sparse=True), "cartpole-swingup_sparse", [0.2, 0.1], [0.1, 0.1]),
    (Reacher(), "reacher-easy", [np.pi, 2.0], [2.0, 2.0]),
    (Reacher("hard"), "reacher-hard", [np.pi, 2.0], [2.0, 2.0]),
    (PointMass(), "point_mass-easy", [0.25, 0.25], [0.1, 0.1]),
]


def our_state(task, q, v):
    q, v = jnp.asarray(q, jnp.float32), jnp.asarray(v, jnp.float32)
    if isinstance(task, PendulumSwingUp):
        return SwingState(q[0], v[0])
    if isinstance(task, CartPoleSwingUp):
        return CartPoleState(q[0], v[0], q[1], v[1])
    if isinstance(task, Reacher):
        return ReacherState(q[0], q[1], v[0], v[1], jnp.float32(0.0), jnp.float32(0.15))
    return PointMassState(q, v)


def put(physics, q, v):
    with physics.reset_context():
        physics.data.qpos[:], physics.data.qvel[:] = q, v
        if "target" in physics.named.model.geom_pos.axes.row.names:
            physics.named.model.geom_pos["target", ["x", "y"]] = 0.0, 0.15


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin[1])
def test_our_task_of_that_name_is_the_suites(twin):
    task, id, far, fast = twin
    count, steps = 4, 10
    rng = np.random.default_rng(0)
    q = rng.uniform(-1, 1, (count, len(far))).astype(np.float32) * np.float32(far)
    v = rng.uniform(-1, 1, (count, len(fast))).astype(np.float32) * np.float32(fast)
    actions = rng.uniform(-1, 1, (steps, count, *task.action.shape)).astype(np.float32)
    env = DMControlVector(id, count)
    state, _ = env.reset(KEY)
    for world, *place in zip(state.vector, q, v, strict=True):
        put(world.env.physics, *place)

    begin = jax.tree.map(
        lambda *leaves: jnp.stack(leaves),
        *(our_state(task, *place) for place in zip(q, v, strict=True)),
    )
    path, reward, terminated = jax.vmap(partial(followed, task), (0, 1), 1)(begin, actions)
    obs = jax.jit(jax.vmap(jax.vmap(task.observe)))(path)
    paid = 0.0
    for step in range(steps):
        state, out = env.step(state, KEY, actions[step])
        np.testing.assert_allclose(obs[step], out.obs, rtol=0, atol=1e-5)
        np.testing.assert_allclose(reward[step], out.reward, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(terminated[step], out.terminated)
        paid += out.reward.sum()
    assert paid > 0 or not isinstance(task, CartPoleSwingUp)

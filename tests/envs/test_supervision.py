"""Environments that raise, hang, die, or return what they should not, in real worker processes."""

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import faulty
import jax
import numpy as np
import pytest

from explorax.core.errors import (
    BadEnvironmentData,
    Incompatible,
    InvalidSetting,
    NotEnoughMemory,
    UnknownName,
)
from explorax.envs import shared_memory
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.suite import make, name_of, supervised
from explorax.envs.supervision import Supervision

KEY = jax.random.key(3)
NUM_ENVS = 4
BITS = np.asarray(jax.random.bits(KEY, (NUM_ENVS,), "uint32"))
SEEDS = [int(bits) % 2**31 for bits in BITS]  # many an environment takes no larger one
SLOW_S = 0.5  # a limit that only an environment that never answers exceeds


def faulty_env(how="", at=3, victim=0, **supervision):
    kwargs = (("at", at), ("how", how), ("victim", victim))
    settings = Supervision(**supervision)
    return GymnasiumVector("faulty:Faulty-v0", NUM_ENVS, kwargs=kwargs, supervision=settings)


def play(env, steps=6):
    """Return (the state, first observations, rows)."""
    state, first = env.reset(KEY)
    rows = [env.step(state, KEY, np.zeros(NUM_ENVS, np.int32))[1] for _ in range(steps)]
    return state, first, rows


def processes(state):
    return [share.process for share in state.vector.shares]


@pytest.fixture(scope="module")
def unharmed():
    return play(faulty_env())


@pytest.mark.parametrize(("workers", "shares"), [(3, 3), (9, NUM_ENVS)])
def test_who_steps_them_decides_no_number(unharmed, workers, shares):
    state, first, rows = play(faulty_env(workers=workers))
    assert len(processes(state)) == shares
    np.testing.assert_array_equal(first, unharmed[1])
    for row, wanted in zip(rows, unharmed[2], strict=True):
        jax.tree.map(np.testing.assert_array_equal, row, wanted)


def test_rows_are_not_written_to_again():
    env = faulty_env(workers=2)
    state, first = env.reset(KEY)
    kept = first.copy()
    _, one = env.step(state, KEY, np.zeros(NUM_ENVS, np.int32))
    seen = jax.tree.map(np.copy, one)
    env.step(state, KEY, np.zeros(NUM_ENVS, np.int32))
    np.testing.assert_array_equal(first, kept)
    jax.tree.map(np.testing.assert_array_equal, one, seen)


@pytest.mark.parametrize(("how", "workers"), [("raise", 0), ("nan", 0), ("shape", 0), ("raise", 2)])
def test_one_that_fails_is_restarted_and_the_others_notice_nothing(unharmed, how, workers):
    env = faulty_env(how, victim=SEEDS[2], workers=workers, restarts=1)
    state, _, rows = play(env)
    check_restarted(state, rows, unharmed[2], failed=2)
    for row, wanted in zip(rows, unharmed[2], strict=True):
        for index in (0, 1, 3):
            jax.tree.map(
                lambda a, b, i=index: np.testing.assert_array_equal(a[i], b[i]), row, wanted
            )
    (note,) = state.vector.take_notes()
    assert "faulty:Faulty-v0, environment 2, step 3: " in note
    assert "restarted, time 1 of at most 1" in note
    assert state.vector.take_notes() == []


def check_restarted(state, rows, wanted, failed):
    """Raise unless the third row of `failed` says nothing and a new episode follows it."""
    np.testing.assert_array_equal(rows[2].next_obs[failed], rows[1].next_obs[failed])
    assert rows[2].reward[failed] == 0.0
    assert rows[2].truncated[failed]
    assert not rows[2].terminated[failed]
    assert rows[2].obs[failed, 1] == 0
    assert rows[2].obs[failed, 0] != wanted[0].obs[failed, 0]
    np.testing.assert_array_equal([row.next_obs[failed, 1] for row in rows[3:]], [1, 2, 3])
    np.testing.assert_array_equal(state.vector.restarts, np.arange(NUM_ENVS) == failed)


@pytest.mark.parametrize("how", ["hang", "kill"])
def test_one_that_takes_its_process_with_it(unharmed, how):
    """Environments 2 and 3 share a process; 2 fails before 3 has stepped."""
    env = faulty_env(how, victim=SEEDS[2], workers=2, step_limit_s=SLOW_S, restarts=1)
    state, _, rows = play(env)
    check_restarted(state, rows, unharmed[2], failed=2)
    for row, wanted in zip(rows, unharmed[2], strict=True):
        np.testing.assert_array_equal(row.obs[:2], wanted.obs[:2])
        np.testing.assert_array_equal(row.next_obs[:2], wanted.next_obs[:2])
    np.testing.assert_array_equal(rows[2].truncated, [False, False, True, True])
    (note,) = state.vector.take_notes()
    words = {"hang": "it has not answered for 0.5 s", "kill": "its process died"}
    assert f"environment 2, step 3: {words[how]}" in note


def test_what_a_lost_process_had_done_before_is_kept(unharmed):
    """Environment 3 fails when 2, of the same process, has stepped: that row is a true one."""
    env = faulty_env("kill", victim=SEEDS[3], workers=2, restarts=1)
    _, _, rows = play(env)
    np.testing.assert_array_equal(rows[2].next_obs[2], unharmed[2][2].next_obs[2])
    np.testing.assert_array_equal(rows[2].reward, [1, 1, 1, 0])
    np.testing.assert_array_equal(rows[2].truncated, [False, False, True, True])
    assert rows[2].obs[2, 1] == 0


def test_a_worker_that_is_killed_from_outside_is_replaced():
    env = faulty_env(workers=2, restarts=1)
    state, _ = env.reset(KEY)
    victim = processes(state)[1]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    _, out = env.step(state, KEY, np.zeros(NUM_ENVS, np.int32))
    np.testing.assert_array_equal(out.truncated, [False, False, True, True])
    np.testing.assert_array_equal(state.vector.restarts, [0, 0, 1, 0])
    os.kill(processes(state)[1].pid, signal.SIGKILL)
    with pytest.raises(BadEnvironmentData, match="restarted once, as often as restarts=1 allows"):
        env.step(state, KEY, np.zeros(NUM_ENVS, np.int32))


def test_an_end_whose_reset_fails_keeps_its_row(unharmed):
    """The episode's fourth step ends it; what is missing is only the next episode."""
    env = faulty_env("reset", at=4, victim=SEEDS[1], restarts=1)
    state, _, rows = play(env)
    np.testing.assert_array_equal(rows[3].next_obs, unharmed[2][3].next_obs)
    np.testing.assert_array_equal(rows[3].reward, np.ones(NUM_ENVS))
    assert rows[3].obs[1, 1] == 0
    assert "reset raised OSError: no more memory" in state.vector.notes[0]


@pytest.mark.parametrize(
    ("how", "supervision", "words"),
    [
        ("raise", {}, "environment 0, step 3: step raised ValueError: engine on fire"),
        ("shape", {"workers": 1}, "the observation has shape (3,) and must have (2,)"),
        ("kill", {"workers": 1}, "environment 0, step 3: its process died (killed by SIGKILL)."),
        (
            "hang",
            {"workers": 1, "step_limit_s": SLOW_S},
            "environment 0, step 3: it has not answered for 0.5 s and was stopped.",
        ),
        ("raise", {"restarts": 1}, "restarted once, as often as restarts=1 allows."),
    ],
)
def test_what_is_not_restarted_is_named(how, supervision, words):
    with pytest.raises(BadEnvironmentData) as caught:
        play(faulty_env(how, **supervision))
    assert words in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_all_of_several_that_fail_together_begin_anew(workers):
    """Each fails in its third step; two of them share a process."""
    state, _, rows = play(faulty_env("raise", workers=workers, restarts=2), steps=5)
    np.testing.assert_array_equal(rows[2].truncated, np.ones(NUM_ENVS, bool))
    np.testing.assert_array_equal(rows[2].obs[:, 1], np.zeros(NUM_ENVS))
    np.testing.assert_array_equal(rows[3].next_obs[:, 1], np.ones(NUM_ENVS))
    np.testing.assert_array_equal(state.vector.restarts, np.ones(NUM_ENVS))
    assert state.vector.rows.ready.all()


def test_a_reset_that_fails_behind_another_is_mended_too(tmp_path):
    """0 takes down the process that it shares with 1, and then both fail to reset, each once."""
    how = {"how": "kill, then reset", "mark": str(tmp_path / "killed"), "victim": SEEDS[0]}
    settings = Supervision(workers=2, restarts=3)
    kwargs = (("at", 3), *how.items())
    env = GymnasiumVector("faulty:Faulty-v0", NUM_ENVS, kwargs=kwargs, supervision=settings)
    state, _, rows = play(env, steps=5)
    np.testing.assert_array_equal(rows[2].obs[:2, 1], [0, 0])
    np.testing.assert_array_equal(rows[3].next_obs[:2, 1], [1, 1])
    assert (rows[2].obs[:2, 0] == rows[3].obs[:2, 0]).all()
    np.testing.assert_array_equal(state.vector.restarts, [2, 1, 0, 0])


@pytest.mark.parametrize(("how", "workers"), [("unmade", 0), ("unmade", 2), ("unmade kill", 2)])
def test_one_that_cannot_be_made_anew_is_a_fault_with_a_name(how, workers, tmp_path):
    """It fails in its third step, and its class fails from then on."""
    kwargs = (("at", 3), ("how", how), ("mark", str(tmp_path / "broken")))
    settings = Supervision(workers=workers, restarts=2)
    env = GymnasiumVector("faulty:Faulty-v0", NUM_ENVS, kwargs=kwargs, supervision=settings)
    with pytest.raises(BadEnvironmentData) as caught:
        play(env)
    said = str(caught.value)
    assert "environment 0, step 3: it could not be made anew" in said
    assert "restarted 2 times, as often as restarts=2 allows" in said


def test_no_process_outlives_the_environments():
    state, _ = faulty_env(workers=2).reset(KEY)
    begun = processes(state)
    assert all(process.poll() is None for process in begun)
    del state
    gc.collect()
    assert all(process.poll() is not None for process in begun)


ORPHANAGE = """
    import os, signal, sys
    import jax
    from explorax.envs.gymnasium import GymnasiumVector
    from explorax.envs.supervision import Supervision

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    kwargs = (("at", 1), ("how", "hang"))
    env = GymnasiumVector("faulty:Faulty-v0", 2, kwargs=kwargs, supervision=Supervision(workers=2))
    state, _ = env.reset(jax.random.key(0))
    print(*(share.process.pid for share in state.vector.shares), flush=True)
    for share in state.vector.shares:
        share.begin(1)  # both hang from here on
    os.kill(os.getpid(), signal.{how})
    signal.pause()
"""


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_ctrl_c_and_a_kill_leave_no_orphans(how):
    """Also where an environment hangs, and where nobody was left to close it."""
    script = textwrap.dedent(ORPHANAGE).replace("{how}", how)
    path = os.pathsep.join(map(str, (Path(faulty.__file__).parent, *filter(None, sys.path))))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    for _ in range(3000):  # the pipe that broke is heard of in their own time
        if not any(map(lives, pids)):
            return
        time.sleep(0.02)
    pytest.fail("worker processes outlive the one that trains")


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_frames_come_from_worker_processes_too():
    env = GymnasiumVector("faulty:Faulty-v0", 2, render=True, supervision=Supervision(workers=2))
    state, _ = env.reset(KEY)
    env.step(state, KEY, np.zeros(2, np.int32))
    np.testing.assert_array_equal(env.draw(state, 1), np.ones((8, 8, 3)))


def test_settings_that_cannot_be():
    with pytest.raises(InvalidSetting, match="step_limit_s must be None without workers"):
        Supervision(step_limit_s=1.0)
    with pytest.raises(InvalidSetting, match="restarts must be at least 0"):
        Supervision(restarts=-1)
    chosen = Supervision(workers=2)
    with pytest.raises(Incompatible, match="mountain_car cannot be stepped by worker processes"):
        supervised(make("mountain_car", 2), chosen)
    assert supervised(make("gymnasium:CartPole-v1", 2), chosen) == GymnasiumVector(
        "CartPole-v1", 2, supervision=chosen
    )


def test_ids_of_modules_of_the_users_own(tmp_path, monkeypatch):
    env = make("faulty:Faulty-v0(at=7)", 2)
    assert env == make("gymnasium:faulty:Faulty-v0(at=7)", 2)
    assert name_of(env) == "faulty:Faulty-v0(at=7)"
    assert env.spec.obs.shape == (2,)
    with pytest.raises(UnknownName, match="no environment 'Faulti-v0'.*Did you mean 'Faulty-v0'"):
        _ = GymnasiumVector("faulty:Faulti-v0", 2).spec
    with pytest.raises(UnknownName, match="there is no module 'my_worlds' to import, neither in"):
        _ = GymnasiumVector("my_worlds:Mine-v0", 2).spec
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    Path("my_worlds_1.py").write_text("import faulty, gymnasium\n")
    with pytest.raises(UnknownName, match="It registers none: it has to call gymnasium.register"):
        _ = GymnasiumVector("my_worlds_1:Mine-v0", 2).spec
    Path("my_worlds_2.py").write_text("import no_such_thing\n")
    with pytest.raises(Incompatible, match="needs a package .*'no_such_thing'"):
        _ = GymnasiumVector("my_worlds_2:Mine-v0", 2).spec
    Path("my_worlds_3.py").write_text("1 / 0\n")
    with pytest.raises(Incompatible, match="importing my_worlds_3 raised ZeroDivisionError"):
        _ = GymnasiumVector("my_worlds_3:Mine-v0", 2).spec


def no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_where_dev_shm_has_no_room_a_file_elsewhere_is_shared(unharmed, tmp_path, monkeypatch):
    """Its room is asked for before anything is written: what is not there is a death by SIGBUS."""
    write, asked = os.pwrite, []

    def tiny(file, data, offset):
        asked.append(os.readlink(f"/proc/self/fd/{file}"))
        return no_room() if asked[-1].startswith("/dev/shm/") else write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", tiny)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _, first, rows = play(faulty_env(workers=1), steps=1)
    assert [each.split("/")[1] for each in asked] == ["dev", str(tmp_path).split("/")[1]]
    np.testing.assert_array_equal(first, unharmed[1])
    jax.tree.map(np.testing.assert_array_equal, rows[0], unharmed[2][0])
    assert not list(tmp_path.iterdir())


def test_no_room_anywhere_is_told_with_what_to_set(monkeypatch):
    monkeypatch.setattr(shared_memory, "IN_MEMORY", "/dev/no_such_thing")
    monkeypatch.setattr(os, "pwrite", no_room)
    with pytest.raises(NotEnoughMemory) as caught:
        shared_memory.allocate(3000)
    said = str(caught.value)
    assert "share 3,000 bytes" in said and "/dev/no_such_thing: No such file" in said
    assert "No space left on device" in said and "TMPDIR" in said


def test_all_of_the_memory_that_is_shared_is_there():
    """An empty file of that length would have no blocks."""
    size = (1 << 20) + 5
    file = shared_memory.allocate(size)
    try:
        assert os.fstat(file).st_size == size
        assert os.fstat(file).st_blocks * 512 >= size
    finally:
        os.close(file)

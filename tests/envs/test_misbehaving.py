"""Whatever an environment does when it is made, described, reset, stepped, drawn or closed ends in
one sentence that names it, in this process and in others."""

import gc
import signal
from pathlib import Path

import jax
import misbehaving
import numpy as np
import pytest

import explorax as ex
from explorax.core.errors import BadEnvironmentData, ExploraxError, Incompatible
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.supervision import Supervision, is_fault
from explorax.envs.worlds import LARGEST_SEED
from explorax.report.read import find_runs

KEY = jax.random.key(3)
NAME = "misbehaving:Misbehaving-v0"
FIRE = "ValueError: engine on fire"
STEP = f"{NAME}, environment 0, step 2: step raised"


def misbehaving_env(when, how, workers=0):
    kwargs = (("how", how), ("when", when))
    settings = Supervision(workers=workers)
    return GymnasiumVector(NAME, 2, render=True, kwargs=kwargs, supervision=settings)


def play(env, steps=4):
    state, _ = env.reset(KEY)
    for _ in range(steps):
        env.step(state, KEY, np.zeros(2, np.int32))
    env.draw(state, 0)


@pytest.fixture
def hears_interrupts():
    """As while a run trains: Ctrl-C is noted by a handler of our own."""

    def hear(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
@pytest.mark.parametrize(
    ("when", "how", "workers", "words"),
    [
        ("make", "raise", 0, f"{NAME} cannot be made: it raised {FIRE}."),
        ("make", "leave", 0, f"{NAME} cannot be made: it raised SystemExit: 3."),
        ("reset", "raise", 0, f"{NAME}, environment 0, step 0: reset raised {FIRE}."),
        ("step", "raise", 0, f"{STEP} {FIRE}. Mend"),
        ("step", "raise without words", 0, f"{STEP} Unspeakable. Mend"),
        ("step", "leave", 0, f"{STEP} SystemExit: 3."),
        ("step", "interrupt", 0, f"{STEP} KeyboardInterrupt."),
        ("render", "raise", 0, f"{NAME}, environment 0, step 4: render raised {FIRE}."),
        ("", "unreadable", 0, "step 1: the observation cannot be read: KeyError: 'pixels'."),
        ("make", "leave", 1, f"{NAME} cannot be made: it raised SystemExit: 3."),
        ("make", "die", 1, f"{NAME}, environments 0 to 1: they could not be made: its process"),
        ("step", "interrupt", 1, f"{STEP} KeyboardInterrupt."),
        ("step", "die", 1, f"{NAME}, environment 0, step 2: its process died (exit status 4)."),
        ("render", "leave", 1, f"{NAME}, environment 0, step 4: render raised SystemExit: 3."),
    ],
)
def test_what_it_does_is_told_in_one_line(when, how, workers, words):
    with pytest.raises(ExploraxError) as caught:
        play(misbehaving_env(when, how, workers))
    assert isinstance(caught.value, BadEnvironmentData)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["raise", "leave"])
def test_one_that_cannot_be_closed_can_be_described_and_stepped(how, caplog):
    env = misbehaving_env("close", how)
    assert env.spec.obs.shape == (2,)
    play(env)
    gc.collect()
    raised = {"raise": FIRE, "leave": "SystemExit: 3"}[how]
    said = [f"{NAME}: close raised {raised}."]  # when it was described
    said += [f"{NAME}, environment {index}: close raised {raised}." for index in (0, 1)]
    assert [record.getMessage() for record in caplog.records] == said


def test_a_worker_tells_of_every_close_that_fails(capfd):
    play(misbehaving_env("close", "raise", workers=1))
    gc.collect()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"{NAME}, environment {index}: close raised {FIRE}." for index in (0, 1)]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("text", "observes Text(1, 9, charset=.*) in ['said'], which is not an array of numbers."),
        (
            "one of",
            "in [0], which is not an array of numbers. Take it out (gymnasium.wrappers.Filter",
        ),
        ("codes", "Discrete(1000000000000) in ['id'], whose one-hot code has 1,000,000,000,000"),
        ("many codes", "in [0], whose one-hot code has 80,000 entries; all codes .* 65,536"),
        ("no space", "has (3,) for its observation_space, which is not a space of Gymnasium."),
        ("choices", "has 1,000,000,000,000 actions to choose among; at most 65,536"),
    ],
)
def test_what_nobody_could_learn_from_is_refused_by_its_key(how, words):
    with pytest.raises(Incompatible) as caught:
        _ = misbehaving_env("", how).spec
    said = str(caught.value)
    assert said.startswith(NAME)
    assert all(part in said for part in words.split(".*"))


def test_seeds_are_small_ones():
    """2,000 draws of 32 bits: half of them would be too large for an int32."""
    env = GymnasiumVector("misbehaving:Misbehaving-v0", 2000)
    state, _ = env.reset(KEY)
    seeds = np.array(state.vector.seeds)
    assert seeds.max() <= LARGEST_SEED == misbehaving.SMALL - 1
    assert seeds.max() > 2**30
    state.vector.step(np.zeros(2000, np.int32))
    fresh = [state.vector._fresh_seed(index) for index in range(2000)]
    assert max(fresh) <= LARGEST_SEED < 2 * max(fresh)


def test_ctrl_c_is_nobody_elses(monkeypatch):
    def caught_from(raises):
        with pytest.raises(BaseException) as caught:
            raises()
        return caught.value

    def raises():
        raise KeyboardInterrupt

    def hear(number, frame):
        raise KeyboardInterrupt

    own = caught_from(raises)
    assert is_fault(caught_from(lambda: misbehaving.do("leave")))
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    assert not is_fault(own)  # nobody can tell
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    assert is_fault(own)
    monkeypatch.setattr(signal, "getsignal", lambda _: hear)
    assert is_fault(own)
    assert not is_fault(caught_from(lambda: hear(2, None)))


def test_what_was_learned_before_an_interrupt_of_its_own_is_saved(tmp_path: Path):
    """Two rollouts of 20 steps, and the environment raises in the second."""
    env = f"{NAME}(at=25, how='interrupt', when='step')"
    with pytest.raises(BadEnvironmentData) as caught:
        ex.train(env, "A2C()", env_steps=80, num_envs=2, root=tmp_path, film=False, progress=False)
    assert "step 25: step raised KeyboardInterrupt. Mend the environment" in str(caught.value)
    assert "What was learned until 40 env steps is saved in" in str(caught.value)
    (run,) = find_runs(tmp_path)
    assert run.env_steps == 40

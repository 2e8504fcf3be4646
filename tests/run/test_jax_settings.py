"""JAX's own settings: refused by name, without influence, or part of what a run is."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from toys import Novelty, Walk, Wanderer

import explorax as ex
from explorax.adapters.gymnasium import IntrinsicReward
from explorax.core import jax_settings
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.run.config import RunConfig
from explorax.run.evaluate import evaluate
from explorax.run.train import resume_run, train

SRC = Path(ex.__file__).parent
OWN = (Wanderer, Novelty)


@contextmanager
def jax_has(name: str, value: Any) -> Iterator[None]:
    before = jax_settings.value_of(name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


def config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {"env_steps": 40, "num_envs": 4, "log_points": 2, "film": False}
    return RunConfig("walk", Wanderer(), Novelty(), **settings | changes)


def run(root: Path) -> Path:
    return train(config(), root, env=Walk(), progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("whole"))


def wrapped() -> IntrinsicReward:
    envs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync")
    return IntrinsicReward(envs, ex.Surprise(hidden=(4,)), seed=3)


@pytest.mark.parametrize(
    "name",
    [
        "jax_enable_x64",
        "jax_disable_jit",
        "jax_debug_nans",
        "jax_debug_infs",
        "jax_debug_key_reuse",
    ],
)
def test_what_does_not_work_is_refused_by_name_before_anything(
    whole: Path, tmp_path: Path, name: str
) -> None:
    ways: list[Callable[[], Any]] = [
        lambda: ex.train("four_rooms", "A2C()", env_steps=1000, root=tmp_path),
        lambda: ex.compare(
            env="four_rooms", agent="A2C()", bonus="NoBonus()", env_steps=1000, root=tmp_path
        ),
        lambda: ex.make("four_rooms"),
        lambda: ex.make(Walk()),
        lambda: evaluate(whole, env=Walk(), extra=OWN),
        lambda: ex.check(Wanderer()),
        lambda: ex.bind(Novelty(), spec),
        wrapped,
    ]
    spec = ex.make(Walk()).spec
    cure = rf'^{name.upper()} is set: .*Unset it.*jax\.config\.update\("{name}", False\)\.$'
    for way in ways:
        with jax_has(name, True), pytest.raises(InvalidSetting, match=cure):
            way()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["", "_host_to_device", "_device_to_host"])
def test_guards_against_transfers_are_refused(way: str) -> None:
    name = f"jax_transfer_guard{way}"
    with jax_has(name, "log"):
        jax_settings.check()
    wanted = rf'^{name.upper()} is disallow: .*jax\.config\.update\("{name}", "allow"\)\.$'
    with jax_has(name, "disallow"), pytest.raises(InvalidSetting, match=wanted):
        wrapped()


def test_strict_promotion_is_refused_where_optax_cannot_do_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """conftest.py mends it for the tests, which run under it."""
    jax_settings.check()
    monkeypatch.setattr(jax_settings, "_adam_works", lambda: False)
    with pytest.raises(InvalidSetting, match="^JAX_NUMPY_DTYPE_PROMOTION is strict: .*standard"):
        ex.make("four_rooms")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError(), "it finds none"),
        (RuntimeError("Unknown backend.\nAnd more"), "Unknown backend"),
    ],
)
def test_a_device_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def none() -> Any:
        raise error

    monkeypatch.setattr(jax, "devices", none)
    wanted = rf"^JAX_PLATFORMS=cpu: JAX has no such device here \({said}\)\. Unset JAX_PLATFORMS"
    with pytest.raises(InvalidSetting, match=wanted):
        ex.make("four_rooms")


def test_no_gpu_is_one_sentence_on_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explorax", "train", "--env", "four_rooms", "--root", str(tmp_path)],
        env=os.environ | {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "JAX_PLATFORMS=cuda: JAX has no such device here" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_the_kind_of_keys_that_jax_makes_changes_nothing(whole: Path, tmp_path: Path) -> None:
    envs = wrapped()
    observations, _ = envs.reset(seed=1)
    paid = envs.step(np.zeros(2, int))[1]
    with jax_has("jax_default_prng_impl", "rbg"):
        path = run(tmp_path)
        again = wrapped()
        np.testing.assert_array_equal(again.reset(seed=1)[0], observations)
        np.testing.assert_array_equal(again.step(np.zeros(2, int))[1], paid)
    assert path.name == whole.name
    for file in ("metrics.csv", "maps.npz"):
        assert (path / file).read_bytes() == (whole / file).read_bytes()


def test_every_seed_becomes_a_key_in_one_place() -> None:
    """And every key that is read back is told its kind."""
    made = re.compile(r"jax\.random\.(?:key\b(?!_)|PRNGKey)|random import .*\b(?:key|PRNGKey)\b")
    found = {
        path.relative_to(SRC).as_posix()
        for path in SRC.rglob("*.py")
        if any(made.search(line.partition("#")[0]) for line in path.read_text().splitlines())
    }
    assert found == {"core/keys.py"}
    for path in SRC.rglob("*.py"):
        for line in path.read_text().splitlines():
            assert "wrap_key_data(" not in line or "impl=" in line, path


TELLING = {
    "jax_default_matmul_precision": "float32",
    "jax_disable_most_optimizations": True,
    "jax_high_dynamic_range_gumbel": True,
    "jax_random_seed_offset": 5,
    "jax_softmax_custom_jvp": True,
    "jax_threefry_partitionable": False,
    "jax_use_direct_linearize": False,
}


def test_the_settings_are_those_of_this_jax_and_at_their_defaults() -> None:
    assert set(jax_settings._TELLING) == set(TELLING)
    assert jax_settings.deviating() == ()
    for name in (*jax_settings._TELLING, *jax_settings._REFUSED):
        assert name in jax.config.values, name


@pytest.mark.parametrize(("name", "value"), TELLING.items())
def test_what_changes_numbers_is_part_of_what_a_run_is(
    tmp_path: Path, name: str, value: Any
) -> None:
    usual = config()
    with jax_has(name, value):
        other = config()
        there = RunConfig.from_json(usual.to_json(), OWN)  # made under JAX's defaults
    assert usual.jax_settings == there.jax_settings == ()
    assert there.digest == usual.digest and "jax_settings" not in usual.to_json()
    assert other.jax_settings == (f"{name}={value}",)
    assert json.loads(other.to_json())["jax_settings"] == [f"{name}={value}"]
    assert other.digest != usual.digest
    assert RunConfig.from_json(other.to_json(), OWN) == other
    told = f"{name}={value} there, JAX's defaults here. Set {name} as there"
    with pytest.raises(Incompatible, match=re.escape(told)):
        train(other, tmp_path, env=Walk(), progress=False)
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_resumed_under_other_settings(whole: Path) -> None:
    told = "JAX's defaults there, jax_random_seed_offset=5 here"
    with jax_has("jax_random_seed_offset", 5), pytest.raises(Incompatible, match=told):
        resume_run(whole, env=Walk(), extra=OWN, progress=False)

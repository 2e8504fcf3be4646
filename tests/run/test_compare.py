"""Comparisons: what is trained, what is kept, what goes on, and how parts may be given."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from toys import Novelty, Walk, Wanderer

from explorax.agents import TRPO
from explorax.bonuses import VIME, NoBonus
from explorax.core.errors import Incompatible, InvalidSetting, RunDirectoryError, UnknownName
from explorax.envs import MountainCar, MountainCarSparse, suite
from explorax.envs.supervision import Supervision
from explorax.presets import Experiment
from explorax.run import compare
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory

AGENT = TRPO(rollout_length=20)
WALK = {suite.name_of(Walk()): Walk()}  # in no catalogue


def config(**changes: Any) -> RunConfig:
    settings = {"env_steps": 200, "seeds": 1, "num_envs": 2, "log_points": 5, "film": False}
    return compare.configuration(Walk(), Wanderer(), Novelty(), **(settings | changes))


def test_names_expressions_and_objects_give_the_same_configuration() -> None:
    by_text = compare.configuration("mountain_car", "TRPO(max_kl=0.02)", "VIME", env_steps=9000)
    by_object = compare.configuration(
        MountainCar(), TRPO(max_kl=0.02), VIME(), env_steps=9000, num_envs=10
    )
    in_number = compare.configuration(
        suite.make("mountain_car", 10), TRPO(max_kl=0.02), VIME(), env_steps=9000
    )
    assert by_text == by_object == in_number
    assert by_text.digest == by_object.digest


def test_environment_names_become_canonical() -> None:
    stock = MountainCarSparse().power
    same = compare.configuration(
        f"mountain_car_sparse(power={stock})", AGENT, NoBonus(), env_steps=900
    )
    assert same.env == "mountain_car_sparse"


def test_an_environment_brings_its_number_of_copies() -> None:
    env = suite.make("mountain_car", 3)
    assert compare.configuration(env, AGENT, NoBonus(), env_steps=900).num_envs == 3
    with pytest.raises(InvalidSetting, match="has 3 environments side by side"):
        compare.configuration(env, AGENT, NoBonus(), env_steps=900, num_envs=4)


def test_zero_environments_are_refused_not_replaced() -> None:
    with pytest.raises(InvalidSetting, match="num_envs must be a whole number of at least 1"):
        config(num_envs=0)


@pytest.mark.parametrize("env", [3, None, object()])
def test_what_is_no_environment_is_refused(env: object) -> None:
    with pytest.raises(InvalidSetting, match="env must be a name"):
        compare.configuration(env, AGENT, NoBonus(), env_steps=900)


def test_agent_and_bonus_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(InvalidSetting, match="agent must be an agent"):
        compare.configuration("mountain_car", VIME(), NoBonus(), env_steps=900)
    with pytest.raises(InvalidSetting, match="bonus must be a bonus"):
        compare.configuration("mountain_car", AGENT, AGENT, env_steps=900)


def test_an_unknown_environment_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mountain_car'"):
        compare.configurations([Experiment("mountan_car", AGENT, NoBonus(), 200)])


def test_every_combination_is_the_product_in_order() -> None:
    made = compare.every_combination(
        ["mountain_car", "cart_pole"], [AGENT], [NoBonus(), "VIME()"], env_steps=500, seeds=2
    )
    assert [(each.env, each.bonus) for each in made] == [
        ("mountain_car", NoBonus()),
        ("mountain_car", VIME()),
        ("cart_pole", NoBonus()),
        ("cart_pole", VIME()),
    ]
    assert {(each.agent, each.env_steps, each.seeds, each.num_envs) for each in made} == {
        (AGENT, 500, 2, 10)
    }


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(InvalidSetting, match="no agent was given"):
        compare.every_combination(["mountain_car"], [], [NoBonus()], env_steps=500, seeds=2)


run_all = partial(compare.run_all, progress=False, environments=WALK)


def test_finished_runs_are_kept_and_unfinished_ones_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    first = run_all([config(), config()], tmp_path, say=said.append)
    assert first.trained == len(first.directories) == 1  # the same run, named twice
    (path,) = first.directories
    numbers = (path / "metrics.csv").read_bytes()

    again = run_all([config()], tmp_path, say=said.append)
    assert (again.trained, again.directories) == (0, (path,))
    assert "kept" in said[-1]

    (path / "DONE").unlink()
    resumed = run_all([config()], tmp_path)
    assert resumed.trained == 1 and (path / "DONE").exists()
    assert (path / "metrics.csv").read_bytes() == numbers

    stamp = RunDirectory(path).read_meta()["started"], (path / "metrics.csv").stat().st_mtime_ns
    anew = run_all([config()], tmp_path, overwrite=True)
    assert anew.trained == 1
    assert (path / "metrics.csv").stat().st_mtime_ns > stamp[1]


def test_a_finished_run_of_other_seeds_is_not_mistaken_for_this_one(tmp_path: Path) -> None:
    run_all([config()], tmp_path)
    with pytest.raises(RunDirectoryError, match="first seed 0"):
        run_all([config(seed=7)], tmp_path)


def test_restarts_are_for_every_run_or_refused_before_the_first(tmp_path: Path) -> None:
    once = Supervision(restarts=1)
    hosted = compare.configuration(
        "gymnasium:CartPole-v1",
        Wanderer(),
        Novelty(),
        env_steps=20,
        seeds=1,
        num_envs=2,
        film=False,
    )
    (path,) = run_all([hosted], tmp_path, supervision=once).directories
    assert "env_restarts" in (path / "metrics.csv").read_text().splitlines()[0]
    other = dataclasses.replace(hosted, seeds=2)
    with pytest.raises(Incompatible, match=r"toys:Walk cannot be .* restarted"):
        run_all([other, config()], tmp_path / "mixed", supervision=once)
    assert not (tmp_path / "mixed").exists()

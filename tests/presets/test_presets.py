"""Every preset can be trained as it is, and scaling it does what it says."""

from functools import partial

import jax
import pytest

import explorax.presets as presets
from explorax import loop
from explorax.agents import TRPO
from explorax.bonuses import NoBonus
from explorax.core.errors import InvalidSetting, UnknownName
from explorax.envs import suite
from explorax.envs.task import Batched
from explorax.presets import Experiment, scaled
from explorax.run.expressions import expression, parse


@pytest.mark.parametrize("name", presets.__all__)
def test_a_preset_names_what_exists_and_fits_together(name: str) -> None:
    experiments = presets.preset(name)
    assert len(set(experiments)) == len(experiments) >= 2
    for each in experiments:
        assert suite.name_of(suite.make(each.env, 1)) == suite.name_of(each.env)
        assert parse(expression(each.agent), "agent") == each.agent
        assert parse(expression(each.bonus), "bonus") == each.bonus
        assert each.env_steps >= each.agent.rollout_length * each.num_envs
    for each in experiments:  # what does not fit together raises Incompatible
        env, key = suite.make(each.env, each.num_envs), jax.random.key(0)
        if isinstance(env, Batched):
            jax.eval_shape(partial(loop.start, env, each.agent, each.bonus), key)
        else:
            jax.eval_shape(partial(each.agent.init, spec=env.spec), key)


def test_every_task_of_a_preset_has_its_control_without_a_bonus() -> None:
    for name in presets.__all__:
        experiments = presets.preset(name)
        pairs = {(each.env, each.agent) for each in experiments}
        plain = {(each.env, each.agent) for each in experiments if each.bonus == NoBonus()}
        assert plain == pairs, name


def test_the_catalogue_describes_each_preset() -> None:
    assert list(presets.catalogue()) == presets.__all__
    assert all(line.endswith(".") for line in presets.catalogue().values())


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no preset 'dmo'\. Did you mean 'demo'\?"):
        presets.preset("dmo")


ONE = (Experiment("mountain_car", TRPO(rollout_length=50), NoBonus(), 20_000, 8, 4),)


def test_scaling_multiplies_the_steps_and_keeps_at_least_a_rollout() -> None:
    assert [each.env_steps for each in scaled(ONE, 0.05)] == [1000]
    assert [each.env_steps for each in scaled(ONE, 1e-9)] == [50 * 4]
    assert scaled(ONE) == ONE


def test_scaling_replaces_before_it_multiplies() -> None:
    (each,) = scaled(ONE, 0.5, seeds=2, env_steps=3000, num_envs=5)
    assert (each.env_steps, each.seeds, each.num_envs) == (1500, 2, 5)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_budget_is_refused(budget: float) -> None:
    with pytest.raises(InvalidSetting, match="budget must be a positive factor"):
        scaled(ONE, budget)


@pytest.mark.parametrize(("field", "value"), [("seeds", 0), ("env_steps", -1), ("num_envs", 0)])
def test_impossible_numbers_are_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidSetting, match=f"{field} must be a whole number of at least 1"):
        scaled(ONE, **{field: value})

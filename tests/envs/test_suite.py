"""Names of environments, there and back, and what is said of wrong ones."""

import re
from typing import Any

import pytest

from explorax.core.errors import Incompatible, InvalidSetting, UnknownName
from explorax.envs import (
    CartPoleSwingUp,
    Chain,
    DeepSea,
    FourRooms,
    KeyDoor,
    MountainCar,
    MountainCarSparse,
    MultiGoal,
    NoisyTV,
    Reacher,
)
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.suite import catalogue, make, name_of
from explorax.envs.task import Batched


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("mountain_car", MountainCar()),
        (" mountain_car ", MountainCar()),
        ("mountain_car_sparse(power=0.0008)", MountainCarSparse(power=0.0008)),
        ("mountain_car_sparse()", MountainCarSparse()),
        ("deep_sea/20", DeepSea(20)),
        ("deep_sea(size=20)", DeepSea(20)),
        ("deep_sea/5(mapping_seed=7, randomize_actions=False)", DeepSea(5, 7, False)),
        ("chain/10", Chain(10)),
        (repr(DeepSea(9)), DeepSea(9)),
        (repr(MountainCarSparse()), MountainCarSparse()),
        ("four_rooms(slip=0.25)", FourRooms(0.25)),
        ("key_door/6", KeyDoor(6)),
        ("cart_pole_swing_up(sparse=True)", CartPoleSwingUp(sparse=True)),
        ("reacher(target='hard')", Reacher("hard")),
        ("multi_goal(reward='paper', noisy_tv=3)", NoisyTV(MultiGoal("paper"), 3)),
        ("deep_sea/30(noisy_tv=32)", NoisyTV(DeepSea(30))),
        ("deep_sea(noisy_tv=4, size=5)", NoisyTV(DeepSea(5), 4)),
        ("mountain_car_sparse(power=0.0008, noisy_tv=1)", NoisyTV(MountainCarSparse(0.0008), 1)),
        (repr(DeepSea(9)).replace(")", ", noisy_tv=2)"), NoisyTV(DeepSea(9), 2)),
        ("key_door/6(noisy_tv=0)", KeyDoor(6)),
    ],
)
def test_names_make_tasks_and_come_back(name, task):
    env = make(name, 4)
    assert env == Batched(task, 4)
    assert name_of(name) == name_of(task) == name_of(env)
    assert make(name_of(name), 4) == env


def test_canonical_names_leave_defaults_out():
    assert name_of("mountain_car_sparse(power=0.0015)") == "mountain_car_sparse"
    assert name_of("mountain_car_sparse( power = 8e-4 )") == "mountain_car_sparse(power=0.0008)"
    assert name_of("deep_sea(size=20, mapping_seed=42)") == "deep_sea/20"
    assert name_of("gymnasium:CartPole-v1") == "gymnasium:CartPole-v1"
    assert name_of("chain/5(noisy_tv=0)") == "chain/5"
    assert name_of("deep_sea/5( noisy_tv = 32 )") == "deep_sea/5(noisy_tv=32)"
    television = NoisyTV(MountainCarSparse(power=0.0008), 1)
    assert name_of(television) == "mountain_car_sparse(noisy_tv=1, power=0.0008)"
    text = "gymnasium:FrozenLake-v1(map_name='8x8', is_slippery=False)"
    canonical = "gymnasium:FrozenLake-v1(is_slippery=False, map_name='8x8')"
    assert name_of(text) == name_of(make(text, 2)) == canonical
    assert name_of(GymnasiumVector("CartPole-v1", 3, render=True)) == "gymnasium:CartPole-v1"


def test_catalogue_says_one_line_each():
    names = catalogue()
    assert {"mountain_car", "mountain_car_sparse", "deep_sea/N", "chain/N", "cart_pole"} <= set(
        names
    )
    assert not any("noisy" in name for name in names)  # a setting of all of them, not a task
    for name, line in names.items():
        assert 20 < len(line) < 100, name
        make(name.replace("/N", "/5"), 1)


def test_a_task_of_ones_own_with_a_television_has_a_name():
    class OfMyOwn(MountainCarSparse):
        pass

    assert name_of(NoisyTV(OfMyOwn(), 2)).endswith(".locals.OfMyOwn(noisy_tv=2)")
    assert make(NoisyTV(OfMyOwn(), 2), 3) == Batched(NoisyTV(OfMyOwn(), 2), 3)


def test_objects_are_taken_as_they_are():
    env = make("chain/5", 3)
    assert make(env, 3) is env
    assert make(env, 5) == Batched(Chain(5), 5)
    assert make(Chain(5), 3) == env
    assert make(GymnasiumVector("CartPole-v1", 2), 6) == GymnasiumVector("CartPole-v1", 6)


def test_an_environment_of_a_fixed_number_says_so():
    class Fixed:
        spec = make("chain/5", 3).spec
        traceable = True
        reset = step = draw = print

        def __repr__(self):
            return "Fixed()"

    fixed: Any = Fixed()
    assert make(fixed, 3) is fixed
    with pytest.raises(Incompatible, match=re.escape("Fixed() has 3 environments")):
        make(fixed, 4)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("mountain_cra", UnknownName, "'mountain_cra'. Did you mean 'mountain_car'?"),
        ("MountainCar-v0", UnknownName, "gymnasium:MountainCar-v0"),
        (
            "mountain_car_sparse(powr=1)",
            UnknownName,
            "no setting of mountain_car_sparse 'powr'. Did you mean 'power'?",
        ),
        ("mountain_car(power=1)", UnknownName, "mountain_car 'power'. Possible: noisy_tv."),
        ("mountain_car_sparse(power=-1)", InvalidSetting, "power=-1.0): power must be positive"),
        ("mountain_car_sparse(power=1e999)", InvalidSetting, "power must be positive"),
        ("mountain_car_sparse(power='a')", InvalidSetting, "power must be of type float"),
        ("mountain_car_sparse(power=True)", InvalidSetting, "power must be of type float"),
        ("deep_sea/2.5", InvalidSetting, "size must be of type int"),
        ("deep_sea/x", InvalidSetting, "'x' is not a number or a text"),
        ("deep_sea/1", InvalidSetting, "size must be at least 2"),
        ("deep_sea", InvalidSetting, "deep_sea needs a size, as in deep_sea/10"),
        ("mountain_car/3", InvalidSetting, "takes no size"),
        ("mountain_car(", InvalidSetting, "is not the name of an environment"),
        ("", InvalidSetting, "is not the name of an environment"),
        ("mountain_car_sparse(1)", InvalidSetting, "written name=value"),
        ("mountain_car_sparse(**{})", InvalidSetting, "written name=value"),
        ("mountain_car_sparse(power=1, power=2)", InvalidSetting, "name=value"),
        ("mountain_car_sparse(power=1)(x=2)", InvalidSetting, "name=value"),
        ("mountain_car_sparse(power=open('f'))", InvalidSetting, "is not a number or a text"),
        ("deep_sea/5(noisy_tv=-1)", InvalidSetting, "noisy_tv must be a whole number of channels"),
        ("deep_sea/5(noisy_tv=2.0)", InvalidSetting, "noisy_tv must be a whole number of channels"),
        ("deep_sea/5(noisy_tv=True)", InvalidSetting, "noisy_tv must be a whole number"),
        ("deep_sea/5(noisy_tv='on')", InvalidSetting, "noisy_tv must be a whole number"),
        ("deep_sea/5(noisy_tv=1)", InvalidSetting, "at least 2, since observations are one-hot"),
        ("deep_sea/5(noisy_tc=2)", UnknownName, "Did you mean 'noisy_tv'?"),
        ("mountain_car(noisy_tc=2)", UnknownName, "Did you mean 'noisy_tv'?"),
        ("noisy_tv", InvalidSetting, "is a setting of any task: deep_sea/20(noisy_tv=32)"),
        ("noisy_tv/5", InvalidSetting, "is a setting of any task"),
        ("gymnasium:CartPole-v1(noisy_tv=2)", InvalidSetting, "noisy_tv is for our own tasks"),
        ("key_door/3", InvalidSetting, "size must be at least 4"),
        ("key_door/6(layout_seed=-1)", InvalidSetting, "layout_seed must be in 0"),
        ("cart_pole_swing_up(sparse=1)", InvalidSetting, "sparse must be of type bool"),
        ("reacher(target='near')", InvalidSetting, "target must be one of ('easy', 'hard')"),
        ("multi_goal(reward=1)", InvalidSetting, "reward must be of type str"),
        ("four_rooms(slip=1)", InvalidSetting, "slip must be at least 0 and below 1"),
        ("gymnasium:CartPole-v1(x=1", InvalidSetting, "parenthesis is not closed"),
        ("gymnasium:CartPole-v1(x=[1])", InvalidSetting, "not lists or dicts"),
    ],
)  # fmt: skip
def test_wrong_names_say_what_is_possible(name, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make(name, 2)


def test_nothing_in_a_name_is_evaluated(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(InvalidSetting):
        make(f"mountain_car_sparse(power=__import__('pathlib').Path({str(target)!r}).touch())", 1)
    assert not target.exists()

"""What a run is known by: the same text in every process, or a refusal that says what to do."""

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest

from explorax.bonuses import Scale
from explorax.core.errors import InvalidSetting
from explorax.envs import suite
from explorax.naming.writing import write, write_short
from explorax.presets import __all__ as presets
from explorax.presets import preset
from explorax.run import compare
from explorax.run.config import RunConfig
from explorax.run.expressions import KINDS, catalogue, expression, parse


class Physics:
    """No dataclass: its `repr` is its address."""


class Labeled:
    label = "icy"


@dataclass(frozen=True)
class Holder:
    held: Any = None
    size: int = 3


@dataclass(frozen=True)
class Named:
    held: Any = None
    label: str = "long"


@dataclass(frozen=True)
class Corridor:
    physics: Any = None
    label: Any = None

    reset = observe = step = draw = place = print
    action = obs = view = max_episode_steps = success_return = None


@dataclass(frozen=True)
class Paying:
    kernel: Any = None
    replayable = True
    init = score = update = rescore = print


@dataclass(frozen=True)
class Acting:
    encoder: Any = None
    rollout_length: int = 5
    init = carry = act = learn = print


HERE = __name__
paying: Any = Paying  # with fewer members than type checkers want


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_ours_are_known_by_what_repr_writes(kind: str) -> None:
    for cls in catalogue(kind).values():
        try:
            value = cls()
        except TypeError:
            continue
        assert expression(value) == repr(value)


def test_the_digests_of_presets_are_those_of_repr() -> None:
    for name in presets:
        for each in preset(name):
            assert expression(each.agent) == repr(each.agent)
            assert expression(each.bonus) == repr(each.bonus)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Holder(), f"{HERE}:Holder(held=None, size=3)"),
        (Holder((1,), -2), f"{HERE}:Holder(held=(1,), size=-2)"),
        (
            Holder((Holder(), "it's")),
            f'{HERE}:Holder(held=({HERE}:Holder(held=None, size=3), "it\'s"), size=3)',
        ),
        (Holder(float("nan")), f"{HERE}:Holder(held=nan, size=3)"),
        (Holder(-np.inf), f"{HERE}:Holder(held=-inf, size=3)"),
        (Holder(np.float64(0.5), np.int32(4)), f"{HERE}:Holder(held=0.5, size=4)"),  # pyright: ignore
        (Holder(Labeled()), f"{HERE}:Holder(held={HERE}:Labeled(labeled('icy')), size=3)"),
        (Named(Physics()), f"{HERE}:Named(held=labeled('long'), label='long')"),
        (Named((print, 3)), f"{HERE}:Named(held=(labeled('long'), 3), label='long')"),
        (
            Named(Holder({1, 2})),
            f"{HERE}:Named(held={HERE}:Holder(held=labeled('long'), size=3), label='long')",
        ),
    ],
)
def test_what_is_written(value: Any, text: str) -> None:
    assert write(value) == text


def test_not_a_number_reads_back() -> None:
    text = write(Holder(float("nan")))
    assert repr(parse(text, extra=(Holder,)).held) == "nan"
    assert repr(suite._literal("nan", "x")) == "nan" and suite._literal("-inf", "x") == -np.inf


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Physics(), f"Physics is an object of {HERE}:Physics, which is not a dataclass"),
        (
            Holder(Physics()),
            f"Holder.held is an object of {HERE}:Physics, which is not a dataclass",
        ),
        (Holder(Holder((1, Physics()))), "Holder.held.held is an object of"),
        (Holder(lambda x: x), "Holder.held is the function <lambda>"),
        (Holder(len), "Holder.held is the function len"),
        (Holder(np.zeros((2000, 3))), "Holder.held is an array of shape (2000, 3)"),
        (Holder({"a", "b"}), "Holder.held is a set, whose order differs between processes"),
        (Holder(frozenset({"a", "b"})), "Holder.held is a set, whose order differs"),
        (Holder({"a": 1}), "Holder.held is a dict"),
        (Holder(Holder), "Holder.held is the class Holder and not an object of it"),
    ],
)
def test_what_no_other_process_would_write_alike_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        write(value)
    assert said in str(caught.value)
    assert "or give" in str(caught.value) and "an attribute `label`" in str(caught.value)
    assert " at 0x" not in str(caught.value)


def test_environments_of_gymnasium_are_given_by_name() -> None:
    with pytest.raises(InvalidSetting, match="are given by name, 'gymnasium:CartPole-v1'"):
        compare.environment_name(gymnasium.make("CartPole-v1"))


def test_short_text_leaves_out_defaults() -> None:
    assert write_short(Holder()) == f"{HERE}:Holder"
    assert write_short(Holder(size=4)) == f"{HERE}:Holder(size=4)"
    assert write_short(Holder(), without=("size",)) == f"{HERE}:Holder"


def run_of(env: Any = None, agent: Any = None, bonus: Any = None) -> RunConfig:
    parts = (env or Corridor(), agent or Acting(), bonus or Paying())
    return compare.configuration(*parts, env_steps=100)


@pytest.mark.parametrize(
    "parts",
    [
        {"env": Corridor(Physics())},
        {"agent": Acting(Physics())},
        {"bonus": Paying(Physics())},
        {"bonus": Paying(np.zeros(3))},
    ],
)
def test_no_run_is_named_by_an_address(parts: Any) -> None:
    with pytest.raises(InvalidSetting, match="another process"):
        run_of(**parts)


def test_settings_of_gymnasiums_environments_too() -> None:
    assert suite._settings_text({"b": (1, 2.0), "a": None}) == "(a=None, b=(1, 2.0))"
    with pytest.raises(InvalidSetting, match="another process"):
        suite._settings_text({"physics": Physics()})


def test_a_label_names_what_cannot_be_written() -> None:
    one, same = (run_of(env=Corridor(Physics(), "long")) for _ in range(2))
    other = run_of(env=Corridor(Physics(), "short"))
    assert one.digest == same.digest != other.digest
    assert one.env == f"{HERE}:Corridor(physics=labeled('long'), label='long')"
    bonus = run_of(bonus=Scale(paying(Labeled()), 0.1))
    assert bonus.digest == run_of(bonus=Scale(paying(Labeled()), 0.1)).digest
    with pytest.raises(InvalidSetting, match=r"known by its label alone.*ex.train\(\.\.\., resume"):
        RunConfig.from_json(bonus.to_json(), extra=(Acting, Paying, Labeled))


def test_another_process_writes_the_same() -> None:
    code = (
        "from dataclasses import dataclass\n"
        "from explorax.naming.writing import write\n"
        "@dataclass(frozen=True)\n"
        "class Part:\n"
        "    inside: object = ('b', 'a', 0.1, (1, None))\n"
        "    label: str = 'x'\n"
        "print(write(Part()), write(Part(object())), write(Part({'a', 'b', 'c'})))\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert "__main__:Part(inside=labeled('x'), label='x')" in told[0]


def test_a_configuration_is_refused_before_its_digest_is_asked_for() -> None:
    config = run_of()
    with pytest.raises(InvalidSetting, match="Paying.kernel is the function"):
        dataclasses.replace(config, bonus=Paying(print))

"""Constructor text: what it builds, what it refuses, and that it runs nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from explorax.bonuses.combine import NoBonus
from explorax.core.errors import ExploraxError, InvalidSetting, UnknownName, require
from explorax.run.expressions import catalogue, expression, parse


@dataclass(frozen=True)
class Inner:
    width: int = 3
    name: str = "a"
    sizes: tuple[int, ...] = (32,)
    limit: float = math.inf
    on: bool = True
    missing: float | None = None

    def __post_init__(self) -> None:
        require(self.width > 0, self, "width", "positive")

    @classmethod
    def paper(cls, width: int = 7) -> "Inner":
        return cls(width=width)

    def method(self) -> "Inner":
        return self


@dataclass(frozen=True)
class Outer:
    inner: Any
    factor: float
    parts: tuple[Any, ...] = ()


KNOWN = (Inner, Outer)


def read(text: str) -> Any:
    return parse(text, extra=KNOWN)


@pytest.mark.parametrize(
    "value",
    [
        Inner(),
        Inner(5, 'it\'s "quoted"', (), -math.inf, False, -1e-30),
        Outer(Inner.paper(), 1e-4, (Inner(1), (Inner(2), 3, None))),
    ],
)
def test_reading_what_repr_wrote_gives_the_same(value: Any) -> None:
    assert read(expression(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Inner", Inner()),
        (" Inner( ) ", Inner()),
        ("Inner.paper()", Inner(7)),
        ("Inner.paper(width=9)", Inner(9)),
        ("Inner.paper", Inner(7)),
        ("Outer(Inner, -2)", Outer(Inner(), -2)),
        ("Outer(factor=1, inner=Inner(sizes=[1, 2]))", Outer(Inner(sizes=(1, 2)), 1)),
    ],
)
def test_shorter_ways_to_write_the_same(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (
            "Iner()",
            UnknownName,
            "There is no agent, bonus or part of one 'Iner'. Did you mean 'Inner'",
        ),
        ("Outer(inner=Iner(), factor=1)", UnknownName, "Did you mean 'Inner'"),
        ("Inner(wdth=3)", UnknownName, "There is no field of Inner 'wdth'. Did you mean 'width'"),
        ("Inner.papr()", UnknownName, "no named constructor of Inner 'papr'. Did you mean 'paper'"),
        ("Inner.method()", UnknownName, "no named constructor of Inner 'method'"),
        ("Inner.__init__()", UnknownName, "no named constructor"),
        ("Inner.__class__.__base__()", InvalidSetting, "cannot be called"),
        (
            "Outer(Inner())",
            InvalidSetting,
            "Outer needs factor. Its fields: inner, factor, parts=()",
        ),
        ("Inner(1, 'a', (), 1, True, 1, 1)", InvalidSetting, "takes at most 6 values and got 7"),
        ("Inner(1, width=2)", InvalidSetting, "multiple values"),
        ("Inner(0)", InvalidSetting, "Inner(width=0): width must be positive"),
        ("Inner('wide')", InvalidSetting, "Inner('wide'): "),
        ("Inner(3", InvalidSetting, "no constructor expression"),
        ("", InvalidSetting, "no constructor expression"),
        ("Inner(2 + 3)", InvalidSetting, "'2 + 3' is not allowed"),
        ("Inner(-'a')", InvalidSetting, "is not allowed"),
        ("Inner(width={})", InvalidSetting, "'{}' is not allowed"),
        ("Inner(*(1,))", InvalidSetting, "'*(1,)' is not allowed"),
        ("Inner(**{'width': 1})", InvalidSetting, "** is not allowed"),
        ("Inner(width=b'3')", InvalidSetting, "is not allowed"),
        ("Inner(name=f'{3}')", InvalidSetting, "is not allowed"),
        ("(lambda: 3)()", InvalidSetting, "cannot be called"),
        ("__import__('os').system('true')", InvalidSetting, "cannot be called"),
        ("eval('1')", UnknownName, "'eval'"),
        ("Outer(" * 5000 + ")" * 5000, InvalidSetting, "characters"),
        ("(" * 3000 + ")" * 3000, InvalidSetting, ""),
    ],
)
def test_what_is_refused_and_what_is_said(text: str, error: type, said: str) -> None:
    with pytest.raises(error) as caught:
        read(text)
    assert said in str(caught.value)


def test_an_expression_runs_no_code(tmp_path: Any) -> None:
    victim = tmp_path / "ran"
    for text in (
        f"__import__('pathlib').Path({str(victim)!r}).touch()",
        f"Inner(name=open({str(victim)!r}, 'w'))",
        f"[open({str(victim)!r}, 'w') for _ in (1,)]",
        f"Inner(width=(x := open({str(victim)!r}, 'w')))",
    ):
        with pytest.raises(ExploraxError):
            read(text)
    assert not victim.exists()


def test_a_kind_limits_what_may_stand_outermost() -> None:
    assert parse("NoBonus", "bonus") == NoBonus()
    with pytest.raises(InvalidSetting, match="is not an agent"):
        parse("NoBonus()", "agent")
    with pytest.raises(UnknownName, match="no bonus 'NoBonu'. Did you mean 'NoBonus'"):
        parse("NoBonu()", "bonus")


@pytest.mark.parametrize("kind", ["agent", "bonus", "behavior"])
def test_every_member_of_the_catalogue_with_defaults_reads_back(kind: str) -> None:
    for cls in catalogue(kind).values():
        try:
            value = cls()
        except TypeError:  # fields without default: a wrapper, read above
            continue
        assert parse(expression(value), kind) == value

"""The configuration: what it refuses, its digest, its directory, its record."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from toys import Novelty, Walk, Wanderer

from explorax.core.errors import InvalidSetting, UnknownName
from explorax.envs.task import Batched
from explorax.run.config import Origin, RunConfig, resolve, safe_name, short_name

EXTRA = (Novelty, Wanderer)
ORIGIN = Origin("/runs/walk/Wanderer+Novelty/0a1b2c3d", "walk", "0a1b2c3d", 0, 6)


def config(**changes: Any) -> RunConfig:
    return RunConfig(**{**_BASE, **changes})


_BASE: dict[str, Any] = {
    "env": "walk",
    "agent": Wanderer(),
    "bonus": Novelty(),
    "env_steps": 1000,
    "num_envs": 4,
}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seeds", 0, "seeds=0: seeds must be a whole number of at least 1"),
        ("seeds", True, "seeds must be"),
        ("seeds", 2.5, "seeds must be"),
        ("env_steps", -5, "env_steps must be a whole number of at least 1"),
        ("env_steps", 19, "at least 20, one rollout of 4 environments with this agent"),
        ("seed", -1, "seed must be a whole number from 0"),
        ("seed", 2**31, "seed must be"),
        ("num_envs", 0, "num_envs must be"),
        ("log_points", 0, "log_points must be"),
        ("film", 1, "film must be True or False"),
        ("env", "", "env must be a name"),
        ("agent", Novelty(), "agent must be an agent such as TRPO()"),
        ("bonus", None, "bonus must be a bonus"),
        ("init_from", "runs/walk", "init_from must be an Origin"),
    ],
)
def test_impossible_values(field: str, value: Any, said: str) -> None:
    defaults = vars(config())
    unchecked = object.__new__(RunConfig)  # past the type checker that tests run under
    for name, given in {**defaults, **_BASE, field: value}.items():
        object.__setattr__(unchecked, name, given)
    with pytest.raises(InvalidSetting) as caught:
        unchecked.__post_init__()
    assert said in str(caught.value)


def test_the_digest_depends_on_everything_but_the_first_seed() -> None:
    base = config()
    assert config(seed=7).digest == base.digest
    changes: list[dict[str, Any]] = [
        {"env": "other"},
        {"agent": Wanderer(0.06)},
        {"bonus": Novelty(0.2)},
        {"env_steps": 1001},
        {"seeds": 2},
        {"num_envs": 5},
        {"log_points": 99},
        {"film": False},
        {"init_from": ORIGIN},
        {"jax_settings": ("jax_random_seed_offset=1",)},
    ]
    digests = {config(**change).digest for change in changes} | {base.digest}
    assert len(digests) == len(changes) + 1
    assert {next(iter(c)) for c in changes} == {
        f.name for f in dataclasses.fields(RunConfig) if f.name != "seed"
    }


def test_where_a_run_starts_from_is_part_of_what_it_is_and_its_place_is_not() -> None:
    started = config(init_from=ORIGIN)
    assert RunConfig.from_json(started.to_json(), EXTRA) == started
    assert "init_from" not in json.loads(config().to_json())
    moved = dataclasses.replace(ORIGIN, run="elsewhere")
    assert config(init_from=moved).digest == started.digest
    changes: list[dict[str, Any]] = [{"digest": "1"}, {"seed": 1}, {"chunk": 5}]
    for change in changes:
        other = dataclasses.replace(ORIGIN, **change)
        assert config(init_from=other).digest != started.digest


@pytest.mark.parametrize("env_steps", [20, 2000, 2001, 2_000_000 - 1, 20 * 1009, 20 * 135])
@pytest.mark.parametrize("log_points", [1, 7, 100])
def test_chunks_cover_the_steps_and_are_about_as_many_as_asked(
    env_steps: int, log_points: int
) -> None:
    it = config(env_steps=env_steps, log_points=log_points)
    assert sum(it.chunks) == it.iterations == math.ceil(env_steps / 20)
    assert len(it.chunks) <= 1.25 * log_points + 1
    assert len(it.chunks) >= min(it.iterations, 0.5 * log_points)
    assert len(set(it.chunks[:-1])) <= 1 and it.chunks[-1] <= it.chunks[0]


def test_the_directory_is_safe_and_says_what_it_holds() -> None:
    it = config(env="gymnasium:Some/Env v0(x='ü')")
    path = it.directory("root")
    env, parts, digest = path.relative_to("root").parts
    assert env == "gymnasium-Some-Env-v0-x="
    assert parts == "Wanderer+Novelty"
    assert digest == it.digest[:8]


def test_short_names_follow_the_wrappers_inwards() -> None:
    @dataclasses.dataclass(frozen=True)
    class Both:
        bonuses: tuple[Any, ...]
        other: Any = None

        def rescore(self) -> None: ...

    assert short_name(Both((Novelty(), Both((Novelty(),))))) == "Both-Novelty-Both-Novelty"
    assert safe_name("../..") == "unnamed"
    long = safe_name("x" * 500)
    assert len(long) == 96 and long != safe_name("x" * 501)


def test_the_record_reads_back_and_holds_every_value() -> None:
    it = config(seeds=3, seed=5, agent=Wanderer(0.125))
    text = it.to_json(Batched(Walk(), 4).spec)
    assert RunConfig.from_json(text, EXTRA) == it
    record = json.loads(text)
    assert record["resolved"]["agent"] == {
        "class": "Wanderer",
        "rate": 0.125,
        "rollout_length": 5,
    }
    assert record["agent"] == "toys:Wanderer(rate=0.125, rollout_length=5)"
    assert record["digest"] == it.digest
    assert record["view"]["labels"] == ["x (m)", "y (m)"]
    assert record["spec"]["success_return"] == 1.0
    assert resolve((math.inf, {1: 2})) == ["inf", "{1: 2}"]


def damaged(change: Any) -> str:
    record = json.loads(config().to_json())
    return json.dumps(change(record))


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("{", InvalidSetting, "no JSON"),
        ("[" * 100_000, InvalidSetting, "no JSON"),
        ("[]", InvalidSetting, "is a list"),
        (damaged(lambda r: r | {"format": 99}), InvalidSetting, "format 99"),
        (damaged(lambda r: r | {"sedes": 3}), UnknownName, "Did you mean 'seeds'"),
        (damaged(lambda r: {k: r[k] for k in r if k != "env"}), InvalidSetting, "lacks env"),
        (damaged(lambda r: r | {"agent": 3}), InvalidSetting, "constructor text, not 3"),
        (damaged(lambda r: r | {"init_from": {"run": "x"}}), InvalidSetting, "init_from must hold"),
        (damaged(lambda r: r | {"env_steps": 0}), InvalidSetting, "env_steps must be"),
        (damaged(lambda r: r | {"agent": "exit()"}), UnknownName, "no agent 'exit'"),
        (damaged(lambda r: r | {"bonus": "Novelty(x=1)"}), UnknownName, "field of Novelty 'x'"),
    ],
)
def test_a_record_that_cannot_be_read(text: str, error: type, said: str) -> None:
    with pytest.raises(error) as caught:
        RunConfig.from_json(text, EXTRA)
    assert said in str(caught.value)


def test_a_relative_root_stays_relative() -> None:
    assert not config().directory(Path("runs")).is_absolute()

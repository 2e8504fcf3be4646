"""A number that stops being one stops the run, by name, at the step, with what was good kept."""

import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from toys import Burst, HostWalk, Novelty, Stumbler, Walk, Wanderer

from explorax.agents import UNREAL
from explorax.core.errors import Diverged, InvalidSetting
from explorax.report.read import read_run
from explorax.report.words import notes
from explorax.run import compare, divergence
from explorax.run.config import RunConfig
from explorax.run.divergence import Broken
from explorax.run.drivers import DeviceDriver
from explorax.run.inherit import origin_of
from explorax.run.train import resume_run, train

# chunks of two iterations of 20 env steps
CONFIG = RunConfig(
    "walk", Wanderer(), Novelty(), env_steps=240, seeds=2, seed=3, num_envs=4, log_points=6,
    film=False,
)  # fmt: skip
ENV: dict[str, Any] = {"env": Walk(), "progress": False, "checkpoint_seconds": 0.0}
EXTRA = (Wanderer, Stumbler, Novelty, Burst)


def stopped(config: RunConfig, root: Path, **options: Any) -> tuple[str, Path, dict[str, Any]]:
    """Return (message, run directory, meta.json) of a run that diverges."""
    with pytest.raises(Diverged) as caught:
        train(config, root, **{**ENV, **options})
    path = config.directory(root)
    assert not (path / "DONE").exists()
    return str(caught.value), path, json.loads((path / "meta.json").read_text())


def checkpoints(path: Path) -> list[str]:
    return sorted(each.name for each in (path / "checkpoints").iterdir())


@pytest.mark.parametrize("env", [Walk(), HostWalk(4)], ids=["device", "host"])
def test_an_infinite_bonus_is_named_with_its_step_and_the_good_checkpoint_is_kept(
    env: Any, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, bonus=Burst(6))
    said, path, meta = stopped(config, tmp_path, env=env)
    # infinite pay makes infinite steps, but the pay came first
    assert "bonus of seed 3 was not finite at 140 env steps" in said
    assert "bonus of seed 4 was not finite at 140 env steps" in said
    assert checkpoints(path) == ["chunk_000003", "chunk_000004"]
    assert f"Saved in {path / 'checkpoints' / 'chunk_000004'}." in said
    good = path / "checkpoints" / "chunk_000003"
    assert f"init_from={str(good)!r}." in said and "Lower the bonus's scale" in said
    assert (meta["status"], meta["env_steps"]) == ("diverged", 160)
    assert meta["diverged"] == {"3": 140, "4": 140}
    assert meta["nonfinite"] == {"3": "bonus", "4": "bonus"}
    with (path / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 8 and "nonfinite" not in table[0]
    again = dataclasses.replace(CONFIG, init_from=origin_of(good))
    assert (train(again, tmp_path / "again", **{**ENV, "env": env}) / "DONE").exists()


@pytest.mark.parametrize(
    ("what", "named"),
    [("loss", "agent/loss"), ("weights", "agent.weights"), ("metric", "agent/loss")],
)
def test_the_first_quantity_of_the_agent_is_named(what: str, named: str, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, agent=Stumbler(at=5, what=what))
    said, _, meta = stopped(config, tmp_path)
    assert meta["nonfinite"] == {"3": named, "4": named}
    assert meta["diverged"] == {"3": 120, "4": 120}
    assert f"{named} of seed 3 was not finite at 120 env steps" in said
    assert "Lower the agent's steps, or the bonus's scale." in said


def test_metrics_that_have_nothing_to_say_stop_nothing(tmp_path: Path) -> None:
    path = train(dataclasses.replace(CONFIG, agent=Stumbler(warmup=99)), tmp_path, **ENV)
    meta = json.loads((path / "meta.json").read_text())
    assert (meta["status"], meta["diverged"]) == ("finished", {})
    with (path / "metrics.csv").open() as file:
        assert {row["agent/loss"] for row in csv.DictReader(file)} == {""}


@dataclass(frozen=True)
class Pit(Walk):
    """A walk whose reward at the right edge is no number."""

    def step(self, state: Any, key: Any, action: Any) -> Any:
        after, reward, won = super().step(state, key, action)
        return after, jnp.where(won, jnp.nan, reward), won


def test_a_reward_that_is_no_number_is_named_in_the_seed_and_step_where_it_came(
    tmp_path: Path,
) -> None:
    config = dataclasses.replace(CONFIG, log_points=12, seed=7)
    with (train(config, tmp_path / "good", **ENV) / "metrics.csv").open() as file:
        table = [row for row in csv.DictReader(file) if float(row["reward_mean"]) > 0]
    first = {row["seed"]: int(row["env_steps"]) for row in reversed(table)}
    at = min(first.values())
    said, _, meta = stopped(config, tmp_path / "bad", env=Pit())
    wanted = {seed: steps for seed, steps in first.items() if steps == at}
    assert meta["diverged"] == wanted
    assert set(meta["nonfinite"].values()) == {"reward"}
    assert f"not finite at {at} env steps" in said and "Mend what the environment returns" in said


def break_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weights of the second seed be no numbers from the start."""
    real = DeviceDriver.start

    def start(self: DeviceDriver) -> Any:
        state = real(self)
        agents = self.learner(state).agent
        weights = agents.weights.at[1].set(jnp.nan)
        return self.with_agents(state, dataclasses.replace(agents, weights=weights))

    monkeypatch.setattr(DeviceDriver, "start", start)


def test_one_seed_stops_all_or_is_noted_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_one_seed(monkeypatch)
    said, path, meta = stopped(CONFIG, tmp_path)
    assert "No checkpoint from before is left: start again." in said and "seed 3" not in said
    assert meta["diverged"] == {"4": 20} and checkpoints(path) == ["chunk_000001"]
    with pytest.raises(Diverged, match=r"has diverged \(seed 4\).*on_divergence='note'"):
        resume_run(path, extra=EXTRA, **ENV)
    resume_run(path, extra=EXTRA, on_divergence="note", **ENV)
    meta = json.loads((path / "meta.json").read_text())
    assert (meta["status"], meta["env_steps"]) == ("finished", 240)
    assert meta["diverged"] == {"4": 20}
    told = " ".join(notes(read_run(path)))
    assert "seed 4 diverged (agent/norm) at 20.0 environment steps" in told
    assert "Seed 4 diverged: agent/norm was not finite at 20 env steps" in told
    capsys.readouterr()


def test_a_comparison_goes_on_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_one_seed(monkeypatch)
    (path,) = compare.run_all([CONFIG], tmp_path, environments={"walk": Walk()}).directories
    meta = json.loads((path / "meta.json").read_text())
    assert (meta["status"], meta["diverged"]) == ("finished", {"4": 20})
    out = capsys.readouterr().out
    assert out.count("Seed 4 diverged: agent/norm was not finite at 20 env steps") == 1


def test_what_to_do_is_a_choice_of_two(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="'stop' or 'note'"):
        train(CONFIG, tmp_path, on_divergence="ignore", **ENV)


def test_steps_to_lower_are_named_where_they_are_set() -> None:
    broken = [Broken(0, 10, "agent/value_loss")]
    said = divergence.message(broken, Path("here"), None, UNREAL())
    assert "Lower UNREAL's base.learning_rate, or the bonus's scale." in said


def test_many_seeds_make_one_message() -> None:
    broken = [Broken(seed, 100 - seed, "obs") for seed in range(7)]
    said = divergence.message(broken, Path("here"), None, object())
    assert said.index("seed 6 was") < said.index("seed 3 was")
    assert "and 3 seeds more" in said and "seed 2" not in said
    assert said.count("obs of seed ") == 4

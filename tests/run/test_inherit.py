"""Starting from what another run learned: what is taken, what is not, and what is refused."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from killing import killed_after
from toys import HostWalk, Novelty, Policy, Walk, Wanderer

from explorax import api, loop
from explorax.agents import DQN, ERWR, EnsembleDQN
from explorax.core.errors import CheckpointError, ExploraxError, Incompatible, RunDirectoryError
from explorax.core.protocols import Box
from explorax.core.pytree import replace
from explorax.envs.task import Batched
from explorax.presets import Experiment, scaled
from explorax.report.names import name_runs
from explorax.report.read import read_run
from explorax.run import checkpoint, compare
from explorax.run.config import RunConfig, resolve
from explorax.run.drivers import make_driver
from explorax.run.inherit import _check_meaning, origin_of
from explorax.run.train import resume_run, train

SOURCE = RunConfig(
    "walk", Wanderer(), Novelty(), env_steps=240, seeds=2, seed=3, num_envs=4, log_points=6,
    film=False,
)  # fmt: skip
EXTRA = (Wanderer, Novelty)
OPTIONS: dict[str, Any] = {"env": Walk(), "progress": False}
HOST: dict[str, Any] = {"env": HostWalk(4), "progress": False}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(SOURCE, tmp_path_factory.mktemp("source"), **OPTIONS)


@pytest.fixture(scope="module")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(SOURCE, tmp_path_factory.mktemp("host"), **HOST)


def starting(path: Path, **changes: Any) -> RunConfig:
    """Return the configuration of a run with another rate and bonus that starts from `path`."""
    other = {"agent": Wanderer(0.1), "bonus": Novelty(0.2), "init_from": origin_of(path)}
    return dataclasses.replace(SOURCE, **{**other, **changes})


def agents(path: Path, config: RunConfig, env: Any, chunk: int) -> Policy:
    """Return the agents' states [S, ...] of a checkpoint."""
    where = path / "checkpoints" / f"chunk_{chunk:06d}"
    header = checkpoint.read_header(where, config.digest, config.seed)
    driver = make_driver(config, env)
    saved = checkpoint.restore(header, {"training": driver.template}, whole=False)
    return driver.saved_learner(saved["training"]).agent


def batched() -> Any:
    return Batched(Walk(), 4)


@pytest.mark.parametrize("new", ["device", "host"])
@pytest.mark.parametrize("old", ["device", "host"])
def test_each_seed_starts_with_what_its_own_number_learned_and_with_nothing_else(
    source: Path, on_host: Path, tmp_path: Path, old: str, new: str
) -> None:
    path, before = (source, batched()) if old == "device" else (on_host, HostWalk(4))
    env, options = (batched(), OPTIONS) if new == "device" else (HostWalk(4), HOST)
    config = starting(path, seeds=3, seed=4)
    run = train(config, tmp_path, **options)
    learned, first = agents(path, SOURCE, before, 6), agents(run, config, env, 0)
    np.testing.assert_array_equal(first.weights, learned.weights[np.array([1, 0, 1])])
    fresh = [
        loop.start(batched(), config.agent, config.bonus, jax.random.key(n)).learner.agent
        for n in (4, 5, 6)
    ]
    np.testing.assert_array_equal(first.rows, np.zeros((3, 8)))
    noise = jax.random.key_data(jax.numpy.stack([each.noise for each in fresh]))
    np.testing.assert_array_equal(jax.random.key_data(first.noise), noise)
    assert not np.array_equal(first.weights[0], fresh[0].weights)
    last = agents(run, config, env, 6)
    assert not np.array_equal(first.weights, last.weights)


def test_it_is_an_experiment_of_its_own_and_says_where_it_started(
    source: Path, tmp_path: Path
) -> None:
    config = starting(source, agent=SOURCE.agent, bonus=SOURCE.bonus)
    assert config.directory("") != SOURCE.directory("")
    run = train(config, tmp_path, **OPTIONS)
    record = json.loads((run / "config.json").read_text())
    assert record["init_from"] == {
        "run": str(source), "env": "walk", "digest": SOURCE.digest, "seed": 3, "chunk": 6
    }  # fmt: skip
    meta = json.loads((run / "meta.json").read_text())
    assert len(meta["inherited_sha256"]) == 64
    assert json.loads((source / "meta.json").read_text())["inherited_sha256"] is None
    assert (run / "metrics.csv").read_bytes() != (source / "metrics.csv").read_bytes()
    assert "started from   " + str(source) in repr(api.load(run))


def test_a_checkpoint_in_the_directory_may_be_named(source: Path, tmp_path: Path) -> None:
    before = source / "checkpoints" / "chunk_000006"
    assert origin_of(before) == origin_of(source)
    shorter = dataclasses.replace(SOURCE, seed=3)
    run = train(shorter, tmp_path, checkpoint_seconds=0.0, **OPTIONS)
    five = origin_of(run / "checkpoints" / "chunk_000005")
    assert five == dataclasses.replace(origin_of(run), chunk=5)
    config = starting(run, init_from=five)
    new = train(config, tmp_path, **OPTIONS)
    weights = agents(run, SOURCE, batched(), 5).weights
    np.testing.assert_array_equal(agents(new, config, batched(), 0).weights, weights)


@pytest.mark.parametrize("renames", [4, 9])
def test_killed_and_resumed_without_its_source_it_is_the_same_run(
    source: Path, tmp_path: Path, renames: int
) -> None:
    mine = shutil.copytree(source, tmp_path / "mine")
    config = starting(mine)
    whole = train(config, tmp_path / "whole", **OPTIONS)
    with killed_after(renames):
        train(config, tmp_path, checkpoint_seconds=0.0, **OPTIONS)
    shutil.rmtree(mine)
    path = resume_run(config.directory(tmp_path), extra=EXTRA, **OPTIONS)
    assert (path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    ours, theirs = (agents(each, config, batched(), 6) for each in (path, whole))
    np.testing.assert_array_equal(ours.weights, theirs.weights)
    np.testing.assert_array_equal(ours.rows, theirs.rows)


@dataclass(frozen=True)
class Strider(Wanderer):
    """Another class of agent, with the same state."""


@dataclass(frozen=True)
class Miser(Wanderer):
    """One that hands nothing on."""

    hands_on = ()


@dataclass(frozen=True)
class Wider(Walk):
    """The walk, with a third observation that says nothing."""

    @property
    def obs(self) -> Box:
        return Box((3,))

    def observe(self, state: Any) -> jax.Array:
        return jax.numpy.append(state, 0.0)


def refused(config: RunConfig, root: Path, env: Any = None) -> str:
    """Return the message with which training is refused before anything is written."""
    with pytest.raises(ExploraxError) as caught:
        train(config, root, **{**OPTIONS, "env": env or Walk()})
    assert not root.exists()
    return f"{type(caught.value).__name__}: {caught.value}"


def test_what_does_not_fit_is_refused_with_the_numbers_of_both(
    source: Path, tmp_path: Path
) -> None:
    root = tmp_path / "new"
    said = refused(starting(source, agent=Strider()), root)
    assert "its agent is toys:Wanderer, and this run's is test_inherit:Strider" in said
    assert said.startswith("Incompatible") and "give an agent toys:Wanderer(...)" in said
    said = refused(starting(source), root, Wider())
    assert "obs (2,) there, (3,) here; weights (2, 4) there, (3, 4) here" in said
    assert said.startswith("Incompatible") and "toys:Wanderer(rate=0.05, rollout_length=5)" in said


@dataclass(frozen=True)
class Styled(Wanderer):
    """One with a setting that says what its arrays stand for."""

    activation: str = "tanh"


def test_the_same_agent_of_another_version_is_refused_as_such(source: Path, tmp_path: Path) -> None:
    older = shutil.copytree(source, tmp_path / "older")
    for header in older.glob("checkpoints/*/header.json"):
        header.write_text(header.read_text().replace("agent.weights", "agent.older"))
    with pytest.raises(CheckpointError, match=r"weights none there, .* another version"):
        train(starting(older, agent=SOURCE.agent), tmp_path, **OPTIONS)


def test_a_memory_of_the_optimiser_is_no_other_meaning() -> None:
    record = {"resolved": {"agent": resolve(ERWR(memory=10))}}
    _check_meaning(ERWR(memory=20), Path("run"), record, False)
    record = {"resolved": {"agent": resolve(DQN(encoder="a3c"))}}
    _check_meaning(DQN(), Path("run"), record, False)
    with pytest.raises(Incompatible, match="encoder='a3c' there, 'dqn' here"):
        _check_meaning(DQN(), Path("run"), record, True)


def test_priors_that_would_count_otherwise_are_refused() -> None:
    record = {"resolved": {"agent": resolve(EnsembleDQN(DQN(), prior_scale=1.0))}}
    _check_meaning(EnsembleDQN(DQN(n_steps=5), prior_scale=1.0), Path("run"), record, False)
    with pytest.raises(Incompatible, match=r"prior_scale=1.0 there, 2.0 here"):
        _check_meaning(EnsembleDQN(DQN(), prior_scale=2.0), Path("run"), record, False)
    other = EnsembleDQN(DQN(normalize_obs=False), prior_scale=1.0)
    with pytest.raises(Incompatible, match=r"base.normalize_obs=True there, False here"):
        _check_meaning(other, Path("run"), record, False)


def test_settings_that_give_arrays_another_meaning_are_refused(tmp_path: Path) -> None:
    before = dataclasses.replace(SOURCE, agent=Styled())
    path = train(before, tmp_path / "old", **OPTIONS)
    said = refused(starting(path, agent=Styled(activation="relu")), tmp_path / "new")
    assert said.startswith("Incompatible")
    assert "activation='tanh' there, 'relu' here. Give the agent the same." in said
    train(starting(path, agent=Styled(rate=0.1)), tmp_path / "new", **OPTIONS)
    record = json.loads((path / "config.json").read_text())
    for resolved in ([], {"agent": 3}, {}):  # a stranger's
        (path / "config.json").write_text(json.dumps(record | {"resolved": resolved}))
        again = starting(path, agent=Styled(activation="relu"), bonus=Novelty(0.3))
        train(again, tmp_path / "new", overwrite=True, **OPTIONS)


def test_an_agent_that_hands_nothing_on_is_named(tmp_path: Path) -> None:
    path = train(dataclasses.replace(SOURCE, agent=Miser()), tmp_path / "old", **OPTIONS)
    with pytest.raises(Incompatible, match=r"Miser does not say what it hands on.*hands_on = "):
        train(starting(path, agent=Miser()), tmp_path / "new", **OPTIONS)


def test_a_source_that_is_missing_damaged_or_unfinished_is_refused(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        RunDirectoryError, match=r"init_from=.*nowhere': there is no such directory"
    ):
        origin_of(tmp_path / "nowhere")
    mine = shutil.copytree(source, tmp_path / "mine")
    config, root = starting(mine), tmp_path / "new"
    files = [file for file in (mine / "checkpoints").rglob("state/**/*") if file.is_file()]
    max(files, key=lambda file: file.stat().st_size).write_bytes(b"")
    assert "is damaged: " in refused(config, root)
    for path in (mine / "checkpoints").iterdir():
        shutil.rmtree(path)
    assert "no checkpoint chunk_000006: it was stopped before its first" in refused(config, root)
    with pytest.raises(CheckpointError, match=r"no checkpoint: .*with resume=True"):
        origin_of(mine)
    (mine / "config.json").write_text("{}")
    assert "RunDirectoryError: init_from=" in refused(config, root)


def test_what_is_not_finite_is_not_handed_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(source, tmp_path / "mine")
    real = checkpoint.read_arrays

    def broken(header: Any, names: Any) -> Any:
        return [np.where(np.arange(2)[:, None, None] == 1, np.nan, a) for a in real(header, names)]

    monkeypatch.setattr(checkpoint, "read_arrays", broken)
    said = refused(starting(mine), tmp_path / "new")
    assert "weights of seed 4 is not finite" in said and "checkpoint before" in said


def test_a_comparison_trains_first_what_others_start_from(tmp_path: Path) -> None:
    pre = Experiment("walk", Wanderer(), Novelty(), 240, seeds=2, num_envs=4)
    plain = Experiment("walk", Wanderer(0.1), Novelty(), 120, seeds=2, num_envs=4)
    tuned = replace(plain, init_from=pre)
    configs = compare.configurations((plain, tuned, pre), film=False, uncatalogued={"walk"})
    assert [each.env_steps for each in configs] == [120, 240, 120]
    ran = compare.run_all(configs, tmp_path, progress=False, environments={"walk": Walk()})
    first, before = ran.directories[2], ran.directories[1]
    weights = agents(before, configs[1], batched(), len(configs[1].chunks)).weights
    np.testing.assert_array_equal(agents(first, configs[2], batched(), 0).weights, weights)
    names = name_runs([read_run(path) for path in ran.directories])
    assert [name.mark for name in names] == ["", "", "from walk"]
    half = scaled((tuned,), budget=0.5, seeds=1)[0]
    assert half.init_from is not None
    assert (half.env_steps, half.init_from.env_steps, half.init_from.seeds) == (60, 120, 1)

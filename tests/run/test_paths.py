"""The arrays of paths.npz: against a slow loop, and where there are none."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import HostWalk, Novelty, Walk, Wanderer

from explorax.bonuses import NoBonus
from explorax.core.errors import Incompatible
from explorax.core.protocols import Percept, Rollout, Spec
from explorax.envs import Mover, MultiGoal
from explorax.envs.multi_goal import GOALS
from explorax.envs.task import Batched
from explorax.report.read import read_run
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.film import typical_seed
from explorax.run.paths import ACTIONS, EPISODES, has_paths, paths_of, record_paths
from explorax.run.train import train


@dataclass(frozen=True)
class Compass:
    """Always goes the way that its seed drew at the start; `spread` is the deviation of actions."""

    spread: float = 0.0
    rollout_length: int = 5

    def init(self, key: Any, spec: Spec) -> Any:
        return jax.random.uniform(key, (2,), minval=-0.9, maxval=0.9)

    def carry(self, spec: Spec) -> Any:
        return jnp.zeros(spec.num_envs)

    def act(
        self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
    ) -> Any:
        noise = self.spread * jax.random.normal(key, (len(carry), 2))
        return state[None] + (0.0 if greedy else 1.0) * noise, carry + 1.0, {}

    def learn(self, state: Any, key: Any, rollout: Rollout, rescore: Any) -> Any:
        return state, {"first": state[0]}


def config(agent: Any, env: str = "multi_goal", **settings: Any) -> RunConfig:
    settings = {"env_steps": 240, "seeds": 3, "seed": 5, "num_envs": 4, **settings}
    return RunConfig(env, agent, NoBonus(), log_points=6, film=False, **settings)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(Compass()), tmp_path_factory.mktemp("run"), progress=False)


def test_paths_are_those_of_a_slow_loop(steady: Path) -> None:
    arrays = np.load(steady / "paths.npz")
    assert arrays["paths"].shape == (3, EPISODES, 31, 2)
    found = []
    for row, seed in enumerate(arrays["paths"]):
        way = seed[0, 1] - seed[0, 0]  # the first step; the loop must go on like this
        ends = set()
        for path in seed:
            place, near = path[0].astype(float), [False] * 4
            assert np.linalg.norm(place) < 0.7  # N(0, 0.1²)
            for told in path[1:]:
                if any(near):
                    assert np.isnan(told).all()
                    continue
                place = np.clip(place + way, -7, 7)
                np.testing.assert_allclose(told, place, atol=1e-4)
                near = [bool(np.linalg.norm(place - goal) < 1) for goal in GOALS]
            ends |= {near.index(True)} if any(near) else set()
        found.append(len(ends))
        cell = np.floor((way + 1) * 16).astype(int)
        expected = np.zeros((32, 32))
        expected[cell[0], cell[1]] = 1.0
        np.testing.assert_allclose(arrays["density"][row], expected[None].repeat(3, 0), atol=1e-6)
    np.testing.assert_array_equal(arrays["goals"], found)
    assert len(np.unique(arrays["paths"][:, 0, 1], axis=0)) == 3  # every seed its own way


def test_what_is_told_of_the_task(steady: Path) -> None:
    arrays = np.load(steady / "paths.npz")
    np.testing.assert_array_equal(arrays["places"], [(0, 0), (2.5, 0), (2, 2)])
    np.testing.assert_array_equal(arrays["goal_places"], GOALS)
    assert arrays["typical_seed"] == typical_seed(steady / "metrics.csv")
    x, y = -7 + (np.array([50, 20]) + 0.5) * 14 / 64
    nearest = min((x - a) ** 2 + (y - b) ** 2 for a, b in GOALS)
    np.testing.assert_allclose(arrays["field"][50, 20], -nearest, rtol=1e-4)
    assert set(read_run(steady).paths) == set(arrays.files)


def test_densities_are_of_sampled_and_clipped_actions(tmp_path: Path) -> None:
    run = train(config(Compass(spread=0.5), seeds=1), tmp_path, progress=False)
    (density,) = np.load(run / "paths.npz")["density"]
    np.testing.assert_allclose(density.sum((1, 2)), 1.0, atol=1e-5)
    np.testing.assert_allclose(density * ACTIONS, np.round(density * ACTIONS), atol=1e-2)
    way = np.asarray(jax.tree.leaves(_agents(run))[0][0])
    middles = (np.arange(32) + 0.5) / 16 - 1
    for axis in (0, 1):
        draws = np.clip(np.random.default_rng(0).normal(way[axis], 0.5, 400_000), -1, 1)
        share = density[0].sum(1 - axis)
        assert share @ middles == pytest.approx(draws.mean(), abs=0.04)
        assert share[[0, -1]] == pytest.approx(
            [(draws < -15 / 16).mean(), (draws >= 15 / 16).mean()], abs=0.03
        )


def _agents(run: Path) -> Any:
    from explorax.run.evaluate import restore_agents

    directory = RunDirectory(run)
    settings = directory.read_config((Compass,))
    return restore_agents(directory, settings, Batched(MultiGoal(), settings.num_envs))


def test_a_run_without_the_file_can_be_given_it_and_overwriting_takes_it(
    steady: Path, tmp_path: Path
) -> None:
    run = train(config(Compass(), seeds=2), tmp_path, progress=False)
    before = (run / "paths.npz").read_bytes()
    (run / "paths.npz").unlink()
    assert train(config(Compass(), seeds=2), tmp_path, resume=True, progress=False) == run
    assert not (run / "paths.npz").exists()  # finished is finished
    assert record_paths(run, extra=(Compass,)).read_bytes() == before
    RunDirectory(run).clear()
    assert not list(run.glob("*.npz"))


def test_tasks_without_a_field_have_none(tmp_path: Path) -> None:
    run = train(
        RunConfig("walk", Wanderer(), Novelty(), env_steps=40, num_envs=4, log_points=1),
        tmp_path, env=Walk(), progress=False,
    )  # fmt: skip
    assert not (run / "paths.npz").exists()
    with pytest.raises(Incompatible, match="a method `field`"):
        record_paths(run, env=Walk(), extra=(Wanderer, Novelty))
    assert not has_paths(HostWalk(4))
    assert has_paths(Batched(Mover(), 4))


def test_trouble_is_noted_and_costs_no_run(tmp_path: Path) -> None:
    class Broken(MultiGoal):
        looks_at: Any = ("nowhere",)

    run = train(config(Compass(), seeds=1), tmp_path, env=Broken(), progress=False)
    (note,) = json.loads((run / "meta.json").read_text())["notes"]
    assert note == "No picture of paths: ValueError: could not convert string to float: 'nowhere'"
    assert (run / "DONE").exists() and not (run / "paths.npz").exists()
    settings = config(Compass(), seeds=1)
    assert paths_of(RunDirectory(run), settings, Batched(MultiGoal(), 4), _agents(run)) == ""


@pytest.mark.parametrize("world", ["plane", "hallway", "maze"])
def test_the_field_of_the_mover_is_what_its_places_pay(world: str) -> None:
    task = Mover(world)
    free = {
        "plane": None,
        "hallway": {(0, column) for column in range(-3, 4)},
        "maze": {(0, 0), (0, 1), (0, 2), (-1, 2), (-2, 0), (-2, 1), (-2, 2)},
    }[world]
    points = np.random.default_rng(0).uniform(-7, 7, (200, 2)).astype(np.float32)
    field = np.asarray(jax.jit(task.field)(jnp.asarray(points)))
    rest = jax.jit(lambda point: task.step(task.place(point), jax.random.key(0), jnp.zeros(2)))
    stood = 0
    for point, value in zip(points, field, strict=True):
        column, row = np.floor(point / 2 + 0.5).astype(int)
        assert np.isnan(value) == (free is not None and (row, column) not in free)
        if world != "maze":
            assert value == 0 or np.isnan(value)
        elif not np.isnan(value):
            after, pay, _ = rest(point)
            if np.allclose(after.position, point):  # else too near a wall to stand there
                assert value == pytest.approx(float(pay), abs=1e-5)
                stood += 1
    assert stood > 5 or world != "maze"

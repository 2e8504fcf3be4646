"""Samples of visited states, the maps made of them, and the curves under films."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from toys import HostWalk, Novelty, Walk, Wanderer

from explorax.bonuses import HashCount, NoBonus
from explorax.core.errors import BadEnvironmentData
from explorax.core.protocols import Rollout
from explorax.core.pytree import replace
from explorax.envs.border import Running
from explorax.envs.supervision import Supervision
from explorax.envs.task import Batched
from explorax.report import projection
from explorax.report.numbers import table_rows
from explorax.report.read import read_run
from explorax.run.config import RunConfig
from explorax.run.film_strip import Curves, bonus_of
from explorax.run.train import resume_run, train
from explorax.run.visited import Visited, can_be_projected

DIMENSIONS = 7
MIX = np.random.default_rng(5).normal(size=(2, DIMENSIONS)).astype(np.float32)


def rollout_of(states: np.ndarray) -> Rollout:
    flags = np.zeros(states.shape[:-1], bool)
    zeros = np.zeros(states.shape[:-1], np.float32)
    return Rollout(states, flags, zeros, states, flags, flags, flags, zeros)


def see(visited: Visited, row: int, numbers: np.ndarray) -> None:
    visited.see(row, rollout_of(np.repeat(numbers[:, None, None], 3, -1).astype(np.float32)))


def test_a_sample_is_everything_until_it_is_full_and_then_uniform() -> None:
    visited = Visited(3, range(200), (1, 2))
    count = visited.state["points"].shape[2]
    numbers = np.arange(4 * count)
    for row in range(200):
        see(visited, row, numbers[: count // 2])
    np.testing.assert_array_equal(
        visited.state["points"][0, 0, : count // 2, 1], numbers[: count // 2]
    )
    for row in range(200):
        for part in np.split(numbers[count // 2 :], 7):
            see(visited, row, part)
    kept = visited.state["points"][0, :, :, 0]
    assert all(len(np.unique(sample)) == count for sample in kept)
    np.testing.assert_array_equal(visited.state["seen"][0], 4 * count)
    # each quarter of the stream holds a quarter of the samples, within 5 standard deviations
    shares = np.histogram(kept, 4, (0, 4 * count))[0] / kept.size
    deviation = np.sqrt(0.25 * 0.75 / kept.size * (1 - 0.25))
    np.testing.assert_allclose(shares, 0.25, atol=5 * deviation)
    visited.record(1, 100)
    see(visited, 3, numbers[:5])
    np.testing.assert_array_equal(visited.state["points"][1, 3, :5, 2], numbers[:5])


def test_the_same_states_in_other_portions_fill_the_same_places() -> None:
    states = np.random.default_rng(0).normal(size=(90, 2, 3)).astype(np.float32)
    whole, parts = (Visited(3, (4,), (1,)) for _ in range(2))
    whole.see(0, rollout_of(states))
    for part in np.split(states, 3):
        parts.see(0, rollout_of(part))
    np.testing.assert_array_equal(whole.state["points"], parts.state["points"])


@pytest.mark.parametrize("dimensions", [3, 17, 111])
def test_the_projection_is_sparse_and_known_from_its_seed(dimensions: int) -> None:
    drawn = projection.matrix(dimensions)
    np.testing.assert_array_equal(drawn, projection.matrix(dimensions))
    assert np.linalg.matrix_rank(drawn) == 2
    sizes = np.unique(np.abs(drawn))
    np.testing.assert_allclose(sizes, [0, np.sqrt(np.sqrt(dimensions) / 2)])
    # squared lengths are kept on average: E |Px|^2 = |x|^2
    others = [projection.matrix(dimensions, seed) for seed in range(400)]
    squares = [np.square(other[:, 0]).sum() for other in others]
    assert np.mean(squares) == pytest.approx(1, abs=0.3)


@dataclasses.dataclass(frozen=True)
class Mixed(HostWalk):
    """HostWalk that shows its place through many dimensions, the last of which never changes."""

    @property
    def spec(self) -> Any:
        spec = super().spec
        box = replace(spec.obs, shape=(DIMENSIONS + 1,), low=-np.inf, high=np.inf)
        return replace(spec, obs=box, view=None)

    def reset(self, key: Any) -> Any:
        state, obs = super().reset(key)
        return state, mixed(obs)

    def step(self, state: Any, key: Any, action: Any) -> Any:
        state, out = super().step(state, key, action)
        return state, replace(out, obs=mixed(out.obs), next_obs=mixed(out.next_obs))


def mixed(obs: Any) -> np.ndarray:
    obs = np.asarray(obs)
    return np.concatenate([obs @ MIX, np.full((len(obs), 1), 3.0)], -1).astype(np.float32)


def config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = dict(
        env="mixed", agent=Wanderer(), bonus=Novelty(), env_steps=800, seeds=2, num_envs=4,
        log_points=8, film=False,
    )  # fmt: skip
    return RunConfig(**settings | changes)


def test_runs_without_a_view_have_maps_of_a_projection(tmp_path: Path) -> None:
    paths = [
        train(each, tmp_path, env=Mixed(4), progress=False)
        for each in (config(), config(bonus=NoBonus()))
    ]
    rows = table_rows([read_run(path) for path in paths])
    assert not any(row.run.maps for row in rows)
    shown = projection.projected(rows)
    assert shown[0].run.view == shown[1].run.view
    for before, row in zip(rows, shown, strict=True):
        visits = row.run.maps["visits"]
        assert visits.shape == (4, 2, projection.BINS, projection.BINS)
        # every arrival of each seed is counted
        np.testing.assert_allclose(visits.sum((0, 2, 3)), before.run.config["env_steps"])
    # by hand: standardised over both runs, without the entry that never changes
    points = np.concatenate(
        [
            each.run.states["points"][q, s, : each.run.states["seen"][q, s]]
            for each in rows for q in range(4) for s in range(2)
        ]
    )  # fmt: skip
    moving = points[:, :DIMENSIONS].astype(np.float64)
    unit = (moving - moving.mean(0)) / moving.std(0)
    flat = unit @ projection.matrix(DIMENSIONS + 1)[:, :DIMENSIONS].T
    view = shown[0].run.view
    assert view is not None
    np.testing.assert_allclose(
        view.low, np.percentile(flat, projection._OUTSIDE, axis=0), rtol=1e-6
    )
    total = sum(row.run.maps["visits"].sum((0, 1)) for row in shown)
    cells = np.floor((flat - view.low) / (np.asarray(view.high) - view.low) * projection.BINS)
    cells = np.clip(cells, 0, projection.BINS - 1)
    wanted, _, _ = np.histogram2d(*cells.T, bins=projection.BINS, range=[[0, projection.BINS]] * 2)
    assert np.abs(total - wanted).sum() <= 0.01 * wanted.sum()  # float32 at the edges of cells


def test_which_environments_are_sampled() -> None:
    assert can_be_projected(Mixed(2))
    assert not can_be_projected(HostWalk(2))  # has a view
    assert not can_be_projected(Batched(Walk(), 2))


class Restarted:
    """What stands for `envs.worlds.Worlds`: restarts once, in its seventh step."""

    def __init__(self) -> None:
        self.restarts, self.supervision = np.zeros(4, np.int64), Supervision(restarts=1)
        self.steps, self.notes, self.state = 0, [], None

    def take_notes(self) -> list[str]:
        taken, self.notes = self.notes, []
        return taken


@dataclasses.dataclass(frozen=True)
class Restarting(HostWalk):
    """HostWalk in a Running, as environments that may be restarted are."""

    def reset(self, key: Any) -> Any:
        worlds = Restarted()
        worlds.state, obs = super().reset(key)
        return Running(worlds), obs

    def step(self, state: Any, key: Any, action: Any) -> Any:
        worlds = state.vector
        worlds.steps += 1
        if worlds.steps == 7:
            worlds.restarts[2] += 1
            worlds.notes.append("environment 2 was restarted.")
        _, out = super().step(worlds.state, key, action)
        return state, out


def test_restarts_are_a_column_and_a_note(tmp_path: Path) -> None:
    path = train(config(env="restarting"), tmp_path, env=Restarting(4), progress=False)
    column = read_run(path).metrics.pivot(index="env_steps", columns="seed", values="env_restarts")
    np.testing.assert_array_equal(column.sum(), [1, 1])
    assert column.iloc[0].sum() + column.iloc[1].sum() == 2
    notes = read_run(path).meta["notes"]
    assert [f"Seed {seed}: environment 2 was restarted." in notes for seed in (0, 1)] == [True] * 2


def test_a_fault_that_ends_a_run_names_what_goes_on(tmp_path: Path) -> None:
    settings = config(env="stops")
    with pytest.raises(BadEnvironmentData) as caught:
        train(settings, tmp_path, env=HostWalk(4, breaks_at=35), progress=False)
    assert "Go on with: the call that began it, with resume=True" in str(caught.value)


def test_curves_are_drawn_as_far_as_the_frame() -> None:
    returns = np.cumsum(np.ones(50))
    curves = Curves(returns, np.sin(np.arange(50.0)), np.arange(0, 50, 7))
    picture = Image.new("RGB", (300, 200), "#00FF00")
    early, late = (np.asarray(curves.under(picture, frame)) for frame in (1, 7))
    assert early.shape == late.shape == (200 + 2 * 48, 300, 3)
    assert (early[:200] == [0, 255, 0]).all()

    def blue(frame: np.ndarray) -> Any:
        columns = (frame[200:248, 62:].astype(int) @ [-1, 0, 1] > 100).any(0)
        return np.flatnonzero(columns).max() + 62

    # the curve spans 62 .. 290; frame 1 shows step 7 of 49, frame 7 the last
    assert blue(early) == pytest.approx(62 + 228 * 7 / 49, abs=4)
    assert blue(late) == pytest.approx(290, abs=4)
    small = curves.under(Image.new("RGB", (50, 40)), 0)
    assert small.width >= 240
    alone = Curves(returns, None, np.arange(1)).under(picture, 0)
    assert alone.height == 200 + 48


def test_the_bonus_of_a_film_is_that_of_each_step() -> None:
    env, count = Batched(Walk(), 3), HashCount(bits=4)
    state = jax.jit(partial(count.init, spec=env.spec))(jax.random.key(0))
    states = np.random.default_rng(1).uniform(-1, 1, (20, 2)).astype(np.float32)
    episode = jax.tree.map(jnp.asarray, rollout_of(states))
    paid = bonus_of(count, state, episode, 3)
    wanted = jax.jit(count.rescore)(state, jax.random.key(0), episode)
    assert paid is not None
    np.testing.assert_allclose(paid, wanted)
    assert bonus_of(NoBonus(), (), episode, 3) is None

    summed = bonus_of(Live(), (), episode, 3)
    assert summed is not None
    np.testing.assert_allclose(summed, np.cumsum(states[:, 0]), atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Live:
    """A bonus that depends on the order of rows: what was seen so far."""

    replayable = False

    def init(self, key: Any, spec: Any) -> Any:
        return ()

    def score(self, state: Any, key: Any, rollout: Rollout) -> Any:
        assert rollout.reward.shape == (20, 3)
        return jnp.cumsum(rollout.next_obs[..., 0], 0), state

    def update(self, state: Any, key: Any, rollout: Rollout) -> Any:
        return state, {}

    def rescore(self, state: Any, key: Any, rows: Rollout) -> Any:
        return rows.bonus


@dataclasses.dataclass(frozen=True)
class Failing(Mixed):
    """Mixed, whose step number `at` of all fails."""

    at: int = 0

    def step(self, state: Any, key: Any, action: Any) -> Any:
        STEPPED.append(1)
        if len(STEPPED) == self.at:
            raise BadEnvironmentData("environment 0, step 7: engine on fire.")
        return super().step(state, key, action)


STEPPED: list[int] = []


def test_states_of_a_rollout_that_failed_are_not_counted_twice(tmp_path: Path) -> None:
    """The fault comes when the first seed's rollout is collected, and the second's is not."""
    whole = train(config(), tmp_path / "whole", env=Mixed(4), progress=False)
    STEPPED.clear()
    chunk = 800 // 8 // 4  # steps of one seed
    env = Failing(4, at=2 * 3 * chunk + 2 * chunk - 4)
    with pytest.raises(BadEnvironmentData, match="engine on fire"):
        train(config(), tmp_path, env=env, progress=False)
    path = config().directory(tmp_path)
    resume_run(path, env=Mixed(4), extra=(Wanderer, Novelty), progress=False, stale="keep")
    with np.load(whole / "maps.npz") as wanted, np.load(path / "maps.npz") as found:
        np.testing.assert_array_equal(found["seen"], wanted["seen"])
        assert wanted["seen"].sum() == 2 * 800

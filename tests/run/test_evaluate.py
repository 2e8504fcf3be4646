"""Playing with what a run learned, and its film."""

import dataclasses
import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drifter import Drifter
from PIL import Image
from toys import HostWalk, Novelty, Walk, Wanderer

from explorax.bonuses import NoBonus
from explorax.core.errors import (
    CheckpointError,
    ExploraxError,
    InvalidSetting,
    RunDirectoryError,
)
from explorax.core.protocols import Percept, Spec
from explorax.envs.task import Batched
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.evaluate import LONGEST, evaluate, play, restore_agents
from explorax.run.film import FRAMES, LARGEST_BYTES, _frames_on_host, encode, film, typical_seed
from explorax.run.tensorboard import TensorBoard
from explorax.run.train import train

CONFIG = RunConfig(
    "walk", Wanderer(), Novelty(), env_steps=240, seeds=2, seed=3, num_envs=4, log_points=6
)
EXTRA = (Wanderer, Novelty)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(CONFIG, tmp_path_factory.mktemp("run"), env=Walk(), progress=False)


def by_hand(weights: np.ndarray, key: Any) -> tuple[list[float], list[int]]:
    """Play one round of four greedy episodes step by step, in NumPy but for the numbers drawn."""
    env = Batched(Walk(), 4)
    state, _ = env.reset(jax.random.fold_in(key, 2**31 - 1))
    place = np.asarray(state.task)
    moves = np.array([[0.25, 0], [-0.25, 0], [0, 0.25], [0, -0.25]], np.float32)
    returns, lengths = [], []
    for x in place:
        length = 0
        while length < 12 and x[0] < 1:
            x = np.clip(x + moves[np.argmax(x @ weights)], -1, 1)
            length += 1
        returns.append(float(x[0] >= 1))
        lengths.append(length)
    return returns, lengths


def test_greedy_episodes_are_those_played_by_hand(run: Path) -> None:
    agents = restore_agents(RunDirectory(run), CONFIG, Batched(Walk(), 4))
    played = evaluate(run, episodes=6, env=Walk(), extra=EXTRA)
    assert [each.seed for each in played] == [3, 4]
    for row, each in enumerate(played):
        rounds = [
            by_hand(np.asarray(agents.weights[row]), key)
            for key in jax.random.split(jax.random.key(0), 2)
        ]
        returns = [one for ret, _ in rounds for one in ret]
        lengths = [one for _, length in rounds for one in length]
        assert list(each.returns) == returns[:6]
        assert list(each.lengths) == lengths[:6]
        assert each.success_rate == each.return_mean == np.mean(each.returns)
    again = evaluate(run, seed=4, episodes=6, env=Walk(), extra=EXTRA)
    assert again == played[1:]


def test_host_and_device_environments_are_played_alike() -> None:
    class Right(Wanderer):
        def act(
            self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
        ) -> Any:
            return jnp.where(greedy, 0, 1) * jnp.ones(4, jnp.int32), carry, {}

    agents = {"nothing": jnp.zeros((1, 2))}
    for env in (Batched(Walk(), 4), HostWalk(4)):
        returns, lengths, last = play(env, Right(), agents, [0], 7)
        assert returns.shape == (1, 7) and (returns == 1).all()
        assert (lengths >= 2).all() and (lengths <= 6).all()
        assert last.shape == (1, 7, 2) and (last[..., 0] >= 1).all()  # not where it began anew
        returns, lengths, last = play(env, Right(), agents, [0], 7, greedy=False)
        assert (returns == 0).all() and (lengths == 12).all() and (last[..., 0] < 0.8).all()


@dataclasses.dataclass(frozen=True)
class Star(Drifter):
    """Of four environments two go right, one up, and one nowhere."""

    def init(self, key: Any, spec: Spec) -> Any:
        return jnp.zeros(1)

    def act(
        self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
    ) -> Any:
        return jnp.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), carry, {}


def test_the_different_goals_that_episodes_ended_at_are_counted(tmp_path: Path) -> None:
    config = RunConfig("multi_goal", Star(), NoBonus(), env_steps=120, seeds=1, num_envs=4)
    trained = train(config, tmp_path, progress=False)
    for episodes, goals in ((1, 1), (2, 1), (3, 2), (4, 2), (8, 2)):
        (found,) = evaluate(trained, episodes=episodes, extra=(Star,))
        assert found.goals_reached == goals
    arrived = np.asarray(found.lengths).reshape(2, 4)
    assert (arrived[:, :3] <= 6).all() and (arrived[:, 3] == 30).all()


def test_what_cannot_be_evaluated(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no seed 7. Possible: 3 to 4"):
        evaluate(run, seed=7, env=Walk(), extra=EXTRA)
    with pytest.raises(InvalidSetting, match="at least 1"):
        evaluate(run, episodes=0, env=Walk(), extra=EXTRA)
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        evaluate(bare, env=Walk(), extra=EXTRA)


def test_the_film_shows_an_episode_of_the_typical_seed(run: Path) -> None:
    (record,) = json.loads((run / "films" / "films.json").read_text())
    assert record["seed"] == typical_seed(run / "metrics.csv")
    assert record["file"] == f"seed_{record['seed']}.gif"
    with Image.open(run / "films" / record["file"]) as gif:
        # enlarged, with the curves of the return and of the bonus below it
        assert gif.size == (6 * 40, 6 * 30 + 2 * 44)
        durations = []
        for frame in range(gif.n_frames):  # pyright: ignore[reportAttributeAccessIssue]  (GIFs do)
            gif.seek(frame)
            durations.append(gif.info["duration"])
        assert gif.info["loop"] == 0
    # a pause of the walker at an edge repeats a frame, which GIF merges into one
    assert sum(durations) == 50 * (record["steps"] - 1) + 1000
    path = film(run, seed=4, env=Walk(), extra=EXTRA)
    assert path == run / "films" / "seed_4.gif" and path.exists()


def test_a_long_episode_is_shown_in_few_frames() -> None:
    @dataclasses.dataclass(frozen=True)
    class Marathon(HostWalk):
        """Never ends, for longer than a film follows; a frame tells when it was drawn."""

        render: bool = False

        @property
        def spec(self) -> Spec:
            return dataclasses.replace(super().spec, max_episode_steps=27_000)

        def step(self, state: Any, key: Any, action: Any) -> Any:
            state, out = super().step(state, key, action)
            state["clock"] = state.get("clock", 0) + 1
            never = jnp.zeros(self.num_envs, bool)
            return state, dataclasses.replace(out, terminated=never, truncated=never)

        def draw(self, state: Any, index: int = 0) -> np.ndarray:
            assert self.render and self.num_envs == 1
            return np.full((2, 2, 3), state.get("clock", 0), int)

    class Still(Wanderer):
        def act(
            self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
        ) -> Any:
            return jnp.zeros_like(percept.reward, jnp.int32), carry, {}

    frames, shown, paid, episode = _frames_on_host(Marathon(4), Still(), {}, jax.random.key(0))
    drawn = [int(frame[0, 0, 0]) for frame in frames]
    assert shown == drawn
    assert len(paid) == len(episode.reward) == LONGEST and len(drawn) <= FRAMES
    assert drawn == list(range(0, LONGEST, 16))  # 1, 2, 4, 8: each doubled when 200 were drawn


def test_the_typical_seed_has_the_median_late_return(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    late = {0: "5", 1: "", 2: "1", 3: "3", 4: "4"}
    lines = ["seed,env_steps,return_mean"]
    for point in range(20):
        lines += [f"{k},{point},{late[k] if point >= 18 else 100 - k}" for k in late]
    path.write_text("\n".join(lines) + "\n")
    # seed 1 finished no late episode: its last known return, 99, counts
    assert typical_seed(path) == 4
    path.write_text("seed,env_steps,return_mean\n7,1,\n8,1,\n9,1,\n")
    assert typical_seed(path) == 8


def test_a_large_film_is_made_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 240, 320, 3), np.uint8)
    data = encode(list(noise))
    assert len(data) <= LARGEST_BYTES
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.size[0] < 320
        assert gif.n_frames == 60  # pyright: ignore[reportAttributeAccessIssue]  (GIFs do)


def test_event_files_on_request(tmp_path: Path) -> None:
    events = TensorBoard(tmp_path, (3, 4))
    events.append({"env_steps": np.array([5, 5]), "return_mean": np.array([0.5, np.nan])})
    events.close()
    sizes = [os.path.getsize(next((tmp_path / f"seed_{seed}").iterdir())) for seed in (3, 4)]
    assert sizes[0] > sizes[1]


def test_event_files_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = TensorBoard(tmp_path, (3,), done_env_steps=4)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    many = {f"metric_{i}": np.array([0.5]) for i in range(40)}
    with pytest.raises(RunDirectoryError, match=f"Cannot write {tmp_path}: No space left"):
        events.append({"env_steps": np.array([5]), **many})
    monkeypatch.undo()
    events.close()


def test_event_files_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ExploraxError, match=r"pip install 'explorax\[tensorboard\]'"):
        train(CONFIG, tmp_path, env=Walk(), tensorboard=True, progress=False)
    assert not list(tmp_path.iterdir())

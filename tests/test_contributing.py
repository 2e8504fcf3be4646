"""The skeletons in CONTRIBUTING.md are taken from the page, checked, and trained with."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Rollout, Spec
from explorax.envs.task import Batched

ROOT = Path(__file__).parents[1]
_PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = dict(re.findall(r"```python\n# (src/explorax/\S+\.py)\n(.*?)```", _PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return the classes of all skeletons, by name."""
    folder, found, modules = tmp_path_factory.mktemp("skeletons"), {}, []
    for path, text in BLOCKS.items():
        name = f"skeleton_{Path(path).stem}"
        file = folder / f"{name}.py"
        file.write_text(text)
        module = _load(name, file)
        modules.append(name)
        found |= {k: v for k, v in vars(module).items() if getattr(v, "__module__", "") == name}
    yield found
    for name in modules:
        del sys.modules[name]


def _load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_skeleton_of_each_kind() -> None:
    kinds = [path.split("/")[2] for path in BLOCKS]
    assert kinds == ["bonuses", "agents", "envs"]


@pytest.mark.parametrize("path", BLOCKS)
def test_skeleton_keeps_the_style(path: str) -> None:
    assert not (ROOT / path).exists(), "the skeleton has the name of a part that is there"
    for command in (["check"], ["format", "--check"]):
        line = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"]
        done = subprocess.run(line, input=BLOCKS[path], cwd=ROOT, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr


def _rollout(seed: int) -> Rollout:
    """Return five steps of three environments, with nothing in them but observations."""
    obs = np.random.default_rng(seed).normal(size=(5, 3, 2)).astype(np.float32)
    zero, no = np.zeros((5, 3), np.float32), np.zeros((5, 3), bool)
    rows = Rollout(obs, no.astype(np.int32), zero, obs + np.float32(1), no, no, no, zero)
    return jax.tree.map(jnp.asarray, rows)


def test_bonus_pays_by_the_mean_of_the_rollouts_before(parts: dict[str, Any]) -> None:
    bonus = parts["DistanceFromMean"](limit=4.0)
    key = jax.random.key(0)
    first, second, third = (_rollout(seed) for seed in range(3))
    state = bonus.init(key, Spec(Box((2,)), Box((1,)), 3))
    update = jax.jit(lambda state, rollout: bonus.update(state, key, rollout)[0])
    score = jax.jit(lambda state, rollout: bonus.score(state, key, rollout)[0])
    state = update(update(state, first), second)

    before = np.concatenate([np.asarray(r.next_obs).reshape(-1, 2) for r in (first, second)])
    squares = ((np.asarray(third.next_obs) - before.mean(0)) ** 2).sum(-1)
    np.testing.assert_allclose(score(state, third), np.minimum(squares, 4.0), rtol=1e-5)
    assert (squares > 4.0).any() and (squares < 4.0).any()

    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), third)
    rescored = jax.jit(bonus.rescore)(state, key, rows)
    np.testing.assert_array_equal(rescored, score(state, third).reshape(-1))


def test_environment_pays_at_the_door(parts: dict[str, Any]) -> None:
    env = Batched(parts["Corridor"](length=0.5), 4)
    state, obs = env.reset(jax.random.key(0))
    step = jax.jit(env.step)
    ended = np.zeros(4, bool)
    for t in range(5):
        state, out = step(state, jax.random.key(t), jnp.ones(4, jnp.int32))
        np.testing.assert_allclose(
            out.next_obs, np.minimum(obs + 0.1, 0.5), atol=1e-6, err_msg=f"step {t}"
        )
        np.testing.assert_array_equal(out.reward, out.terminated.astype(jnp.float32))
        ended |= np.asarray(out.terminated)
        obs = out.obs
    assert ended.all()
    frame = env.draw(state, 2)
    assert frame.dtype == np.uint8 and frame.shape[2] == 3 and len(np.unique(frame)) > 1
    at = env.task.observe(env.task.place(jnp.array([0.25, 0.0])))
    np.testing.assert_allclose(at, [0.25])


def test_agent_learns_with_the_bonus_in_the_environment(parts: dict[str, Any]) -> None:
    env, bonus = Batched(parts["Corridor"](), 8), parts["DistanceFromMean"]()
    agent = parts["LinearPolicy"](learning_rate=10.0, bonus_scale=0.01)
    start = jax.jit(jax.vmap(lambda key: loop.start(env, agent, bonus, key)))
    chunk = jax.jit(jax.vmap(partial(loop.chunk_on_device, env, agent, bonus, 15)))
    training, early = chunk(start(jax.random.split(jax.random.key(1), 2)))
    _, late = chunk(training)
    # A walk at random needs some 70 steps, and always to the right 9 or 10.
    assert (late["length_mean"] < 25).all(), late["length_mean"]
    assert (late["length_mean"] < early["length_mean"]).all()
    assert (late["bonus_mean"] > 0).all()


def test_skeletons_say_what_they_cannot_take(parts: dict[str, Any]) -> None:
    with pytest.raises(Incompatible, match="needs discrete actions"):
        parts["LinearPolicy"]().init(jax.random.key(0), Spec(Box((2,)), Box((1,)), 3))
    with pytest.raises(InvalidSetting, match="limit must be positive"):
        parts["DistanceFromMean"](limit=0.0)

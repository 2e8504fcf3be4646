"""What a run would need is compared with what there is, before it starts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from toys import Novelty, Walk, Wanderer

from explorax.core.errors import NotEnoughMemory
from explorax.run import memory
from explorax.run.config import RunConfig
from explorax.run.train import train

CONFIG = RunConfig("walk", Wanderer(), Novelty(), env_steps=100, seeds=1000, num_envs=4)
MEGABYTE = 1 << 20


def test_bytes_are_counted_without_making_the_arrays() -> None:
    def make() -> dict[str, jax.Array]:
        key = jax.random.key(0)
        return {"a": jnp.zeros((1000, 1000, 1000)), "b": jnp.int8(0), "key": key}

    assert memory.nbytes(jax.eval_shape(make)) == 4 * 10**9 + 1 + 8


def test_the_message_has_the_estimate_the_amount_and_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MEGABYTE)
    memory.check(CONFIG, 60 * MEGABYTE, 0, 30 * MEGABYTE)
    with pytest.raises(NotEnoughMemory) as caught:
        memory.check(CONFIG, 110 * MEGABYTE, 40 * MEGABYTE, 30 * MEGABYTE)
    message = str(caught.value)
    assert "1000 seeds would need about 180.0 MiB (the agent 110.0 MiB, the bonus 40.0" in message
    assert "the rest and computing 30.0 MiB)" in message
    assert "100.0 MiB are free" in message
    assert "At most 500 of these seeds fit at once: give seeds=500, or choose" in message
    assert "choose a smaller replay in the agent" in message
    with pytest.raises(NotEnoughMemory, match="Not even one seed fits: choose less for the bonus"):
        memory.check(CONFIG, 0, 1000 * 100 * MEGABYTE, 0)
    with pytest.raises(NotEnoughMemory, match="choose shorter rollouts"):
        memory.check(CONFIG, 0, 0, 1000 * 100 * MEGABYTE)


def test_an_unknown_amount_lets_the_run_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    memory.check(CONFIG, 1 << 60, 0, 0)


def test_too_many_seeds_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = RunConfig("walk", Wanderer(), Novelty(), env_steps=100, seeds=10**9, num_envs=4)
    with pytest.raises(NotEnoughMemory):
        train(config, tmp_path / "runs", env=Walk(), progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_control_groups_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5000 kB\n",
        "/proc/self/cgroup": "0::/jobs/mine\n",
        "/sys/fs/cgroup/jobs/memory.max": "max\n",
        "/sys/fs/cgroup/jobs/mine/memory.max": "3000000\n",
        "/sys/fs/cgroup/jobs/mine/memory.current": "1000000\n",
        "/sys/fs/cgroup/jobs/mine/memory.stat": "anon 5\ninactive_file 200000\n",
    }
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory.available_bytes() == 2_200_000
    files["/sys/fs/cgroup/jobs/mine/memory.max"] = "max\n"
    assert memory.available_bytes() == 5000 * 1024
    files["/proc/self/cgroup"] = "4:cpu,memory:/old\n"
    files["/sys/fs/cgroup/memory/old/memory.limit_in_bytes"] = "70\n"
    files["/sys/fs/cgroup/memory/old/memory.usage_in_bytes"] = "20\n"
    assert memory.available_bytes() == 50

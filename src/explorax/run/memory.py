"""Whether a run fits in memory, asked before it starts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from explorax.core.arguments import argument, named
from explorax.core.errors import NotEnoughMemory
from explorax.run.config import RunConfig

_MARGIN = 0.9  # of the memory that is free: the rest is for the compiler, Python and the pictures


def nbytes(tree: Any) -> int:
    """Return the bytes of a pytree of arrays or their shapes."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        total += leaf.size * leaf.dtype.itemsize
    return total


def available_bytes() -> int | None:
    """Return the bytes that this process may still take on its device; None where unknown.

    On a CPU: the smallest of what the machine has free and what its control groups allow.
    """
    device = jax.devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return min(_host_limits(), default=None)


# What takes less, by what takes the most.
_CURES = {
    "agent": "a smaller replay in the agent (replay_capacity of DQN), smaller networks",
    "bonus": "less for the bonus to remember (its pool_size, capacity or bits), features in place "
    "of observations (VIME(latent=InverseEncoder())), a bonus without a pool (RND(), ICM())",
    "rest": "shorter rollouts, smaller networks",
}


def check(config: RunConfig, agent: int, bonus: int, rest: int) -> None:
    """Raise NotEnoughMemory unless so many bytes are free.

    agent, bonus: what these keep, of all seeds; rest: what all else does, and what computing the
    next state takes besides.
    """
    available = available_bytes()
    parts = {"agent": agent, "bonus": bonus, "rest": rest}
    total = sum(parts.values())
    if available is None or total <= _MARGIN * available:
        return
    fits = int(config.seeds * _MARGIN * available / total)
    fewer = (
        f"At most {fits} of these seeds fit at once: give {argument('seeds', fits)}, or "
        if fits
        else "Not even one seed fits: "
    )
    most = max(parts, key=lambda part: parts[part])
    raise NotEnoughMemory(
        f"{config.seeds} seeds would need about {_text(total)} (the agent {_text(agent)}, the "
        f"bonus {_text(bonus)}, the rest and computing {_text(rest)}) and {_text(available)} are "
        f"free. {fewer}choose {_CURES[most]}, or a smaller {named('num_envs')}."
    )


def _text(count: float | int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"


def _host_limits() -> Iterator[int]:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    if not os.path.exists("/proc/meminfo") and hasattr(os, "sysconf"):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for directory in _control_groups():
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            text = _read(f"{directory}/{limit}").strip()
            if text.isdigit():
                taken = int(_read(f"{directory}/{used}").strip() or 0)
                yield max(0, int(text) - taken + _reclaimable(directory))


def _control_groups() -> Iterator[str]:
    """Yield this process's control groups and their parents, of both versions."""
    for line in _read("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            root = "/sys/fs/cgroup" if number == "0" else "/sys/fs/cgroup/memory"
            group = Path(path.lstrip("/"))
            for part in (group, *group.parents):
                yield f"{root}/{part}"


def _reclaimable(directory: str) -> int:
    """Return the bytes of files cached for the group, which the kernel gives back when asked."""
    for line in _read(f"{directory}/memory.stat").splitlines():
        if line.startswith("inactive_file "):
            return int(line.split()[1])
    return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""

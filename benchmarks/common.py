"""What the benchmarks share: timing with medians, the machine's name, a table on disk."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median of `repeats` calls after one to warm up."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def machine() -> str:
    """Return the processor, its cores and the versions, in one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    device = jax.devices()[0]
    return (
        f"{model}, {os.cpu_count()} cores; JAX {jax.__version__} on {device.device_kind}; "
        f"Python {platform.python_version()}"
    )


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return the table in Markdown, with a newline at its end."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write(
    name: str,
    title: str,
    columns: list[str],
    rows: list[list[str]],
    notes: str,
    second: tuple[str, list[str], list[list[str]]] | None = None,
) -> None:
    """Print the table and write it to results/`name`.md; `second` is (text, columns, rows)."""
    lines = [f"# {title}", "", f"Command: `python benchmarks/{name}.py`. Machine: {machine()}."]
    text = "\n".join([*lines, notes, "", table(columns, rows)])
    if second is not None:
        text += f"\n{second[0]}\n\n{table(*second[1:])}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)

"""Seconds from `explorax train` to its first line of progress, compilation cache cold and warm."""

import os
import subprocess
import sys
import tempfile
import time

import common

COMMAND = [
    *(sys.executable, "-m", "explorax", "train", "--env", "mountain_car_sparse"),
    *("--agent", "TRPO()", "--bonus", "Scale(MedianRatio(VIME()), 1e-4)"),
    *("--env-steps", "250000", "--seeds", "20", "--overwrite"),
]


def first_progress(cache: str, out: str) -> float:
    """Return the seconds until a line names env steps; the run is then stopped."""
    environment = {**os.environ, "EXPLORAX_CACHE": cache, "PYTHONUNBUFFERED": "1"}
    begun = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, "--out", out],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "steps/s" in line:
                taken = time.perf_counter() - begun
                process.kill()
                return taken
        raise RuntimeError("explorax train ended without a line of progress")


def help_seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "explorax", *command], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as out:
        cold = first_progress(cache, out)
        warm = sorted(first_progress(cache, out) for _ in range(3))[1]
    helps = [sorted(help_seconds([*c, "--help"]) for _ in range(5))[2] for c in ([], ["train"])]
    rows = [
        ["first progress, cold cache", f"{cold:.1f}"],
        ["first progress, warm cache", f"{warm:.1f}"],
        ["`explorax --help`", f"{helps[0]:.2f}"],
        ["`explorax train --help`", f"{helps[1]:.2f}"],
    ]
    common.write(
        "startup",
        "Time to the first answer",
        ["what", "seconds"],
        rows,
        "TRPO with VIME on mountain_car_sparse, 20 seeds. Medians; the cold start is one run.",
    )


if __name__ == "__main__":
    main()

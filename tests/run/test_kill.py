"""A process killed by SIGKILL, and the run continued by another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from toys import Novelty, Walk, Wanderer

from explorax.run.config import RunConfig
from explorax.run.train import train

CONFIG = RunConfig("walk", Wanderer(), Novelty(), env_steps=600, seeds=2, num_envs=4, log_points=30)

SCRIPT = """
import sys
from toys import Novelty, Walk, Wanderer
from explorax.run.config import RunConfig
from explorax.run.train import train
config = RunConfig("walk", Wanderer(), Novelty(), env_steps=600, seeds=2, num_envs=4, log_points=30)
train(config, sys.argv[1], env=Walk(), checkpoint_seconds=0.0)
"""


def test_killed_in_the_middle_and_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    whole = train(CONFIG, tmp_path / "whole", env=Walk(), progress=False)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),  # the kill may leave half an entry
    }
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    path = CONFIG.directory(tmp_path / "killed")
    while child.poll() is None and not list(path.glob("checkpoints/chunk_00001?")):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    said, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL, said
    assert "absl" not in said and "Warning" not in said, said
    assert not (path / "DONE").exists()
    assert list(path.glob("checkpoints/chunk_*"))

    train(CONFIG, tmp_path / "killed", resume=True, env=Walk(), progress=False)
    assert (path / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    mine, others = np.load(path / "maps.npz"), np.load(whole / "maps.npz")
    for name in others:
        np.testing.assert_array_equal(mine[name], others[name])

"""The examples with trainers of others run, for a few steps, and say what they found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = 'Policy", env, n_steps=32, batch_size=32)'


@pytest.mark.parametrize("name", ["sb3_ppo", "sb3_dqn", "cleanrl_style"])
def test_an_example_runs(name):
    command = [sys.executable, "-W", "error", ROOT / "examples" / f"{name}.py", "--steps", "2048"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^(\w+)\(.*\): the goal was reached in \d+ of (\d+)", done.stdout, re.M)
    assert [bonus for bonus, _ in told] == ["NoBonus", "Count"]
    assert all(int(episodes) > 0 for _, episodes in told)


def test_the_code_of_the_page_runs(tmp_path):
    page = (ROOT / "docs" / "your_trainer.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert ["100_000" in block for block in blocks] == [True, True, False]
    for block in blocks:
        program = (
            block.replace("100_000", "256").replace("1_000", "20").replace('Policy", env)', SMALL)
        )
        assert program != block or "PPO" not in block
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "bonus.npz").stat().st_size > 1000

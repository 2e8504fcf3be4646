"""The page on the user's own environment: its example is written to a file and trained in."""

import re
import sys
from pathlib import Path

import pytest

from explorax.cli import main
from explorax.report.read import find_runs

PAGE = Path(__file__).parents[1] / "docs" / "your_environment.md"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_example_is_trained_in_as_the_page_says(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text()
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    commands = re.findall(r"^explorax train (--env my_worlds:\S+.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.delitem(sys.modules, "my_worlds", raising=False)
    Path("my_worlds.py").write_text(module)
    name, agent = "my_worlds:Corridor-v0", "TRPO(rollout_length=50, hidden=(8,))"
    short = ["--env-steps", "400", "--num-envs", "4", "--agent", agent]
    options = ["--workers", "2", "--step-limit-s", "100", "--restarts", "3"] if workers else []
    assert all(option in commands[1] for option in ("--workers", "--step-limit-s", "--restarts"))
    assert main(["train", "--env", name, *short, *options]) == 0
    (run,) = find_runs(tmp_path / "runs")
    assert run.env == name
    assert run.finished
    assert ("env_restarts" in run.metrics) == bool(workers)

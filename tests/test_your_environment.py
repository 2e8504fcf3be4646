"""The page on the user's own environment: its example is written to a file and trained in."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from explorax.cli import main
from explorax.report.read import find_runs

PAGE = Path(__file__).parents[1] / "docs" / "your_environment.md"


@pytest.fixture
def registering_nothing_for_others() -> Iterator[None]:
    yield
    gymnasium.registry.pop("Corridor-v0", None)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("registering_nothing_for_others")
def test_the_example_is_trained_in_as_the_page_says(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text()
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    commands = re.findall(r"^explorax (train --env my_worlds:\S+.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    command = shlex.split(commands[bool(workers)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.delitem(sys.modules, "my_worlds", raising=False)
    Path("my_worlds.py").write_text(module)
    if workers:
        assert command[-6:] == ["--workers", "2", "--step-limit-s", "10", "--restarts", "3"]
        command[command.index("--step-limit-s") + 1] = "100"
        command += ["--agent", "TRPO(rollout_length=50)", "--env-steps", "2000"]
    assert main(command) == 0
    (run,) = find_runs(tmp_path / "runs")
    assert run.env == "my_worlds:Corridor-v0"
    assert run.finished
    assert run.config["env_steps"] == 2000
    assert ("env_restarts" in run.metrics) == bool(workers)

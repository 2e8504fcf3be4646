"""A terminal that has few letters, and paths and names that are no text."""

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from drifter import in_the_catalogue
from synthetic_runs import Plan, make_run

import explorax as ex
from explorax.cli import main
from explorax.report import write_report
from explorax.report.read import read_run
from explorax.run.progress import Progress

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
SMALL = ["--agent", "Drifter()", "--num-envs", "2", "--env-steps", "400", "--no-film"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with names that nobody would choose, in a directory with an umlaut."""
    return make_run(tmp_path / "Übung", Plan(env="wälk\n\x01<b>\udcff", films=False))


def test_a_terminal_with_few_letters_gets_escapes(tmp_path: Path, run: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from explorax.cli import main

        assert sys.getfilesystemencoding() == "ascii" == sys.stdout.encoding
        root = Path(sys.argv[1])
        task = ["train", "--env", "mountain_car", "--root"]
        codes = [
            main(["list"]),
            main(["list", "VIME"]),
            main(["train", "--help"]),
            main(["report", *map(str, root.glob("*bung")), "--title", "Gr\\xf6\\xdfe"]),
            main([*task, str(root / os.fsdecode(b"\\xc3\\x9cbung2"))]),
            main([*task, str(root / "by\\udcfftes")]),
        ]
        sys.exit(codes != [0, 0, 0, 0, 1, 1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path],
        env=os.environ | ASCII,
        capture_output=True,
        encoding="ascii",
    )
    assert done.returncode == 0, done.stderr
    assert "\\xb7" in done.stdout and "Bayesian" in done.stdout
    assert "The report: " in done.stdout and "\\udcc3\\udc9cbung/report.html" in done.stdout
    assert done.stderr.count("checkpoints can only lie where the path is UTF-8") == 2
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Übung"]
    page = (tmp_path / "Übung" / "report.html").read_text(encoding="utf-8")
    assert "wälk\\n\\x01&lt;b&gt;\\udcff" in page


def test_names_with_line_breaks_and_bytes_are_shown_as_escapes(run: Path, tmp_path: Path) -> None:
    assert read_run(run).env == "wälk\\n\\x01<b>\\udcff"
    page = write_report(run, tmp_path / "page.html", title="by\udcfftes")
    text = page.read_text(encoding="utf-8")
    assert "\x01" not in text and "--env &#x27;wälk\n\\x01&lt;b&gt;\\udcff&#x27;" in text
    assert "<h1>by\\udcfftes</h1>" in text


def test_progress_is_shown_with_the_letters_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with Progress("wälk", 10) as progress:
        progress.note("größer")
    assert written.getvalue() == b"w\\xe4lk: compiling\ngr\\xf6\\xdfer\n"


def test_the_output_of_a_command_onto_a_full_disk_is_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "explorax", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    told = "explorax: Cannot write what is printed: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_tilde_is_a_home_on_the_command_line_and_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    with in_the_catalogue():
        assert main(["train", "--env", "mountain_car", *SMALL, "--root=~/runs"]) == 0
        assert main(["report", "~/runs", "--out=~/page.html"]) == 0
        (config,) = (home / "runs").rglob("config.json")
        written = Path("~/runs") / config.parent.relative_to(home / "runs")
        assert main(["eval", str(written), "--episodes", "1"]) == 0
        assert main(["train", "--resume", str(written)]) == 0
        result = ex.load(written)
        assert result.directory == config.parent
        assert ex.load(str(written)).report("~/other.html") == home / "other.html"
        comparison = ex.compare(
            env="mountain_car",
            agent="Drifter()",
            bonus="NoBonus()",
            num_envs=2,
            seeds=1,
            env_steps=400,
            film=False,
            root="~/runs",
            progress=False,
        )
        assert comparison.report_path == home / "runs" / "report.html"
    assert not list(here.iterdir())
    assert sorted(path.name for path in home.iterdir()) == ["other.html", "page.html", "runs"]

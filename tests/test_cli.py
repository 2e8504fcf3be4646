"""The command line: help without JAX, exit codes, messages, and each command once for real."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drifter import in_the_catalogue

from explorax.cli import listing, main, program
from explorax.core.errors import UnknownName

SMALL = ["--agent", "Drifter()", "--num-envs", "2", "--seeds", "2", "--env-steps", "400"]
COMMANDS = ("train", "compare", "eval", "report", "list")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with one finished run of two seeds."""
    root = tmp_path_factory.mktemp("runs")
    arguments = ["--env", "mountain_car", *SMALL, "--root", str(root)]
    with in_the_catalogue():
        assert main(["train", *arguments]) == 0
        yield root


@pytest.fixture
def run(runs: Path) -> Path:
    (config,) = runs.rglob("config.json")
    return config.parent


def failure(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1) -> str:
    """Return the message of a command that fails with `status`, and has no traceback."""
    assert main(arguments) == status
    message = capsys.readouterr().err
    assert message.startswith("explorax: ") and message.count("\n") == 1
    return message


def test_help_and_version_import_no_jax() -> None:
    code = (
        "import sys; from explorax.cli import main\n"
        "codes = [main(['--help']), main(['--version'])]\n"
        f"codes += [main([name, '--help']) for name in {COMMANDS}]\n"
        "heavy = {'jax', 'numpy', 'pandas', 'matplotlib', 'flax'} & set(sys.modules)\n"
        "print(codes, sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == f"{[0] * 7} []"
    assert "usage: explorax COMMAND" in done.stdout


def test_a_closed_pipe_is_no_error() -> None:
    shell = f"{sys.executable} -m explorax list | true"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: explorax {name}" in capsys.readouterr().out


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from explorax.cli.commands import ACTIONS
    from explorax.cli.options import COMMANDS as OPTIONS

    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert tuple(OPTIONS) == tuple(ACTIONS) == COMMANDS


def test_no_command_shows_the_help_and_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "usage: explorax COMMAND" in capsys.readouterr().err


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'train'?" in failure(capsys, "trian", status=2)
    assert "train needs --env" in failure(capsys, "train", status=2)
    both = ("compare", "--preset", "demo", "--env", "mountain_car")
    assert "either --preset NAME" in failure(capsys, *both, status=2)
    assert "compare needs --bonus too" in failure(
        capsys, "compare", "--env", "mountain_car", status=2
    )
    assert "train --resume some/run" in failure(capsys, "train", "some/run", status=2)
    mixed = ("train", "--resume", "some/run", "--env-steps", "5")
    assert "leave out --env-steps" in failure(capsys, *mixed, status=2)
    assert main(["train", "--sede", "1"]) == 2
    assert "--seed" in capsys.readouterr().err
    assert main(["train", "--seeds", "many"]) == 2
    assert "--seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--env", "mountan_car", "Did you mean 'mountain_car'?"),
        ("--env", "mountain_car_sparse(pwer=1)", "Did you mean 'power'?"),
        ("--agent", "TRP()", "no agent 'TRP'. Did you mean 'TRPO'?"),
        ("--agent", "VIME()", "is not an agent"),
        ("--agent", "TRPO(max_lk=1)", "no field of TRPO 'max_lk'. Did you mean 'max_kl'?"),
        ("--bonus", "VIEM()", "no bonus 'VIEM'. Did you mean 'VIME'?"),
        ("--bonus", "Scale(VIME(), -1.0)", "factor must be at least 0"),
        ("--bonus", "Scale(VIME()", "no constructor expression"),
        ("--bonus", "__import__('os').system('true')", "cannot be called"),
        ("--seeds", "0", "--seeds must be a whole number of at least 1"),
        ("--seed", "-1", "--seed must be a whole number from 0"),
        ("--env-steps", "-5", "--env-steps must be a whole number of at least 1"),
        ("--env-steps", "10", "--env-steps must be at least"),
        ("--num-envs", "0", "--num-envs must be a whole number of at least 1"),
    ],
)
def test_bad_settings_are_told_in_one_line(
    option: str, value: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = {"--env": "mountain_car", option: value, "--root": str(tmp_path / "runs")}
    message = failure(capsys, "train", *(word for pair in options.items() for word in pair))
    assert told in message
    assert not (tmp_path / "runs").exists()


def test_interruption_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from explorax.cli import commands

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.ACTIONS, "list", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "explorax: Interrupted.\n"


def test_an_error_of_ours_that_nobody_expected_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program._guarded(broken)


def test_train_keeps_a_finished_run_and_says_where(
    runs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run / "DONE").exists()
    again = ("train", "--env", "mountain_car", *SMALL, "--root", str(runs))
    for arguments in (again, (*again, "--resume"), ("train", "--resume", str(run))):
        assert main(arguments) == 0
        assert f"Finished before, kept: {run}" in capsys.readouterr().out


def test_train_may_start_from_another_run(
    runs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--env", "mountain_car", *SMALL, "--root", str(tmp_path)]
    message = failure(capsys, *arguments, "--init-from", str(run))
    assert "Drifter does not say what it hands on" in message
    message = failure(capsys, *arguments, "--init-from", str(tmp_path / "none"))
    assert "--init-from" in message and "there is no such directory" in message
    assert not list(tmp_path.iterdir())
    mixed = ("train", "--resume", str(run), "--init-from", str(run))
    assert "leave out --init-from" in failure(capsys, *mixed, status=2)
    assert main([*arguments, "--on-divergence", "ignore"]) == 2
    assert "on-divergence" in capsys.readouterr().err


def test_train_can_end_with_a_report(
    runs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env", "mountain_car", *SMALL, "--root", str(runs)]
    assert main(["train", *arguments, "--resume", "--report"]) == 0
    assert str(run / "report.html") in capsys.readouterr().out.splitlines()[-1]
    assert (run / "report.html").stat().st_size > 1000


def test_eval_prints_a_row_per_seed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(run), "--episodes", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["seed", "mean", "return"]
    assert [line.split()[0] for line in lines[2:4]] == ["0", "1"]
    assert lines[-1].startswith("Mean over 2 seeds: -")
    assert main(["eval", str(run), "--episodes", "3", "--seed", "1"]) == 0
    assert "Mean over 1 seed:" in capsys.readouterr().out


def test_eval_of_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no run directory" in failure(capsys, "eval", str(tmp_path))


def test_report_of_a_root(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(runs), "--out", str(page), "--title", "Cars"]) == 0
    assert str(page) in capsys.readouterr().out
    assert "Cars" in page.read_text(encoding="utf-8")


def test_report_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No run directory" in failure(capsys, "report", str(tmp_path))


def test_compare_trains_all_then_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", "--env", "mountain_car", *SMALL, "--no-film"]
    arguments += ["--bonus", "NoBonus()", "--bonus", "Scale(NoBonus(), 2.0)"]
    arguments += ["--root", str(tmp_path)]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "[2/2] mountain_car" in first and str(tmp_path / "report.html") in first
    assert (tmp_path / "report.html").exists()
    assert len(list(tmp_path.rglob("DONE"))) == 2
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("finished before, kept") == 2


def test_list_shows_every_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for kind in listing.KINDS:
        assert f"{kind}\n" in shown
        for name, line in listing.overview(kind).items():
            assert line and f"  {name} " in shown and line in shown


def test_list_shows_an_entry_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "VIME", "deep_sea/20", "demo"]) == 0
    shown = capsys.readouterr().out
    assert "  hidden=(32,)            widths of the hidden layers, all of them Bayesian\n" in shown
    assert (
        "  step_size=0.01          λ; of the second order it cancels under a normaliser\n" in shown
        and "VIME.paper()" in shown
    )
    assert "deep_sea/20 (environment)" in shown
    assert "mountain_car · DQN() · NoBonus() · " in shown


def test_every_entry_can_be_described() -> None:
    for kind in listing.KINDS:
        for name in listing.overview(kind):
            entries = listing.describe(name.removesuffix("/N"))
            assert entries and all(entry.doc for entry in entries)


def test_a_name_of_two_things_shows_both() -> None:
    assert [entry.kind for entry in listing.describe("deep_sea")] == ["environment", "preset"]


def test_list_tells_of_the_television_that_every_environment_can_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "environments", "noisy_tv", "four_rooms"]) == 0
    shown = capsys.readouterr().out
    assert "Each takes noisy_tv=N too, as in deep_sea/20(noisy_tv=32)" in shown
    assert "noisy_tv (setting of every environment)" in shown and "  channels=32  " in shown
    assert "  slip=0.0    " in shown and "  noisy_tv=0  channels of a noisy television" in shown
    assert [entry.doc for entry in listing.describe("NoisyTV")] == [
        entry.doc for entry in listing.describe("noisy_tv")
    ]


def test_list_of_the_unknown_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'Scale'"):
        listing.describe("Scal")
    with pytest.raises(UnknownName, match="Did you mean 'bonuses'"):
        listing.overview("bonusses")


@dataclasses.dataclass(frozen=True)
class Bare:
    width: int = 3


def test_settings_are_documented_by_the_comment_on_their_line() -> None:
    from explorax.bonuses import VIME

    docs = listing.field_docs(VIME)
    assert docs["pool_size"] == "transitions, first in first out"
    assert listing.field_docs(Bare) == {"width": ""}

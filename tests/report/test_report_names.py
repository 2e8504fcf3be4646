"""Short names, and what tells two runs of the same name apart."""

from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import VIME, Plan, make_run

from explorax.report.configuration import command, facts
from explorax.report.names import distinct_names, name_runs, short_name
from explorax.report.numbers import table_rows
from explorax.report.read import find_runs, read_run


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NoBonus()", "no bonus"),
        ("NoBonus", "no bonus"),
        (VIME, "VIME"),
        ("Scale(MedianRatio(VIME()), 1e-4)", "VIME"),
        ("VIME.paper()", "VIME.paper"),
        ("ReturnShare(VIME(pool_size=9, model=LastLayer(power=0.5)))", "VIME with LastLayer"),
        ("VIME(model=None)", "VIME"),
        ("Sum((Scale(VIME(), 1e-4), Scale(HashCount(bits=12), 0.1)))", "VIME + HashCount"),
        ("Sum(bonuses=(VIME(a=1), VIME(a=2)))", "VIME"),
        ("TRPO(hidden=(32,))", "TRPO"),
        ("TRPO(", "TRPO("),  # no constructor text: shown as it is
    ],
)
def test_short_names_leave_out_the_wrappers(expression: str, expected: str) -> None:
    assert short_name(expression) == expected


def test_a_differing_setting_is_shown_and_nothing_else() -> None:
    a, b = "VIME(hidden=(32,), prior_std=0.5)", "VIME(hidden=(32,), prior_std=0.1)"
    assert distinct_names([a, b]) == {a: "VIME (prior_std=0.5)", b: "VIME (prior_std=0.1)"}


def test_a_model_makes_another_bonus_whose_own_settings_are_told_apart() -> None:
    network = "VIME(pool_size=9, model=None)"
    a, b = (f"VIME(pool_size=1, model=LastLayer(power={power}))" for power in (1.0, 0.5))
    assert distinct_names([network, a, b]) == {
        network: "VIME",
        a: "VIME with LastLayer (power=1.0)",
        b: "VIME with LastLayer (power=0.5)",
    }


def test_a_differing_wrapper_is_shown() -> None:
    a, b = "Scale(VIME(), 0.1)", "Scale(MedianRatio(VIME()), 0.1)"
    assert distinct_names([a, b]) == {a: "VIME", b: "VIME (MedianRatio)"}


def test_positional_settings_are_told_apart() -> None:
    a, b = "Scale(VIME(), 0.1)", "Scale(VIME(), 0.2)"
    assert distinct_names([a, b]) == {a: "VIME (Scale 0.1)", b: "VIME (Scale 0.2)"}


def test_text_that_differs_in_nothing_we_understand_is_numbered() -> None:
    names = distinct_names(["VIME(a=1)", "VIME(a=1 )"])
    assert len(set(names.values())) == 2


def test_runs_that_differ_in_budget_are_marked(tmp_path: Path) -> None:
    make_run(tmp_path, Plan(bonus=VIME, log_points=3, films=0), name="a")
    make_run(tmp_path, Plan(bonus=VIME, log_points=3, films=0, env_steps=900), name="b")
    make_run(tmp_path, Plan(log_points=3, films=0), name="c")
    methods = [name.method for name in name_runs(find_runs(tmp_path))]
    assert methods == ["TRPO", "TRPO + VIME [env_steps=250000]", "TRPO + VIME [env_steps=900]"]


def test_the_same_configuration_twice_is_told_apart_by_directory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_run(tmp_path, Plan(log_points=3, films=0), name=name)
    assert [name.mark for name in name_runs(find_runs(tmp_path))] == ["one", "two"]


def test_runs_that_start_from_others_are_methods_of_their_own(tmp_path: Path) -> None:
    source = {
        "run": "multi_goal/TRPO+NoBonus/1a2b3c4d",
        "env": "multi_goal",
        "digest": "1a2b3c4d5e",
    }
    late, early = ({**source, "seed": 0, "chunk": chunk} for chunk in (90, 80))
    small: dict[str, Any] = {"log_points": 20, "films": 0}
    make_run(tmp_path, Plan(**small), "a")
    paths = [
        make_run(tmp_path, Plan(**small, bonus=bonus, init_from=start), name)
        for name, bonus, start in (("b", "NoBonus()", late), ("c", VIME, late), ("d", VIME, early))
    ]
    rows = {row.run.path.name: row for row in table_rows(find_runs(tmp_path))}
    assert rows["a"].name.method == "TRPO"
    assert rows["b"].name.method == "TRPO [from multi_goal chunk 90]"
    assert rows["c"].name.variant == "VIME [from multi_goal chunk 90]"
    assert rows["d"].name.mark == "from multi_goal chunk 80"
    # the run without bonus that started elsewhere is nothing to compare with
    assert rows["c"].baseline is rows["b"] and rows["d"].baseline is None
    run = read_run(paths[0])
    where = f"{tmp_path}/multi_goal/TRPO+NoBonus/1a2b3c4d/checkpoints/chunk_000090"
    assert f"--init-from {where}" in command(run)
    assert ("started from", f"{where} (multi_goal)") in facts(run)
    alone = table_rows([read_run(paths[2])])
    assert alone[0].name.mark == "from multi_goal"

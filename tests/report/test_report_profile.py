"""Performance profiles: normalised by hand, and drawn for many methods at once."""

from pathlib import Path

import numpy as np
from PIL import Image
from synthetic_runs import VIME, Plan, make_run

from explorax.report import save_figures, write_report
from explorax.report.numbers import table_rows
from explorax.report.profile import performance_profiles, scores, thresholds
from explorax.report.read import find_runs

ENVS = ("chain/5", "deep_sea/8")


def made(tmp_path: Path, bonuses, envs=ENVS, skip=()):
    for env in envs:
        for index, bonus in enumerate(bonuses):
            if (env, bonus) not in skip:
                share = index / max(1, len(bonuses) - 1)
                plan = Plan(env=env, bonus=bonus, log_points=10, solves=share, films=0, seeds=4)
                make_run(tmp_path, plan)
    return table_rows(find_runs(tmp_path))


def test_profiles_are_shares_of_normalised_returns_environments_weighing_alike(tmp_path):
    rows = made(tmp_path, ["NoBonus()", VIME])
    profiles, left_out = performance_profiles(rows)
    assert [each.method for each in profiles] == ["TRPO", "TRPO + VIME"] and not left_out
    for profile in profiles:
        want = np.zeros(len(thresholds()))
        for env in ENVS:
            own = [row for row in rows if row.name.env == env]
            finals = np.concatenate([row.outcome.final_return for row in own])
            success = own[0].run.success_return
            assert success is not None
            low, high = finals.min(), max(finals.max(), success)
            (row,) = [row for row in own if row.name.method == profile.method]
            for place, threshold in enumerate(thresholds()):
                enough = [
                    (final - low) / (high - low) >= threshold - 1e-9
                    for final in row.outcome.final_return
                ]
                want[place] += np.mean(enough) / len(ENVS)
        np.testing.assert_allclose(profile.share, want)
        assert profile.share[0] == 1.0
    none, vime = profiles
    assert vime.share[150] > none.share[150]


def test_a_seed_that_never_ended_an_episode_scores_nothing(tmp_path):
    make_run(tmp_path, Plan(env="chain/5", blank=1.1, log_points=4, solves=0.0, films=0, seeds=3))
    (score,) = scores(table_rows(find_runs(tmp_path)))
    np.testing.assert_array_equal(score, 0.0)


def test_methods_that_skipped_an_environment_are_left_out_and_named(tmp_path):
    skip = {("chain/5", "Count()")}
    rows = made(tmp_path, ["NoBonus()", "Count()", VIME], skip=skip)
    profiles, left_out = performance_profiles(rows)
    assert left_out == ["TRPO + Count"] and len(profiles) == 2
    page = write_report(tmp_path, tmp_path / "page.html").read_text()
    assert "Not run in every environment, so left out: TRPO + Count." in page


def test_one_environment_has_no_profile(tmp_path):
    assert performance_profiles(made(tmp_path, ["NoBonus()", VIME], ENVS[:1])) == ([], [])


def test_the_figures_of_many_methods_are_saved(tmp_path):
    bonuses = ["NoBonus()", *(f"Scale({name}(), 0.1)" for name in "RND ICM NGU RIDE E3B".split())]
    made(tmp_path, bonuses)
    paths = [path for path in save_figures(tmp_path, tmp_path / "figures")][-2:]
    assert [path.name for path in paths] == [
        "performance-profile.png",
        "probability-of-improvement.png",
    ]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_a_name_longer_than_the_figure_leaves_room_for_the_lines(tmp_path):
    for env in ENVS:
        for value in (1, 2):
            settings = ", ".join(f"setting_number_{n}={value}" for n in range(12))
            plan = Plan(env=env, bonus=f"VIME({settings})", log_points=10, films=0, seeds=4)
            make_run(tmp_path, plan, name=f"{env.replace('/', '-')}-{value}")
    (path,) = (path for path in save_figures(tmp_path, tmp_path / "f") if "profile" in path.stem)
    with Image.open(path) as image:
        assert image.width > 2 * image.height

"""The page as a whole: self-contained, described, and complete whatever is missing."""

import base64
import errno
import html
import io
import os
import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic_runs import (
    DEEP_SEA_VIEW,
    MOUNTAIN_CAR_VIEW,
    PLANE_VIEW,
    VIME,
    Plan,
    make_run,
)

from explorax.core.errors import RunDirectoryError
from explorax.report import save_figures, write_report
from explorax.report.configuration import command, duration, pretty
from explorax.report.curves import (
    draw_first_success,
    draw_learning_curves,
    learning_curve,
    panels_of,
)
from explorax.report.figures import pooled_drawings
from explorax.report.films import fit, still
from explorax.report.maps import bonuses_of, draw_visits, visits_of, visits_scale
from explorax.report.numbers import table_rows
from explorax.report.read import find_runs, read_run
from explorax.report.style import css_colour, looks

DQN = "DQN(hidden=(64,))"


class Tags(HTMLParser):
    """Collects the start tags of a page with their attributes, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("runs")
    small: dict[str, Any] = {"seeds": 4, "log_points": 12}
    view: dict[str, Any] = {"view": MOUNTAIN_CAR_VIEW}
    make_run(root, Plan(**small, **view, solves=0.0))
    make_run(root, Plan(**small, **view, bonus=VIME, seed=1))
    make_run(root, Plan(**small, **view, agent=DQN, bonus=VIME, blank=0.6, done=False, seed=2))
    make_run(root, Plan(env="deep_sea/10", seeds=1, bonus=VIME, view=DEEP_SEA_VIEW, gain=False))
    make_run(root, Plan(env="<b>&amp", **small, films=0))
    return write_report(root, root / "out" / "report.html").read_text()


def test_the_page_asks_for_nothing_from_outside(page: str) -> None:
    tags = Tags(page).tags
    links = [v for _, a in tags for k, v in a.items() if k in ("src", "srcset", "href") and v]
    assert links and all(link.startswith("data:") for link in links)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in tags)
    style = re.search(r"<style>(.*?)</style>", page, re.S)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


def test_every_picture_is_described_and_can_be_decoded(page: str) -> None:
    pictures = [a for tag, a in Tags(page).tags if tag == "img"]
    kinds = set()
    for attributes in pictures:
        assert len(attributes["alt"] or "") > 20
        parts = re.fullmatch(r"data:(.*?);base64,(.*)", attributes["src"] or "")
        assert parts is not None
        kind, data = parts.groups()
        content = base64.b64decode(data, validate=True)
        kinds.add(kind)
        if kind == "image/svg+xml":
            text = content.decode()
            assert text.startswith("<svg") and "prefers-color-scheme:dark" in text
            assert not re.search(r'(href|src)="(?!#|data:)', text)
        else:
            Image.open(io.BytesIO(content)).verify()
    assert kinds == {"image/svg+xml", "image/gif"}


def test_the_page_has_all_its_parts(page: str) -> None:
    text = html.unescape(page)
    for heading in (
        "Episode return",
        "First success",
        "Numbers",
        "Visited states, TRPO",
        "Visited states, DQN",
        "Where the bonus is high, TRPO + VIME",
        "Final policies",
        "Configuration",
        "Read with care",
        "not finished (no DONE file, status interrupted)",
    ):
        assert heading in text, heading
    assert "<h2><code>&lt;b&gt;&amp;amp</code></h2>" in page  # names are escaped
    assert "Where the bonus is high, TRPO<" not in page  # nothing to show without a bonus


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="No run directory"):
        write_report(tmp_path, tmp_path / "report.html")
    with pytest.raises(RunDirectoryError, match="No run directories were given"):
        write_report([], tmp_path / "report.html")


def test_damaged_maps_cost_only_the_maps(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(seeds=2, log_points=4, view=MOUNTAIN_CAR_VIEW))
    (path / "maps.npz").write_bytes(b"PK broken")
    page = write_report([path], tmp_path).read_text()
    assert "The report has no maps of this run" in page and "Visited states" not in page


def test_a_run_without_a_finished_episode_has_a_report(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(seeds=2, log_points=4, blank=1.1, solves=0.0, films=0))
    page = write_report([path], tmp_path).read_text()
    assert "No episode of TRPO ended, so it has no return." in page


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(seeds=3, log_points=5, view=MOUNTAIN_CAR_VIEW))
    first = write_report([path], tmp_path / "a.html").read_bytes()
    assert first == write_report([path], tmp_path / "b.html").read_bytes()


def test_a_full_disk_leaves_the_page_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, Plan())
    page = write_report(tmp_path, tmp_path / "page.html")
    before = page.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match=f"Cannot write {page}: No space left on device"):
        write_report(tmp_path, page, title="Another")
    assert page.read_bytes() == before
    with pytest.raises(RunDirectoryError, match="figures/.*png: No space left on device"):
        save_figures(tmp_path, tmp_path / "figures")
    assert not list((tmp_path / "figures").iterdir())


def test_figures_are_saved_as_png(tmp_path: Path) -> None:
    make_run(tmp_path, Plan(seeds=2, log_points=4, bonus=VIME, view=MOUNTAIN_CAR_VIEW))
    paths = save_figures(tmp_path, tmp_path / "figures")
    assert [path.name.split("0-0008-")[1] for path in paths] == [
        "returns.png",
        "first-success.png",
        "trpo-visits.png",
        "trpo-vime-bonus.png",
    ]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_the_mean_curve_starts_where_every_seed_has_an_episode(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(seeds=3, log_points=3, films=0))
    header = (path / "metrics.csv").read_text().splitlines()[0].split(",")[:4]
    rows = ["0,10,1,4", "1,10,0,", "2,10,0,", "0,20,1,6", "1,20,1,0", "2,20,0,"]
    (path / "metrics.csv").write_text("\n".join([",".join(header), *rows]) + "\n")
    curve = learning_curve(read_run(path))
    np.testing.assert_array_equal(curve.middle, [np.nan, 3.0])  # seed 2 never finishes one
    np.testing.assert_array_equal(curve.seeds[:, 0], [4, 6])
    assert np.isnan(curve.seeds[:, 2]).all() and curve.low[1] == 0 and curve.high[1] == 6


def test_maps_tell_shares_and_means(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(seeds=2, log_points=4, bonus=VIME, view=MOUNTAIN_CAR_VIEW))
    visits = np.zeros((4, 2, 2, 2), np.float32)
    visits[0, 0, 0, 0], visits[0, 1, :, 0], visits[3, 0, 1, 1] = 8, 2, 6
    paid = visits * np.array([[0.5, 0.25], [0.5, 0.25]], np.float32)
    np.savez(
        path / "maps.npz", visits=visits, paid=paid, phase_env_steps=[62500, 125000, 187500, 250000]
    )
    run = read_run(path)
    early, whole = visits_of(run)
    assert (early.part, early.share, whole.share) == ("first quarter", 0.375, 0.5)
    np.testing.assert_array_equal(early.counts, [[5, 0], [1, 0]])
    np.testing.assert_array_equal(whole.counts, [[5, 0], [1, 3]])
    bonuses = bonuses_of(run)
    assert bonuses is not None and not bonuses.is_survey
    np.testing.assert_array_equal(bonuses.values[0], [[0.5, np.nan], [0.5, np.nan]])
    assert bonuses.values[3, 1, 1] == 0.25


def test_maps_of_many_runs_share_lines_of_six_at_most(tmp_path: Path) -> None:
    bonuses = [f"Scale(RND(), {number}.0)" for number in range(1, 9)]
    plans = [Plan(seeds=1, log_points=2, view=MOUNTAIN_CAR_VIEW, bonus=bonus) for bonus in bonuses]
    paths = [make_run(tmp_path, plan, f"0a1b2c3{index}") for index, plan in enumerate(plans)]
    rows = table_rows([read_run(path) for path in paths])
    assert [panel.title for panel in panels_of(rows)] == ["TRPO"]
    scale = visits_scale(rows)
    assert scale is not None
    panels = [axes for axes in draw_visits(rows, scale).axes if axes.get_visible()][:-1]  # the bar
    titles = [tuple(sorted(text.get_text() for text in panel.texts)) for panel in panels]
    assert len(set(titles)) == len(titles) == 16  # early and whole, of each of eight
    lines = Counter(panel.get_position().y0 for panel in panels)
    assert sorted(lines.values()) == [4, 4, 4, 4]
    widths = [panel.get_position().width for panel in panels]
    np.testing.assert_allclose(widths, widths[0])


def test_too_many_curves_to_tell_apart_get_a_panel_each_beside_no_bonus(tmp_path: Path) -> None:
    names = ["A" * 70, *"BCDEFGHI"]
    plans = [Plan(seeds=2, log_points=2, films=0, bonus=f"{name}()") for name in names]
    plans += [Plan(seeds=2, log_points=2, films=0)]
    paths = [make_run(tmp_path, plan, f"0a1b2c3{index}") for index, plan in enumerate(plans)]
    rows = table_rows([read_run(path) for path in paths])
    panels = panels_of(rows)
    assert [panel.title for panel in panels] == names
    assert {tuple(row.name.variant for row in panel.rows) for panel in panels} == {
        ("no bonus", name) for name in names
    }
    look = looks([row.name.variant for row in rows])
    for draw in (draw_learning_curves, draw_first_success):
        for narrow in (False, True):
            figure = draw(rows, look, narrow=narrow)
            shown = [axes for axes in figure.axes if axes.get_visible()]
            assert [axes.get_title(loc="left") for axes in shown] == names
            (legend,) = figure.legends
            assert [text.get_text() for text in legend.get_texts()] == ["no bonus"]
            grey, own = (look[name].colour for name in ("no bonus", "B"))
            assert {line.get_color() for line in shown[1].lines} == {grey, own}


def test_every_row_of_a_crowd_has_its_panel(tmp_path: Path) -> None:
    """Also those of an agent that never has a bonus, and of one that has nothing else."""
    small: dict[str, Any] = {"seeds": 1, "log_points": 2, "films": 0}
    plans = [Plan(**small, env_steps=1000 * (1 + index)) for index in range(10)]
    plans += [Plan(**small, agent=DQN)]
    paths = [make_run(tmp_path / str(index), plan) for index, plan in enumerate(plans)]
    paths += [
        make_run(tmp_path / name, Plan(**small, agent="A()", bonus=f"{name}()"))
        for name in "BCDEFGHIJ"
    ]
    rows = table_rows([read_run(path) for path in paths])
    panels = panels_of(rows)
    shown = {id(row) for panel in panels for row in panel.rows}
    assert shown == {id(row) for row in rows}
    assert [panel.of_one_bonus for panel in panels] == [False, False] + 9 * [True]
    look = looks([row.name.variant for row in rows])
    figure = draw_learning_curves(rows, look)
    assert sum(axes.get_visible() for axes in figure.axes) == 11


def test_long_names_leave_room_for_what_they_name(tmp_path: Path) -> None:
    for env in ("chain/5", "deep_sea/8"):
        for bonus in ("NoBonus()", f"{'Long' * 20}()", f"A(b={'x' * 9}, {'c' * 9}=1)", "A(b=2)"):
            make_run(tmp_path, Plan(env=env, bonus=bonus, seeds=2, log_points=2, films=0))
    rows = table_rows(find_runs(tmp_path))
    (improvements,) = [
        each for each in pooled_drawings(rows, looks([row.name.variant for row in rows]))
        if "improvement" in each.slug
    ]  # fmt: skip
    for narrow in (False, True):
        axes = improvements.draw(narrow=narrow).axes[0]
        assert axes.get_position().width > 0.3 and len(axes.get_yticks()) == 3


def test_the_command_line_can_be_pasted(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path, Plan(bonus=VIME, log_points=2, films=0)))
    words = shlex.split(command(run).replace("\\\n", " "))
    assert words[:4] == ["explorax", "train", "--env", "mountain_car_sparse(power=0.0008)"]
    assert words[words.index("--bonus") + 1] == VIME
    assert words[words.index("--env-steps") + 1] == "250000"


def test_pretty_changes_only_the_blanks() -> None:
    def squeeze(text: str) -> str:
        return re.sub(r",?\s*\n\s*(?=\))|\s", "", text)

    text = pretty(VIME)
    assert max(len(line) for line in text.splitlines()) <= 88
    assert squeeze(text) == squeeze(VIME)
    assert duration(59.96) == "60.0 s" and duration(200) == "3 min 20 s"


def test_films_are_made_to_fit(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path, Plan(log_points=2)))
    gif = run.films[0].file.read_bytes()
    assert fit(gif, len(gif)) == gif
    small = fit(gif, len(gif) // 2)
    with Image.open(io.BytesIO(small)) as film:
        assert film.width < 240 and getattr(film, "n_frames", 1) == 24
    assert Image.open(io.BytesIO(still(gif))).size == (240, 160)


def test_bonuses_keep_their_colour_and_no_bonus_is_grey() -> None:
    names = ["no bonus", *(f"bonus {i}" for i in range(8))]
    table = looks(names)
    assert len({(look.colour, str(look.dash)) for look in table.values()}) == len(names)
    assert css_colour(table["no bonus"].colour).startswith("var(")


def test_maps_of_rooms_count_rooms(tmp_path: Path) -> None:
    view = {**PLANE_VIEW, "low": [0.0, 0.0], "high": [3.0, 2.0], "bins": [6, 4], "rooms": [3, 2]}
    path = make_run(tmp_path, Plan(seeds=2, log_points=4, view=view))
    visits = np.zeros((4, 2, 6, 4), np.float32)
    visits[:, :, 0, 0] = visits[:, :, 1, 1] = 1  # both in the first room
    visits[3, 0, 5, 3] = visits[3, 0, 0, 2] = visits[3, 1, 2, 0] = 1
    ends = [62500, 125000, 187500, 250000]
    np.savez(path / "maps.npz", visits=visits, paid=visits, phase_env_steps=ends)
    run = read_run(path)
    assert [each.told for each in visits_of(run)] == ["1 room", "2.5 rooms"]
    rows = table_rows([run])
    scale = visits_scale(rows)
    assert scale is not None
    axes = [each for each in draw_visits(rows, scale).axes if each.get_visible() and each.images]
    edges = [np.asarray(line.get_xdata())[0] for line in axes[0].lines]
    assert {1.0, 2.0} <= set(edges) and len(edges) == 3  # two lines up, one across

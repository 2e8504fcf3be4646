"""The picture of paths: which seed it shows, what it tells, and what damage costs."""

import base64
import html
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from synthetic_runs import PLANE_VIEW, Plan, make_run

from explorax.core.errors import RunDirectoryError
from explorax.report import save_figures, write_report
from explorax.report.numbers import table_rows
from explorax.report.paths import draw_paths, paths_of
from explorax.report.read import read_run

SMALL: dict[str, Any] = {"seeds": 3, "log_points": 4, "films": 0, "view": PLANE_VIEW}
PLANE: dict[str, Any] = {**SMALL, "env": "multi_goal", "paths": True}


def rewritten(path: Path, **changed: Any) -> None:
    arrays = {**np.load(path / "paths.npz"), **changed}
    kept = {name: value for name, value in arrays.items() if value is not None}
    np.savez(path / "paths.npz", **cast(Any, kept))


def test_the_report_shows_and_tells_paths(tmp_path: Path) -> None:
    first = make_run(tmp_path, Plan(**PLANE))
    make_run(tmp_path, Plan(**PLANE, agent="SoftQ()", seed=1))
    rewritten(first, goals=np.array([3, 1, 0]))
    page = write_report(tmp_path, tmp_path / "report.html").read_text()
    heading = "Paths and actions of the final policies"
    assert page.count(heading) == 1  # all methods of an environment in one figure
    (alt,) = re.findall(r'alt="(Paths of[^"]*)"', html.unescape(page))
    assert "40 episodes" in alt and "(0, 0), (\N{MINUS SIGN}2.5, 1)" in alt
    assert "TRPO: 3 1 0 of 3" in alt and "SoftQ: seed 1" in alt
    caption = page[page.index(heading) :]
    assert "median" in caption[: caption.index("</figure>")]
    pictures = re.findall(
        r"data:image/svg\+xml;base64,([^\"]*)", caption[: caption.index("<figcap")]
    )
    assert len(pictures) == 2  # wide and narrow
    for picture in pictures:
        text = base64.b64decode(picture).decode()
        assert "prefers-color-scheme:dark" in text and "#0072b2" not in text.split("</style>")[1]


def test_the_figure_has_the_typical_seeds_paths(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(**PLANE))
    run = read_run(path)
    paths = paths_of(run)
    assert paths is not None and paths.seed == 1
    for narrow in (False, True):
        plane, *squares = draw_paths(table_rows([run]), narrow=narrow).axes
        assert len(squares) == 2
        lines = [line for line in plane.lines if len(np.asarray(line.get_xdata())) == 21]
        drawn = np.stack([np.asarray(line.get_xydata()) for line in lines])
        np.testing.assert_array_equal(drawn, np.load(path / "paths.npz")["paths"][1])
        assert (plane.get_xlim(), plane.get_ylim()) == ((-7, 7), (-7, 7))
        assert [axes.get_title(loc="left") for axes in squares] == [
            "A  (0, 0)", "B  (\N{MINUS SIGN}2.5, 1)",
        ]  # fmt: skip
        boxes = [axes.get_position() for axes in (plane, *squares)]
        assert all(0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1 for box in boxes)
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_paths_need_neither_hills_nor_goals_nor_places(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(**PLANE))
    walled = np.zeros((64, 64))
    walled[:8] = np.nan
    rewritten(path, field=walled, goals=None, goal_places=np.zeros((0, 2)),
              places=np.zeros((0, 2)), density=np.zeros((3, 0, 32, 32)))  # fmt: skip
    (figure,) = [
        each for each in save_figures([path], tmp_path / "figures") if each.stem.endswith("-paths")
    ]
    with Image.open(figure) as image:
        assert min(image.size) > 300
    text = html.unescape(write_report([path], tmp_path).read_text())
    caption = text[text.index("Lines: 40 episodes") :].split("</figcaption>")[0]
    assert "walls" in caption and "Shade" not in caption and "goal" not in caption


def test_damaged_paths_cost_only_the_paths(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(**PLANE))
    whole = (path / "paths.npz").read_bytes()
    for change, told in (
        ({"field": None}, "field is missing; expected"),
        ({"density": np.zeros((3, 2, 32))}, r"density has shape \(3, 2, 32\); expected \[seed"),
        ({"typical_seed": np.array(8)}, "not of this run's seeds"),
        ({"paths": np.zeros((2, 40, 21, 2))}, "not of this run's seeds"),
    ):
        (path / "paths.npz").write_bytes(whole)
        rewritten(path, **change)
        with pytest.raises(RunDirectoryError, match=told):
            _ = read_run(path).paths
    (path / "paths.npz").write_bytes(b"PK broken")
    page = html.unescape(write_report([path], tmp_path).read_text())
    assert "The report has no paths of this run" in page and "--paths` writes it again" in page
    assert "Paths and actions" not in page and "Visited states" in page


def test_without_the_file_there_is_no_such_figure(tmp_path: Path) -> None:
    path = make_run(tmp_path, Plan(**SMALL))
    assert paths_of(read_run(path)) is None
    assert not [each for each in save_figures([path], tmp_path) if each.stem.endswith("-paths")]

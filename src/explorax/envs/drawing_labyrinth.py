"""Pictures of worlds seen in part: what the walker sees, beside a map that it does not have."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from explorax.envs.drawing import (
    BLUE,
    INK,
    PAPER,
    SKY,
    SKY_BLUE,
    VERMILION,
    YELLOW,
    Canvas,
    Point,
    turned,
)
from explorax.envs.drawing_maze import FLOOR_LINE, WALL

PANEL, GAP = 252, 8  # pixels: 6 for each of 42, 3 for each of 84
UNSEEN, SEEN = "#9AA5B0", "#FFF6D6"
Colour = tuple[int, int, int]


class MazeMap:
    """A maze from above. Points are (x, y) in cells, y downwards."""

    def __init__(
        self, walls: np.ndarray, colours: np.ndarray | None = None, seen: Sequence[int] = ()
    ) -> None:
        """walls: bool [N, N]; colours: of each cell's wall, 0 .. 255 [N, N, 3]; seen: cells."""
        self._side = side = len(walls)
        self._canvas = Canvas((0.0, side), (-side, 0.0), SKY, (0.0, 0.0), (PANEL, PANEL))
        for (row, column), is_wall in np.ndenumerate(walls):
            fill = SEEN if row * side + column in seen else PAPER
            if is_wall:
                fill = WALL if colours is None else _hex(colours[row, column])
            line = 0.0 if is_wall else self._canvas.pixels(0.5)
            if not is_wall:
                self._canvas.box((column, -row - 1), (column + 1, -row), FLOOR_LINE)
            low, high = (column + line, -row - 1 + line), (column + 1 - line, -row - line)
            self._canvas.box(low, high, fill)

    def middle(self, cell: Any) -> Point:
        """Return the middle of a cell; they count in reading order."""
        return int(cell) % self._side + 0.5, int(cell) // self._side + 0.5

    def things(self, state: Any, pay: str) -> None:
        """Draw the goal, with what it pays, and the apples that are left."""
        self.goal(self.middle(state.goal), pay)
        for cell in state.apples[state.left]:
            self.apple(self.middle(cell))

    def goal(self, place: Point, text: str) -> None:
        x, y = place
        self._canvas.box((x - 0.42, -y - 0.42), (x + 0.42, -y + 0.42), YELLOW, corner=3.0)
        self._canvas.text((x, -y), text, INK, min(14.0, 0.45 / self._canvas.pixels(1.0)))

    def apple(self, place: Point) -> None:
        self._canvas.disc((place[0], -place[1]), 0.2, VERMILION)

    def path(self, places: Sequence[Point]) -> None:
        self._canvas.line([(x, -y) for x, y in places], SKY_BLUE, 3.0)

    def dots(self, places: Sequence[Point]) -> None:
        for x, y in places:
            self._canvas.disc((x, -y), 0.13, SKY_BLUE)

    def walker(self, place: Point, heading: float) -> None:
        """Draw the walker as an arrow; heading: radians clockwise from east."""
        shape = [(0.38, 0.0), (-0.3, 0.28), (-0.16, 0.0), (-0.3, -0.28)]
        self._canvas.polygon(turned(shape, -heading, (place[0], -place[1])), BLUE)

    def frame(self) -> np.ndarray:
        return self._canvas.frame()


def draw_labyrinth(state: Any, frame: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the frame that is seen, enlarged, beside the map with the path so far.

    state: a LabyrinthState of arrays; colours: of the walls, 0 .. 255 [N, N, 3].
    """
    picture = MazeMap(state.walls, colours)
    picture.things(state, "+10")
    picture.path([(float(x), float(y)) for x, y in state.trail])
    picture.walker((float(state.place[0]), float(state.place[1])), float(state.heading))
    return beside(frame, picture.frame())


def draw_memory_maze(state: Any, kinds: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the picture that is seen beside the map, on which what is seen is lighter.

    state: a MemoryMazeState of arrays; kinds: int [view, view], the channel of what is seen, −1
    where nothing is; cells: int [view²], their numbers.
    """
    picture = MazeMap(state.walls, None, cells[kinds.reshape(-1) >= 0].tolist())
    picture.dots([picture.middle(cell) for cell in np.flatnonzero(state.trail)])
    picture.things(state, "+1")
    picture.walker(picture.middle(state.cell), (int(state.heading) - 1) * np.pi / 2)
    return beside(_egocentric(kinds), picture.frame())


def _egocentric(kinds: np.ndarray) -> np.ndarray:
    """Return the picture of what is seen, the direction faced at the top, uint8 [H, W, 3]."""
    view = len(kinds)
    canvas = Canvas((0.0, view), (-view, 0.0), UNSEEN, (0.0, 0.0), (PANEL, PANEL))
    fills = (PAPER, WALL, YELLOW, PAPER)
    for (row, column), kind in np.ndenumerate(kinds):
        if kind < 0:
            continue
        line = canvas.pixels(1.0)
        low, high = (column + line, -row - 1 + line), (column + 1 - line, -row - line)
        canvas.box(low, high, fills[kind], corner=2.0)
        if kind == 3:
            canvas.disc((column + 0.5, -row - 0.5), 0.25, VERMILION)
    shape = [(0.36, 0.0), (-0.28, 0.26), (-0.15, 0.0), (-0.28, -0.26)]
    canvas.polygon(turned(shape, np.pi / 2, (view // 2 + 0.5, -(view - 2) - 0.5)), BLUE)
    return canvas.frame()


def beside(seen: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Return two pictures side by side, the first enlarged to the size of a panel."""
    from PIL import Image

    shown = Image.fromarray(seen).resize((PANEL, PANEL), Image.Resampling.NEAREST)
    whole = Image.new("RGB", (2 * PANEL + 3 * GAP, PANEL + 2 * GAP), SKY)
    whole.paste(shown, (GAP, GAP))
    whole.paste(Image.fromarray(chart), (PANEL + 2 * GAP, GAP))
    return np.asarray(whole, np.uint8)


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(part):02X}" for part in colour)

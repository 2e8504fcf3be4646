"""Pictures of mazes from above, and of a television beside a task."""

import numpy as np

from explorax.envs.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    OVERSAMPLING,
    PAPER,
    PURPLE,
    SKY,
    SKY_BLUE,
    VERMILION,
    YELLOW,
    Canvas,
)

Cell = tuple[int, int]  # (row, column)

WALL, FLOOR_LINE, WOOD, WOOD_EDGE = "#5B6977", "#E7ECF1", "#B98B5E", "#7A5836"


def draw_maze(
    walls: np.ndarray,
    agent: Cell,
    *,
    goal: Cell,
    key: Cell | None = None,
    door: Cell | None = None,
    door_open: bool = False,
    has_key: bool = False,
    fenced: bool = False,
) -> np.ndarray:
    """Return a maze from above, `walls` bool [rows, columns], with the agent in its cell.

    `key` lies on the floor; an agent that `has_key` shows it. `fenced` draws a wall around a maze
    whose outermost cells are floor.
    """
    rim = 0.45 if fenced else 0.0  # cells
    rows, columns = walls.shape
    canvas = Canvas((-rim, columns + rim), (-rows - rim, rim), SKY)
    if fenced:
        canvas.box((-rim, -rows - rim), (columns + rim, rim), WALL, corner=3.0)
    canvas.box((0.0, -float(rows)), (float(columns), 0.0), PAPER)
    for row in range(1, rows):
        canvas.line([(0.0, -float(row)), (float(columns), -float(row))], FLOOR_LINE, 1.0)
    for column in range(1, columns):
        canvas.line([(float(column), -float(rows)), (float(column), 0.0)], FLOOR_LINE, 1.0)
    for row, column in np.argwhere(walls).tolist():
        canvas.box((column, -row - 1), (column + 1, -row), WALL)
    _goal(canvas, goal)
    if door is not None:
        _door(canvas, door, door_open)
    if key is not None:
        _key(canvas, _middle(key), 0.34)
    canvas.disc(_middle(agent), 0.34, BLUE)
    if has_key:
        _key(canvas, _middle(agent), 0.22, "#FFD56B")
    return canvas.frame()


def _middle(cell: Cell) -> tuple[float, float]:
    return cell[1] + 0.5, -cell[0] - 0.5


def _goal(canvas: Canvas, cell: Cell) -> None:
    x, y = _middle(cell)
    canvas.box((x - 0.46, y - 0.46), (x + 0.46, y + 0.46), YELLOW, corner=2.0)
    canvas.text((x, y), "+1", INK, min(14.0, 0.55 / canvas.pixels(1.0)))


def _key(canvas: Canvas, middle: tuple[float, float], size: float, fill: str = ORANGE) -> None:
    """Draw a key, a ring at the left and two teeth at the right, `size` cells to either side."""
    x, y = middle
    width = size / 4.5 / canvas.pixels(1.0)
    ring, radius = (x - 0.6 * size, y), 0.36 * size
    turn = np.linspace(0.0, 2 * np.pi, 25)
    circle = [(ring[0] + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in turn]
    canvas.line(circle, fill, width)
    canvas.line([(ring[0] + radius, y), (x + 0.95 * size, y)], fill, width)
    for tooth in (0.5, 0.9):
        canvas.line([(x + tooth * size, y), (x + tooth * size, y - 0.42 * size)], fill, width)


def _door(canvas: Canvas, cell: Cell, is_open: bool) -> None:
    """Draw a door in a wall that runs up and down."""
    x, y = _middle(cell)
    if is_open:
        canvas.box((x - 0.5, y + 0.3), (x + 0.5, y + 0.5), WOOD, corner=1.0)
        return
    canvas.box((x - 0.5, y - 0.5), (x + 0.5, y + 0.5), WOOD_EDGE)
    canvas.box((x - 0.4, y - 0.4), (x + 0.4, y + 0.4), WOOD)
    canvas.disc((x, y + 0.08), 0.11, INK)
    top, foot = y + 0.05, y - 0.22
    canvas.polygon([(x - 0.05, top), (x + 0.05, top), (x + 0.1, foot), (x - 0.1, foot)], INK)


def draw_television(frame: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return `frame` with a television in its upper left corner.

    `picture` is a picture's number, int [], which chooses a pattern of colours, or the numbers in
    [−1, 1] that are its grey levels.
    """
    from PIL import Image, ImageDraw

    width, height = 58, 52  # pixels of the frame
    scale = OVERSAMPLING
    image = Image.new("RGBA", (width * scale, height * scale), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    middle = width * scale // 2
    for end in (-11, 11):  # the antennae
        draw.line((middle, 14 * scale, middle + end * scale, 2 * scale), INK, 2 * scale)
    draw.rounded_rectangle((0, 12 * scale, width * scale - 1, height * scale - 1), 6 * scale, INK)
    screen = _screen(picture)
    shown = Image.fromarray(screen).resize((46 * scale, 28 * scale), Image.Resampling.NEAREST)
    image.paste(shown, (6 * scale, 18 * scale))
    small = image.resize((width, height), Image.Resampling.BOX)
    whole = Image.fromarray(frame)
    whole.paste(small, (8, 6), small)
    return np.asarray(whole, np.uint8)


def _screen(picture: np.ndarray) -> np.ndarray:
    """Return the pixels of a television's picture, uint8 [rows, columns, 3]."""
    if picture.ndim == 0:
        colours = (ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILION, PURPLE, PAPER)
        palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)
        return palette[np.random.RandomState(int(picture)).randint(len(colours), size=(4, 6))]
    columns = int(np.ceil(np.sqrt(1.6 * picture.size)))
    rows = -(-picture.size // columns)
    levels = np.resize(picture, (rows, columns))  # a last row that is not full repeats the first
    return np.repeat(((levels + 1) / 2 * 255).astype(np.uint8)[..., None], 3, axis=-1)

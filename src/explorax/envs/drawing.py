"""Pictures of the tasks: flat, anti-aliased, in Okabe and Ito's colours, by pillow."""

from collections.abc import Collection, Sequence

import numpy as np

WIDTH, HEIGHT, OVERSAMPLING = 400, 260, 3

SKY, PAPER, LINE, INK = "#F4F7FA", "#FFFFFF", "#C9D1DA", "#3A4653"
GRID, SHADE = "#E1E7EE", "#EEF1F5"
ORANGE, SKY_BLUE, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
EARTH, EARTH_EDGE = "#DCE5DD", "#9DB3A4"

Point = tuple[float, float]


class Canvas:
    """A drawing in world units, y upwards, with equal scales on both axes.

    The world's rectangle is fitted into the frame and centred.
    """

    def __init__(
        self,
        x: Point,
        y: Point,
        background: str = SKY,
        margin: Point = (12.0, 12.0),
        size: tuple[int, int] = (WIDTH, HEIGHT),
    ) -> None:
        """Show x[0]..x[1] by y[0]..y[1] within margins of so many pixels of the frame."""
        from PIL import Image, ImageDraw

        self._size = width, height = size
        self._image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), background)
        self._draw = ImageDraw.Draw(self._image)
        self._scale = OVERSAMPLING * min(
            (width - 2 * margin[0]) / (x[1] - x[0]), (height - 2 * margin[1]) / (y[1] - y[0])
        )
        self._middle = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2)

    def _pixel(self, point: Point) -> Point:
        return (
            self._size[0] * OVERSAMPLING / 2 + (point[0] - self._middle[0]) * self._scale,
            self._size[1] * OVERSAMPLING / 2 - (point[1] - self._middle[1]) * self._scale,
        )

    def pixels(self, length: float) -> float:
        """Return the world length of `length` pixels of the frame."""
        return length * OVERSAMPLING / self._scale

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        self._draw.polygon([self._pixel(point) for point in points], fill=fill)

    def line(self, points: Sequence[Point], fill: str, width: float = 2.0) -> None:
        """Draw a line of `width` pixels of the frame, with round joints and ends."""
        thick = max(1, round(width * OVERSAMPLING))
        drawn = [self._pixel(point) for point in points]
        self._draw.line(drawn, fill=fill, width=thick, joint="curve")
        for x, y in (drawn[0], drawn[-1]):
            r = thick / 2 - 0.5
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def dashes(self, start: Point, end: Point, fill: str, width: float = 1.5) -> None:
        """Draw a dashed straight line."""
        marks = np.linspace(np.asarray(start), np.asarray(end), 24)
        for one, other in zip(marks[::2], marks[1::2], strict=True):
            self.line([(one[0], one[1]), (other[0], other[1])], fill, width)

    def disc(self, centre: Point, radius: float, fill: str, edge: str | None = None) -> None:
        """Draw a disc of `radius` world units, with an edge of 2 pixels of the frame."""
        x, y = self._pixel(centre)
        r = radius * self._scale
        outline = {} if edge is None else {"outline": edge, "width": 2 * OVERSAMPLING}
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, **outline)

    def box(self, low: Point, high: Point, fill: str, corner: float = 0.0) -> None:
        """Draw a rectangle with corners rounded by `corner` pixels of the frame."""
        x0, y1 = self._pixel(low)
        x1, y0 = self._pixel(high)
        self._draw.rounded_rectangle((x0, y0, x1, y1), radius=corner * OVERSAMPLING, fill=fill)

    def text(self, place: Point, text: str, fill: str = INK, size: float = 13.0) -> None:
        """Write `text` centred at `place`, `size` pixels of the frame high."""
        from PIL import ImageFont

        font = ImageFont.load_default(size=size * OVERSAMPLING)
        self._draw.text(self._pixel(place), text, fill=fill, font=font, anchor="mm")

    def frame(self) -> np.ndarray:
        """Return the picture, uint8 [H, W, 3]."""
        from PIL import Image

        small = self._image.resize(self._size, Image.Resampling.BOX)
        return np.asarray(small, dtype=np.uint8)


def turned(points: Sequence[Point], angle: float, origin: Point) -> list[Point]:
    """Return `points` turned counter-clockwise by `angle` (rad) and moved to `origin`."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return [(origin[0] + c * x - s * y, origin[1] + s * x + c * y) for x, y in points]


def draw_mountain_car(position: float, goal: float) -> np.ndarray:
    """Return the hill with the flag at `goal` and the car at `position`, turned with the slope."""

    def height(x: float | np.ndarray) -> float | np.ndarray:
        return 0.45 * np.sin(3 * x)

    canvas = Canvas((-1.3, 0.7), (-0.56, 0.72), margin=(0.0, 0.0))
    track = np.linspace(-1.6, 1.0, 240)
    ground = [(float(x), float(height(x))) for x in track]
    canvas.polygon([*ground, (1.0, -2.0), (-1.6, -2.0)], EARTH)
    canvas.line(ground, EARTH_EDGE, 3.0)
    wall = -1.29  # the car's middle stops at −1.2
    canvas.line([(wall, float(height(wall))), (wall, float(height(wall)) + 0.3)], INK, 4.0)

    foot = float(height(goal))
    canvas.line([(goal, foot), (goal, foot + 0.26)], INK, 2.5)
    canvas.polygon(
        [(goal, foot + 0.26), (goal + 0.11, foot + 0.215), (goal, foot + 0.17)], VERMILION
    )

    slope = float(np.arctan(1.35 * np.cos(3 * position)))
    origin = (position, float(height(position)))
    wheel = 0.028
    body = [(-0.085, 0.035), (0.085, 0.035), (0.085, 0.07), (0.045, 0.078)]
    body += [(0.025, 0.112), (-0.05, 0.112), (-0.07, 0.078), (-0.085, 0.075)]
    canvas.polygon(turned(body, slope, origin), BLUE)
    window = [(-0.038, 0.1), (0.016, 0.1), (0.028, 0.076), (-0.05, 0.076)]
    canvas.polygon(turned(window, slope, origin), "#CFE6F5")
    for centre in turned([(-0.05, wheel), (0.05, wheel)], slope, origin):
        canvas.disc(centre, wheel, INK)
        canvas.disc(centre, wheel / 2.5, LINE)
    return canvas.frame()


def draw_cart_pole(
    x: float, angle: float, limit: float, cone: float, near: float | None = None
) -> np.ndarray:
    """Return a cart at `x` (m) on its rail with a pole `angle` (rad) clockwise from upright.

    The rail ends at ±`limit`. Within ±`cone` (rad) of upright, and where `near` is given with the
    cart within ±`near` (m), all is where it should be, and the cone is filled more strongly.
    """
    length = 1.0
    canvas = Canvas((-limit - 0.3, limit + 0.3), (-length - 0.15, length + 0.35))
    inside = abs((angle + np.pi) % (2 * np.pi) - np.pi) < cone and (near is None or abs(x) <= near)
    rim = np.linspace(-cone, cone, 40)
    arc = [(x + 1.25 * float(np.sin(a)), 1.25 * float(np.cos(a))) for a in rim]
    canvas.polygon([(x, 0.0), *arc], "#BFE5D8" if inside else "#E3F2EC")
    canvas.line(arc, GREEN, 2.0)
    canvas.line([(-limit, 0.0), (limit, 0.0)], LINE, 5.0)
    canvas.line([(0.0, -0.2), (0.0, -0.3)], EARTH_EDGE, 2.0)
    if near is not None:
        canvas.line([(-near, -0.25), (near, -0.25)], GREEN, 3.0)
    for end in (-limit, limit):
        canvas.line([(end, -0.25), (end, 0.25)], VERMILION, 4.0)
    canvas.box((x - 0.32, -0.15), (x + 0.32, 0.15), BLUE, corner=5.0)
    tip = (x + length * float(np.sin(angle)), length * float(np.cos(angle)))
    canvas.line([(x, 0.0), tip], ORANGE, 9.0)
    canvas.disc((x, 0.0), canvas.pixels(4.0), INK)
    return canvas.frame()


def draw_double_pendulum(angle1: float, angle2: float, reached: bool) -> np.ndarray:
    """Return two links of 1 m, at angles (rad) counter-clockwise from hanging, and the target.

    The target's disc, where the reward is paid, is filled more strongly when it is `reached`.
    """
    canvas = Canvas((-3.2, 3.2), (-2.1, 3.05), margin=(6.0, 6.0))
    canvas.disc((0.0, 2.0), 1.0, "#BFE5D8" if reached else "#E3F2EC", GREEN)
    canvas.dashes((0.0, 0.0), (0.0, 2.0), LINE)
    elbow = (float(np.sin(angle1)), -float(np.cos(angle1)))
    tip = (elbow[0] + float(np.sin(angle2)), elbow[1] - float(np.cos(angle2)))
    canvas.line([(-0.45, 0.0), (0.45, 0.0)], LINE, 5.0)
    canvas.line([(0.0, 0.0), elbow], BLUE, 9.0)
    canvas.line([elbow, tip], ORANGE, 9.0)
    canvas.disc((0.0, 0.0), canvas.pixels(5.0), INK)
    canvas.disc(elbow, canvas.pixels(4.0), INK)
    canvas.disc(tip, canvas.pixels(4.0), VERMILION)
    return canvas.frame()


def draw_grid(
    cells: int,
    columns: int,
    place: int | None,
    marks: dict[int, tuple[str, str]],
    shaded: Collection[int] = (),
) -> np.ndarray:
    """Return `cells` cells in rows of `columns`, with the agent in cell `place`.

    Cells count in reading order. `marks` gives them a colour and a text, and `shaded` ones are
    darkened. `place` None draws no agent: the episode is over.
    """
    rows = -(-cells // columns)
    side = min((WIDTH - 24) / columns, (HEIGHT - 24) / rows, 64.0)  # pixels of the frame
    canvas = Canvas(
        (0.0, float(columns)),
        (-float(rows), 0.0),
        GRID,
        margin=((WIDTH - side * columns) / 2, (HEIGHT - side * rows) / 2),
    )
    gap = min(1.2, side / 12) / side
    for cell in range(cells):
        y, x = divmod(cell, columns)
        fill, text = marks.get(cell, (SHADE if cell in shaded else PAPER, ""))
        canvas.box((x + gap, -y - 1 + gap), (x + 1 - gap, -y - gap), fill, side / 12)
        if text and side >= 14:
            canvas.text((x + 0.5, -y - 0.5), text, INK, min(14.0, side / 2.6))
    if place is not None:
        y, x = divmod(place, columns)
        canvas.disc((x + 0.5, -y - 0.5), 0.36, BLUE)
    return canvas.frame()


def draw_columns(shares: Sequence[float], chosen: int | None, paid: bool) -> np.ndarray:
    """Return a column for each of `shares` in [0, 1], the highest ones in another colour.

    A disc marks the `chosen` one, filled if it `paid`.
    """
    width = 1.45
    canvas = Canvas((-0.12, width), (-0.08, 1.0), PAPER, margin=(14.0, 14.0))
    for tick in (0.0, 0.5, 1.0):
        canvas.line([(0.0, tick), (width, tick)], LINE if tick else INK, 1.0)
        canvas.text((-0.07, tick), f"{tick:g}", size=12.0)
    side = width / len(shares)
    for index, share in enumerate(shares):
        fill = ORANGE if share == max(shares) else SKY_BLUE
        middle = (index + 0.5) * side
        top = max(share, canvas.pixels(1.0))
        canvas.box((middle - 0.36 * side, 0.0), (middle + 0.36 * side, top), fill)
        if len(shares) <= 30:
            canvas.text((middle, -0.05), str(index), size=12.0)
        if index == chosen:
            radius = min(0.3 * side, 0.06)
            canvas.disc((middle, top / 2), radius, INK if paid else PAPER, INK)
    return canvas.frame()

"""Pictures of the control tasks: a pendulum, an arm, a mass, and a point among goals."""

import numpy as np

from explorax.envs.drawing import (
    BLUE,
    EARTH_EDGE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PAPER,
    SKY,
    VERMILION,
    Canvas,
    Point,
)

PALE, FULL = "#E3F2EC", "#BFE5D8"  # a target as it waits, and as it pays
HILL = ("#EDF6F2", "#DDEFE8", "#CBE7DC")  # towards a goal


def draw_pendulum(angle: float, cone: float) -> np.ndarray:
    """Return a ball on a rod, `angle` (rad) clockwise from upright.

    Within ±`cone` (rad) of upright is where it should be, and the cone drawn there is filled more
    strongly.
    """
    length = 0.5
    canvas = Canvas((-0.95, 0.95), (-0.58, 0.66), margin=(6.0, 6.0))
    inside = abs((angle + np.pi) % (2 * np.pi) - np.pi) <= cone
    rim = np.linspace(-cone, cone, 20)
    arc = [(0.63 * float(np.sin(a)), 0.63 * float(np.cos(a))) for a in rim]
    around = np.linspace(0, 2 * np.pi, 120)
    circle = [(length * float(np.sin(a)), length * float(np.cos(a))) for a in around]
    canvas.line(circle, LINE, 1.5)
    canvas.polygon([(0.0, 0.0), *arc], FULL if inside else PALE)
    canvas.line(arc, GREEN, 2.0)
    tip = (length * float(np.sin(angle)), length * float(np.cos(angle)))
    canvas.line([(0.0, 0.0), tip], ORANGE, 8.0)
    canvas.disc(tip, 0.06, BLUE)
    canvas.disc((0.0, 0.0), canvas.pixels(5.0), INK)
    return canvas.frame()


def draw_reacher(
    elbow: Point, finger: Point, target: Point, radius: float, reached: bool
) -> np.ndarray:
    """Return an arm of two links from (0, 0), in m, and the target, filled more strongly if
    `reached`."""
    side = 0.27
    canvas = Canvas((-side, side), (-side, side), PAPER, margin=(8.0, 8.0))
    canvas.box((-side, -side), (side, side), SKY, corner=6.0)
    canvas.disc(target, radius, GREEN if reached else FULL, GREEN)
    canvas.line([(0.0, 0.0), elbow], BLUE, 9.0)
    canvas.line([elbow, finger], ORANGE, 9.0)
    canvas.disc((0.0, 0.0), canvas.pixels(5.5), INK)
    canvas.disc(elbow, canvas.pixels(3.5), INK)
    canvas.disc(finger, 0.011, VERMILION)
    return canvas.frame()


def draw_point_mass(position: Point, wall: float, target: float) -> np.ndarray:
    """Return a square with walls at ±`wall` (m), a target in its middle, and a mass."""
    canvas = Canvas((-wall, wall), (-wall, wall), PAPER, margin=(14.0, 14.0))
    rim = canvas.pixels(7.0)
    canvas.box((-wall - rim, -wall - rim), (wall + rim, wall + rim), EARTH_EDGE, corner=6.0)
    canvas.box((-wall, -wall), (wall, wall), SKY, corner=2.0)
    for start, end in (((-wall, 0.0), (wall, 0.0)), ((0.0, -wall), (0.0, wall))):
        canvas.dashes(start, end, LINE, 1.0)
    inside = float(np.hypot(*position)) <= target
    canvas.disc((0.0, 0.0), 2 * target, PALE)
    canvas.disc((0.0, 0.0), target, GREEN if inside else FULL, GREEN)
    canvas.disc(position, canvas.pixels(5.5), BLUE, PAPER)
    return canvas.frame()


def draw_goals(
    position: Point, goals: tuple[Point, ...], radius: float, limit: float, reached: int
) -> np.ndarray:
    """Return a square of ±`limit` with round goals and a point; goal number `reached` is filled."""
    canvas = Canvas((-limit, limit), (-limit, limit), PAPER, margin=(16.0, 16.0))
    rim = canvas.pixels(9.0)
    canvas.box((-limit - rim, -limit - rim), (limit + rim, limit + rim), SKY, corner=6.0)
    for goal in goals:
        for step, fill in enumerate(HILL):
            canvas.disc(goal, radius * (2.2 - 0.4 * step), fill)
    for number, goal in enumerate(goals):
        canvas.disc(goal, radius, GREEN if number == reached else FULL, GREEN)
    canvas.line([(-0.25, 0.0), (0.25, 0.0)], EARTH_EDGE, 2.0)
    canvas.line([(0.0, -0.25), (0.0, 0.25)], EARTH_EDGE, 2.0)
    canvas.disc(position, canvas.pixels(6.5), BLUE, PAPER)
    return canvas.frame()


def draw_mover(
    position: Point,
    velocity: Point,
    radius: float,
    corners: tuple[Point, Point],
    blocks: list[Point],
    cell: float,
    goal: Point | None,
) -> np.ndarray:
    """Return a body with an arrow for its velocity among square `blocks`, or on a bare plane.

    `corners` are the lower left and the upper right one of what is shown; on a bare plane the
    picture follows the body by whole squares of a grid.
    """
    (left, low), (right, high) = corners
    if not blocks:
        shift = [round(each / (2 * cell)) * 2 * cell for each in position]
        left, right, low, high = left + shift[0], right + shift[0], low + shift[1], high + shift[1]
    canvas = Canvas((left, right), (low, high), SKY if not blocks else PAPER)
    if not blocks:
        for x in np.arange(np.ceil(left / cell), right / cell + 0.01) * cell:
            canvas.line([(float(x), low), (float(x), high)], LINE, 1.0)
        for y in np.arange(np.ceil(low / cell), high / cell + 0.01) * cell:
            canvas.line([(left, float(y)), (right, float(y))], LINE, 1.0)
        canvas.disc((0.0, 0.0), radius / 2, EARTH_EDGE)
    for x, y in blocks:
        canvas.box((x - cell / 2, y - cell / 2), (x + cell / 2, y + cell / 2), EARTH_EDGE)
    if goal is not None:
        for step, fill in enumerate(HILL):
            canvas.disc(goal, 0.3 * cell * (1.4 - 0.25 * step), fill)
        canvas.disc(goal, 0.12 * cell, GREEN)
    tip = (position[0] + 1.2 * velocity[0], position[1] + 1.2 * velocity[1])
    canvas.line([position, tip], VERMILION, 3.0)
    canvas.disc(position, radius, BLUE, PAPER)
    return canvas.frame()

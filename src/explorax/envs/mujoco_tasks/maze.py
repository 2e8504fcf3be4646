"""Mazes of square blocks, and the rays by which an ant finds its way through one."""

from xml.etree.ElementTree import Element

import numpy as np

from explorax.envs.mujoco_tasks.model import add_box
from explorax.envs.mujoco_tasks.task import Rows

# From above, as rllab writes it: rows along y, columns along x; R is where the ant starts.
U_MAZE = ("#####", "#R..#", "###.#", "#G..#", "#####")
BINS, RANGE, SPAN = 20, 10.0, np.pi  # of the sensor: rays, m, rad


def squares(plan: tuple[str, ...], mark: str, side: float) -> Rows:
    """Return (low x, low y, high x, high y) of the squares with `mark`, from the start, [B, 4]."""
    cells = [(x, y) for y, row in enumerate(plan) for x, cell in enumerate(row) if cell == mark]
    ((start_x, start_y),) = (
        (x, y) for y, row in enumerate(plan) for x, cell in enumerate(row) if cell == "R"
    )
    middle = side * (np.array(cells, np.float64) - [start_x, start_y])
    return np.concatenate([middle - side / 2, middle + side / 2], axis=1)


def add_walls(root: Element, plan: tuple[str, ...], side: float, top: float) -> None:
    """Build the maze's blocks."""
    for x0, y0, x1, y1 in squares(plan, "#", side).tolist():
        add_box(root, (x0, y0), (x1, y1), top, solid=True)


def hits(point: Rows, direction: Rows, boxes: Rows) -> Rows:
    """Return how far rays go to the edge of each box, m [E, R, B]; infinity where they miss.

    From points [E, 2] along unit vectors [E, R, 2]; boxes [B, 4] as `squares` tells them. From
    within a box that is the way out of it.
    """
    enter, leave = np.float64(-np.inf), np.float64(np.inf)
    for axis in (0, 1):
        here, way = point[:, None, None, axis], direction[:, :, None, axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (boxes[:, axis] - here) / way, (boxes[:, axis + 2] - here) / way
        # fmin and fmax pass over NaN, 0 / 0: a ray along an edge is on neither side of it
        enter = np.fmax(enter, np.fmin(one, other))
        leave = np.fmin(leave, np.fmax(one, other))
    first = np.where(enter >= 0.0, enter, leave)
    return np.where((leave >= enter) & (first >= 0.0), first, np.inf)


def sense(point: Rows, heading: Rows, walls: Rows, goals: Rows) -> Rows:
    """Return both sensors' readings [E, 2 · BINS], of walls and then of the goal, in [0, 1].

    Rays look at the middles of BINS equal parts of SPAN around the heading [E], from right to left,
    and tell (RANGE − d) / RANGE of what they meet first at a distance d: in the first half if it is
    a wall, in the second if it is the goal; 0 beyond RANGE.
    """
    parts = (2 * np.arange(BINS) + 1) / (2 * BINS) * SPAN - SPAN / 2
    angle = heading[:, None] + parts
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=2)
    to_wall = hits(point, direction, walls).min(axis=2)
    to_goal = hits(point, direction, goals).min(axis=2)
    near_wall, near_goal = (np.maximum(RANGE - each, 0.0) / RANGE for each in (to_wall, to_goal))
    first = to_wall <= to_goal
    return np.concatenate([np.where(first, near_wall, 0), np.where(first, 0, near_goal)], axis=1)

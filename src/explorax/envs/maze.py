"""Walls and the four moves between cells, as tables that a compiled step looks up.

Cells count in reading order: cell = row · columns + column. Action 0 moves up, 1 down, 2 left and
3 right.
"""

import numpy as np

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # (rows, columns)


def walls_of(plan: str) -> np.ndarray:
    """Return which cells are walls, bool [rows, columns], from a plan where # is one."""
    return np.array([[sign == "#" for sign in line] for line in plan.split()])


def successors(walls: np.ndarray) -> np.ndarray:
    """Return the cell that each move leads to, int32 [cells, 4].

    A move into a wall, or over the edge, leaves the walker where it is.
    """
    rows, columns = walls.shape
    table = np.empty((rows, columns, len(MOVES)), np.int32)
    for (row, column), _ in np.ndenumerate(walls):
        for action, (down, right) in enumerate(MOVES):
            there = row + down, column + right
            inside = 0 <= there[0] < rows and 0 <= there[1] < columns
            end = there if inside and not walls[there] else (row, column)
            table[row, column, action] = end[0] * columns + end[1]
    return table.reshape(-1, len(MOVES))


def nearest_free(walls: np.ndarray) -> np.ndarray:
    """Return for each cell the closest one that is no wall, int32 [cells]: a free cell is its own.

    Of several at the same distance (Euclidean), the first in reading order.
    """
    cells = np.argwhere(np.ones_like(walls))
    free = np.flatnonzero(~walls)
    squares = np.square(cells[:, None] - cells[free][None]).sum(-1)
    return free[squares.argmin(1)].astype(np.int32)

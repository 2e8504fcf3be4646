"""MiniGrid's tasks through Gymnasium: a grid world seen in part, stepped from Python.

minigrid is the extra of the same name, and is imported when such a task is made.
"""

import importlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorax.core.errors import UnknownName, require
from explorax.core.protocols import Key, Spec, Step, View
from explorax.core.pytree import replace
from explorax.core.settings import check_types
from explorax.envs.border import Running, unlisted
from explorax.envs.gymnasium_vector import (
    Recipe,
    advance,
    built,
    frame,
    registered,
    spec_of,
    start,
)
from explorax.envs.supervision import ALONE, Supervision

PREFIX = "minigrid:"
CURE = "Install it: pip install 'explorax[minigrid]'"
# How many kinds of thing, colours and states MiniGrid knows; a state is open, closed or locked, or
# the walker's direction where the whole grid is seen.
CODES = (11, 6, 4)
LEAST_RETURN = 0.1  # of an episode that reached its goal: MiniGrid pays 1 - 0.9 steps / max_steps
_REGISTERED = "MiniGrid-"  # how the ids begin in Gymnasium's registry


@dataclass(frozen=True)
class MiniGridVector:
    """`num_envs` of MiniGrid's tasks side by side (Chevalier-Boisvert et al. 2023, 2306.13831).

    Observations are what the walker sees of the cells ahead, [7, 7, 21], or the `full` grid with
    the walker in it, [rows, columns, 21]: per cell one-hot codes, float32, of what is there (11),
    its colour (6) and its state (4). The walker's own view turns with it, so its direction is left
    out, as in MiniGrid's ImgObsWrapper; the whole grid shows it. So is the mission: a task whose
    goal only the mission tells (Fetch, GoToDoor, GoToObject, PutNear) cannot be solved.

    Actions are MiniGrid's seven: left, right, forward, pick up, drop, toggle, done. Success is a
    return of at least 0.1, which is what reaching the goal in the very last step pays. The map is
    the grid, and where the walker stands.

    Raises Incompatible where minigrid is not installed, UnknownName for a task that it has not.
    """

    id: str  # as in DoorKey-8x8-v0
    num_envs: int
    render: bool = False  # whether `draw` will be called
    full: bool = False  # see the whole grid instead of the cells ahead
    supervision: Supervision = ALONE  # who steps them, and what if one fails

    def __post_init__(self) -> None:
        check_types(self)
        require(self.num_envs >= 1, self, "num_envs", "at least 1")

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        return spec_of(self)

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            name=PREFIX + self.id,
            id=_REGISTERED + self.id,
            settings={},
            cure=lambda _: CURE,
            unknown=lambda: _unknown(self.id),
            prepare=_prepare,
            wrap=self._wrapped,
            locate=_walker,
            facts=_facts,
        )

    def _wrapped(self, env: Any) -> Any:
        from gymnasium import spaces, wrappers
        from minigrid.wrappers import FullyObsWrapper

        if self.full:
            env = FullyObsWrapper(env)
        columns, rows, _ = env.observation_space["image"].shape
        space = spaces.Box(0.0, 1.0, (rows, columns, sum(CODES)), np.float32)
        return wrappers.TransformObservation(env, _coded, space)

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        return start(self, key)

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        return state, advance(self.recipe, state, action)

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        return frame(self, state, index)


_UNITS = tuple(np.eye(size, dtype=np.float32) for size in CODES)


def _coded(observation: dict[str, Any]) -> np.ndarray:
    """Return the one-hot codes [rows, columns, 21] of MiniGrid's image [columns, rows, 3]."""
    cells = np.swapaxes(observation["image"], 0, 1)
    return np.concatenate([unit[cells[..., i]] for i, unit in enumerate(_UNITS)], axis=-1)


def _walker(env: Any) -> tuple[float, float]:
    """Return the (column, row) where the walker stands."""
    column, row = env.unwrapped.agent_pos
    return float(column), float(row)


def _facts(env: Any) -> dict[str, Any]:
    world = env.unwrapped
    columns, rows = int(world.width), int(world.height)
    view = View(
        labels=("column", "row"),
        low=(0.0, 0.0),
        high=(float(columns), float(rows)),
        bins=(columns, rows),
        grid=(rows, columns),
        hidden=True,
    )
    return {
        "max_episode_steps": int(world.max_steps),
        "success_return": LEAST_RETURN,
        "view": view,
    }


def _prepare() -> None:
    # MiniGrid imports pygame, which greets on the terminal
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    importlib.import_module("minigrid")


def _unknown(id: str) -> UnknownName:
    return unlisted("task", id, "MiniGrid", registered(_REGISTERED), f"{PREFIX}DoorKey-8x8-v0")


def task_names() -> tuple[str, ...]:
    """Return the tasks as they are written after `minigrid:`. Raises Incompatible without it."""
    nothing = MiniGridVector("Empty-8x8-v0", 1).recipe
    return built(replace(nothing, name="The list"), lambda: registered(_REGISTERED))

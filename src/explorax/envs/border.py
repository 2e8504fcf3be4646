"""The border to environments that are stepped from Python: what crosses it in either direction."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from explorax.core.errors import BadEnvironmentData, InvalidSetting, UnknownName, did_you_mean

_LARGEST = 2.0**64 - 2.0**11  # float64 below 2^64
GL = "MUJOCO_GL"  # the variable that MuJoCo and dm_control read, once, when they are imported


@dataclass(frozen=True, eq=False)
class Running:
    """Live environments: the state, changed in place by `step`.

    JAX sees a pytree without leaves, so that nothing tries to copy, save or trace it.
    """

    vector: Any  # `worlds.Worlds`, `mujoco_simulation.Simulation`, or a tuple of dm_control's


jax.tree_util.register_pytree_node(Running, lambda state: ((), state), lambda state, _: state)


def to_units(name: str, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return `action` [E, ...] in [-1, 1] in the units of the environment `name`, in its bounds.

    Where the bounds are whole numbers, each of low .. high has an equal part of [-1, 1], and what
    is returned has their dtype. Raises BadEnvironmentData where an action is not finite.
    """
    if not np.isfinite(action).all():
        index = int(np.flatnonzero(~np.isfinite(action).reshape(len(action), -1).all(1))[0])
        raise BadEnvironmentData(
            f"{name}, environment {index}: the agent's action is not finite: "
            f"{action[index]}. Its learning has diverged: try a smaller step size."
        )
    share = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0
    if low.dtype.kind in "iub":
        return _whole_units(share, low, high)
    with np.errstate(over="ignore"):
        width = high - low
    if np.isfinite(width).all():
        units = low + share * width
    else:  # the bounds are as far apart as floats go
        units = (1.0 - share) * low + share * high
    return np.clip(units, low, high)  # rounding may have left them


def _whole_units(share: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return which of the whole numbers low .. high, all equally wide, each share in 0 .. 1 is in.

    Counted from `low` in uint64, in which the widest range of any dtype fits.
    """
    first, last = low.astype(np.uint64), high.astype(np.uint64)  # negative ones wrap around
    with np.errstate(over="ignore"):  # and back again
        steps = last - first
        width = steps.astype(np.float64)
        below = np.floor(share.astype(np.float64) * (width + 1.0))
        counted = np.minimum(below, _LARGEST).astype(np.uint64)
        return (first + np.where(below >= width, steps, counted)).astype(low.dtype)


def to_codes(name: str, action: np.ndarray, start: int, count: int, dtype: Any) -> np.ndarray:
    """Return the actions 0 .. count - 1 [E] as the environment `name` counts them, from `start`.

    Raises BadEnvironmentData for any other number.
    """
    odd = (action < 0) | (action >= count)
    if odd.any():
        index = int(np.flatnonzero(odd)[0])
        raise BadEnvironmentData(
            f"{name}, environment {index}: the agent's action is {action[index]} and must be in "
            f"0 .. {count - 1}. Mend the agent."
        )
    return (action.astype(np.int64) + start).astype(dtype)


def check_draws(env: Any) -> None:
    """Raise InvalidSetting unless the environments were made with `render`."""
    if not env.render:
        raise InvalidSetting(f"{env!r} cannot draw. Make it with render=True.")


@contextlib.contextmanager
def without_opengl() -> Iterator[None]:
    """Let MuJoCo and dm_control be imported without OpenGL, unless MUJOCO_GL says otherwise.

    A machine without it can then train; `mujoco_camera` looks for it when there is something to
    draw.
    """
    chosen = os.environ.get(GL)
    if chosen is None and sys.platform == "linux":  # elsewhere OpenGL is part of the system
        os.environ[GL] = "disable"
    try:
        yield
    finally:
        if chosen is None:
            os.environ.pop(GL, None)


def unlisted(
    kind: str, id: str, package: str, possible: Iterable[str], example: str
) -> UnknownName:
    """Return the error for a `kind` of thing that `package` has not. `example`: prefix:name."""
    return UnknownName(
        f"There is no {kind} {id!r} in {package}.{did_you_mean(id, possible)} `explorax list "
        f"{example.partition(':')[0]}` shows all; they are written {example}."
    )

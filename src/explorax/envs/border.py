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

GL = "MUJOCO_GL"  # the variable that MuJoCo and dm_control read, once, when they are imported


@dataclass(frozen=True, eq=False)
class Running:
    """Live environments: the state, changed in place by `step`.

    JAX sees a pytree without leaves, so that nothing tries to copy, save or trace it.
    """

    vector: Any  # `worlds.Worlds`, `mujoco_simulation.Simulation`, or a tuple of dm_control's


jax.tree_util.register_pytree_node(Running, lambda state: ((), state), lambda state, _: state)


def to_units(name: str, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return `action` [E, A] in [-1, 1] in the units of the environment `name`, clipped to bounds.

    Raises BadEnvironmentData where an action is not finite.
    """
    if not np.isfinite(action).all():
        index = int(np.flatnonzero(~np.isfinite(action).reshape(len(action), -1).all(1))[0])
        raise BadEnvironmentData(
            f"{name}, environment {index}: the agent's action is not finite: "
            f"{action[index]}. Its learning has diverged: try a smaller step size."
        )
    share = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0
    return low + share * (high - low)


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

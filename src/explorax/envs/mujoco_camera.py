"""Pictures of MuJoCo's models, off screen. Imports MuJoCo, so only when a film is made.

dm_control renders only if OpenGL was chosen when it was imported, which is too early: nobody knows
then whether a film will be wanted. So a context is made here, and MuJoCo draws into it what
dm_control would draw.
"""

import atexit
import ctypes.util
import importlib
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from explorax.core.errors import Incompatible
from explorax.envs.mujoco_tasks.task import Ball

mujoco: Any = importlib.import_module("mujoco")  # its names come from C, unknown to type checkers
HEIGHT, WIDTH = 240, 320
MOST_SHAPES = 10_000  # in one picture; the suite's largest models have some hundreds
DISABLED = ("disable", "disabled", "off", "false", "0")  # MuJoCo's words for it
CURE = "Install a driver that draws off screen (Debian: libegl1 and libgl1-mesa-dri)."


class Camera:
    """The first camera of a model, or one that looks around freely where the model has none.

    What is `costly` is shadows, reflections and the smoothing of edges, which take most of the time
    where a processor draws.
    """

    def __init__(
        self, name: str, model: Any, height: int = HEIGHT, width: int = WIDTH, costly: bool = True
    ) -> None:
        self.model, self.height, self.width = model, height, width
        if not costly:
            model.vis.quality.offsamples = 0
        model.vis.global_.offheight = max(height, model.vis.global_.offheight)
        model.vis.global_.offwidth = max(width, model.vis.global_.offwidth)
        self.context, self.renderer = _opengl(name, self.model)
        self.scene, self.option = mujoco.MjvScene(self.model, MOST_SHAPES), mujoco.MjvOption()
        if not costly:
            for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self.scene.flags[effect] = False
        self.view = mujoco.MjvCamera()
        if self.model.ncam > 0:
            self.view.type, self.view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        else:
            mujoco.mjv_defaultFreeCamera(self.model, self.view)

    def frame(self, data: Any, balls: Sequence[Ball] = ()) -> np.ndarray:
        """Return the picture of a model's state, uint8 [H, W, 3], with `balls` added to it."""
        self.context.make_current()
        # the context is shared: another camera may have drawn since, or been freed with its buffer
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.renderer)
        mujoco.mjv_updateScene(
            self.model,
            data,
            self.option,
            None,
            self.view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self.scene,
        )
        for ball in balls:
            self.add(ball)
        frame = np.empty((self.height, self.width, 3), np.uint8)
        area = mujoco.MjrRect(0, 0, self.width, self.height)
        mujoco.mjr_render(area, self.scene, self.renderer)
        mujoco.mjr_readPixels(frame, None, area, self.renderer)
        return frame[::-1].copy()  # OpenGL counts rows from below

    def add(self, ball: Ball) -> None:
        """Put a ball into the scene."""
        mujoco.mjv_initGeom(
            self.scene.geoms[self.scene.ngeom],
            mujoco.mjtGeom.mjGEOM_SPHERE,
            np.full(3, ball.radius),
            np.array(ball.position),
            np.eye(3).ravel(),
            np.array(ball.color, np.float32),
        )
        self.scene.ngeom += 1


@lru_cache(maxsize=1)
def _opened(make: Any) -> Any:
    """Return the process's one context, which is freed at exit before its library is shut."""
    context = make(WIDTH, HEIGHT)
    atexit.register(context.free)
    return context


def _opengl(name: str, model: Any) -> tuple[Any, Any]:
    """Return OpenGL's context and MuJoCo's in it. Raises Incompatible where none can be had."""
    try:
        context = _opened(_context_class(name))
        context.make_current()
        renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except Incompatible:
        raise
    except Exception as error:  # PyOpenGL raises whatever it pleases where a driver is missing
        wrong = (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
        raise Incompatible(f"{name} cannot be drawn: OpenGL fails: {wrong}. {CURE}") from error
    return context, renderer


def _context_class(name: str) -> Any:
    """Return MuJoCo's class for MUJOCO_GL where that was set, else for EGL or OSMesa."""
    setting = os.environ.get("MUJOCO_GL", "")
    if setting.lower() in DISABLED:
        raise Incompatible(
            f"{name} cannot be drawn: MUJOCO_GL={setting} is set. Unset it, or set MUJOCO_GL=egl."
        )
    chosen = getattr(mujoco, "GLContext", None)  # none where it was imported without OpenGL
    # where nothing was chosen, MuJoCo takes a window on Linux, which needs a display
    if chosen is not None and (setting or sys.platform != "linux"):
        return chosen
    if ctypes.util.find_library("EGL"):
        from mujoco.egl import GLContext
    elif ctypes.util.find_library("OSMesa"):
        from mujoco.osmesa import GLContext
    else:
        raise Incompatible(f"{name} cannot be drawn: no OpenGL library was found. {CURE}")
    return GLContext

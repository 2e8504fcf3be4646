"""MuJoCo's models: Gymnasium's own files, changed where a paper's task differs."""

import importlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from explorax.core.errors import Incompatible
from explorax.envs.border import without_opengl

CURE = "pip install 'explorax[mujoco]'"
_WALL = "0.25 0.35 0.5 1"  # red, green, blue, opacity


@lru_cache(maxsize=1)
def imported() -> Any:
    """Return the module `mujoco`, imported `without_opengl`.

    Raises Incompatible where MuJoCo is not installed.
    """
    try:
        with without_opengl():
            importlib.import_module("mujoco.rollout")
            return importlib.import_module("mujoco")
    except ImportError as error:
        raise Incompatible(
            f"MuJoCo's tasks need a package that is not installed: {error}. Install it: {CURE}"
        ) from error


def asset(name: str) -> Element:
    """Return the root of a model that Gymnasium has, such as "half_cheetah"."""
    found = importlib.util.find_spec("gymnasium")
    assert found is not None and found.origin is not None  # explorax requires it
    file = Path(found.origin).parent / "envs" / "mujoco" / "assets" / f"{name}.xml"
    return ElementTree.parse(file).getroot()


def child(parent: Element, path: str) -> Element:
    """Return the first element at `path` below `parent`, which must be there."""
    found = parent.find(path)
    assert found is not None, path
    return found


def set_all(root: Element, path: str, **attributes: str) -> None:
    """Set attributes of every element at `path`."""
    for element in root.findall(path):
        element.attrib.update(attributes)


def simulated_as(root: Element, timestep: float, integrator: str) -> None:
    """Set the simulator's step, s, and its integrator: "Euler" or "RK4"."""
    option = child(root, "option")
    option.attrib.update(timestep=str(timestep), integrator=integrator)


def add_box(
    root: Element, low: tuple[float, float], high: tuple[float, float], top: float, solid: bool
) -> None:
    """Add a wall on the floor between two corners (x, y), m; one that is not solid is only seen."""
    if root.find("asset/material[@name='wall']") is None:
        ElementTree.SubElement(
            child(root, "asset"), "material", name="wall", rgba=_WALL, specular="0", shininess="0"
        )
    (x0, y0), (x1, y1) = low, high
    ElementTree.SubElement(
        child(root, "worldbody"),
        "geom",
        type="box",
        pos=f"{(x0 + x1) / 2} {(y0 + y1) / 2} {top / 2}",
        size=f"{(x1 - x0) / 2} {(y1 - y0) / 2} {top / 2}",
        material="wall",
        rgba=_WALL,
        contype="1" if solid else "0",
        conaffinity="1" if solid else "0",
    )


def add_camera(root: Element, position: tuple[float, float, float]) -> None:
    """Add a camera that looks down, y upwards in the picture; it becomes the first."""
    x, y, z = position
    camera = ElementTree.Element("camera", name="above", pos=f"{x} {y} {z}", xyaxes="1 0 0 0 1 0")
    child(root, "worldbody").insert(0, camera)


def compiled(root: Element) -> Any:
    """Return MuJoCo's MjModel of an XML tree.

    The attribute `settotalmass` is carried out here, since MuJoCo calls it deprecated on the
    terminal and in a file of its own.
    """
    mujoco = imported()
    compiler = child(root, "compiler")
    total = compiler.attrib.pop("settotalmass", None)
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
    if total is not None:
        mujoco.mj_setTotalmass(model, float(total))
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model

"""Gymnasium's environments behind our protocol, stepped from Python."""

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorax.core.errors import UnknownName, did_you_mean, require
from explorax.core.protocols import Key, Spec, Step
from explorax.envs.border import Running
from explorax.envs.cart_pole import CartPole
from explorax.envs.gymnasium_vector import Recipe, advance, frame, spec_of, start
from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_continuous import MountainCarContinuous
from explorax.envs.supervision import ALONE, Supervision
from explorax.naming.importing import user_module

# Where one of our tasks is the same one, its map and its meaning of success hold.
_TWINS = {
    "CartPole-v1": CartPole(),
    "MountainCar-v0": MountainCar(),
    "MountainCarContinuous-v0": MountainCarContinuous(),
}
# Packages that add their environments to Gymnasium's registry when imported.
_PACKAGES = {"ALE/": "ale-py", "MiniGrid-": "minigrid"}
_EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "classic_control": "classic-control"}
_EXTRAS |= {"toy_text": "toy-text"}


@dataclass(frozen=True)
class GymnasiumVector:
    """`num_envs` Gymnasium environments side by side, which reset in the step that ends an episode.

    Box actions in [-1, 1] are scaled to the environment's bounds and clipped, where each whole
    number of an integer Box has an equal part; Discrete ones count from 0. Images stay uint8; every
    other observation becomes float32: Discrete one-hot, Dict and Tuple flattened. What the
    environment returns is checked, and BadEnvironmentData names the environment, the step and the
    field that is not finite or has a wrong shape or type.

    `reset` makes new environments; `step` moves them in place and ignores its key, since Gymnasium
    environments draw from generators of their own, which `reset` seeds from its key. Raises
    UnknownName for an id that is not registered, InvalidSetting where the environment refuses
    `kwargs`, Incompatible where a package is missing or a space has no counterpart here.
    """

    id: str
    num_envs: int
    render: bool = False  # whether `draw` will be called
    kwargs: tuple[tuple[str, Any], ...] = ()  # of the environment's constructor, sorted by name
    supervision: Supervision = ALONE  # who steps them, and what if one fails

    def __post_init__(self) -> None:
        require(self.num_envs >= 1, self, "num_envs", "at least 1")
        names = [name for name, _ in self.kwargs]
        require(names == sorted(set(names)), self, "kwargs", "sorted by name, each once")
        try:
            hash(self.kwargs)
        except TypeError:
            require(False, self, "kwargs", "of numbers, texts and tuples, not lists or dicts")

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        spec = spec_of(self)
        twin = _TWINS.get(self.id) if not self.kwargs else None
        if twin is not None:
            spec = replace(spec, success_return=twin.success_return, view=twin.view)
        return spec

    @property
    def recipe(self) -> Recipe:
        package = next((its for prefix, its in _PACKAGES.items() if self.id.startswith(prefix)), "")
        return Recipe(
            name=self.id if ":" in self.id else f"gymnasium:{self.id}",
            id=self.id,
            settings=dict(self.kwargs),
            cure=lambda told: "" if "pip install" in told else _cure(self.id, package),
            unknown=lambda: _unknown(self.id),
            prepare=lambda: _prepare(self.id, package),
        )

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        return start(self, key)

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        return state, advance(self.recipe, state, action)

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        return frame(self, state, index)


def _prepare(id: str, package: str) -> None:
    """Register the environment, by importing who does."""
    module = id.rpartition(":")[0]
    if module:
        user_module(module, id)
    elif package:
        importlib.import_module(package.replace("-", "_"))


def module_of(entry_point: Any) -> str:
    """Return the module of what Gymnasium makes an environment with, "" where it does not say."""
    if isinstance(entry_point, str):
        return entry_point.partition(":")[0]
    return str(getattr(entry_point, "__module__", None) or "")


def _unknown(id: str) -> UnknownName:
    import gymnasium

    from explorax.envs import mujoco_tasks

    module, _, name = id.rpartition(":")
    own = {f"explorax/{task}-v0": task for task in mujoco_tasks.__all__}
    own["explorax/Walker2dSparse-v0"] = "Walker2d(sparse=True)"
    if id in own:
        return UnknownName(
            f"{id!r} is explorax's own, mujoco:{own[id]} here. Gymnasium has it once "
            "explorax.envs.mujoco is imported."
        )
    if module:
        top = module.partition(".")[0]
        its = [
            key
            for key, spec in gymnasium.registry.items()
            if module_of(spec.entry_point).partition(".")[0] == top
        ]
        what = f"It registers {', '.join(its)}." if its else "It registers none: it has to call "
        what += "" if its else "gymnasium.register(id=..., entry_point=...) when it is imported."
        return UnknownName(
            f"The module {module} registers no environment {name!r} with Gymnasium."
            f"{did_you_mean(name, its)} {what}"
        )
    return UnknownName(
        f"There is no Gymnasium environment {id!r}.{did_you_mean(id, gymnasium.registry)} "
        "gymnasium.pprint_registry() lists all; 'my_package:Name-v0' is what a package of your own "
        "registers when it is imported."
    )


def _cure(id: str, package: str) -> str:
    import gymnasium

    if package:
        return f"Install it: pip install {package}"
    spec = gymnasium.registry.get(id)
    entry = str(spec.entry_point) if spec is not None else ""
    extra = next((extra for part, extra in _EXTRAS.items() if part in entry), None)
    if extra is None:
        return "Install it with pip."
    return f'Install it: pip install "gymnasium[{extra}]"'

"""Exploration in reinforcement learning: pay an agent for learning about its world.

    import explorax as ex
    result = ex.train(env="mountain_car_sparse", agent=ex.TRPO(), env_steps=250_000, seeds=20,
                      bonus=ex.ReturnShare(ex.VIME(model=ex.LastLayer())))

Every agent, bonus, part of one and task is an attribute of this module. They are imported when
first asked for, so that `import explorax` is instant and imports no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from explorax._version import __version__

# What __getattr__ finds, for type checkers and editors. F403 forbids stars because nobody sees
# what they import; here it is the `__all__` of each catalogue, and nothing runs.
if TYPE_CHECKING:
    from explorax.agents import *  # noqa: F403
    from explorax.api import compare, load, make, parse, train
    from explorax.auxiliaries import *  # noqa: F403
    from explorax.behaviors import *  # noqa: F403
    from explorax.bonuses import *  # noqa: F403
    from explorax.checking import check
    from explorax.core.binding import bind
    from explorax.densities import *  # noqa: F403
    from explorax.encoders import *  # noqa: F403
    from explorax.envs import *  # noqa: F403
    from explorax.posteriors import *  # noqa: F403
    from explorax.presets import Experiment
    from explorax.result import Comparison, Result

# whose `__all__` is found here
_CATALOGUES = (
    "agents",
    "bonuses",
    "auxiliaries",
    "behaviors",
    "encoders",
    "densities",
    "posteriors",
    "envs",
)
_FUNCTIONS = {
    "bind": "explorax.core.binding",
    "check": "explorax.checking",
    "compare": "explorax.api",
    "load": "explorax.api",
    "make": "explorax.api",
    "parse": "explorax.api",
    "train": "explorax.api",
    "Comparison": "explorax.result",
    "Result": "explorax.result",
    "Experiment": "explorax.presets",
}
_SUBMODULES = (*_CATALOGUES, "adapters", "core", "loop", "nets", "ops", "presets", "report", "run")


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"explorax.{name}")
    if not name.startswith("_"):
        for package in _CATALOGUES:
            module = importlib.import_module(f"explorax.{package}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(_no_attribute(name), name=name)


def _no_attribute(name: str) -> str:
    if name.startswith("_"):
        return f"module 'explorax' has no attribute {name!r}"
    from explorax.core.errors import unknown_name

    return f"module 'explorax' has no attribute {name!r}. {unknown_name('name', name, __dir__())}"


def __dir__() -> list[str]:
    names = {"__version__", *_FUNCTIONS, *_SUBMODULES}
    for package in _CATALOGUES:
        names.update(importlib.import_module(f"explorax.{package}").__all__)
    return sorted(names)

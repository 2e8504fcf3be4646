"""The experiments of the papers and of our own tables, as configurations."""

import inspect
from collections.abc import Callable
from typing import Any

from explorax.core.errors import InvalidSetting, UnknownName, unknown_name
from explorax.naming.own import imported
from explorax.presets.comparison import bonuses, information_gain
from explorax.presets.control import (
    mpo_ablation,
    mpo_control,
    mpo_discrete,
    mpo_dm_control,
    multi_goal,
    pretraining,
)
from explorax.presets.exact import information_gain_ablation, information_gain_sparse, no_harm
from explorax.presets.experiment import Experiment as Experiment
from explorax.presets.experiment import scaled as scaled
from explorax.presets.mujoco import mujoco_sparse, mujoco_walker2d, swimmer_gather
from explorax.presets.papers import (
    deep_exploration,
    deep_sea,
    demo,
    dqn_mountain_car,
    eta_sweep,
    sparse_tasks,
)
from explorax.presets.partial import (
    auxiliary_losses,
    doorkey,
    hidden_state,
    key_door,
    labyrinth,
    montezuma,
)

__all__ = [
    "auxiliary_losses",
    "bonuses",
    "deep_exploration",
    "deep_sea",
    "demo",
    "doorkey",
    "dqn_mountain_car",
    "eta_sweep",
    "hidden_state",
    "information_gain",
    "information_gain_ablation",
    "information_gain_sparse",
    "key_door",
    "labyrinth",
    "montezuma",
    "mpo_ablation",
    "mpo_control",
    "mpo_discrete",
    "mpo_dm_control",
    "mujoco_sparse",
    "mujoco_walker2d",
    "multi_goal",
    "no_harm",
    "pretraining",
    "sparse_tasks",
    "swimmer_gather",
]


def preset(name: str) -> tuple[Experiment, ...]:
    """Return the experiments of a preset, or of `module:function` of the user's own.

    Raises UnknownName; InvalidSetting where the function gives no experiments, Incompatible where
    its module cannot be imported.
    """
    if ":" in name:
        return _own(name)
    if name not in __all__:
        raise unknown_name("preset", name, __all__, "See `explorax list presets`.")
    build: Callable[[], tuple[Experiment, ...]] = globals()[name]
    return build()


def _own(name: str) -> tuple[Experiment, ...]:
    module, _, function = name.partition(":")
    build = getattr(imported(module, name), function, None)
    if not callable(build) or isinstance(build, type):
        raise UnknownName(
            f"The module {module} has no function {function!r}. One that returns a list of "
            "explorax.presets.Experiment is a preset."
        )
    given: Any = build()
    experiments = tuple(given) if isinstance(given, tuple | list) else ()
    if not experiments or not all(isinstance(each, Experiment) for each in experiments):
        raise InvalidSetting(f"{name}() must return a tuple of explorax.Experiment objects.")
    return experiments


def catalogue() -> dict[str, str]:
    """Return the presets' names, each with what it is in one line."""
    return {name: (inspect.getdoc(globals()[name]) or "").split("\n")[0] for name in __all__}

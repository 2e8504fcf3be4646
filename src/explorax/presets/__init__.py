"""The experiments of the papers and of our own tables, as configurations."""

import inspect
from collections.abc import Callable

from explorax.core.errors import unknown_name
from explorax.presets.comparison import bonuses
from explorax.presets.control import (
    mpo_ablation,
    mpo_control,
    mpo_discrete,
    mpo_dm_control,
    multi_goal,
    pretraining,
)
from explorax.presets.experiment import Experiment as Experiment
from explorax.presets.experiment import scaled as scaled
from explorax.presets.mujoco import mujoco_sparse, mujoco_walker2d, swimmer_gather
from explorax.presets.papers import deep_sea, demo, dqn_mountain_car, eta_sweep, sparse_tasks
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
    "deep_sea",
    "demo",
    "doorkey",
    "dqn_mountain_car",
    "eta_sweep",
    "hidden_state",
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
    "pretraining",
    "sparse_tasks",
    "swimmer_gather",
]


def preset(name: str) -> tuple[Experiment, ...]:
    """Return the experiments of a preset. Raises UnknownName."""
    if name not in __all__:
        raise unknown_name("preset", name, __all__, "See `explorax list presets`.")
    build: Callable[[], tuple[Experiment, ...]] = globals()[name]
    return build()


def catalogue() -> dict[str, str]:
    """Return the presets' names, each with what it is in one line."""
    return {name: (inspect.getdoc(globals()[name]) or "").split("\n")[0] for name in __all__}

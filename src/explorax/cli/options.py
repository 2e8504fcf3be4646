"""The options of each command: their names, defaults and help. Imports no JAX."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

from tyro import conf
from tyro.constructors import PrimitiveConstructorSpec


class Usage(Exception):
    """Options that do not go together."""


_TEXT = conf.arg(metavar="TEXT")
_NAME = conf.arg(metavar="NAME")
_DIR = conf.arg(metavar="DIR", aliases=("--out",))
_DIRECTORY = conf.arg(metavar="DIR", help_behavior_hint="")

_MOST_DIGITS = 18


def _whole_number(texts: list[str]) -> int:
    """Return the whole number written as 1000000, 1_000_000 or 1e6. Raises ValueError."""
    (text,) = texts
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value.adjusted() >= _MOST_DIGITS or value != int(value):
        raise ValueError(f"{text} is not a whole number. Write it as 1000000 or 1e6.")
    return int(value)


_WHOLE = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N",
    instance_from_str=_whole_number,
    is_instance=lambda value: value is None or isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)
Count = Annotated[int, _WHOLE]
OptionalCount = Annotated[int | None, _WHOLE]
Trust = Annotated[
    conf.UseAppendAction[tuple[str, ...]],
    conf.arg(
        metavar="MODULE",
        help="A module of your own that the run's configuration names and that may be imported, "
        "which runs its code. May be given several times.",
        help_behavior_hint="",
    ),
]
Stale = Annotated[
    Literal["stop", "keep", "retrain"],
    conf.arg(
        help="When a run that is there came from other code, explorax's or of your own classes: "
        "stop before anything is trained, and list what changed; keep it, and say so; or delete it "
        "and train it again.",
    ),
]
Flag = Annotated[bool, conf.arg(help_behavior_hint="")]
Workers = Annotated[
    Count,
    conf.arg(
        metavar="N",
        help="Processes that step the environments (of Gymnasium); 0: none but the one that "
        "learns.",
    ),
]
StepLimit = Annotated[
    float | None,
    conf.arg(
        metavar="SECONDS",
        help="With --workers: how long one environment's step may take before it counts as "
        "hanging.",
        help_behavior_hint="(default: none)",
    ),
]
Restarts = Annotated[
    Count,
    conf.arg(
        metavar="N",
        help="How often each environment (of Gymnasium) may be restarted when it fails, before the "
        "run stops, with all saved.",
    ),
]


@dataclass(frozen=True)
class Train:
    """Train one agent with one bonus in one environment, all seeds in one program.

    explorax train --env mountain_car_sparse --bonus "Scale(MedianRatio(VIME()), 1e-4)" --seeds 20

    explorax train --resume runs/mountain_car_sparse/TRPO+Scale-MedianRatio-VIME/1a2b3c4d

    explorax train --env "mountain_car_sparse(power=0.0008)" --agent "TRPO(max_kl=0.005)" \\
        --init-from runs/mountain_car_sparse/TRPO+Scale-MedianRatio-VIME/1a2b3c4d
    """

    directory: Annotated[conf.Positional[Path | None], _DIRECTORY] = None
    """With --resume: the run directory to go on with; nothing else need be given."""
    env: Annotated[str, conf.arg(metavar="NAME", help_behavior_hint="(required)")] = ""
    """Environment: mountain_car, deep_sea/20, gymnasium:MountainCar-v0, dm_control:cheetah-run,
    ale:MontezumaRevenge-v5, minigrid:DoorKey-8x8-v0, mujoco:HalfCheetahSparse, or a class of
    your own, "my_module:MyTask(size=8)". See `explorax list`."""
    agent: Annotated[str, _TEXT] = "TRPO()"
    """Agent, as in Python: "TRPO(max_kl=0.02)", or "my_module:MyAgent()" of your own. See `explorax
    list agents`."""
    bonus: Annotated[str, _TEXT] = "NoBonus()"
    """Intrinsic reward, as in Python: "ReturnShare(VIME(model=LastLayer()))", the one to begin
    with, or of your own, "Scale(my_module:MyBonus(), 0.1)"."""
    env_steps: Count = 100_000
    """Steps of each seed, over all its environments."""
    seeds: Count = 1
    """How many seeds."""
    seed: Count = 0
    """The first seed's number; the others follow it."""
    num_envs: Count = 10
    """Environments side by side, for each seed."""
    init_from: Annotated[Path | None, conf.arg(metavar="RUN", help_behavior_hint="")] = None
    """Start with what the same seeds of a run learned (its directory, or a checkpoint in it): the
    agent's networks, moments and tables. The agent's class and its shapes must be the same; its
    other settings, the bonus and the environment may differ, and the bonus starts afresh."""
    root: Annotated[Path, _DIR] = Path("runs")
    """Where run directories are made."""
    resume: Flag = False
    """Go on with an interrupted run."""
    overwrite: Flag = False
    """Delete the run of this configuration that is there, and start again."""
    on_divergence: Literal["stop", "note"] = "stop"
    """When a number of any seed is no longer finite: stop, with all saved, or note it and go on."""
    workers: Workers = 0
    step_limit_s: StepLimit = None
    restarts: Restarts = 0
    stale: Stale = "stop"
    tensorboard: Flag = False
    """Write TensorBoard event files too."""
    no_film: Flag = False
    """Make no film of the final policy."""
    report: Flag = False
    """Write an HTML report beside the run at the end."""
    trust: Trust = ()


@dataclass(frozen=True)
class Compare:
    """Train every combination of the given environments, agents and bonuses, and report on all.

    explorax compare --preset demo --budget 0.1

    explorax compare --env deep_sea/10 --agent "DQN()" --seeds 5 \\
        --bonus NoBonus --bonus "Scale(MedianRatio(VIME()), 0.01)"

    Runs that are finished are kept and interrupted ones go on, so the same command continues.
    """

    preset: Annotated[str, conf.arg(metavar="NAME", help_behavior_hint="(or the three below)")] = ""
    """Experiments by name: demo, sparse_tasks, eta_sweep, ... See `explorax list presets`. Or a
    function of your own, my_module:my_preset."""
    env: Annotated[conf.UseAppendAction[tuple[str, ...]], _NAME] = ()
    """Environment."""
    agent: Annotated[conf.UseAppendAction[tuple[str, ...]], _TEXT] = ()
    """Agent."""
    bonus: Annotated[conf.UseAppendAction[tuple[str, ...]], _TEXT] = ()
    """Intrinsic reward."""
    env_steps: Annotated[
        OptionalCount,
        conf.arg(metavar="N", help_behavior_hint="(default: the preset's, or 100000)"),
    ] = None
    """Steps of each seed, over all its environments."""
    seeds: Annotated[
        OptionalCount, conf.arg(metavar="N", help_behavior_hint="(default: the preset's, or 10)")
    ] = None
    """How many seeds of each."""
    seed: Count = 0
    """The first seed's number."""
    num_envs: Annotated[
        OptionalCount, conf.arg(metavar="N", help_behavior_hint="(default: the preset's, or 10)")
    ] = None
    """Environments side by side, for each seed."""
    budget: Annotated[float, conf.arg(metavar="FACTOR")] = 1.0
    """Multiplies the env steps: 0.05 for a quick look."""
    root: Annotated[Path, _DIR] = Path("runs")
    """Where run directories are made."""
    report: Annotated[
        Path | None, conf.arg(metavar="FILE", help_behavior_hint="(default: in --root)")
    ] = None
    """The HTML page to write."""
    overwrite: Flag = False
    """Train again what is finished."""
    workers: Workers = 0
    step_limit_s: StepLimit = None
    restarts: Restarts = 0
    stale: Stale = "stop"
    tensorboard: Flag = False
    """Write TensorBoard event files too."""
    no_film: Flag = False
    """Make no films of the final policies."""


@dataclass(frozen=True)
class Eval:
    """Play the final policy of a run, greedily, and print what each seed's policy returns."""

    directory: Annotated[conf.Positional[Path], _DIRECTORY]
    """The run directory."""
    episodes: Count = 10
    """Episodes of each seed's policy."""
    seed: Annotated[OptionalCount, conf.arg(metavar="N", help_behavior_hint="(default: all)")] = (
        None
    )
    """Only this seed of the run."""
    explore: Flag = False
    """Act as in training, with the policy's noise, instead of greedily."""
    film: Flag = False
    """Also film one episode, as a GIF in the run directory."""
    paths: Flag = False
    """Also record paths and actions of every seed for the report, where the task has a picture."""
    trust: Trust = ()


@dataclass(frozen=True)
class Report:
    """Write one self-contained HTML page about runs: curves, maps, films, numbers."""

    runs: Annotated[conf.Positional[tuple[Path, ...]], _DIRECTORY] = (Path("runs"),)
    """Run directories, or folders that hold some (default: runs)."""
    out: Annotated[
        Path | None, conf.arg(metavar="FILE", help_behavior_hint="(default: in the first DIR)")
    ] = None
    """The page to write."""
    title: Annotated[str, conf.arg(metavar="TEXT", help_behavior_hint="")] = ""
    """Its heading."""


@dataclass(frozen=True)
class List:
    """Show the environments, agents, bonuses, behaviours and presets, or one of them in full.

    explorax list | explorax list bonuses | explorax list VIME | explorax list deep_sea

    explorax list my_module:MyBonus
    """

    what: Annotated[
        conf.Positional[tuple[str, ...]], conf.arg(metavar="WHAT", help_behavior_hint="")
    ] = ()
    """environments, agents, bonuses, auxiliaries, behaviors, encoders, densities, posteriors,
    presets, or a name in one."""


COMMANDS: dict[str, type] = {
    "train": Train,
    "compare": Compare,
    "eval": Eval,
    "report": Report,
    "list": List,
}

"""The functions of `import explorax as ex`.

What reads results (pandas, scipy, matplotlib) is imported after the training and not before it, so
that the first line of progress comes sooner.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Agent, Bonus, Env
from explorax.envs import suite
from explorax.envs.supervision import Supervision
from explorax.envs.task import Task
from explorax.files import user_path
from explorax.presets import Experiment, preset, scaled
from explorax.run import compare as comparing
from explorax.run import train as training
from explorax.run.config import RunConfig, safe_name
from explorax.run.expressions import parse as parse
from explorax.run.inherit import origin_of

if TYPE_CHECKING:
    from explorax.result import Comparison, Result

Environment = str | Task | Env
DEFAULT_ENV_STEPS, DEFAULT_SEEDS = 100_000, 10  # of a comparison


def train(
    env: Environment,
    agent: Agent | str = "TRPO()",
    bonus: Bonus | str = "NoBonus()",
    env_steps: int = 100_000,
    *,
    seeds: int = 1,
    seed: int = 0,
    num_envs: int | None = None,
    log_points: int = 100,
    film: bool = True,
    init_from: str | Path | None = None,
    root: str | Path = "runs",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
    checkpoint_seconds: float = 60.0,
    on_divergence: str = "stop",
    workers: int = 0,
    step_limit_s: float | None = None,
    restarts: int = 0,
    stale: str = "stop",
) -> "Result":
    """Return the result of training `agent` with `bonus` in `env`, all seeds in one program.

    env: a name such as "mountain_car", "deep_sea/20", "gymnasium:MountainCar-v0", or a task or
    environment object. agent, bonus: objects, or expressions as on the command line.
    env_steps: of each seed, over all its `num_envs` environments (10, or those of `env`).
    seed: the first seed's number. init_from: the directory of a run of the same class of agent;
    seed n starts with the networks, moments and tables that seed n there learned last (or with
    those of a checkpoint in its directory, if that is given). root: where the run directory is
    made; a finished run of the same configuration is returned as it is, an unfinished one goes on
    with `resume=True`, and `overwrite=True` starts again. on_divergence: "stop" the run when a
    number of any seed is no longer finite, with all saved, or "note" it and go on.
    workers, step_limit_s, restarts: of environments of Gymnasium, the processes that step them, the
    seconds that one's step may take there, and how often each may be restarted after a fault.
    stale: with `resume`, of a run that came from other code, explorax's or of your own classes:
    "stop" before anything is trained, "keep" it and say so, or "retrain" it.

    Raises UnknownName, InvalidSetting, Incompatible, NotEnoughMemory, RunDirectoryError and
    CheckpointError before the run starts, and Diverged and BadEnvironmentData in it.
    """
    config = comparing.configuration(
        env,
        agent,
        bonus,
        env_steps=env_steps,
        seeds=seeds,
        seed=seed,
        num_envs=num_envs,
        log_points=log_points,
        film=film,
        init_from=None if init_from is None else origin_of(init_from),
    )
    directory = training.train(
        config,
        root,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
        tensorboard=tensorboard,
        checkpoint_seconds=checkpoint_seconds,
        on_divergence=on_divergence,
        supervision=Supervision(workers, step_limit_s, restarts),
        stale=stale,
        env=None if isinstance(env, str) else env,
    )
    return load(directory)


def compare(
    experiments: str | Iterable[Experiment] = (),
    *,
    env: Environment | Sequence[Environment] = (),
    agent: Agent | str | Sequence[Agent | str] = (),
    bonus: Bonus | str | Sequence[Bonus | str] = (),
    env_steps: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    num_envs: int | None = None,
    budget: float = 1.0,
    film: bool = True,
    root: str | Path = "runs",
    report: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
    workers: int = 0,
    step_limit_s: float | None = None,
    restarts: int = 0,
    stale: str = "stop",
) -> "Comparison":
    """Return the results of several runs, and write one report about them.

    Either `experiments`, a preset's name or Experiment objects, or every combination of the given
    environments, agents and bonuses (one or several of each). `env_steps` and `seeds` replace the
    experiments' own; `budget` multiplies the env steps. Finished runs of the same configuration are
    kept and interrupted ones go on, unless `overwrite`. report: the HTML page (default: in
    `root`, named after the preset and what of it is changed, demo-budget-0.1.html).
    workers, step_limit_s, restarts: as for `train`, where all environments are of Gymnasium.
    stale: of runs that are there and came from other code, "stop" before anything is trained and
    list them, "keep" them and say so, or "retrain" them.
    """
    root = user_path(root)
    configs = plan(
        experiments,
        env=env,
        agent=agent,
        bonus=bonus,
        env_steps=env_steps,
        seeds=seeds,
        seed=seed,
        num_envs=num_envs,
        budget=budget,
        film=film,
    )
    ran = comparing.run_all(
        configs,
        root,
        overwrite=overwrite,
        progress=progress,
        tensorboard=tensorboard,
        supervision=Supervision(workers, step_limit_s, restarts),
        environments=_objects(env),
        stale=stale,
        say=print if progress else None,
    )
    from explorax.report.page import write_report
    from explorax.result import Comparison, Result

    changes = {"budget": budget, "env_steps": env_steps, "seeds": seeds, "num_envs": num_envs}
    name = _page_name(experiments, {"seed": seed, **changes})
    results = tuple(Result(path) for path in ran.directories)
    page = root / f"{safe_name(name)}.html" if report is None else user_path(report)
    page = write_report(ran.directories, page)
    return Comparison(results, ran.seconds, page)


def plan(
    experiments: str | Iterable[Experiment] = (),
    *,
    env: Any = (),
    agent: Any = (),
    bonus: Any = (),
    env_steps: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    num_envs: int | None = None,
    budget: float = 1.0,
    film: bool = True,
) -> tuple[RunConfig, ...]:
    """Return the configurations that `compare` with these arguments trains."""
    if isinstance(experiments, str):
        chosen = preset(experiments) if experiments else ()
    else:
        chosen = tuple(experiments)
    combined = [_several(part) for part in (env, agent, bonus)]
    if chosen and any(combined):
        raise InvalidSetting("Give a preset or experiments, or env, agent and bonus: not both.")
    if not chosen:
        chosen = comparing.every_combination(
            *combined, env_steps=DEFAULT_ENV_STEPS, seeds=DEFAULT_SEEDS, num_envs=num_envs
        )
    chosen = scaled(chosen, budget, seeds=seeds, env_steps=env_steps, num_envs=num_envs)
    return comparing.configurations(chosen, seed=seed, film=film, uncatalogued=_objects(env))


def _page_name(experiments: Any, changes: dict[str, Any]) -> str:
    """Return what the report of a preset is called: a shorter run of it has another page."""
    if not (isinstance(experiments, str) and experiments):
        return "report"
    unchanged = {"budget": 1.0, "seed": 0}
    changed = [
        f"-{name.replace('_', '-')}-{value}"
        for name, value in changes.items()
        if value is not None and value != unchanged.get(name)
    ]
    return experiments + "".join(changed)


def load(path: str | Path) -> "Result":
    """Return the result of the run in a directory. Raises RunDirectoryError."""
    from explorax.result import Result

    return Result(user_path(path))


def make(env: Environment, num_envs: int = 1) -> Env:
    """Return `num_envs` environments side by side. Raises UnknownName, InvalidSetting."""
    return suite.make(env, num_envs)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _objects(env: Any) -> dict[str, Any]:
    """Return the environments that were given as objects, by name."""
    given = [each for each in _several(env) if not isinstance(each, str)]
    return {comparing.environment_name(each): each for each in given}

"""Several runs one after the other: what is finished is kept, what was interrupted goes on."""

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from explorax.core.errors import InvalidSetting
from explorax.envs import suite
from explorax.envs.supervision import ALONE, Supervision
from explorax.naming.own import TYPED
from explorax.presets import Experiment
from explorax.run.brief import brief
from explorax.run.code import ORIGIN, Verdict, check_choice, code_of, note, stopped, verdict_on
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory
from explorax.run.expressions import parse
from explorax.run.inherit import origin_of_config
from explorax.run.interrupt import Interrupted
from explorax.run.train import train

DEFAULT_NUM_ENVS = 10


@dataclass(frozen=True)
class Ran:
    """Where the runs of a comparison are, in the order given, and how long it took."""

    directories: tuple[Path, ...]
    trained: int  # the others were there already
    seconds: float  # wall time


def configuration(
    env: Any, agent: Any, bonus: Any, *, num_envs: int | None = None, **settings: Any
) -> RunConfig:
    """Return the configuration of a run from names, expressions or objects.

    `env` is a name, a task or an environment, whose number of copies then counts; `agent` and
    `bonus` are objects or expressions. Raises UnknownName, InvalidSetting.
    """
    return RunConfig(
        env=environment_name(env),
        agent=parse(agent, "agent", trust=TYPED) if isinstance(agent, str) else agent,
        bonus=parse(bonus, "bonus", trust=TYPED) if isinstance(bonus, str) else bonus,
        num_envs=_copies(env, num_envs),
        **settings,
    )


def every_combination(
    envs: Sequence[Any],
    agents: Sequence[Any],
    bonuses: Sequence[Any],
    *,
    env_steps: int,
    seeds: int,
    num_envs: int | None = None,
) -> tuple[Experiment, ...]:
    """Return the experiments of all environments × agents × bonuses, in that order."""
    for name, given in (("environment", envs), ("agent", agents), ("bonus", bonuses)):
        if not given:
            raise InvalidSetting(
                f"There is nothing to compare: no {name} was given. Give at least one environment, "
                f"agent and bonus, or a preset."
            )
    configs = [
        configuration(*each, env_steps=env_steps, seeds=seeds, num_envs=num_envs)
        for each in product(envs, agents, bonuses)
    ]
    return tuple(
        Experiment(each.env, each.agent, each.bonus, each.env_steps, each.seeds, each.num_envs)
        for each in configs
    )


def configurations(
    experiments: Iterable[Experiment],
    seed: int = 0,
    film: bool = True,
    uncatalogued: Container[str] = (),
) -> tuple[RunConfig, ...]:
    """Return each experiment as the configuration of a run, seeds counted from `seed`.

    An experiment that starts from another one's run comes after it.

    `uncatalogued`: names of environments of the caller's own. Raises UnknownName for others that
    are in no catalogue.
    """

    def chain(each: Experiment) -> list[RunConfig]:
        before = [] if each.init_from is None else chain(each.init_from)
        config = RunConfig(
            env=each.env if each.env in uncatalogued else environment_name(each.env),
            agent=each.agent,
            bonus=each.bonus,
            env_steps=each.env_steps,
            seeds=each.seeds,
            seed=seed,
            num_envs=each.num_envs,
            film=film,
            init_from=origin_of_config(before[-1]) if before else None,
        )
        return [*before, config]

    chained = (config for each in experiments for config in chain(each))
    return tuple(dict.fromkeys(chained))  # what several start from is trained once


def environment_name(env: Any) -> str:
    """Return the name under which `env`, a name, task or environment, is recorded."""
    if isinstance(env, str) or all(hasattr(env, name) for name in ("reset", "step")):
        return suite.name_of(env)
    raise InvalidSetting(
        f"env={env!r}: env must be a name such as 'mountain_car', a task or an environment."
    )


def _copies(env: Any, num_envs: int | None) -> int:
    own = getattr(getattr(env, "spec", None), "num_envs", None)  # of an environment, not of a task
    if own is not None and num_envs not in (None, own):
        raise InvalidSetting(
            f"num_envs={num_envs}, and {env!r} has {own} environments side by side. "
            f"Leave num_envs out."
        )
    if num_envs is not None:
        return num_envs
    return DEFAULT_NUM_ENVS if own is None else own


def run_all(
    configs: Iterable[RunConfig],
    root: str | Path = "runs",
    *,
    overwrite: bool = False,
    progress: bool = True,
    tensorboard: bool = False,
    supervision: Supervision = ALONE,
    environments: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
    stale: str = "stop",
) -> Ran:
    """Train every configuration and return where the runs are.

    A finished run of the same configuration is kept and an unfinished one goes on, unless
    `overwrite`. `stale`: what to do with runs that came from other code: "stop" before the first is
    trained, "keep" them and say so, or "retrain" them. `supervision` is for all of them, and
    refused before the first where one cannot have it. `environments` holds, by name, those that are
    in no catalogue. `say` hears a line before each run. Raises what `train` raises; the runs before
    are then on the disk, and calling again goes on from there.
    """
    began = time.perf_counter()
    configs = tuple(dict.fromkeys(configs))  # a preset and an option may name the same run twice
    objects = environments or {}
    if supervision != ALONE:
        for env, num_envs in dict.fromkeys((each.env, each.num_envs) for each in configs):
            suite.supervised(suite.make(objects.get(env, env), num_envs), supervision)
    verdicts = {} if overwrite else _verdicts(configs, root, objects, stale)
    directories, trained = [], 0
    for number, config in enumerate(configs, start=1):
        path = config.directory(root)
        parts = f"{config.env} · {brief(config.agent)} · {brief(config.bonus)}"
        if config.init_from is not None:
            parts += f" · from {config.init_from.env}"
        label = f"[{number}/{len(configs)}] {parts}"
        verdict = verdicts.get(path, Verdict())
        again = overwrite or (stale == "retrain" and verdict != Verdict())
        if not again and finished(path, config):
            told = note(verdict, finished=True)
            _tell(say, f"{label}\n  finished before, kept: {path}")
            if told:
                _tell(say, f"  {told}")
                RunDirectory(path).add_note(told)
        else:
            _tell(say, label)
            path = _train(
                config,
                root,
                resume=not again,
                overwrite=again,
                stale="keep",  # which was asked for, or there is nothing stale
                progress=progress,
                tensorboard=tensorboard,
                supervision=supervision,
                env=objects.get(config.env),
            )
            trained += 1
        directories.append(path)
    return Ran(tuple(directories), trained, time.perf_counter() - began)


def _verdicts(
    configs: Iterable[RunConfig], root: str | Path, objects: Mapping[str, Any], stale: str
) -> dict[Path, Verdict]:
    """Return what is known of the code of the runs that are there already.

    Raises RunDirectoryError, for all of them at once, where one came from other code and `stale` is
    "stop"; and where a directory holds another experiment.
    """
    check_choice(stale)
    verdicts: dict[Path, Verdict] = {}
    for config in configs:
        path, origin = config.directory(root), config.init_from
        directory = RunDirectory(path)
        if not path.exists():
            continue
        directory.check_free(config, resume=True, overwrite=False)
        env = suite.make(objects.get(config.env, config.env), config.num_envs)
        verdict = verdict_on(directory, code_of(config, env, Path(root)))
        before = None if origin is None else verdicts.get(Path(root) / origin.run)
        if before is not None and before.changed:
            verdict = replace(verdict, changed=tuple(dict.fromkeys((*verdict.changed, ORIGIN))))
        verdicts[path] = verdict
    changed = {path: verdict.changed for path, verdict in verdicts.items() if verdict.changed}
    if changed and stale == "stop":
        raise stopped(changed)
    return verdicts


def finished(path: Path, config: RunConfig) -> bool:
    """Return whether `path` holds a finished run of `config`.

    Raises RunDirectoryError where it holds one with other seeds.
    """
    directory = RunDirectory(path)
    if not directory.done:
        return False
    directory.check_free(config, resume=True, overwrite=False)
    return True


def _train(config: RunConfig, root: str | Path, **options: Any) -> Path:
    try:
        # one seed of one run is not worth the comparison: it is told in the report
        return train(config, root, on_divergence="note", **options)
    except Interrupted as stop:
        text = f"{stop} The same comparison, started again, goes on with this run and the rest."
        raise Interrupted(stop.path, text, stop.exit_code - 128) from None


def _tell(say: Callable[[str], None] | None, line: str) -> None:
    if say is not None:
        say(line)

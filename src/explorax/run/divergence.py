"""Numbers that stopped being numbers: who, when, what first, and what to do about it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorax.core.arguments import argument
from explorax.core.errors import InvalidSetting
from explorax.loop import NONFINITE
from explorax.ops import nonfinite

CHOICES = ("stop", "note")  # of on_divergence
_STEPS = (
    "learning_rate",
    "sampler_learning_rate",
    "value_learning_rate",
    "max_kl",
    "step_size",
)  # settings that lower how much is learned
_TOLD = 4  # seeds in a message


@dataclass(frozen=True)
class Broken:
    """One seed's first number that was not finite."""

    seed: int
    env_steps: int  # of the seed, at the end of the rollout in which it happened
    quantity: str  # "reward", "bonus", "agent/critic_loss", "agent.params['params']...", ...


def check_choice(on_divergence: str) -> None:
    """Raise InvalidSetting unless it is one of CHOICES."""
    if on_divergence not in CHOICES:
        raise InvalidSetting(f"on_divergence={on_divergence!r}: it must be 'stop' or 'note'.")


def take(
    metrics: dict[str, Any],
    agent: Any,
    seeds: Sequence[int],
    before: int,
    env_steps_per_iteration: int,
) -> list[Broken]:
    """Return the seeds in which a number broke during a chunk, and take the sign out of `metrics`.

    metrics: of the chunk, or what `drivers.signs` says of one under way.
    agent: its state, or the shapes. before: each seed's env steps at the chunk's beginning.
    """
    found = np.asarray(metrics.pop(NONFINITE))
    names = nonfinite.names(metrics, agent)
    broken = []
    for row in map(int, np.flatnonzero(found != nonfinite.FINITE)):
        iteration, quantity = divmod(int(found[row]), len(names))
        env_steps = before + (iteration + 1) * env_steps_per_iteration
        broken.append(Broken(seeds[row], env_steps, names[quantity]))
    return broken


def note(broken: Broken) -> str:
    """Return what a reader of the results should know."""
    return (
        f"Seed {broken.seed} diverged: {broken.quantity} was not finite at {broken.env_steps:,} "
        f"env steps, the first number that was not. Its rows from there on mean nothing; lower "
        f"the step size or the bonus's scale."
    )


def message(broken: Sequence[Broken], saved: Path, finite: Path | None, agent: Any) -> str:
    """Return why the run stopped, where it is saved, and the ways on.

    finite: the newest checkpoint from before, if there is one.
    """
    by_time = sorted(broken, key=lambda each: each.env_steps)
    told = [
        f"{each.quantity} of seed {each.seed} was not finite at {each.env_steps:,} env steps"
        for each in by_time[:_TOLD]
    ]
    more = f", and {len(broken) - _TOLD} seeds more" if len(broken) > _TOLD else ""
    cure = _cure(agent, {each.quantity for each in broken})
    if finite is None:
        way = "No checkpoint from before is left: start again."
    elif getattr(agent, "hands_on", ()):
        way = f"Go on from what was learned before with {argument('init_from', finite)}."
    else:
        way = f"The newest checkpoint from before is {finite}."
    return (
        f"Diverged: {'; '.join(told)}{more}. Nothing was amiss before. Saved in {saved}. {cure} "
        f"{way} {argument('on_divergence', 'note')} trains on regardless."
    )


def again(record: Mapping[str, Any], run: Path) -> str:
    """Return why a run that has diverged is not resumed."""
    return (
        f"The run in {run} has diverged (seed {', '.join(record)}): what it learned since means "
        f"nothing. Start another from a checkpoint that is finite, "
        f"{argument('init_from', run / 'checkpoints' / 'chunk_NNNNNN')}, or train on regardless: "
        f"{argument('on_divergence', 'note')}."
    )


def _cure(agent: Any, quantities: Iterable[str]) -> str:
    quantities = set(quantities)
    own, base = _fields(agent), _fields(getattr(agent, "base", None))
    steps = [name for name in _STEPS if name in own]
    steps += [f"base.{name}" for name in _STEPS if name in base]
    cures = []
    if quantities & {"obs", "reward"}:
        cures.append("mend what the environment returns")
    if any(name.startswith("bonus") for name in quantities):
        cures.append("lower the bonus's scale or its learning rate")
    if any(name.startswith("agent") for name in quantities):
        whose = f"{type(agent).__name__}'s {' or '.join(steps)}" if steps else "the agent's steps"
        cures.append(f"lower {whose}, or the bonus's scale")
    text = "; ".join(cures)
    return f"{text[:1].upper()}{text[1:]}."


def _fields(settings: Any) -> set[str]:
    known = dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    return {field.name for field in dataclasses.fields(settings)} if known else set()

"""An experiment as plain data: what to train, on what, for how long, and with how many seeds."""

import math
from dataclasses import dataclass, replace

from explorax.core.errors import InvalidSetting, require
from explorax.core.protocols import Agent, Bonus
from explorax.core.settings import check_types


@dataclass(frozen=True)
class Experiment:
    """One environment, one agent and one bonus."""

    env: str
    agent: Agent
    bonus: Bonus
    env_steps: int  # of each seed, over all its environments
    seeds: int = 10
    num_envs: int = 10
    init_from: "Experiment | None" = None  # whose run's agents it starts from; None: from scratch

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("env_steps", "seeds", "num_envs"):
            require(getattr(self, name) >= 1, self, name, "a whole number of at least 1")


def scaled(
    experiments: tuple[Experiment, ...],
    budget: float = 1.0,
    seeds: int | None = None,
    env_steps: int | None = None,
    num_envs: int | None = None,
) -> tuple[Experiment, ...]:
    """Return the experiments with `budget` times their env steps, at least one rollout each.

    So are those that they start from.

    `seeds`, `env_steps` and `num_envs` replace those of every experiment, before `budget` scales.
    Raises InvalidSetting.
    """
    if not (isinstance(budget, int | float) and math.isfinite(budget) and budget > 0):
        raise InvalidSetting(f"budget={budget!r}: budget must be a positive factor, such as 0.05.")

    given = {"seeds": seeds, "env_steps": env_steps, "num_envs": num_envs}
    replaced = {name: value for name, value in given.items() if value is not None}

    def one(each: Experiment) -> Experiment:
        each = replace(each, **replaced)
        rollout = each.agent.rollout_length * each.num_envs
        steps = each.env_steps if budget == 1 else max(rollout, round(each.env_steps * budget))
        before = None if each.init_from is None else one(each.init_from)
        return replace(each, env_steps=steps, init_from=before)

    return tuple(one(each) for each in experiments)

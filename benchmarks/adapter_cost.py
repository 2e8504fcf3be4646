"""What a bonus costs beside the environment: a Gymnasium vector with and without the wrapper."""

import os
import time
import warnings

import common
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from explorax.adapters.gymnasium import IntrinsicReward
from explorax.bonuses import RND, VIME, HashCount, NoBonus, RunningStd
from explorax.core.protocols import Bonus

ENVS, ROUNDS, STEPS = 8, 7, 256
BONUSES: dict[str, Bonus | None] = {
    "the vector alone": None,
    "NoBonus()": NoBonus(),
    "HashCount()": HashCount(),
    "RND()": RND(),
    "RunningStd(VIME())": RunningStd(VIME()),
}
WORLDS = ("CartPole-v1", "Acrobot-v1")
NOTES = """\
Gymnasium's SyncVectorEnv of {envs}, autoreset_mode SAME_STEP, random actions; medians of {rounds}
rounds of {steps} steps of the vector, in each of which every row has its turn. Learning from every
1,024 env steps is included, compilation is not. The load was {before:.1f} to {after:.1f}; where
other work runs the clock is rough: each call into the compiled score waits for a thread of XLA's,
and on busy cores that is most of it. "By processor time" counts the processor's time of all
threads, which other work changes less. The cost is for each step of all {envs} environments: it is
what the reward waits for."""


class Stepped:
    """A vector that is stepped with random actions, round after round."""

    def __init__(self, world: str, bonus: Bonus | None) -> None:
        vector = gymnasium.make_vec(
            world, ENVS, "sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
        )
        self.env = vector if bonus is None else IntrinsicReward(vector, bonus)
        self.env.action_space.seed(0)
        self.env.reset(seed=0)
        self.clock: list[float] = []  # µs per step of the vector
        self.processor: list[float] = []

    def run(self) -> None:
        actions = [self.env.action_space.sample() for _ in range(STEPS)]
        clock, processor = time.perf_counter(), time.process_time()
        for each in actions:
            self.env.step(each)
        self.clock.append((time.perf_counter() - clock) / STEPS * 1e6)
        self.processor.append((time.process_time() - processor) / STEPS * 1e6)


def measured(world: str) -> list[list[str]]:
    """Return the rows of the table for one environment."""
    stepped = {name: Stepped(world, bonus) for name, bonus in BONUSES.items()}
    for _ in range(ROUNDS + 1):  # in turn, so that a slow minute of the machine hits all of them
        for each in stepped.values():
            each.run()
    clock, processor = (
        {name: np.array(getattr(each, by)[1:]) for name, each in stepped.items()}
        for by in ("clock", "processor")
    )
    rows = []
    for name in stepped:
        numbers = [f"{np.median(times[name]):,.0f} µs" for times in (clock, processor)]
        alone = "the vector alone"
        ratios = [f"{np.median(t[name] / t[alone]):.1f}" for t in (clock, processor)]
        rows.append([world, name, numbers[0], ratios[0], numbers[1], ratios[1]])
    return rows


def main() -> None:
    warnings.simplefilter("ignore", UserWarning)
    before = os.getloadavg()[0]
    rows = [row for world in WORLDS for row in measured(world)]
    common.write(
        "adapter_cost",
        "What a bonus costs in a Gymnasium vector environment",
        ["environment", "bonus", "a step", "ratio", "by processor time", "ratio"],
        rows,
        NOTES.format(
            envs=ENVS, rounds=ROUNDS, steps=STEPS, before=before, after=os.getloadavg()[0]
        ),
    )


if __name__ == "__main__":
    main()

"""What the host driver adds to the time of stepping Gymnasium's HalfCheetah, 8 side by side.

Three things take turns, so that a slow minute of the machine hits all of them: Gymnasium's own
SyncVectorEnv with the actions that the policy chose in the loop, since what they do to the body
decides how long the physics takes; our loop; and our loop's compiled `act`
alone, called with arrays that lie ready. Times are CPU seconds of the one thread that steps and
drives, which other programs on the same cores disturb less than the clock on the wall. Where JAX
computes in threads of its own, that is left out of `act` and of the loop alike, and so is the time
for which they spin before they sleep.
"""

import time
from importlib.metadata import version
from typing import Any

import common
import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode

from explorax import host_loop, loop
from explorax.agents import PPO, TRPO
from explorax.bonuses import NoBonus
from explorax.core.pytree import replace
from explorax.envs.gymnasium import GymnasiumVector

ID, NUM_ENVS, STEPS, ROUNDS = "HalfCheetah-v5", 8, 150, 5
AGENTS: tuple[Any, ...] = (
    TRPO(rollout_length=STEPS, hidden=(64, 32)),
    PPO(rollout_length=STEPS, hidden=(64, 32)),
)
TARGET = 0.15


class Stepping:
    """Gymnasium's vector environment, and nothing else."""

    def __init__(self) -> None:
        mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.vector = gymnasium.make_vec(ID, NUM_ENVS, "sync", vector_kwargs=mode)
        self.vector.reset(seed=0)

    def run(self, actions: np.ndarray) -> None:
        for action in actions:
            self.vector.step(action)


class Adapter:
    """Our environments, stepped with the same actions."""

    def __init__(self) -> None:
        self.env = GymnasiumVector(ID, NUM_ENVS)
        self.key = jax.random.key(0)
        self.state, _ = self.env.reset(self.key)

    def run(self, actions: np.ndarray) -> None:
        for action in actions:
            self.env.step(self.state, self.key, action)


class Loop:
    """A rollout of the host driver."""

    def __init__(self, agent: Any) -> None:
        self.env, self.agent = GymnasiumVector(ID, NUM_ENVS), agent
        self.actions = np.zeros(0)  # of the last rollout
        self.training = loop.start(self.env, agent, NoBonus(), jax.random.key(0))

    def run(self, actions: np.ndarray) -> None:
        training = self.training
        actor, rollout = host_loop.collect_on_host(
            self.env, self.agent, training.learner, training.actor
        )
        self.actions = np.clip(np.asarray(rollout.action), -1, 1)
        self.training = replace(training, actor=actor)


class Act:
    """The calls of the compiled `act` in such a rollout, and the copy of each action."""

    def __init__(self, of: Loop) -> None:
        self.training, (self.begin, self.act) = of.training, host_loop._compiled(of.agent)
        self.percept = jax.tree.map(np.asarray, self.training.actor.percept)

    def run(self, actions: np.ndarray) -> None:
        learner, carry = self.training.learner, self.training.actor.carry
        keys, rows = self.begin(learner, self.percept, carry)
        for t in range(STEPS):
            rows, action, _, _ = self.act(
                rows, learner.agent, keys, self.percept, carry, np.int32(t)
            )
            np.asarray(action)


def clock(part: Any, actions: np.ndarray) -> float:
    """Return the microseconds of CPU per step of the eight."""
    begun = time.thread_time()
    part.run(actions)
    return 1e6 * (time.thread_time() - begun) / STEPS


def row(agent: Any) -> list[str]:
    ours = Loop(agent)
    parts = {
        "loop": ours, "stepping": Stepping(), "adapter": Adapter(), "act": Act(ours)
    }  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS + 1):
        for name, part in parts.items():
            taken[name].append(clock(part, ours.actions))
    times = {name: np.asarray(each[1:]) for name, each in taken.items()}  # the first warms up
    added = np.median((times["loop"] - times["stepping"] - times["act"]) / times["stepping"])
    with_act = np.median((times["loop"] - times["stepping"]) / times["stepping"])
    return [
        type(agent).__name__,
        *(f"{np.median(times[name]):.0f}" for name in ("stepping", "adapter", "loop", "act")),
        f"{added:+.0%}",
        f"{with_act:+.0%}",
    ]


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("gymnasium", "mujoco"))
    common.write(
        "host_driver",
        f"The host driver on {ID}, {NUM_ENVS} environments, a 64-32 policy, no bonus",
        [
            "agent",
            "SyncVectorEnv alone, µs",
            "our adapter alone, µs",
            "our loop, µs",
            "`act` alone, µs",
            "driver adds (loop − Sync − act) / Sync",
            "with `act` (loop − Sync) / Sync",
        ],
        [row(agent) for agent in AGENTS],
        f"{versions}. Microseconds of the driving thread's CPU for one step of all eight, medians "
        f"of {ROUNDS} rounds\nof {STEPS} steps; ratios are taken round by round. The target for "
        "what the driver adds is "
        f"{TARGET:.0%}.",
    )


if __name__ == "__main__":
    main()

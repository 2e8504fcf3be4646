"""The other side of bonus_cost.py: rllte-core's bonuses, in the environment that has it.

Reads the problem, one line of JSON, then names of bonuses, one a line. Answers each name with one
line of JSON: the seconds that the processor took for a rollout's score and for its update, and the
share of the time on the clock that this was, or what it crashed with.
"""

import json
import sys
import time

import gymnasium
import numpy as np
import torch  # pyright: ignore[reportMissingImports]  (another environment's)
from rllte.xplore import reward  # pyright: ignore[reportMissingImports]  (as above)

WARM_UP = 3  # rollouts; after two of them RE3's storage is full
COLUMNS = ("observations", "actions", "rewards", "terminateds", "truncateds", "next_observations")


class Environments:
    """What rllte's bonuses want of environments, which they reset and step 2,560 times first."""

    def __init__(self, problem):
        self.num_envs, self.dims = problem["envs"], problem["obs"]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.dims,))
        self.action_space = gymnasium.spaces.Discrete(problem["actions"])

    @property
    def unwrapped(self):
        return self

    def reset(self):
        return torch.randn(self.num_envs, self.dims), {}

    def step(self, actions):
        zeros = torch.zeros(self.num_envs)
        return torch.randn(self.num_envs, self.dims), zeros, zeros, zeros, {}


class Timed:
    """A bonus whose update, which its own `compute` calls, is timed apart."""

    def __init__(self, name, problem):
        name, _, mended = name.partition(" ")
        self.bonus, self.update_seconds = getattr(reward, name)(Environments(problem)), 0.0
        if mended:  # NGU never keeps this setting, and crashes where it needs it
            self.bonus.mrs = 5.0
        for part in getattr(self.bonus, "rewards", [self.bonus]):
            part.update = self.timed(part.update)

    def timed(self, update):
        def timed(samples):
            begun = time.process_time()
            update(samples)
            self.update_seconds += time.process_time() - begun

        return timed

    def rollout(self, samples):
        """Watch each step, then score and learn."""
        rows = list(zip(*(samples[column] for column in COLUMNS), strict=True))
        self.update_seconds, begun, clock = 0.0, time.process_time(), time.perf_counter()
        for row in rows:
            self.bonus.watch(*row)
        self.bonus.compute(samples)
        seconds, update = time.process_time() - begun, self.update_seconds
        share = seconds / (time.perf_counter() - clock)
        return {"score": seconds - update, "update": update, "share": share}


def experience(problem):
    steps, envs = problem["steps"], problem["envs"]
    obs = torch.randn(steps + 1, envs, problem["obs"])
    actions = torch.randint(problem["actions"], (steps, envs))
    zeros, ends = torch.zeros(steps, envs), torch.as_tensor(problem["ends"]).float()
    return dict(zip(COLUMNS, (obs[:-1], actions, zeros, zeros, ends, obs[1:]), strict=True))


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    problem, bonuses, answers = json.loads(sys.stdin.readline()), {}, sys.stdout
    sys.stdout = sys.stderr  # for whatever else is printed
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in bonuses:
                bonuses[name] = Timed(name, problem)
                for _ in range(WARM_UP):
                    bonuses[name].rollout(experience(problem))
            answer = bonuses[name].rollout(experience(problem))
        except Exception as error:
            answer = {"crash": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

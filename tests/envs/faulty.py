"""Environments that fail, registered with Gymnasium when this module is imported, as a user's are.

A worker process imports it by its name too.
"""

import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces

HOW = ("raise", "nan", "shape", "reset", "hang", "kill", "kill, then reset", "unmade",
       "unmade kill")  # fmt: skip


class Faulty(gymnasium.Env):
    """Observes (what its seed drew, steps of the episode); fails at step `at` if it got `victim`.

    `victim` is the seed of the environment that is to fail; one that is restarted gets another.
    0 stands for every environment, whatever its seed. `mark` is a file that outlives a process.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(self, how="", at=3, victim=0, mark="", render_mode=None):
        if how.startswith("unmade") and os.path.exists(mark):
            if how == "unmade kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("no licence left")
        self.mark = mark
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.how, self.at, self.victim, self.render_mode = how, at, victim, render_mode
        self.seed, self.count, self.lived = None, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = self.seed if seed is None else seed
        if self.how == "kill, then reset" and 0 < size_of(self.mark) < 3:
            mark(self.mark)  # two resets fail after the kill
            raise OSError("not yet")
        if self.how == "reset" and self.fails(self.lived):
            raise OSError("no more memory")
        self.count, self.drawn = 0, float(self.np_random.uniform())
        return self.observed(), {}

    def step(self, action):
        self.count += 1
        self.lived += 1
        observed, ends = self.observed(), self.count == 4
        if self.fails(self.lived):
            if self.how == "raise":
                raise ValueError("engine on fire")
            if self.how.startswith("unmade"):
                mark(self.mark)
                raise ValueError("engine on fire")
            if self.how == "hang":
                while True:
                    time.sleep(0.01)
            if self.how.startswith("kill"):
                mark(self.mark)
                os.kill(os.getpid(), signal.SIGKILL)
            observed = {
                "nan": np.full(2, np.nan, np.float32),
                "shape": np.zeros(3, np.float32),
            }.get(self.how, observed)
        return observed, 1.0, False, ends, {}

    def fails(self, lived):
        return lived == self.at and self.victim in (0, self.seed)

    def observed(self):
        return np.array([self.drawn, self.count], np.float32)

    def render(self):
        return np.full((8, 8, 3), self.count, np.uint8)


def mark(path):
    """Make a file one byte longer."""
    if path:
        with open(path, "a") as file:
            file.write("x")


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


gymnasium.register("Faulty-v0", Faulty)  # pyright: ignore[reportArgumentType]  (a class will do)

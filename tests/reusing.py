"""An environment that writes over what it returned, for tests of the borders and adapters."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LAST = 4  # the step that ends an episode
SHOWN = ("float32", "float64", "uint8", "int64", "dict", "tuple")


class Reuses(gymnasium.Env):
    """Observes twice the steps of the episode, 2, 4, 6, 8, in one array or dict of its own."""

    def __init__(self, shown="float32", render_mode=None):
        self.shown, self.render_mode, self.count = shown, render_mode, 0
        dtype: Any = shown if shown in SHOWN[:4] else "float32"
        self.action_space, box = spaces.Discrete(2), spaces.Box(0, 100, (2,), np.dtype(dtype).type)
        self.observation_space: Any = box
        self.array = np.zeros(2, dtype)
        self.buffer: Any = self.array
        if shown == "dict":
            self.observation_space = spaces.Dict({"here": box, "number": spaces.Discrete(100)})
            self.buffer = {"here": self.array, "number": 0}
        if shown == "tuple":
            self.observation_space = spaces.Tuple((box, box))
            self.buffer = (self.array, self.array)

    def seen(self):
        self.array[...] = 2 * self.count
        if self.shown == "dict":
            self.buffer["number"] = 2 * self.count
        return self.buffer

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        self.count += 1
        return self.seen(), float(self.count), self.count == LAST, False, {}

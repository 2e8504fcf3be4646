"""An environment that sees what is around the process that steps it; registered when imported."""

import importlib
import locale
import os
import sys
import warnings
import zlib

import gymnasium
import numpy as np
from gymnasium import spaces

SEES = {
    "path": lambda: sys.path,
    "directory": os.getcwd,
    "arguments": lambda: sys.argv,
    "warnings": lambda: [(each[0], str(each[1]), str(each[2])) for each in warnings.filters],
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "encodings": lambda: (sys.getfilesystemencoding(), locale.getpreferredencoding(False)),
    "errors": lambda: (sys.stdout.errors, sys.stderr.errors),
    "optimized": lambda: (sys.flags.optimize, sys.flags.utf8_mode, sys.flags.dev_mode),
}


class Observant(gymnasium.Env):
    """Observes a checksum of each of SEES, and of what a module that is there twice says."""

    def __init__(self):
        self.observation_space = spaces.Box(0, 2**16, (len(SEES) + 1,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        try:
            said = importlib.import_module("there_twice").VALUE
        except ImportError:
            said = 0
        sums = [zlib.crc32(repr(see()).encode()) % 2**16 for see in SEES.values()]
        return np.array([*sums, said], np.float32), {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


gymnasium.register("Observant-v0", Observant)  # pyright: ignore[reportArgumentType]

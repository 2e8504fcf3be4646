"""An environment that does what it should not, when it is told to; registered when imported."""

import os
import sys

import gymnasium
import numpy as np
from gymnasium import spaces

SMALL = 2**31  # what a seed must be below for many an environment written in C


class Unspeakable(Exception):
    """An error whose own text raises."""

    def __str__(self):
        raise RuntimeError("no words")


class Unreadable:
    """Is asked to be an array, and raises."""

    def __array__(self, dtype=None, copy=None):
        raise KeyError("pixels")


def do(how):
    if how == "raise":
        raise ValueError("engine\n  on fire")
    if how == "raise without words":
        raise Unspeakable
    if how == "leave":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "die":
        os._exit(4)


class Misbehaving(gymnasium.Env):
    """Does `how` in its `when`; of its steps, in number `at`. Episodes have three."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(self, when="", how="", at=2, render_mode=None):
        self.when, self.how, self.at, self.render_mode = when, how, at, render_mode
        self.lived = 0
        self.observation_space = {
            "text": spaces.Dict(
                {"place": spaces.Box(0.0, 1.0, (2,)), "said": spaces.Text(9)},
            ),
            "one of": spaces.Tuple((spaces.OneOf((spaces.Discrete(2), spaces.Discrete(3))),)),
            "codes": spaces.Dict(
                {"id": spaces.Discrete(10**12), "inner": spaces.Dict(a=spaces.Discrete(2))}
            ),
            "many codes": spaces.Tuple((spaces.MultiDiscrete([40_000, 40_000]),)),
            "no space": (3,),
        }.get(how, spaces.Box(-1.0, 9.0, (2,)))
        self.action_space = spaces.Discrete(10**12 if how == "choices" else 2)
        self.begin("make")

    def begin(self, when):
        if self.when == when:
            do(self.how)

    def reset(self, *, seed=None, options=None):
        if seed is not None and not 0 <= seed < SMALL:
            raise OverflowError("Python int too large to convert to C int")
        super().reset(seed=seed)
        self.count = 0
        self.begin("reset")
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.count, self.lived = self.count + 1, self.lived + 1
        if self.lived == self.at:
            self.begin("step")
        observed = Unreadable() if self.how == "unreadable" else np.full(2, self.count, np.float32)
        return observed, 1.0, False, self.count == 3, {}

    def render(self):
        self.begin("render")
        return np.zeros((8, 8, 3), np.uint8)

    def close(self):
        self.begin("close")


gymnasium.register("Misbehaving-v0", Misbehaving)  # pyright: ignore[reportArgumentType]

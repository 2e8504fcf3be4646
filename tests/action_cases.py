"""Actions of every kind, as environments, trainers, bonuses and our own agents have them.

One table for tests/envs (our agents), tests/adapters (Gymnasium) and tests_sb3.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FLOAT, DOUBLE = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)
WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class Case:
    """Three actions of `space` and what each is to others."""

    space: spaces.Space
    sent: Any  # what a trainer sends, [3, ...], which the environment gets
    seen: Any  # what a bonus sees of it
    agent: Any = None  # what our agents choose for the same; None: they are refused such a space
    bounds: tuple[float, float] | None = None  # `action_bounds` of the adapters
    wrong: Any = None  # one action that the space does not have, in place of the second


def box(low, high, dtype="float32", shape=None):
    return spaces.Box(low, high, shape, np.dtype(dtype).type)


def linear(low, high, dtype="float32", shape=(1,)):
    """Return the case of a Box of which the lowest, the middle and the highest value are taken."""
    numbers = np.array([low, low / 2 + high / 2, high])
    sent = np.broadcast_to(numbers.reshape(3, *(1,) * len(shape)), (3, *shape)).astype(dtype)
    unit = np.broadcast_to(np.array([-1.0, 0, 1]).reshape(3, *(1,) * len(shape)), (3, *shape))
    return Case(box(low, high, dtype, shape), sent, unit, unit)


def whole(dtype):
    """Return the case of all that a dtype has; exact at both ends."""
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    sent = np.array([[least], [(least + most + 1) // 2], [most]], dtype)
    seen = 2 * (sent.astype(float) - least) / (float(most) - least) - 1
    return Case(box(least, most, dtype, (1,)), sent, seen, np.array([[-1.0], [0.0], [1.0]]))


def codes(space, sent, seen, wrong, agent=None):
    kept = None if agent is None else np.array(agent)
    return Case(space, np.array(sent), np.array(seen), kept, wrong=wrong)


CASES = {
    "float32": linear(-2.0, 2.0),
    "float64": linear(-2.0, 6.0, "float64"),
    "float16": linear(-1.0, 3.0, "float16"),
    "scalar": linear(-2.0, 2.0, shape=()),
    "grid": linear(0.0, 1.0, shape=(2, 3)),
    "widest float32": linear(-FLOAT, FLOAT),
    "widest float64": linear(-DOUBLE, DOUBLE, "float64"),
    "asymmetric": Case(
        box(np.array([0.0, -3.0], "float32"), np.array([10.0, 1.0], "float32")),
        np.array([[0.0, 1.0], [5.0, -3.0], [7.5, 0.0]], "float32"),
        np.array([[-1, 1], [0, -1], [0.5, 0.5]]),
        np.array([[-1, 1], [0, -5], [0.5, 0.5]]),  # -5 is clipped
    ),
    "one value": Case(
        box(np.array([2.0, 0.0], "float32"), np.array([2.0, 1.0], "float32")),
        np.array([[2.0, 0.0], [2.0, 0.5], [2.0, 1.0]], "float32"),
        np.array([[-1, -1], [-1, 0], [-1, 1]]),
        np.array([[0.3, -1], [0, 0], [-1, 1]]),
    ),
    # 0.7 + 1 · (1.9 - 0.7) is more than 1.9 in float32
    "rounded": Case(
        box(0.7, 1.9, shape=(1,)),
        np.array([[0.7], [1.3], [1.9]], "float32"),
        np.array([[-1], [0], [1]]),
        np.array([[-1], [0], [1]]),
    ),
    "bool": Case(
        box(0, 1, "bool", (2,)),
        np.array([[False, True], [True, True], [False, False]]),
        np.array([[-1, 1], [1, 1], [-1, -1]]),
        np.array([[-0.1, 0.1], [1, 0.6], [-1, -0.9]]),
    ),
    "five": Case(
        box(-2, 2, "int64", (1,)),
        np.array([[-2], [0], [2]]),
        np.array([[-1], [0], [1]]),
        np.array([[-0.61], [0.19], [0.61]]),
    ),
    **{dtype: whole(dtype) for dtype in WHOLE},
    "unbounded": Case(
        box(-np.inf, np.inf, shape=(1,)),
        np.array([[1.0], [3.0], [9.0]], "float32"),
        np.array([[-1], [0], [1]]),
        bounds=(1.0, 5.0),  # 9 is seen at the edge
    ),
    "half-bounded": Case(
        box(0.0, np.inf, shape=(1,)),
        np.array([[0.0], [1.0], [4.0]], "float32"),
        np.array([[-1], [-0.5], [1]]),
        bounds=(0.0, 4.0),
    ),
    "partly bounded": Case(
        box(np.array([0.0, -np.inf], "float32"), np.array([10.0, np.inf], "float32")),
        np.array([[0.0, 0.0], [5.0, 1.0], [10.0, -2.0]], "float32"),
        np.array([[-1, 0], [0, 0.5], [1, -1]]),
        bounds=(-2.0, 2.0),
    ),
    "unbounded int": Case(
        box(-np.inf, np.inf, "int64", (1,)),
        np.array([[-2], [0], [1]]),
        np.array([[-1], [0], [0.5]]),
        bounds=(-2.0, 2.0),
    ),
    "Discrete": codes(spaces.Discrete(3), [0, 1, 2], [0, 1, 2], 3, [0, 1, 2]),
    "Discrete from 50": codes(spaces.Discrete(2, start=50), [50, 51, 50], [0, 1, 0], 52, [0, 1, 0]),
    "Discrete from -1": codes(spaces.Discrete(3, start=-1), [-1, 0, 1], [0, 1, 2], 2, [0, 1, 2]),
    "Discrete, NumPy's": codes(
        spaces.Discrete(np.int64(3), start=np.int64(2)), [2, 3, 4], [0, 1, 2], 1.5, [0, 1, 2]
    ),
    "Discrete int8": codes(
        spaces.Discrete(3, start=100, dtype=np.int8),
        np.array([100, 101, 102], "int8"),
        [0, 1, 2],
        np.int8(-100),
        [0, 1, 2],
    ),
    "Discrete uint64": codes(
        spaces.Discrete(3, start=1, dtype=np.uint64),
        np.array([1, 2, 3], "uint64"),
        [0, 1, 2],
        0,
        [0, 1, 2],
    ),
    "MultiDiscrete": codes(
        spaces.MultiDiscrete([2, 3], start=[1, -1]),
        [[1, -1], [2, 0], [1, 1]],
        [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]],
        [3, 0],
    ),
    "MultiDiscrete, two axes": codes(
        spaces.MultiDiscrete(np.array([[1, 2], [2, 1]])),
        np.array([[[0, 0], [1, 0]]] * 3),
        [[1, 1, 0, 0, 1, 1]] * 3,
        [[0, 0], [-1, 0]],
    ),
    "MultiDiscrete uint8": codes(
        spaces.MultiDiscrete([2, 200], dtype=np.uint8, start=[0, 56]),
        np.array([[0, 56], [1, 255], [1, 57]], "uint8"),
        np.concatenate([[[1, 0], [0, 1], [0, 1]], np.eye(200)[[0, 199, 1]]], 1),
        [2, 56],
    ),
    "MultiBinary": codes(
        spaces.MultiBinary(2), [[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 1], [0, 0]], [0, 2]
    ),
    "MultiBinary, two axes": codes(
        spaces.MultiBinary((2, 1)), [[[0], [1]]] * 3, [[0, 1]] * 3, [[0], [0.5]]
    ),
    "Dict": Case(
        spaces.Dict({"a": spaces.Discrete(2, start=7), "b": box(0.0, 4.0, shape=(1,))}),
        {"a": np.array([7, 8, 7]), "b": np.array([[0.0], [3.0], [4.0]], "float32")},
        np.array([[1, 0, -1], [0, 1, 0.5], [1, 0, 1]]),
        wrong={"a": 6, "b": [0.0]},
    ),
    "Tuple": Case(
        spaces.Tuple((spaces.MultiBinary(1), box(-2, 2, "int8", (1,)))),
        (np.array([[0], [1], [1]], "int8"), np.array([[-2], [0], [2]], "int8")),
        np.array([[0, -1], [1, 0], [1, 1]]),
        wrong=([3], [0]),
    ),
}
REFUSED = [name for name, case in CASES.items() if case.wrong is not None]
OWN = [name for name, case in CASES.items() if case.agent is not None]


class Acts(gymnasium.Env):
    """Keeps the actions that it `got`, and is in one of four places after the other."""

    def __init__(self, space, render_mode=None):
        self.observation_space, self.action_space, self.got = spaces.Discrete(4), space, []
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        self.got.append(action)
        return len(self.got) % 4, 0.0, False, False, {}


def with_wrong(case):
    """Return the actions of `case` with the wrong one in second place."""

    def placed(batch, element):
        batch = [*batch]
        batch[1] = element
        return np.array(batch)

    if isinstance(case.sent, dict):
        return {name: placed(case.sent[name], case.wrong[name]) for name in case.sent}
    if isinstance(case.sent, tuple):
        return tuple(placed(*pair) for pair in zip(case.sent, case.wrong, strict=True))
    return placed(case.sent, case.wrong)


def counted(codes):
    """Return what Count(of="state_action", beta=1) pays one Acts for these, counted by hand."""
    visits, paid = Counter(), []
    for step, code in enumerate(codes):
        visits[step % 4, code] += 1
        paid.append(visits[step % 4, code] ** -0.5)
    return paid

"""The last observation of an episode, saved from environments that write over it.

A vector environment that resets in the step that ends an episode hands on what `step` returned
when `reset` has been called already. Where that is one array of the environment's own
(`self.buffer[...] = ...; return self.buffer`), it then shows the next episode's beginning.
"""

import warnings
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np

_ALIKE = 10  # ends in a row; that many by chance are rare


class CopiesEnd:
    """The `step` of one environment, of which an episode's last observation is a copy.

    It takes the place of the method in the instance, so that the environment keeps its class, its
    attributes and its place among wrappers, and can be copied and pickled as before.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        self.env, self.own = env, vars(env).get("step")

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.own is None:
            told = type(self.env).step(self.env, *given, **named)
        else:  # somebody had put it there before
            told = self.own(*given, **named)
        if len(told) == 5 and (told[2] or told[3]):
            return deepcopy(told[0]), *told[1:]
        return told


def save_ends(envs: Any) -> bool:
    """Let each of `envs`, those of a vector in this process, hand on copies of its last
    observations. Return whether there were any; those in other processes are None here."""
    given = envs if isinstance(envs, list | tuple) else ()
    saved = [each for each in given if isinstance(each, gymnasium.Env)]
    for env in saved:
        if not isinstance(vars(env).get("step"), CopiesEnd):
            setattr(env, "step", CopiesEnd(env))  # noqa: B010  (a method, for type checkers)
    return len(saved) == len(given) > 0


class Suspicion:
    """Whether last observations seem to have been written over where nobody could copy them.

    It cannot be known: an episode may end where the next one begins. So a warning is given where
    that was so ten times in a row, and each time somewhere else than a step before.
    """

    def __init__(self, name: str, saved: bool) -> None:
        self.name, self.alike, self.open = name, 0, not saved

    def look(self, before: np.ndarray, last: np.ndarray, first: np.ndarray) -> None:
        """Compare an episode's last observation with the one `before` and the next one's first."""
        if not self.open or np.array_equal(before, last):
            return
        self.open, self.alike = np.array_equal(last, first), self.alike + 1
        if self.open and self.alike == _ALIKE:
            self.open = False
            warnings.warn(
                f"{self.name}: {_ALIKE} episodes in a row seem to have ended where the next one "
                "began. If they do not, the environment writes over the observations that it has "
                "returned, and nobody learns where episodes end: let it return copies.",
                stacklevel=5,
            )

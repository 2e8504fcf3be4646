"""maps.npz of environments without a view: a sample of where each seed went, for projections."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from explorax.core.protocols import Env, Rollout
from explorax.run.directory import RunDirectory, write_arrays

FEWEST_DIMENSIONS = 3  # what has fewer can be looked at as it is
MOST_POINTS = 4096  # of each seed in each phase
_MOST_NUMBERS = 500_000  # the same, of the points' coordinates together


def can_be_projected(env: Env) -> bool:
    """Return whether to sample observations: vectors of numbers, from Python, without a view."""
    spec = env.spec
    numbers = len(spec.obs.shape) == 1 and spec.obs.dtype == "float32" and not spec.obs.one_hot
    many = math.prod(spec.obs.shape) >= FEWEST_DIMENSIONS
    return not env.traceable and spec.view is None and numbers and many


class Visited:
    """Collects a uniform sample of the states that each seed arrived at, anew in each phase.

    `state` goes into the checkpoint. A reservoir (Vitter 1985, algorithm R): of n states seen, each
    is in the sample of K with probability K / n.
    """

    def __init__(self, dimensions: int, seeds: Sequence[int], ends: Sequence[int]) -> None:
        self._ends, self._seeds = tuple(ends), tuple(seeds)
        count = max(1, min(MOST_POINTS, _MOST_NUMBERS // dimensions))
        shape = (len(ends), len(seeds))
        self.state: dict[str, np.ndarray] = {
            "points": np.zeros((*shape, count, dimensions), np.float32),
            "seen": np.zeros(shape, np.int64),
            "phase_env_steps": np.zeros(len(ends), np.int64),
        }

    def see(self, row: int, rollout: Rollout) -> None:
        """Note the states of one seed's rollout [T, E]."""
        phase = int(np.count_nonzero(self.state["phase_env_steps"]))
        points, seen = self.state["points"][phase, row], int(self.state["seen"][phase, row])
        states = np.asarray(rollout.next_obs).reshape(-1, points.shape[1])
        order = np.arange(seen, seen + len(states))
        # drawn from where the run stands alone, so that a resumed run needs no generator's state
        draws = np.random.default_rng((self._seeds[row], phase, seen)).random(len(states))
        places = np.where(order < len(points), order, (draws * (order + 1)).astype(np.int64))
        kept = places < len(points)
        points[places[kept]] = states[kept]  # of two for one place the later stays
        self.state["seen"][phase, row] = seen + len(states)

    def ends_phase(self, chunk: int) -> bool:
        return chunk in self._ends

    def record(self, chunk: int, env_steps: int, *_: Any) -> None:
        """Begin the next phase."""
        self.state["phase_env_steps"][self._ends.index(chunk)] = env_steps

    def write(self, directory: RunDirectory, chunk: int) -> None:
        """Write the phases that are over."""
        over = sum(end <= chunk for end in self._ends)
        write_arrays(directory.maps, {name: value[:over] for name, value in self.state.items()})

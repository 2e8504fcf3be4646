"""Visit counts of hash codes, for observations of any kind."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.ops import counting, hashing
from explorax.ops import frame as frames

_FURTHEST = 10.0  # deviations, or half ranges: an outlier must not drown the other coordinates


@pytree
class HashCountState:
    """How often each code was visited, and what makes codes of observations."""

    counts: Any  # int32 [2^bits]
    projection: Any  # float32 [D + 1, bits], drawn once; the last row meets the constant 1
    frame: frames.Frame  # g but for its constant, doubled and less 1
    seen: Any  # int32 [], codes with a count above 0


@dataclass(frozen=True)
class HashCount:
    """Pays β/√n(φ(s')), n the visits to all states of the same SimHash code, this one included.

    φ(s) = sgn(A g(s)) with A drawn once from the standard normal (Tang et al. 2017, arXiv
    1611.04717, Sec. 2.1; Charikar 2002): near states mostly share a code, and more bits make finer
    cells. n is exact in time order, as in `Count`. A replayed row is paid by the counts as they
    are now, changing none.

    g must never change, or old counts would be those of other states: no moving moments. So each
    coordinate is scaled to [−1, 1] by its bounds. Those without bounds are standardised by the
    moments of the first rollouts, until `scale_env_steps` steps were seen, which then stay as they
    are; until then nothing is counted and nothing paid. One-hot codes are taken as they are.

    Deviations: g(s) ends with a constant 1, so that the cells are cut by planes anywhere in space
    and are not cones from the origin. Each code has a count of its own, where the authors' code
    folds 128 bits into six tables of prime sizes and takes the smallest of six counts. It hashes
    what the environment shows as it is, and counts a whole batch before it pays (Algorithm 1).
    """

    beta: float = 0.1  # β, what a first visit is paid
    bits: int = 16  # of a code: finer cells, and a table of 2^bits counts of 4 bytes
    power: float = 0.5  # of n: 0.5 pays β/√n, 1 pays β/n
    scale_env_steps: int = 1_000  # that only set the scale, where a coordinate has no bounds

    replayable = True

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.beta < math.inf, self, "beta", "at least 0 and finite")
        require(1 <= self.bits <= 24, self, "bits", "in 1 .. 24 (the table has 2^bits counts)")
        require(0 < self.power < math.inf, self, "power", "above 0 and finite")
        require(self.scale_env_steps >= 1, self, "scale_env_steps", "at least 1")

    def init(self, key: Key, spec: Spec) -> HashCountState:
        """Return the state before the first visit."""
        box, size = spec.obs, math.prod(spec.obs.shape)
        if box.one_hot is not None:
            box = Box(box.shape, -1.0, 1.0)  # codes are taken as they are
        return HashCountState(
            counts=jnp.zeros(2**self.bits, jnp.int32),
            projection=jax.random.normal(key, (size + 1, self.bits)),
            frame=frames.frame_of(box, reach=1.0),
            seen=jnp.int32(0),
        )

    def score(
        self, state: HashCountState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, HashCountState]:
        """Return (bonus [T, E], state with these visits counted, or looked at for the scale)."""
        ready = self._ready(state)
        nowhere = state.counts.size
        codes = jnp.where(ready, self._codes(state, rollout), nowhere)
        counts, table = counting.visit(state.counts, codes)
        paid = jnp.where(ready, counting.payment(counts, self.beta, self.power), 0.0)
        new = ready & (counts == 1)
        frame = frames.look(state.frame, _flat(rollout), self.scale_env_steps)
        seen = state.seen + new.sum(dtype=jnp.int32)
        return paid, replace(state, counts=table, frame=frame, seen=seen)

    def update(
        self, state: HashCountState, key: Key, rollout: Rollout
    ) -> tuple[HashCountState, Metrics]:
        """Return (state, {"seen": how many different codes were ever visited})."""
        return state, {"seen": state.seen}

    def rescore(self, state: HashCountState, key: Key, rows: Rollout) -> jax.Array:
        """Return β/√n [N] by the counts as they are."""
        counts = state.counts[self._codes(state, rows)]
        paid = counting.payment(counts, self.beta, self.power)
        return jnp.where(self._ready(state), paid, 0.0)

    def _ready(self, state: HashCountState) -> jax.Array:
        """Return whether g is settled, bool []."""
        return frames.is_settled(state.frame, self.scale_env_steps)

    def _codes(self, state: HashCountState, rows: Rollout) -> jax.Array:
        """Return the codes of the states arrived at, int32 with the axes of the reward."""
        scaled = 2.0 * frames.place(state.frame, _flat(rows)) - 1.0
        scaled = jnp.clip(scaled, -_FURTHEST, _FURTHEST)
        constant = jnp.ones((*rows.reward.shape, 1))
        return hashing.simhash(state.projection, jnp.concatenate([scaled, constant], axis=-1))


def _flat(rows: Rollout) -> jax.Array:
    """Return the states arrived at as [..., D] with the axes of the reward."""
    return rows.next_obs.reshape(*rows.reward.shape, -1).astype(jnp.float32)

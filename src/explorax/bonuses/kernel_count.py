"""How new features are within their episode, by the nearest neighbours among those before.

Not a bonus: what NGU and RIDE have in common.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from explorax.core.errors import require
from explorax.core.pytree import pytree
from explorax.encoders.encoder import Pairs
from explorax.ops import episodic, knn


@pytree
class KernelState:
    trail: episodic.Trail  # features [E, C, F]
    distance: Any  # d_m² [], the running mean
    weight: Any  # float32 [], distances that it is the mean of, less what was forgotten


@dataclass(frozen=True)
class KernelCount:
    """1/√N̂(s') of the episode under way, N̂ a kernel's count (Badia et al. 2020, arXiv 2002.06038,
    Eq. 2 and 3 and Algorithm 1).

    The k nearest φ_i in the episode's memory have squared distances d_i², d_m² is the running mean
    of all such distances, and

        K_i = ε/(max(d_i²/d_m² − ξ, 0) + ε),    s = √Σ_i K_i + c,

    which is paid as 1/s, or 0 for s above `max_similarity`. The fields are those of `NGU`, where
    they are documented.
    """

    k: int = 10
    capacity: int = 1000
    epsilon: float = 1e-3
    cluster_distance: float = 0.008
    constant: float = 1e-3
    max_similarity: float = 8.0
    horizon: int = 100_000

    def validate(self, owner: object) -> None:
        """Raise InvalidSetting, in the name of `owner`, for a field that cannot be."""
        self.check_neighbours(owner)
        for name in ("epsilon", "constant", "max_similarity"):
            require(0 < getattr(self, name) < float("inf"), owner, name, "positive and finite")
        require(self.cluster_distance >= 0, owner, "cluster_distance", "at least 0")
        require(self.horizon >= 1, owner, "horizon", "at least 1")

    def check_neighbours(self, owner: object) -> None:
        """Raise InvalidSetting, in the name of `owner`, for more neighbours than fit."""
        require(self.capacity >= 1, owner, "capacity", "at least 1")
        require(self.k >= 1, owner, "k", "at least 1")
        room = f"at most capacity={self.capacity}, the observations that are remembered"
        require(self.k <= self.capacity, owner, "k", room)

    def init(self, num_envs: int, features: int) -> KernelState:
        row = jax.ShapeDtypeStruct((features,), jnp.float32)
        trail = episodic.empty(num_envs, self.capacity, row)
        return KernelState(trail, jnp.float32(0), jnp.float32(0))

    def novelty(
        self, state: KernelState, pairs: Pairs, first: Bool[Array, "T E"]
    ) -> tuple[Float[Array, "T E"], KernelState]:
        """Return (1/s [T, E], 0 where the successor is not known, and the state)."""
        line, seen, trail = episodic.remember(state.trail, pairs.before, first)

        def distances(memory: Any, begin: Any, end: Any, queries: Any) -> jax.Array:
            def allowed(row: jax.Array, place: jax.Array) -> jax.Array:
                return (place >= begin[row]) & (place < end[row])

            return knn.nearest(queries, memory, self.k, allowed)[0]

        squared = episodic.over_memories(distances, line, seen, pairs.after)
        squared = jnp.swapaxes(squared, 0, 1)  # [T, E, k]; inf where there are fewer than k
        found = jnp.isfinite(squared) & pairs.known[..., None]
        mean, weight = self._running_mean(state, jnp.where(found, squared, 0.0), found)
        ratio = jnp.where(mean > 0, squared / jnp.where(mean > 0, mean, 1.0), 0.0)
        far = jnp.maximum(ratio - self.cluster_distance, 0.0)
        kernel = jnp.where(found, self.epsilon / (far + self.epsilon), 0.0)
        similarity = jnp.sqrt(kernel.sum(-1)) + self.constant
        paid = jnp.where(pairs.known & (similarity <= self.max_similarity), 1.0 / similarity, 0.0)
        return paid, KernelState(trail, mean[-1, 0, 0], weight)

    def _running_mean(
        self, state: KernelState, squared: jax.Array, found: jax.Array
    ) -> tuple[Float[Array, "T 1 1"], Float[Array, ""]]:
        """Return (d_m² [T, 1, 1] of all until each step, and what the last one weighs).

        The step's own distances are counted first, as in Algorithm 1.
        """
        rows = squared.shape[0] * squared.shape[1]
        before = state.weight * max(0.0, 1.0 - rows / self.horizon)
        weight = before + jnp.cumsum(found.sum((1, 2), dtype=jnp.int32)).astype(jnp.float32)
        total = state.distance * before + jnp.cumsum(squared.sum((1, 2)))
        mean = jnp.where(weight > 0, total / jnp.maximum(weight, 1.0), state.distance)
        return mean[:, None, None], weight[-1]

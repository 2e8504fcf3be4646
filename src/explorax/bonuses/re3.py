"""Random encoders for efficient exploration (Seo et al. 2021, arXiv 2102.09430)."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders import RandomEncoder
from explorax.encoders.encoder import Encoder
from explorax.ops import hashing, knn, replay

NOWHERE = -1  # the place in memory of a row that is not there


@pytree
class RE3State:
    encoder: Any
    memory: replay.Ring  # {"feature": [M, F], "code": [M] of the observation, "known": [M]}
    learnt: Any  # bool [], whether the encoder has seen a rollout


@dataclass(frozen=True)
class RE3:
    """Pays log(1 + ‖y − y_k‖₂), with y = f(s') and y_k its k-th nearest neighbour among the last
    `memory_size` successors of all environments, the rollout under way included.

    The distance to the k-th neighbour estimates the entropy of the states one visits, and the sum
    of its logarithms is what one wants large (Seo et al. 2021, arXiv 2102.09430, Eq. 3 to 5). f is
    a random network that is not trained. The reward does not fade as training goes on, unless the
    k nearest are the same observation again.

    The row itself is not its neighbour. A replayed row is compared with the memory as it is now,
    less one row of the very same observation: itself, if it is still remembered. That takes a
    product of the minibatch and the memory each time; keep `memory_size` small for DQN. Nothing is
    paid while there are fewer than k others. What was encoded before there were any moments of
    observations, in the first rollout, is forgotten after it.

    Deviations from the paper: on-policy, neighbours are looked for in the memory and not in the
    batch alone; features are not divided by their deviation.
    """

    encoder: Encoder = field(default=RandomEncoder())  # f
    k: int = 3  # which neighbour
    memory_size: int = 5000  # the cost of a row follows it

    def __post_init__(self) -> None:
        check_types(self)
        require(self.k >= 1, self, "k", "at least 1")
        room = f"below memory_size={self.memory_size}: a row is not its own neighbour"
        require(self.k < self.memory_size, self, "k", room)

    @property
    def replayable(self) -> bool:
        return self.encoder.replayable

    def init(self, key: Key, spec: Spec) -> RE3State:
        row = {
            "feature": jax.ShapeDtypeStruct((self.encoder.size(spec),), jnp.float32),
            "code": jax.ShapeDtypeStruct((), jnp.uint32),
            "known": jax.ShapeDtypeStruct((), jnp.bool_),
        }
        memory = replay.empty(row, self.memory_size)
        return RE3State(self.encoder.init(key, spec), memory, jnp.bool_(False))

    def score(self, state: RE3State, key: Key, rollout: Rollout) -> tuple[jax.Array, RE3State]:
        rows = self._rows(state, rollout)
        memory, count = replay.add(state.memory, rows), rollout.reward.size
        order = jnp.arange(count, dtype=jnp.int32)
        # Of more rows than fit, the first ones are not remembered.
        place = (state.memory.index + order) % self.memory_size
        own = jnp.where(order >= count - self.memory_size, place, NOWHERE)
        paid = self._paid(memory, rows, own).reshape(rollout.reward.shape)
        return paid, replace(state, memory=memory)

    def update(self, state: RE3State, key: Key, rollout: Rollout) -> tuple[RE3State, Metrics]:
        encoder, metrics = self.encoder.update(state.encoder, key, rollout)
        memory = state.memory
        memory = replace(memory, count=jnp.where(state.learnt, memory.count, 0))
        metrics = {**metrics, "remembered": memory.count.astype(jnp.float32)}
        return RE3State(encoder, memory, jnp.bool_(True)), metrics

    def rescore(self, state: RE3State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        queries, memory = self._rows(state, rows), state.memory
        same = queries["code"][:, None] == memory.data["code"][None]
        own = jnp.where(same & self._usable(memory)[None], jnp.arange(self.memory_size)[None], -1)
        return self._paid(memory, queries, own.max(1))

    def _rows(self, state: RE3State, rows: Rollout) -> dict[str, jax.Array]:
        """Return what is remembered of the successors [N] of a rollout or of rows."""
        lead, pairs = rows.reward.shape, self.encoder.pairs(state.encoder, rows)
        code = hashing.exact_code(rows.next_obs.reshape(*lead, -1))
        found = {"feature": pairs.after, "code": code, "known": pairs.known}
        return {name: leaf.reshape(-1, *leaf.shape[len(lead) :]) for name, leaf in found.items()}

    def _usable(self, memory: replay.Ring) -> jax.Array:
        """Return which places [M] of the memory hold a successor."""
        age = (memory.index - 1 - jnp.arange(self.memory_size, dtype=jnp.int32)) % self.memory_size
        return (age < memory.count) & memory.data["known"]

    def _paid(
        self, memory: replay.Ring, queries: dict[str, jax.Array], own: jax.Array
    ) -> jax.Array:
        """Return the bonus [N] of rows that are themselves at the places `own` [N]."""
        squared, _ = knn.nearest(
            queries["feature"],
            memory.data["feature"],
            self.k,
            lambda row, place: place != own[row],
            self._usable(memory),
        )
        farthest = squared[:, -1]
        some = queries["known"] & jnp.isfinite(farthest)
        return jnp.where(some, jnp.log1p(jnp.sqrt(jnp.where(some, farthest, 0.0))), 0.0)

"""Rewarding impact-driven exploration (Raileanu & Rocktäschel 2020, arXiv 2002.12292)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.curiosity import CuriosityModel, check_model, model_of
from explorax.bonuses.kernel_count import KernelCount
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.inverse_encoder import InverseState
from explorax.ops import episodic, hashing

COUNTS = ("exact", "kernel")


@pytree
class RIDEState:
    model: InverseState
    episode: Any  # a Trail of codes, or a KernelState


@dataclass(frozen=True)
class RIDE:
    """Pays ‖φ(s') − φ(s)‖₂/√N(s'), the change that the action made, less where one has been.

    φ is learnt as ICM's, by an inverse and a forward model together; N(s') is how often the episode
    has been at s', this time too (Raileanu & Rocktäschel 2020, arXiv 2002.12292, Sec. 4). Dividing
    by it keeps the agent from going back and forth between two states far apart.

    `count="exact"` takes equal observations for the same state and the episode's first observation
    for a visit, so N = 1 at what the episode had not shown before. Where no observation comes
    twice, "kernel" pays ‖φ(s') − φ(s)‖₂/s, with s the similarity of NGU to the `k` nearest features
    of the episode and NGU's constants, as rllte does. Of an episode longer than `capacity` the
    oldest observations are forgotten. The first rollout, which finds an untrained φ, is paid
    nothing.

    Deviations from the authors' code (facebookresearch/impact-driven-exploration): an episode's
    first observation is counted, there the counts are emptied after it; observations are
    standardised; ICM's weights of the losses, where theirs are 10 for the forward and 0.1 for the
    inverse one (forward_weight=0.99). Their coefficient is a wrapper, Scale(RIDE(), 0.5).
    """

    features: int = 64  # of φ
    hidden: tuple[int, ...] = (64,)  # of the encoder, the inverse and the forward model
    forward_weight: float = 0.2  # β, of the forward loss; the inverse one's is 1 − β
    forward_trains_encoder: bool = True  # False: φ learns from the inverse model alone
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    standardize: bool = True  # observations, by the moments of all so far
    clip: float = 5.0  # of observations, in deviations
    count: str = "exact"  # or "kernel", for observations that never come twice
    capacity: int = 1000  # observations of an episode that are remembered, per environment
    k: int = 10  # nearest neighbours, for "kernel"

    def __post_init__(self) -> None:
        check_types(self)
        check_model(self)
        require(self.count in COUNTS, self, "count", f"one of {COUNTS}")
        require(self.capacity >= 1, self, "capacity", "at least 1")
        if self.count == "kernel":
            self._kernel.check_neighbours(self)

    @property
    def _model(self) -> CuriosityModel:
        return model_of(self)

    @property
    def _kernel(self) -> KernelCount:
        return KernelCount(k=self.k, capacity=self.capacity)

    @property
    def replayable(self) -> bool:
        return False

    def init(self, key: Key, spec: Spec) -> RIDEState:
        if self.count == "kernel":
            episode = self._kernel.init(spec.num_envs, self.features)
        else:
            code = jax.ShapeDtypeStruct((), jnp.uint32)
            episode = episodic.empty(spec.num_envs, self.capacity, code)
        return RIDEState(self._model.init(key, spec), episode)

    def score(self, state: RIDEState, key: Key, rollout: Rollout) -> tuple[jax.Array, RIDEState]:
        pairs, first = self._model.encoder.pairs(state.model, rollout), rollout.first
        if self.count == "kernel":
            share, episode = self._kernel.novelty(state.episode, pairs, first)
        else:
            before, after = (
                hashing.exact_code(obs.reshape(*first.shape, -1))
                for obs in (rollout.obs, rollout.next_obs)
            )
            visits, episode = episodic.visits(state.episode, before, after, first)
            share = jax.lax.rsqrt(visits.astype(jnp.float32))
        impact = jnp.sqrt(jnp.square(pairs.after - pairs.before).sum(-1))
        paid = jnp.where(self._model.ready(state.model), impact * share, 0.0)
        return paid, RIDEState(state.model, episode)

    def update(self, state: RIDEState, key: Key, rollout: Rollout) -> tuple[RIDEState, Metrics]:
        model, metrics = self._model.update(state.model, key, rollout)
        return replace(state, model=model), metrics

    def rescore(self, state: RIDEState, key: Key, rows: Rollout) -> jax.Array:
        return rows.bonus  # what the episode had shown by then is gone

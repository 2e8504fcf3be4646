"""Random Fourier features: a Gaussian kernel over observations as a linear layer."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.encoder import Pairs, observed_size, seen_pairs
from explorax.ops import moments, reservoir
from explorax.ops.cosine import cosine_of_turns
from explorax.ops.median import median

SAMPLE = 256  # observations of all times, whose distances are measured
SMALLEST = 1e-3  # lengthscale in standard deviations; a group that never varied has none


@pytree
class FourierState:
    frequencies: Any  # [F, D], N(0, 1) where a feature looks at a dimension, else 0
    phases: Any  # [F], in turns, uniform in [0, 1)
    moments: Any  # of observations
    distances: Any  # [F], median distance in the dimensions that a feature looks at
    sample: reservoir.Reservoir  # of observations so far, flat


@dataclass(frozen=True)
class Fourier:
    """Gives √(2/F) cos(ωᵀx/ℓ + b), whose products are a Gaussian kernel (Rahimi & Recht 2007,
    "Random Features for Large-Scale Kernel Machines", Alg. 1).

    ω ~ N(0, I) and b ~ U[0, 2π). ℓ is `lengthscale` times the median distance of two observations,
    in standard deviations (the median heuristic). With `interactions` the kernel is additive
    (Duvenaud et al. 2011, arXiv 1112.4394): each feature looks at that many dimensions, drawn at
    random, and the features take turns with the entries of a tuple. What is noise in one dimension
    is then learned by itself, where a joint kernel takes each pair of a state and a noisy number
    for new. 0 stands for all dimensions.
    """

    features: int = 128  # F
    interactions: tuple[int, ...] = (1, 2)  # dimensions a feature looks at, in turn; 0: all
    lengthscale: float = 1.0  # of the kernel, in median distances
    clip: float = 10.0  # of observations, in standard deviations

    def __post_init__(self) -> None:
        check_types(self)
        require(self.features >= 1, self, "features", "at least 1")
        some = bool(self.interactions) and all(order >= 0 for order in self.interactions)
        require(some, self, "interactions", "a tuple of whole numbers from 0, such as (1, 2)")
        for field in ("lengthscale", "clip"):
            require(0 < getattr(self, field) < float("inf"), self, field, "positive and finite")

    @property
    def replayable(self) -> bool:
        return True

    @property
    def drift(self) -> str:
        return "settles"

    def size(self, spec: Spec) -> int:
        return self.features

    def init(self, key: Key, spec: Spec) -> FourierState:
        size = observed_size(spec)
        key_frequency, key_phase, key_dimension = jax.random.split(key, 3)
        order = jax.vmap(lambda key: jax.random.permutation(key, size))(
            jax.random.split(key_dimension, self.features)
        )
        wanted = jnp.asarray(
            [self.interactions[f % len(self.interactions)] or size for f in range(self.features)]
        )
        looked_at = order < wanted[:, None]  # each row of `order` ranks the dimensions anew
        frequencies = jax.random.normal(key_frequency, (self.features, size))
        return FourierState(
            frequencies=jnp.where(looked_at, frequencies, 0.0),
            phases=jax.random.uniform(key_phase, (self.features,)),
            moments=moments.empty(spec.obs.shape),
            distances=jnp.ones(self.features),
            sample=reservoir.empty(jax.ShapeDtypeStruct((size,), jnp.float32), SAMPLE),
        )

    def pairs(self, state: FourierState, rollout: Rollout) -> Pairs:
        lead = rollout.reward.shape
        before, after = seen_pairs(state.moments, rollout, True, self.clip)
        features = (self._features(state, seen.reshape(*lead, -1)) for seen in (before, after))
        return Pairs(*features, known=jnp.ones(lead, bool))

    def _features(self, state: FourierState, x: Float[Array, "... D"]) -> Float[Array, "... F"]:
        length = self.lengthscale * jnp.maximum(state.distances, SMALLEST)
        lead, per_turn = (1,) * (x.ndim - 1), 2 * math.pi * length[:, None]
        turns = x @ (state.frequencies / per_turn).T + state.phases.reshape(*lead, -1)
        return math.sqrt(2 / self.features) * cosine_of_turns(turns)

    def update(
        self, state: FourierState, key: Key, rollout: Rollout
    ) -> tuple[FourierState, Metrics]:
        seen = moments.update(state.moments, rollout.next_obs)
        key_sample, key_pairs = jax.random.split(key)
        rows = rollout.next_obs.reshape(rollout.reward.size, -1).astype(jnp.float32)
        sample = reservoir.add(state.sample, key_sample, rows)
        held = jnp.minimum(sample.seen, SAMPLE).astype(jnp.int32)
        # two different ones of those held, where there are two
        first = jax.random.randint(key_pairs, (SAMPLE,), 0, held)
        apart = jax.random.randint(jax.random.fold_in(key_pairs, 1), (SAMPLE,), 1, held)
        second = (first + apart) % held
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1) if leaf.ndim else leaf, seen)
        x = moments.standardise(flat, sample.rows, self.clip)
        looked_at = (state.frequencies != 0).astype(jnp.float32)
        squared = jnp.square(x[first] - x[second]) @ looked_at.T
        distances = jnp.sqrt(jax.vmap(median, in_axes=1)(squared))
        return replace(state, moments=seen, distances=distances, sample=sample), {}

"""Exploration via elliptical episodic bonuses (Henaff et al. 2022, arXiv 2210.05805)."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.encoders import InverseEncoder
from explorax.encoders.encoder import Encoder
from explorax.ops import elliptical

MOST_FEATURES = 2048  # a matrix of so many rows and columns for each environment is 17 MB


@pytree
class E3BState:
    encoder: Any
    root: Any  # S [E, F, F] with S Sᵀ = C⁻¹, of the episodes under way


@dataclass(frozen=True)
class E3B:
    """Pays φ(s')ᵀ C⁻¹ φ(s'), with C = Σ φφᵀ + ridge · I over what the episode has shown until then
    (Henaff et al. 2022, arXiv 2210.05805, Eq. 2 and 3).

    In a finite world with one-hot features it is 1/(N + ridge), N the visits to s' before in the
    episode: a count that also works where no state comes twice. The features of an episode under
    way are kept as they were; those of the first rollout, which finds no moments of observations,
    stay in C until its episode ends, which is harmless.

    C begins anew with each episode and holds the episode's first observation, as in the authors'
    code (facebookresearch/e3b), so that staying there is not new. Deviations from that code: s' is
    paid for in the step that leads there, theirs in the step after; and a root of C⁻¹ is updated
    instead of C⁻¹, which float32 does not keep positive (`ops.elliptical`). The paper's normaliser
    is a wrapper: RunningStd(E3B()).
    """

    encoder: Encoder = field(default=InverseEncoder())  # φ
    ridge: float = 0.1  # the first visit pays ‖φ‖²/ridge

    def __post_init__(self) -> None:
        check_types(self)
        require(0 < self.ridge < float("inf"), self, "ridge", "positive and finite")

    @property
    def replayable(self) -> bool:
        return False

    def init(self, key: Key, spec: Spec) -> E3BState:
        features = self.encoder.size(spec)
        if features > MOST_FEATURES:
            raise Incompatible(
                f"E3B keeps a matrix of features × features for each environment, and {features:,} "
                f"features are more than {MOST_FEATURES:,}. Use an encoder with fewer: "
                f"E3B(InverseEncoder(features=64)), E3B(RandomEncoder(features=64))."
            )
        root = elliptical.fresh(features, self.ridge)
        roots = jnp.broadcast_to(root[None], (spec.num_envs, features, features))
        return E3BState(self.encoder.init(key, spec), roots)

    def score(self, state: E3BState, key: Key, rollout: Rollout) -> tuple[jax.Array, E3BState]:
        pairs = self.encoder.pairs(state.encoder, rollout)
        visited = jnp.where(pairs.known[..., None], pairs.after, 0.0)
        bonus, root = elliptical.episodic(
            state.root, pairs.before, visited, rollout.first, self.ridge
        )
        return bonus, E3BState(state.encoder, root)

    def update(self, state: E3BState, key: Key, rollout: Rollout) -> tuple[E3BState, Metrics]:
        encoder, metrics = self.encoder.update(state.encoder, key, rollout)
        # Σ λ/(λ + ridge) over the eigenvalues λ of Σ φφᵀ: how many directions were seen.
        inverse_trace = jnp.square(state.root).sum((1, 2))
        directions = state.root.shape[-1] - self.ridge * inverse_trace
        metrics = {**metrics, "directions_seen": directions.mean()}
        return E3BState(encoder, state.root), metrics

    def rescore(self, state: E3BState, key: Key, rows: Rollout) -> jax.Array:
        return rows.bonus  # what the episode had shown by then is gone

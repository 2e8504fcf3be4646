"""Never give up (Badia et al. 2020, arXiv 2002.06038)."""

from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses.kernel_count import KernelCount, KernelState
from explorax.bonuses.rnd import RND
from explorax.core.errors import require
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.encoders import InverseEncoder
from explorax.encoders.encoder import Encoder
from explorax.ops import moments
from explorax.ops.moments import Moments


@pytree
class NGUState:
    encoder: Any
    kernel: KernelState
    lifelong: Any
    paid: Moments  # of what `lifelong` paid


@dataclass(frozen=True)
class NGU:
    """Pays the novelty of s' within the episode, times 1 to L where it is new over the training.

    r = 1/s · min{max{1 + (e − μ)/σ, 1}, L} (Badia et al. 2020, arXiv 2002.06038, Eq. 1 to 3 and
    Algorithm 1). s is the similarity of φ(s') to its k nearest neighbours among the observations of
    the episode until then, the first one included; e is what `lifelong` pays, μ and σ its running
    mean and deviation, the rollout under way counted. NGU(lifelong=NoBonus()) is the part within
    the episode alone, and a rollout that `lifelong` pays nothing for (RND's first) is not counted.

        s = √Σ_i K_i + c,    K_i = ε/(max(d_i²/d_m² − ξ, 0) + ε),    r = 0 for s > max_similarity

    d_i are Euclidean distances and d_m² the running mean of the d_i² of all neighbours. Where the
    episode is younger than k steps there are fewer neighbours, and the bonus is larger for it. Of
    an episode longer than `capacity` the oldest observations are forgotten.

    Deviations from the paper: one d_m² for all environments; running means are taken over the last
    `horizon` steps or so, since the features drift as the encoder learns; a memory of 1,000 instead
    of 30,000. The agent's part of the paper (many policies in one network) is not here.
    """

    encoder: Encoder = field(default=InverseEncoder())  # φ, the controllable state
    lifelong: Bonus = field(default=RND())  # e; NoBonus(): only what is new within the episode
    k: int = 10  # nearest neighbours
    capacity: int = 1000  # observations of an episode that are remembered, per environment
    epsilon: float = 1e-3  # ε; larger counts more of the far neighbours
    cluster_distance: float = 0.008  # ξ; nearer than this, in units of d_m², is the same place
    constant: float = 1e-3  # c; 1/c is the most that is paid
    max_similarity: float = 8.0  # above it nothing is paid; only k > 63 can get there
    max_lifelong: float = 5.0  # L
    horizon: int = 100_000  # env steps that the running means are taken over

    def __post_init__(self) -> None:
        check_types(self)
        self._kernel.validate(self)
        require(1 <= self.max_lifelong < float("inf"), self, "max_lifelong", "at least 1, finite")

    @property
    def _kernel(self) -> KernelCount:
        return KernelCount(**{f.name: getattr(self, f.name) for f in fields(KernelCount)})

    @property
    def replayable(self) -> bool:
        return False

    def init(self, key: Key, spec: Spec) -> NGUState:
        key_encoder, key_lifelong = jax.random.split(key)
        return NGUState(
            encoder=self.encoder.init(key_encoder, spec),
            kernel=self._kernel.init(spec.num_envs, self.encoder.size(spec)),
            lifelong=self.lifelong.init(key_lifelong, spec),
            paid=moments.empty(()),
        )

    def score(self, state: NGUState, key: Key, rollout: Rollout) -> tuple[jax.Array, NGUState]:
        pairs = self.encoder.pairs(state.encoder, rollout)
        novelty, kernel = self._kernel.novelty(state.kernel, pairs, rollout.first)
        paid, lifelong = self.lifelong.score(state.lifelong, key, rollout)
        kept = moments.forget(state.paid, max(0.0, 1.0 - paid.size / self.horizon))
        counts = (paid != 0).any()
        seen = jax.tree.map(
            lambda new, old: jnp.where(counts, new, old), moments.update(kept, paid), state.paid
        )
        factor = 1.0 + (paid - seen.mean) / moments.std(seen)
        factor = jnp.where(counts, jnp.clip(factor, 1.0, self.max_lifelong), 1.0)
        return novelty * factor, NGUState(state.encoder, kernel, lifelong, seen)

    def update(self, state: NGUState, key: Key, rollout: Rollout) -> tuple[NGUState, Metrics]:
        key_encoder, key_lifelong = jax.random.split(key)
        encoder, metrics = self.encoder.update(state.encoder, key_encoder, rollout)
        lifelong, of_lifelong = self.lifelong.update(state.lifelong, key_lifelong, rollout)
        metrics = {
            **metrics,
            "squared_distance": state.kernel.distance,
            "lifelong_mean": state.paid.mean,
            **{f"lifelong/{name}": value for name, value in of_lifelong.items()},
        }
        return NGUState(encoder, state.kernel, lifelong, state.paid), metrics

    def rescore(self, state: NGUState, key: Key, rows: Rollout) -> jax.Array:
        return rows.bonus  # what the episode had shown by then is gone

"""Disagreement of an ensemble of forward models (Pathak et al. 2019, arXiv 1906.04161)."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.encoders import RandomEncoder
from explorax.encoders.encoder import Encoder, Pairs, action_code, action_size
from explorax.nets import ensemble, fitting


@pytree
class DisagreementState:
    encoder: Any
    trained: fitting.Trained  # leaves [K, ...]
    updates: Any  # int32 [], rollouts learnt from


@dataclass(frozen=True)
class Disagreement:
    """Pays the mean over features of Var_k f_k(φ(s), a), how far K forward models are apart.

    Each f_k learns to predict φ(s') (Pathak et al. 2019, arXiv 1906.04161, Eq. 1; the variance is
    the population's). Models of the same data agree where there was enough of it, also about what
    is random: unlike prediction error, disagreement about a noisy television fades, as all models
    come to predict its mean.

    The models differ by how they start and, with `bootstrap`, by what they see: each draws its own
    rows, `batch_size` of them in all. (The authors' code drops a fifth of each model's losses.)

    Raw variances fall as the models learn: wrap in `RunningStd` or `RunningMean`. The first rollout
    finds untrained models and is paid nothing. Rows without a known successor (`AgentLatent`, where
    an episode ends) are neither paid nor learnt from: no model would ever come to agree on them.
    """

    encoder: Encoder = field(default=RandomEncoder())  # φ
    models: int = 4  # K
    hidden: tuple[int, ...] = (64,)  # of each model
    bootstrap: bool = True  # each model draws its own rows; False: all see the same
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # with bootstrap shared out among the models
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout

    def __post_init__(self) -> None:
        check_types(self)
        require(self.models >= 2, self, "models", "at least 2: one alone never disagrees")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        for name in ("learning_rate", "updates_per_step"):
            require(0 < getattr(self, name) < float("inf"), self, name, "positive and finite")
        enough = self.batch_size >= (self.models if self.bootstrap else 1)
        require(enough, self, "batch_size", "at least 1, and with bootstrap one for each model")

    @property
    def replayable(self) -> bool:
        return self.encoder.replayable

    def _ensemble(self, features: int) -> ensemble.Ensemble:
        return ensemble.Ensemble(self.models, self.hidden, features)

    def init(self, key: Key, spec: Spec) -> DisagreementState:
        key_encoder, key_models = jax.random.split(key)
        features = self.encoder.size(spec)
        params = self._ensemble(features).init(key_models, features + action_size(spec))
        return DisagreementState(
            encoder=self.encoder.init(key_encoder, spec),
            trained=fitting.start(params, self.learning_rate),
            updates=jnp.int32(0),
        )

    def score(
        self, state: DisagreementState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, DisagreementState]:
        return self._paid(state, rollout), state

    def rescore(self, state: DisagreementState, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self._paid(state, rows)

    def _paid(self, state: DisagreementState, rows: Rollout) -> jax.Array:
        """Return the bonus [...] of a rollout or of rows."""
        pairs = self.encoder.pairs(state.encoder, rows)
        models = self._ensemble(pairs.before.shape[-1])
        outputs = models.run(state.trained.params, self._inputs(state, pairs, rows))
        spread = ensemble.variance(outputs).mean(-1).reshape(rows.reward.shape)
        return jnp.where(pairs.known & (state.updates > 0), spread, 0.0)

    def _inputs(self, state: DisagreementState, pairs: Pairs, rows: Rollout) -> jax.Array:
        """Return (φ(s), a) [N, F + A]."""
        features = pairs.before.shape[-1]
        width = self._ensemble(features).inputs(state.trained.params) - features
        code = action_code(rows.action, rows.reward.shape, width)
        joined = jnp.concatenate([pairs.before, code], -1)
        return joined.reshape(-1, joined.shape[-1])

    def update(
        self, state: DisagreementState, key: Key, rollout: Rollout
    ) -> tuple[DisagreementState, Metrics]:
        key_encoder, key_models = jax.random.split(key)
        encoder, told = self.encoder.update(state.encoder, key_encoder, rollout)
        pairs = self.encoder.pairs(encoder, rollout)
        features = pairs.after.shape[-1]
        models = self._ensemble(features)
        inputs = self._inputs(state, pairs, rollout)
        rows = (inputs, pairs.after.reshape(-1, features), pairs.known.reshape(-1))

        def loss(params: Any, batch: Any, key: Key) -> jax.Array:
            if self.bootstrap:
                x, y, known = (part.reshape(self.models, -1, *part.shape[1:]) for part in batch)
                errors = jnp.square(models.run_apart(params, x) - y).mean(-1)
            else:
                x, y, known = batch
                errors = jnp.square(models.run(params, x) - y[None]).mean(-1)
            weight = jnp.broadcast_to(known.astype(jnp.float32), errors.shape)
            return (weight * errors).sum() / jnp.maximum(weight.sum(), 1.0)

        shared_out = self.models * (self.batch_size // self.models)
        trained, losses = fitting.fit(
            loss,
            state.trained,
            rows,
            key_models,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=shared_out if self.bootstrap else self.batch_size,
            learning_rate=self.learning_rate,
        )
        metrics = {"loss": losses.mean()}
        metrics |= {f"encoder/{name}": value for name, value in told.items()}
        return DisagreementState(encoder, trained, state.updates + 1), metrics

"""Features that tell which action led from one observation to the next."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.encoders.encoder import (
    Pairs,
    action_code,
    action_size,
    flat_rows,
    observed_size,
    seen_pairs,
)
from explorax.nets import fitting
from explorax.nets.mlp import MLP
from explorax.nets.torso import Torso
from explorax.ops import moments


@pytree
class InverseState:
    trained: fitting.Trained  # {"encoder": ..., "inverse": ...}
    moments: Any  # of observations


@dataclass(frozen=True)
class InverseEncoder:
    """Gives φ(s), trained so that the action can be read from φ(s) and φ(s') (ICM, arXiv
    1705.05363, Eq. 2 and 3).

    What no action changes leaves no trace in φ. Discrete actions: the loss is the cross-entropy of
    p(a|φ(s), φ(s')), continuous ones: the mean squared error of â. Learns from each rollout once
    it has been scored.
    """

    features: int = 64  # numbers in φ(s)
    hidden: tuple[int, ...] = (64,)  # of the encoder, and of the inverse model
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    standardize: bool = True  # observations, by the moments of all so far
    clip: float = 5.0  # in deviations

    def __post_init__(self) -> None:
        check_types(self)
        require(self.features >= 1, self, "features", "at least 1")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        for field in ("learning_rate", "updates_per_step", "clip"):
            require(0 < getattr(self, field) < float("inf"), self, field, "positive and finite")
        require(self.batch_size >= 1, self, "batch_size", "at least 1")

    @property
    def replayable(self) -> bool:
        return True

    def size(self, spec: Spec) -> int:
        return self.features

    def init(self, key: Key, spec: Spec) -> InverseState:
        observed_size(spec)
        key_encoder, key_inverse = jax.random.split(key)
        seen, both = jnp.zeros((1, *spec.obs.shape)), jnp.zeros((1, 2 * self.features))
        params = {
            "encoder": self._torso(spec.obs.shape).init(key_encoder, seen),
            "inverse": self._inverse(action_size(spec)).init(key_inverse, both),
        }
        return InverseState(
            fitting.start(params, self.learning_rate), moments.empty(spec.obs.shape)
        )

    def _torso(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.hidden, shape)

    def _inverse(self, actions: int) -> MLP:
        return MLP(self.hidden, actions, "relu")

    def _encode(self, params: Any, seen: jax.Array) -> jax.Array:
        shape = seen.shape[1:]
        return jnp.asarray(self._torso(shape).apply(params["encoder"], seen))

    def pairs(self, state: InverseState, rollout: Rollout) -> Pairs:
        lead, shape = rollout.reward.shape, state.moments.mean.shape

        def encoded(seen: jax.Array) -> jax.Array:
            out = self._encode(state.trained.params, seen.reshape(-1, *shape))
            return out.reshape(*lead, self.features)

        before, after = seen_pairs(state.moments, rollout, self.standardize, self.clip)
        return Pairs(encoded(before), encoded(after), jnp.ones(lead, bool))

    def loss(
        self, params: Any, before: jax.Array, after: jax.Array, action: jax.Array
    ) -> jax.Array:
        """Return the mean loss [] of the inverse model; observations [B, ...] as the encoder sees
        them, actions [B] or [B, A]."""
        both = jnp.concatenate([self._encode(params, before), self._encode(params, after)], -1)
        width = params["inverse"]["params"]["output"]["bias"].shape[0]
        predicted = self._inverse(width).run(params["inverse"], both)[0]
        wanted = action_code(action, action.shape[:1], width)
        if jnp.issubdtype(action.dtype, jnp.integer):
            return optax.softmax_cross_entropy(predicted, wanted).mean()
        return jnp.square(predicted - wanted).mean()

    def update(
        self, state: InverseState, key: Key, rollout: Rollout
    ) -> tuple[InverseState, Metrics]:
        seen = moments.update(state.moments, rollout.next_obs)
        rows = flat_rows(rollout)
        before, after = seen_pairs(seen, rows, self.standardize, self.clip)

        def loss(params: Any, batch: Any, key: Key) -> jax.Array:
            return self.loss(params, *batch)

        trained, losses = fitting.fit(
            loss,
            state.trained,
            (before, after, rows.action),
            key,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return InverseState(trained, seen), {"inverse_loss": losses.mean()}

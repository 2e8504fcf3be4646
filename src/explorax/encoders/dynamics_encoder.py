"""Features that tell what an action will lead to."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import Incompatible, require
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
from explorax.ops import moments
from explorax.ops.images import is_image


@pytree
class DynamicsFeatures:
    trained: fitting.Trained  # {"encoder": φ, "forward": of (φ(s), a)}
    moments: Any  # of observations


@dataclass(frozen=True)
class DynamicsEncoder:
    """Gives φ(s), the hidden layer of a network that predicts s' from φ(s) and the action.

    What says nothing of what follows is not needed in φ, where it stays as faint as it was drawn.
    Trained by the mean squared error of s', in standard deviations, on each rollout once it has
    been scored. Observations are vectors; `InverseEncoder` is for images, whose pixels nobody
    should have to predict.
    """

    features: int = 64  # numbers in φ(s)
    hidden: tuple[int, ...] = (64,)  # widths before φ, and between φ and s'
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    clip: float = 5.0  # of observations, in standard deviations

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

    @property
    def drift(self) -> str:
        return "learns"

    def size(self, spec: Spec) -> int:
        return self.features

    def init(self, key: Key, spec: Spec) -> DynamicsFeatures:
        size = observed_size(spec)
        if is_image(spec.obs.shape):
            raise Incompatible(
                f"DynamicsEncoder predicts every number of an observation, and these are images "
                f"{spec.obs.shape}. Take InverseEncoder() or RandomEncoder()."
            )
        key_encoder, key_forward = jax.random.split(key)
        params = {
            "encoder": self._encoder().init(key_encoder, jnp.zeros((1, size))),
            "forward": self._forward(size).init(
                key_forward, jnp.zeros((1, self.features + action_size(spec)))
            ),
        }
        trained = fitting.start(params, self.learning_rate)
        return DynamicsFeatures(trained, moments.empty(spec.obs.shape))

    def _encoder(self) -> MLP:
        return MLP(self.hidden, self.features, "relu")

    def _forward(self, outputs: int) -> MLP:
        return MLP(self.hidden, outputs, "relu")

    def pairs(self, state: DynamicsFeatures, rollout: Rollout) -> Pairs:
        lead = rollout.reward.shape
        before, after = seen_pairs(state.moments, rollout, True, self.clip)
        features = (self._phi(state.trained.params, seen, lead) for seen in (before, after))
        return Pairs(*features, known=jnp.ones(lead, bool))

    def _phi(self, params: Any, seen: jax.Array, lead: tuple[int, ...]) -> jax.Array:
        # between −1 and 1: what the network has never seen must not be long for that reason
        return jnp.tanh(self._encoder().run(params["encoder"], seen.reshape(*lead, -1))[0])

    def update(
        self, state: DynamicsFeatures, key: Key, rollout: Rollout
    ) -> tuple[DynamicsFeatures, Metrics]:
        seen = moments.update(state.moments, rollout.next_obs)

        def loss(params: Any, rows: Rollout, key: Key) -> jax.Array:
            before, after = seen_pairs(seen, rows, True, self.clip)
            phi, after = (
                self._phi(params, before, rows.reward.shape),
                after.reshape(rows.reward.size, -1),
            )
            width = params["forward"]["params"]["Dense_0" if self.hidden else "output"]["kernel"]
            code = action_code(rows.action, rows.reward.shape, width.shape[0] - self.features)
            joined = jnp.concatenate([phi, code], -1)
            told = self._forward(after.shape[1]).run(params["forward"], joined)[0]
            return jnp.square(told - after).mean()

        trained, losses = fitting.fit(
            loss,
            state.trained,
            flat_rows(rollout),
            key,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return DynamicsFeatures(trained, seen), {"forward_loss": losses.mean()}

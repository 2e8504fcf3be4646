"""Features that tell which action led from one observation to the next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

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
from explorax.ops.moments import Moments


@pytree
class InverseState:
    trained: fitting.Trained  # {"encoder": φ, "inverse": p(a|φ(s), φ(s'))}, and what a bonus adds
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
        check_settings(self)

    @property
    def replayable(self) -> bool:
        return True

    @property
    def drift(self) -> str:
        return "learns"

    def size(self, spec: Spec) -> int:
        return self.features

    def init(self, key: Key, spec: Spec) -> InverseState:
        params = self.init_params(jax.random.split(key), spec)
        return InverseState(
            fitting.start(params, self.learning_rate), moments.empty(spec.obs.shape)
        )

    def init_params(self, keys: Key, spec: Spec) -> dict[str, Any]:
        """Return the first parameters, by two keys. Raises Incompatible."""
        observed_size(spec)
        seen, both = jnp.zeros((1, *spec.obs.shape)), jnp.zeros((1, 2 * self.features))
        return {
            "encoder": self._torso(spec.obs.shape).init(keys[0], seen),
            "inverse": self._inverse(action_size(spec)).init(keys[1], both),
        }

    def _torso(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.hidden, shape)

    def _inverse(self, actions: int) -> MLP:
        return MLP(self.hidden, actions, "relu")

    def pairs(self, state: InverseState, rollout: Rollout) -> Pairs:
        before, after = self.encoded(state.trained.params, state.moments, rollout)
        return Pairs(before, after, jnp.ones(rollout.reward.shape, bool))

    def encoded(
        self, params: Any, seen: Moments, rows: Rollout
    ) -> tuple[Float[Array, "... F"], Float[Array, "... F"]]:
        """Return (φ(s), φ(s')) of a rollout or of rows, observations standardised by `seen`."""
        lead, shape = rows.reward.shape, seen.mean.shape
        torso = self._torso(shape)

        def one(obs: jax.Array) -> jax.Array:
            phi = jnp.asarray(torso.apply(params["encoder"], obs.reshape(-1, *shape)))
            return phi.reshape(*lead, self.features)

        before, after = seen_pairs(seen, rows, self.standardize, self.clip)
        return one(before), one(after)

    def coded(self, params: Any, rows: Rollout) -> Float[Array, "... A"]:
        """Return the actions of a rollout or of rows as the inverse model tells them."""
        width = params["inverse"]["params"]["output"]["bias"].shape[0]
        return action_code(rows.action, rows.reward.shape, width)

    def inverse_loss(
        self,
        params: Any,
        before: Float[Array, "B F"],
        after: Float[Array, "B F"],
        rows: Rollout,
    ) -> Float[Array, ""]:
        """Return how badly φ(s) and φ(s') tell the actions of `rows` [B], a mean."""
        wanted = self.coded(params, rows)
        joined = jnp.concatenate([before, after], -1)
        told = self._inverse(wanted.shape[-1]).run(params["inverse"], joined)[0]
        if jnp.issubdtype(rows.action.dtype, jnp.integer):
            return optax.softmax_cross_entropy(told, wanted).mean()
        return jnp.square(told - wanted).mean()

    def learn(
        self,
        state: InverseState,
        key: Key,
        rollout: Rollout,
        loss: Callable[[Any, Moments, Rollout], jax.Array],
    ) -> tuple[InverseState, Float[Array, " U"]]:
        """Return (state, losses) after minibatches of `rollout` down `loss(params, seen, rows)`,
        where `seen` are the moments with this rollout's."""
        seen = moments.update(state.moments, rollout.next_obs)
        trained, losses = fitting.fit(
            lambda params, rows, key: loss(params, seen, rows),
            state.trained,
            flat_rows(rollout),
            key,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return InverseState(trained, seen), losses

    def update(
        self, state: InverseState, key: Key, rollout: Rollout
    ) -> tuple[InverseState, Metrics]:
        def loss(params: Any, seen: Moments, rows: Rollout) -> jax.Array:
            return self.inverse_loss(params, *self.encoded(params, seen, rows), rows)

        state, losses = self.learn(state, key, rollout, loss)
        return state, {"inverse_loss": losses.mean()}


def check_settings(owner: Any) -> None:
    """Raise InvalidSetting for a field of `InverseEncoder` that cannot be.

    `owner` is one, or a bonus with fields of the same names.
    """
    require(owner.features >= 1, owner, "features", "at least 1")
    require(all(width >= 1 for width in owner.hidden), owner, "hidden", "widths of at least 1")
    for field in ("learning_rate", "updates_per_step", "clip"):
        require(0 < getattr(owner, field) < float("inf"), owner, field, "positive and finite")
    require(owner.batch_size >= 1, owner, "batch_size", "at least 1")

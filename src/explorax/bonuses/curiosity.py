"""Features of what an agent's actions change, and a model that predicts them.

Not a bonus: what ICM and RIDE have in common.
"""

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.encoders.encoder import action_size, flat_rows
from explorax.encoders.inverse_encoder import InverseEncoder, InverseState, check_settings
from explorax.nets import fitting
from explorax.nets.mlp import MLP
from explorax.ops import moments
from explorax.ops.moments import Moments

LOOK_AT = 256  # rows of a rollout, of all times, on which the metrics are taken


@dataclass(frozen=True)
class CuriosityModel:
    """φ, the inverse model p(a|φ(s), φ(s')) and the forward model f(φ(s), a) ≈ φ(s'), learnt
    together (Pathak et al. 2017, arXiv 1705.05363, Eq. 2 to 7).

    The loss is (1 − β) L_I + β L_F with L_F = ½‖f(φ(s), a) − φ(s')‖² and L_I the loss of
    `InverseEncoder`, each a mean over rows. As in the authors' code (pathak22/noreward-rl), and in
    RIDE's, L_F trains φ too, through φ(s) and through φ(s'): alone it would make all features
    equal, and L_I is what keeps them apart. With `forward_trains_encoder` False, φ is the inverse
    model's alone.
    """

    encoder: InverseEncoder  # φ with its inverse model, and how all three learn
    forward_weight: float  # β
    forward_trains_encoder: bool

    def _head(self) -> MLP:
        return MLP(self.encoder.hidden, self.encoder.features, "relu")

    def init(self, key: Key, spec: Spec) -> InverseState:
        """Return the state before the first rollout. Raises Incompatible."""
        keys = jax.random.split(key, 3)
        before = jnp.zeros((1, self.encoder.features + action_size(spec)))
        params = self.encoder.init_params(keys[:2], spec)
        params["forward"] = self._head().init(keys[2], before)
        start = fitting.start(params, self.encoder.learning_rate)
        return InverseState(start, moments.empty(spec.obs.shape))

    def ready(self, state: InverseState) -> jax.Array:
        """Return whether a rollout has been learnt from [], and its moments taken."""
        return state.moments.count > 0

    def predicted(
        self, params: Any, before: Float[Array, "... F"], rows: Rollout
    ) -> Float[Array, "... F"]:
        """Return f(φ(s), a) of a rollout or of rows, with φ(s) given."""
        joined = jnp.concatenate([before, self.encoder.coded(params, rows)], -1)
        return self._head().run(params["forward"], joined)[0]

    def losses(
        self, params: Any, seen: Moments, rows: Rollout
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return (L_I, L_F) of rows [B, ...], observations standardised by `seen`."""
        before, after = self.encoder.encoded(params, seen, rows)
        inverse = self.encoder.inverse_loss(params, before, after, rows)
        if not self.forward_trains_encoder:
            before, after = jax.lax.stop_gradient((before, after))
        error = jnp.square(self.predicted(params, before, rows) - after).sum(-1)
        return inverse, 0.5 * error.mean()

    def update(
        self, state: InverseState, key: Key, rollout: Rollout
    ) -> tuple[InverseState, Metrics]:
        """Return (state, metrics) after learning from a rollout [T, E]."""

        def loss(params: Any, seen: Moments, rows: Rollout) -> jax.Array:
            inverse, forward = self.losses(params, seen, rows)
            return (1.0 - self.forward_weight) * inverse + self.forward_weight * forward

        state, losses = self.encoder.learn(state, key, rollout, loss)
        apart = -(-rollout.reward.size // LOOK_AT)
        some = jax.tree.map(lambda leaf: leaf[::apart], flat_rows(rollout))
        inverse, forward = self.losses(state.trained.params, state.moments, some)
        metrics = {"loss": losses.mean(), "inverse_loss": inverse, "forward_loss": forward}
        return state, metrics


def model_of(bonus: Any) -> CuriosityModel:
    """Return the model of a bonus that has the fields of `InverseEncoder` and of the model."""
    settings = {field.name: getattr(bonus, field.name) for field in fields(InverseEncoder)}
    encoder = InverseEncoder(**settings)
    return CuriosityModel(encoder, bonus.forward_weight, bonus.forward_trains_encoder)


def check_model(bonus: Any) -> None:
    """Raise InvalidSetting, in the name of `bonus`, for a field of its model that cannot be."""
    check_settings(bonus)
    require(0 <= bonus.forward_weight <= 1, bonus, "forward_weight", "between 0 and 1")

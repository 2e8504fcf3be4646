"""Features of what an agent's actions change, and a model that predicts them.

Not a bonus: what ICM and RIDE have in common.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
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

LOOK_AT = 256  # rows of a rollout, of all times, on which the metrics are taken


@pytree
class CuriosityState:
    trained: fitting.Trained  # {"encoder": φ, "inverse": p(a|φ(s), φ(s')), "forward": f}
    moments: Any  # of observations


@dataclass(frozen=True)
class CuriosityModel:
    """φ, the inverse model p(a|φ(s), φ(s')) and the forward model f(φ(s), a) ≈ φ(s'), learnt
    together (Pathak et al. 2017, arXiv 1705.05363, Eq. 2 to 7).

    The loss is (1 − β) L_I + β L_F with L_F = ½‖f(φ(s), a) − φ(s')‖² and L_I the cross-entropy of
    discrete actions, or the mean squared error of continuous ones, each a mean over rows. As in the
    authors' code (pathak22/noreward-rl), and in RIDE's, L_F trains φ too, through φ(s) and through
    φ(s'): alone it would make all features equal, and L_I is what keeps them apart. With
    `forward_trains_encoder` False, φ is the inverse model's alone.

    The fields are those of `ICM`, where they are documented.
    """

    features: int
    hidden: tuple[int, ...]
    forward_weight: float
    forward_trains_encoder: bool
    learning_rate: float
    batch_size: int
    updates_per_step: float
    standardize: bool
    clip: float

    def validate(self, owner: object) -> None:
        """Raise InvalidSetting, in the name of `owner`, for a field that cannot be."""
        require(self.features >= 1, owner, "features", "at least 1")
        require(all(width >= 1 for width in self.hidden), owner, "hidden", "widths of at least 1")
        require(0 <= self.forward_weight <= 1, owner, "forward_weight", "between 0 and 1")
        for field in ("learning_rate", "updates_per_step", "clip"):
            require(0 < getattr(self, field) < float("inf"), owner, field, "positive and finite")
        require(self.batch_size >= 1, owner, "batch_size", "at least 1")

    def _encoder(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.hidden, shape)

    def _head(self, outputs: int) -> MLP:
        return MLP(self.hidden, outputs, "relu")

    def init(self, key: Key, spec: Spec) -> CuriosityState:
        """Return the state before the first rollout. Raises Incompatible."""
        observed_size(spec)
        keys, actions = jax.random.split(key, 3), action_size(spec)
        both, before = jnp.zeros((1, 2 * self.features)), jnp.zeros((1, self.features + actions))
        params = {
            "encoder": self._encoder(spec.obs.shape).init(keys[0], jnp.zeros((1, *spec.obs.shape))),
            "inverse": self._head(actions).init(keys[1], both),
            "forward": self._head(self.features).init(keys[2], before),
        }
        start = fitting.start(params, self.learning_rate)
        return CuriosityState(start, moments.empty(spec.obs.shape))

    def ready(self, state: CuriosityState) -> jax.Array:
        """Return whether a rollout has been learnt from [], and its moments taken."""
        return state.moments.count > 0

    def pairs(self, state: CuriosityState, rollout: Rollout) -> Pairs:
        """Return φ(s) and φ(s') of a rollout [T, E] or of rows [N]."""
        lead, shape = rollout.reward.shape, state.moments.mean.shape

        def encoded(seen: jax.Array) -> jax.Array:
            phi = self._encode(state.trained.params, seen.reshape(-1, *shape))
            return phi.reshape(*lead, self.features)

        before, after = seen_pairs(state.moments, rollout, self.standardize, self.clip)
        return Pairs(encoded(before), encoded(after), jnp.ones(lead, bool))

    def predicted(
        self, state: CuriosityState, before: Float[Array, "... F"], action: jax.Array
    ) -> Float[Array, "... F"]:
        """Return f(φ(s), a) for features [..., F] and actions [...] or [..., *action_shape]."""
        params = state.trained.params
        return self._predict(params, before, self._code(params, action, before.shape[:-1]))

    def _code(self, params: Any, action: jax.Array, lead: tuple[int, ...]) -> jax.Array:
        return action_code(action, lead, params["inverse"]["params"]["output"]["bias"].shape[0])

    def _encode(self, params: Any, seen: jax.Array) -> jax.Array:
        """Return φ [B, F] of observations [B, *obs_shape], standardised."""
        return jnp.asarray(self._encoder(seen.shape[1:]).apply(params["encoder"], seen))

    def _predict(self, params: Any, before: jax.Array, code: jax.Array) -> jax.Array:
        joined = jnp.concatenate([before, code], -1)
        return self._head(self.features).run(params["forward"], joined)[0]

    def losses(
        self, params: Any, seen: moments.Moments, rows: Rollout
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return (L_I, L_F) of rows [B, ...], observations standardised by `seen`."""
        before, after = (
            self._encode(params, obs) for obs in seen_pairs(seen, rows, self.standardize, self.clip)
        )
        code = self._code(params, rows.action, rows.reward.shape)
        joined = jnp.concatenate([before, after], -1)
        acted = self._head(code.shape[-1]).run(params["inverse"], joined)[0]
        if jnp.issubdtype(rows.action.dtype, jnp.integer):
            inverse = optax.softmax_cross_entropy(acted, code).mean()
        else:
            inverse = jnp.square(acted - code).mean()
        if not self.forward_trains_encoder:
            before, after = jax.lax.stop_gradient((before, after))
        error = jnp.square(self._predict(params, before, code) - after).sum(-1)
        return inverse, 0.5 * error.mean()

    def update(
        self, state: CuriosityState, key: Key, rollout: Rollout
    ) -> tuple[CuriosityState, Metrics]:
        """Return (state, metrics) after learning from a rollout [T, E]."""
        seen = moments.update(state.moments, rollout.next_obs)
        rows = flat_rows(rollout)

        def loss(params: Any, batch: Rollout, key: Key) -> jax.Array:
            inverse, forward = self.losses(params, seen, batch)
            return (1.0 - self.forward_weight) * inverse + self.forward_weight * forward

        trained, losses = fitting.fit(
            loss,
            state.trained,
            rows,
            key,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        apart = -(-rollout.reward.size // LOOK_AT)
        some = jax.tree.map(lambda leaf: leaf[::apart], rows)
        inverse, forward = self.losses(trained.params, seen, some)
        metrics = {"loss": losses.mean(), "inverse_loss": inverse, "forward_loss": forward}
        return CuriosityState(trained, seen), metrics

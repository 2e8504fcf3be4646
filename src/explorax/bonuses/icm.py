"""Intrinsic curiosity module (Pathak et al. 2017, arXiv 1705.05363)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from explorax.bonuses.curiosity import CuriosityModel, check_model, model_of
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.settings import check_types
from explorax.encoders.inverse_encoder import InverseState

ERRORS = ("half_sum", "mean")


@dataclass(frozen=True)
class ICM:
    """Pays ½‖φ(s') − f(φ(s), a)‖², how wrong the forward model was about the features of s'.

    φ is learnt by telling the action from φ(s) and φ(s'), so that what the agent neither changes
    nor is changed by leaves no trace in it (Pathak et al. 2017, arXiv 1705.05363, Eq. 2 to 7). The
    loss is (1 − β) L_I + β L_F, where L_F is the error that is paid. It trains φ as well, as in the
    authors' code (pathak22/noreward-rl).

    `error="mean"` pays the mean over features of the squared error, as rllte does: 2/features
    times the other. Under a normaliser they are the same.

    Raw errors change with the features: wrap in `RunningStd` or `RunningMean`, and `Scale` by the
    paper's η. The first rollout, which finds no moments and an untrained model, is paid nothing.

    Deviations from the authors' code: observations are standardised; normal and Glorot weights;
    Adam on minibatches of what was just seen, where theirs learns with the agent's own optimiser at
    ten times the policy's rate.
    """

    features: int = 64  # of φ
    hidden: tuple[int, ...] = (64,)  # of the encoder, the inverse and the forward model
    forward_weight: float = 0.2  # β, of the forward loss; the inverse one's is 1 − β
    forward_trains_encoder: bool = True  # False: φ learns from the inverse model alone
    error: str = "half_sum"  # or "mean": the mean of the squares over features
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    standardize: bool = True  # observations, by the moments of all so far
    clip: float = 5.0  # of observations, in deviations

    def __post_init__(self) -> None:
        check_types(self)
        check_model(self)
        require(self.error in ERRORS, self, "error", f"one of {ERRORS}")

    @property
    def _model(self) -> CuriosityModel:
        return model_of(self)

    @property
    def replayable(self) -> bool:
        return True

    def init(self, key: Key, spec: Spec) -> InverseState:
        return self._model.init(key, spec)

    def score(
        self, state: InverseState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, InverseState]:
        return self._error(state, rollout), state

    def update(
        self, state: InverseState, key: Key, rollout: Rollout
    ) -> tuple[InverseState, Metrics]:
        return self._model.update(state, key, rollout)

    def rescore(self, state: InverseState, key: Key, rows: Rollout) -> jax.Array:
        return self._error(state, rows)

    def _error(self, state: InverseState, rows: Rollout) -> jax.Array:
        """Return the bonus [...] of a rollout or of rows."""
        model, params = self._model, state.trained.params
        before, after = model.encoder.encoded(params, state.moments, rows)
        squares = jnp.square(model.predicted(params, before, rows) - after)
        paid = 0.5 * squares.sum(-1) if self.error == "half_sum" else squares.mean(-1)
        return jnp.where(model.ready(state), paid, 0.0)

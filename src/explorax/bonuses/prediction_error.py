"""The baseline that VIME is compared with: squared error of the same model's prediction."""

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp

from explorax.bonuses.dynamics import DynamicsModel, DynamicsState
from explorax.core.protocols import Key, Metrics, Rollout, Spec, State
from explorax.core.settings import check_types
from explorax.encoders.encoder import Encoder


@dataclass(frozen=True)
class PredictionError:
    """Pays ‖y − f_μ(s, a)‖², the squared error of the model at the posterior's mean.

    The L2 baseline of the VIME paper (arXiv 1605.09674, Sec. 3): the same Bayesian network, fitted
    in the same way, y the standardised target, so the error is in squared deviations. The fields
    are those of `VIME`.
    """

    hidden: tuple[int, ...] = (32,)  # widths of the hidden layers, all of them Bayesian
    activation: str = "relu"  # or "tanh"
    target: str = "next_obs"  # or "difference": s' − s
    prior_std: float = 0.5  # also every σ at the start
    mean_init_std: float | None = None  # deviation of μ at the start; None: 1/√inputs
    likelihood_std: float = 5.0  # σ_L, in deviations of the standardised target
    learn_likelihood: bool = False  # learn σ_L, from that start
    elbo_scale: str | float = 5.0  # divides the KL to the prior; "dataset": pool / batch_size
    samples: int = 1  # K, noise samples of E_q, in fitting
    shared_noise: bool = True  # one noise for all rows of a batch, or one for each row
    learning_rate: float = 3e-3  # Adam
    batch_size: int = 50  # rows of a minibatch
    updates_per_step: float = 0.004  # minibatches per env step; at least one per rollout
    pool_size: int = 100_000  # transitions, first in first out
    min_pool_size: int = 500  # until the pool has them, nothing is fitted and nothing paid
    cross_episodes: bool = False  # True: an episode's end is followed by the next one's start
    standardize: bool = True  # inputs and targets; False for raw ones
    standardize_clip: float = 10.0  # of inputs and targets, in deviations
    latent: Encoder | None = None  # predicts what it makes of s'; None: observations
    noise_head: bool = False  # σ_L from a network of (s, a), in the fit; the error stays as it is

    def __post_init__(self) -> None:
        check_types(self)
        self._model.validate(self)

    @property
    def _model(self) -> DynamicsModel:
        return DynamicsModel(**{f.name: getattr(self, f.name) for f in fields(DynamicsModel)})

    @property
    def replayable(self) -> bool:
        return self.latent is None or self.latent.replayable

    def init(self, key: Key, spec: Spec) -> State:
        return self._model.init(key, spec)

    def score(self, state: DynamicsState, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        rows = self._model.rows(state, rollout)
        return self._error(state, rows).reshape(rollout.reward.shape), state

    def update(
        self, state: DynamicsState, key: Key, rollout: Rollout
    ) -> tuple[DynamicsState, Metrics]:
        return self._model.fit(state, key, rollout)

    def rescore(self, state: DynamicsState, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:
            return rows.bonus
        return self._error(state, self._model.rows(state, rows))

    def _error(self, state: DynamicsState, rows: dict[str, jax.Array]) -> jax.Array:
        model = self._model
        x, y = model.scaled(state, rows)
        predicted = model.network(y.shape[-1]).mean_output(state.trained["posterior"], x)
        return model.paid(state, rows, jnp.square(predicted - y).sum(-1))

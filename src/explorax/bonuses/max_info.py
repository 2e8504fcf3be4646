"""Information gain of an ensemble, as in MaxInfoRL (Sukhija et al. 2024, arXiv 2412.12098)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.bonuses import transitions
from explorax.bonuses.transitions import Transitions
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.encoders.encoder import action_size, observed_size
from explorax.nets import ensemble, fitting
from explorax.nets.mlp import ACTIVATIONS

MOST_NOISE = 100.0  # σ_al where it is learnt, in deviations


@pytree
class MaxInfoState:
    known: Transitions
    trained: fitting.Trained  # leaves [K, ...]


@dataclass(frozen=True)
class MaxInfo:
    """Pays log(1 + Var_k f_k(s, a) / σ_al²), the mean over what is predicted.

    K models predict (s' − s, r), standardised as their inputs are, by the moments of all seen. What
    they disagree about is what there is to learn, against the noise σ_al that no model can predict
    (MaxInfoRL, arXiv 2412.12098, and the authors' code, maxinforl_jax). Half the sum over what is
    predicted bounds the information gain in nats. σ_al is fixed, or learnt with `learn_noise`: a
    deviation of each prediction, and the loss a likelihood instead of a squared error. All models
    see the same minibatches, drawn from a pool; they differ by how they start.

    Pays raw gains, never negative and large throughout: log(1 + 10⁶) = 14 for a variance of 1. The
    authors take off the running mean and divide by the running deviation, which is
    `RunningStd(MaxInfo(), discount=0.0, center=True)`. An ensemble that has seen nothing disagrees
    about everything, and the first rollout is paid in full.

    Deviations from the authors: 64-64 units instead of 256-256, which cost eight times as much
    (`MaxInfo.paper()` has them); Adam at 1e-3 and without weight decay; Glorot weights; a reward on
    top of the agent's own, and not a term of a soft value with a temperature of its own.
    """

    models: int = 5  # K
    hidden: tuple[int, ...] = (64, 64)  # of each model
    activation: str = "silu"  # or "relu", "tanh"
    noise_std: float = 1e-3  # σ_al, in deviations of what is predicted; the least where learnt
    learn_noise: bool = False  # σ_al from the networks, for each (s, a) and prediction
    predict_reward: bool = True  # and not the next observation alone
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch, which all models see
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    pool_size: int = 100_000  # transitions, first in first out
    clip: float = 10.0  # of inputs and targets, in deviations

    def __post_init__(self) -> None:
        check_types(self)
        require(self.models >= 2, self, "models", "at least 2: one alone never disagrees")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        known = " or ".join(map(repr, ACTIVATIONS))
        require(self.activation in ACTIVATIONS, self, "activation", known)
        for field in ("noise_std", "learning_rate", "updates_per_step", "clip"):
            require(0 < getattr(self, field) < float("inf"), self, field, "positive and finite")
        below = self.noise_std < MOST_NOISE
        require(below, self, "noise_std", f"below {MOST_NOISE:g}")
        require(self.batch_size >= 1, self, "batch_size", "at least 1")
        require(self.pool_size >= self.batch_size, self, "pool_size", "at least batch_size")

    @classmethod
    def paper(cls) -> "MaxInfo":
        """Return the authors' ensemble: five networks of 256-256, 3e-4, and a pool of a million.

        They take a minibatch of 256 for each step of their one environment, `updates_per_step=1`.
        """
        return cls(
            hidden=(256, 256),
            learning_rate=3e-4,
            batch_size=256,
            updates_per_step=1.0,
            pool_size=1_000_000,
        )

    @property
    def replayable(self) -> bool:
        return True

    def _ensemble(self, outputs: int) -> ensemble.Ensemble:
        heads = 2 * outputs if self.learn_noise else outputs
        return ensemble.Ensemble(self.models, self.hidden, heads, self.activation)

    def init(self, key: Key, spec: Spec) -> MaxInfoState:
        observed = observed_size(spec)
        inputs, outputs = observed + action_size(spec), observed + self.predict_reward
        params = self._ensemble(outputs).init(key, inputs)
        return MaxInfoState(
            known=transitions.empty(inputs, outputs, self.pool_size),
            trained=fitting.start(params, self.learning_rate),
        )

    def score(
        self, state: MaxInfoState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, MaxInfoState]:
        return self._gain(state, rollout), state

    def rescore(self, state: MaxInfoState, key: Key, rows: Rollout) -> jax.Array:
        return self._gain(state, rows)

    def _gain(self, state: MaxInfoState, rows: Rollout) -> jax.Array:
        """Return the gain [...] of a rollout or of rows; what followed does not enter."""
        x, y = self._rows(state, rows)
        x, _ = transitions.scaled(state.known, x, y, self.clip)
        mean, noise = self._predict(state.trained.params, x, y.shape[1])
        aleatoric = ensemble.mean(jnp.square(noise))
        gain = jnp.log1p(ensemble.variance(mean) / aleatoric)
        return gain.mean(-1).reshape(rows.reward.shape)

    def _rows(self, state: MaxInfoState, rows: Rollout) -> tuple[jax.Array, jax.Array]:
        """Return raw ((s, a) [N, I], (s' − s, r) [N, O]) of a rollout or of rows."""
        before, after = transitions.states(rows)
        change = after - before
        if self.predict_reward:
            change = jnp.concatenate([change, rows.reward.reshape(-1, 1)], -1)
        return transitions.inputs(rows, state.known.x.mean.shape[0]), change

    def _predict(self, params: Any, x: jax.Array, outputs: int) -> tuple[jax.Array, jax.Array]:
        """Return (mean, σ_al) [K, N, O] of what each model predicts."""
        out = self._ensemble(outputs).run(params, x)
        if not self.learn_noise:
            return out, jnp.full((self.models, 1, 1), self.noise_std)
        noise = jax.nn.softplus(out[..., outputs:])
        return out[..., :outputs], jnp.clip(noise, self.noise_std, MOST_NOISE)

    def update(
        self, state: MaxInfoState, key: Key, rollout: Rollout
    ) -> tuple[MaxInfoState, Metrics]:
        known = transitions.add(state.known, *self._rows(state, rollout))
        updates = fitting.count_updates(self.updates_per_step, rollout.reward.size)
        key_rows, key_fit = jax.random.split(key)
        rows = transitions.sample(known, key_rows, updates * self.batch_size, self.clip)

        def loss(params: Any, batch: tuple[jax.Array, jax.Array], key: Key) -> jax.Array:
            x, y = batch
            mean, noise = self._predict(params, x, y.shape[1])
            if not self.learn_noise:
                return jnp.square(mean - y[None]).mean()
            return (0.5 * jnp.square((mean - y[None]) / noise) + jnp.log(noise)).mean()

        trained, losses = fitting.fit(
            loss,
            state.trained,
            rows,
            key_fit,
            updates=updates,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return MaxInfoState(known, trained), {"loss": losses.mean()}

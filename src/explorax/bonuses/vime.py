"""VIME: variational information maximizing exploration (Houthooft et al., arXiv 1605.09674)."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.bonuses.dynamics import DynamicsModel, DynamicsState
from explorax.core.errors import InvalidSetting, require
from explorax.core.protocols import Key, Metrics, Rollout, Spec, State
from explorax.core.settings import check_types
from explorax.encoders.encoder import Encoder
from explorax.nets import bayes
from explorax.posteriors.posterior import Posterior

METHODS = ("second_order", "gradient_steps")
GAINS = ("information", "compression")
OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
}


@dataclass(frozen=True)
class VIME:
    """Pays what the posterior over dynamics would learn from each transition, in nats.

    r_int(s, a, s') = KL[q_φ' ‖ q_φ] with φ' the posterior after (s, a, s') and φ the one before,
    fitted through the last rollout (Algorithm 1). `method="second_order"` is Eq. 16,
    ½ λ² ∇ℓᵀ H⁻¹ ∇ℓ, for the price of a backward pass; "gradient_steps" is Eq. 12, `gain_steps`
    steps of size λ on KL[q_φ'‖q_φ] − E log p(s'|s, a; θ) for every transition from the same φ, then
    the exact KL.

    With `latent` the model predicts an encoder's features instead of observations: InverseEncoder()
    where the agent sees pixels, AgentLatent() where it sees part of the state and remembers the
    rest. No gradient reaches the features. Rows in the pool keep the features they had when new, so
    keep the pool short (pool_size=10_000) where the encoder learns.

    Raw gains fall by many orders of magnitude as the network learns: wrap in `MedianRatio` or
    `RunningMean`, and `Scale` by the paper's η.

    VIME(model=LastLayer()) pays the gain of an exact posterior, on features in place of the
    network's own: it is bounded, fades as 1/n, and needs no median: ReturnShare(VIME(model=...)).

    Deviations from the authors' code: episode ends are respected (`cross_episodes=True`, and
    `VIME.paper()`, pair the last step of an episode with the first observation of the next, as they
    do); Eq. 16's ½ is kept, which they drop (it cancels in the normaliser); moments are of all
    transitions seen, without their pool's all-zero row; continuous actions are clipped to what the
    environment executes.
    """

    hidden: tuple[int, ...] = (32,)  # widths of the hidden layers, all of them Bayesian
    activation: str = "relu"  # or "tanh"
    target: str = "next_obs"  # or "difference": s' − s
    prior_std: float = 0.5  # also every σ at the start
    mean_init_std: float | None = None  # deviation of μ at the start; None: 1/√inputs
    likelihood_std: float = 5.0  # σ_L, in deviations of the standardised target
    learn_likelihood: bool = False  # learn σ_L, from that start
    elbo_scale: str | float = 5.0  # divides the KL to the prior; "dataset": pool / batch_size
    samples: int = 1  # K, noise samples of E_q, in fitting and in the gain
    shared_noise: bool = True  # one noise for all rows of a batch, or one for each row
    learning_rate: float = 3e-3  # Adam
    batch_size: int = 50  # rows of a minibatch
    updates_per_step: float = 0.004  # minibatches per env step; at least one per rollout
    pool_size: int = 100_000  # transitions, first in first out
    min_pool_size: int = 500  # until the pool has them, nothing is fitted and nothing paid
    cross_episodes: bool = False  # True: an episode's end is followed by the next one's start
    standardize: bool = True  # inputs and targets; False for raw ones
    standardize_clip: float = 10.0  # of inputs and targets, in deviations
    latent: Encoder | None = None  # gain over what it makes of s and s'; None: over observations
    noise_head: bool = False  # σ_L from a network of (s, a): what is noise is not learnt from
    method: str = "second_order"  # Eq. 16; or "gradient_steps": Eq. 12
    step_size: float = 0.01  # λ; of the second order it cancels under a normaliser
    gain_steps: int = 5  # for "gradient_steps"
    # For "gradient_steps": "adam", as the authors, or "sgd". Adam's first steps are of size λ
    # whatever the gradient, so that its gain says more of where than of how much was learnt.
    gain_optimizer: str = "adam"  # or "sgd"; for "gradient_steps"
    gain: str = "information"  # KL[new‖old], or "compression": KL[old‖new]; second order: the same
    clip: float = 1000.0  # of the raw gain, nats
    # A posterior in place of the mean-field network, whose settings are those above; None: that.
    model: Posterior | None = None  # such as LastLayer(), whose gain is exact

    def __post_init__(self) -> None:
        check_types(self)
        if self.model is not None:
            self._refuse_settings_of_the_network()
        self._network.validate(self)
        require(self.method in METHODS, self, "method", f"one of {METHODS}")
        require(self.gain in GAINS, self, "gain", f"one of {GAINS}")
        known = self.gain_optimizer in OPTIMIZERS
        require(known, self, "gain_optimizer", f"one of {tuple(OPTIMIZERS)}")
        require(0 < self.step_size < float("inf"), self, "step_size", "positive and finite")
        require(self.gain_steps >= 1, self, "gain_steps", "at least 1")
        require(self.clip > 0, self, "clip", "positive")

    @classmethod
    def paper(cls) -> "VIME":
        """Return the settings of the authors' scripts (openai/vime) for the classic tasks.

        One hidden layer of 32, ten samples, σ_L = 5, KL/5 whatever the pool, Adam 1e-4, 500
        minibatches of 10 for an iteration of 5,000 steps, means drawn from N(0, 1).
        """
        return cls(
            mean_init_std=1.0,
            samples=10,
            elbo_scale=5.0,
            learning_rate=1e-4,
            batch_size=10,
            updates_per_step=0.1,
            cross_episodes=True,
        )

    def _refuse_settings_of_the_network(self) -> None:
        set_too = [
            f.name for f in fields(self) if f.name != "model" and getattr(self, f.name) != f.default
        ]
        if set_too:
            raise InvalidSetting(
                f"{', '.join(set_too)}: settings of VIME's own network, which model={self.model!r} "
                f"takes the place of. Leave them out, or leave out model."
            )

    @property
    def _network(self) -> DynamicsModel:
        return DynamicsModel(**{f.name: getattr(self, f.name) for f in fields(DynamicsModel)})

    @property
    def replayable(self) -> bool:
        if self.model is not None:
            return self.model.replayable
        return self.latent is None or self.latent.replayable

    def init(self, key: Key, spec: Spec) -> State:
        return (self.model or self._network).init(key, spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        if self.model is not None:
            return self.model.information_gain(state, key, rollout), state
        rows = self._network.rows(state, rollout)
        return self._gain(state, key, rows).reshape(rollout.reward.shape), state

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        if self.model is not None:
            return self.model.update(state, key, rollout)
        return self._network.fit(state, key, rollout)

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        if not self.replayable:  # the latent of an old row was another network's
            return rows.bonus
        if self.model is not None:
            return self.model.information_gain(state, key, rows)
        return self._gain(state, key, self._network.rows(state, rows))

    def _gain(self, state: DynamicsState, key: Key, rows: dict[str, jax.Array]) -> jax.Array:
        """Return the raw gain [N], clipped; zero while the pool is below its minimum."""
        model = self._network
        x, y = model.scaled(state, rows)
        network = model.network(y.shape[-1])
        noise = network.draw_noise(key, self.samples, 1 if self.shared_noise else x.shape[0])
        arguments = (network, state.trained["posterior"], x, y, noise)
        likelihood_std = model.likelihood(state.trained, x)
        if self.method == "second_order":
            gain = bayes.information_gain(
                *arguments, likelihood_std=likelihood_std, step_size=self.step_size
            )
        else:
            gain = gain_by_gradient_steps(
                *arguments,
                likelihood_std=likelihood_std,
                optimizer=OPTIMIZERS[self.gain_optimizer](self.step_size),
                steps=self.gain_steps,
                compression=self.gain == "compression",
            )
        return model.paid(state, rows, jnp.clip(gain, 0.0, self.clip))


def gain_by_gradient_steps(
    network: bayes.BayesianMLP,
    params: bayes.Params,
    x: jax.Array,
    y: jax.Array,
    noise: bayes.Noise,
    *,
    likelihood_std: Any,
    optimizer: optax.GradientTransformation,
    steps: int,
    compression: bool = False,
    rows_at_once: int = 64,
) -> jax.Array:
    """Return KL[φ'‖φ] [N] (`compression`: KL[φ‖φ']) after `steps` on Eq. 12 for each row alone.

    φ' ← argmin KL[q_φ'‖q_φ] − E_{q_φ'} log p(y|x, θ), always from φ = `params`, which no row
    changes. Works for any optimiser; memory is O(rows_at_once · weights).
    """

    def one_row(row: tuple[Any, ...]) -> jax.Array:
        x, y, std, noise = row

        def loss(after: bayes.Params) -> jax.Array:
            outputs, _ = network.run(after, x[None], noise)
            fit = bayes.negative_log_likelihood(outputs, y[None], std[None]).sum()
            return bayes.kl_divergence(after, params) + fit

        def step(_: Any, carry: Any) -> Any:
            after, state = carry
            change, state = optimizer.update(jax.grad(loss)(after), state, after)
            return optax.apply_updates(after, change), state

        after, _ = jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params)))
        if compression:
            return bayes.kl_divergence(params, after)
        return bayes.kl_divergence(after, params)

    count = x.shape[0]
    per_row = tuple(
        jnp.swapaxes(jnp.broadcast_to(eps, (eps.shape[0], count, eps.shape[2])), 0, 1)[:, :, None]
        for eps in noise
    )
    std = jnp.broadcast_to(likelihood_std, y.shape)
    return jax.lax.map(one_row, (x, y, std, per_row), batch_size=min(rows_at_once, count))

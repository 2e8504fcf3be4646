"""A Bayesian model of the environment's dynamics, fitted to a pool of transitions.

Not a bonus: what VIME and its L2 baseline have in common.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from explorax.core.errors import require
from explorax.core.protocols import Discrete, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.nets import bayes
from explorax.ops import moments, replay

TARGETS = ("next_obs", "difference")


@pytree
class DynamicsState:
    trained: Any  # {"posterior": bayes.Params, "log_likelihood_std": []}
    optimizer: Any
    pool: replay.Ring  # rows {"x": [I], "y": [D]}, raw
    moments_x: moments.Moments  # of all transitions seen
    moments_y: moments.Moments


@dataclass(frozen=True)
class DynamicsModel:
    """p(s'|s, a; θ) = N(f_θ(s, a), σ_L²), θ ~ q_φ; inputs and targets standardised.

    The fields are those of `VIME`, where they are documented.
    """

    hidden: tuple[int, ...]
    activation: str
    target: str
    prior_std: float
    mean_init_std: float | None
    likelihood_std: float
    learn_likelihood: bool
    elbo_scale: str | float
    samples: int
    shared_noise: bool
    learning_rate: float
    batch_size: int
    updates_per_step: float
    pool_size: int
    min_pool_size: int
    cross_episodes: bool
    standardize: bool
    standardize_clip: float

    def validate(self, owner: object) -> None:
        """Raise InvalidSetting, in the name of `owner`, for a field that cannot be."""
        sizes = isinstance(self.hidden, tuple) and all(width >= 1 for width in self.hidden)
        require(sizes, owner, "hidden", "a tuple of positive sizes, such as (32,)")
        require(self.activation in bayes.ACTIVATIONS, owner, "activation", "'relu' or 'tanh'")
        require(self.target in TARGETS, owner, "target", "'next_obs' or 'difference'")
        for field in ("prior_std", "likelihood_std", "learning_rate", "standardize_clip"):
            require(0 < getattr(self, field) < float("inf"), owner, field, "positive and finite")
        for field in ("samples", "batch_size", "min_pool_size"):
            require(getattr(self, field) >= 1, owner, field, "at least 1")
        initial = self.mean_init_std is None or self.mean_init_std >= 0
        require(initial, owner, "mean_init_std", "at least 0, or None for 1/√inputs")
        finite = 0 < self.updates_per_step < float("inf")
        require(finite, owner, "updates_per_step", "positive and finite")
        room = self.pool_size >= max(self.min_pool_size, self.batch_size)
        require(room, owner, "pool_size", "at least min_pool_size and batch_size")
        scale = self.elbo_scale == "dataset" or (
            not isinstance(self.elbo_scale, str) and self.elbo_scale > 0
        )
        require(scale, owner, "elbo_scale", "'dataset' or a positive number of batches")

    def network(self, outputs: int) -> bayes.BayesianMLP:
        """Return the network for targets [outputs]."""
        return bayes.BayesianMLP(
            hidden=self.hidden,
            features=outputs,
            activation=self.activation,
            std=self.prior_std,
            mean_std=self.mean_init_std,
        )

    def init(self, key: Key, spec: Spec) -> DynamicsState:
        outputs = math.prod(spec.obs.shape)
        actions = (
            spec.action.n if isinstance(spec.action, Discrete) else math.prod(spec.action.shape)
        )
        inputs = outputs + actions
        trained = {
            "posterior": bayes.initialise(self.network(outputs), key, inputs),
            "log_likelihood_std": jnp.log(jnp.float32(self.likelihood_std)),
        }
        row = {
            "x": jax.ShapeDtypeStruct((inputs,), jnp.float32),
            "y": jax.ShapeDtypeStruct((outputs,), jnp.float32),
        }
        return DynamicsState(
            trained=trained,
            optimizer=self._optimizer.init(trained),
            pool=replay.empty(row, self.pool_size),
            moments_x=moments.empty((inputs,)),
            moments_y=moments.empty((outputs,)),
        )

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        # One flat vector: a minibatch costs the overhead of its operations, not their arithmetic.
        return optax.flatten(optax.adam(self.learning_rate))

    def ready(self, state: DynamicsState) -> jax.Array:
        """Return whether the pool has its minimum: before that nothing is fitted, nothing paid."""
        return state.pool.count >= self.min_pool_size

    def likelihood(self, trained: Any) -> jax.Array:
        """Return σ_L []."""
        if self.learn_likelihood:
            return jnp.exp(trained["log_likelihood_std"])
        return jnp.float32(self.likelihood_std)

    def rows(self, state: DynamicsState, rows: Rollout) -> dict[str, jax.Array]:
        """Return raw {"x": [N, I], "y": [N, D]} of transitions [N, ...]."""
        action, count = rows.action, rows.reward.shape[0]
        flat = rows.obs.reshape(count, -1).astype(jnp.float32)
        after = rows.next_obs.reshape(count, -1).astype(jnp.float32)
        if jnp.issubdtype(action.dtype, jnp.integer):
            width = state.moments_x.mean.shape[0] - flat.shape[1]
            acted = jax.nn.one_hot(action, width)
        else:
            # What the environment executes: it clips to [-1, 1], and an agent should not be
            # able to raise its own bonus by asking for more than is done.
            acted = jnp.clip(action.reshape(count, -1), -1.0, 1.0)
        target = after if self.target == "next_obs" else after - flat
        return {"x": jnp.concatenate([flat, acted], -1), "y": target}

    def rows_of(self, state: DynamicsState, rollout: Rollout) -> dict[str, jax.Array]:
        """Return the rows of a rollout [T, E, ...], N = T · E in time order."""
        kept = replace(rollout, extras=(), carry=())
        return self.rows(state, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept))

    def scaled(
        self, state: DynamicsState, rows: dict[str, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """Return (x [N, I], y [N, D]) in deviations from the mean of all transitions seen."""
        if not self.standardize:
            return rows["x"], rows["y"]
        clip = self.standardize_clip
        return (
            moments.standardise(state.moments_x, rows["x"], clip),
            moments.standardise(state.moments_y, rows["y"], clip),
        )

    def fit(
        self, state: DynamicsState, key: Key, rollout: Rollout
    ) -> tuple[DynamicsState, Metrics]:
        """Return (state, metrics) after adding the rollout to the pool and descending the loss.

        Minibatches are drawn with replacement; the loss is `bayes.negative_elbo`, whose `batches`
        is pool / minibatch for `elbo_scale="dataset"`.
        """
        rows = self._transitions(state, rollout)
        state = replace(
            state,
            pool=replay.add(state.pool, rows),
            moments_x=moments.update(state.moments_x, rows["x"]),
            moments_y=moments.update(state.moments_y, rows["y"]),
        )
        updates = max(round(self.updates_per_step * rollout.reward.size), 1)
        network = self.network(rows["y"].shape[-1])
        key_batch, key_noise = jax.random.split(key)
        drawn = replay.sample(state.pool, key_batch, updates * self.batch_size)
        x, y = (leaf.reshape(updates, self.batch_size, -1) for leaf in self.scaled(state, drawn))
        shared = 1 if self.shared_noise else self.batch_size
        noise = jax.vmap(lambda key: network.draw_noise(key, self.samples, shared))(
            jax.random.split(key_noise, updates)
        )
        batches = (
            state.pool.count.astype(jnp.float32) / self.batch_size
            if self.elbo_scale == "dataset"
            else jnp.float32(self.elbo_scale)
        )

        def loss(trained: Any, x: jax.Array, y: jax.Array, noise: Any) -> jax.Array:
            return bayes.negative_elbo(
                network,
                trained["posterior"],
                x,
                y,
                noise,
                likelihood_std=self.likelihood(trained),
                prior_std=self.prior_std,
                batches=batches,
            )

        def one(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            trained, optimizer = carry
            value, gradient = jax.value_and_grad(loss)(trained, *batch)
            change, optimizer = self._optimizer.update(gradient, optimizer, trained)
            return (optax.apply_updates(trained, change), optimizer), value

        before = (state.trained, state.optimizer)
        after, losses = jax.lax.scan(one, before, (x, y, noise))
        ready = self.ready(state)
        trained, optimizer = jax.tree.map(
            lambda new, old: jnp.where(ready, new, old), after, before
        )
        state = replace(state, trained=trained, optimizer=optimizer)
        return state, self._metrics(state, rows, losses, ready)

    def _transitions(self, state: DynamicsState, rollout: Rollout) -> dict[str, jax.Array]:
        if self.cross_episodes:
            # The authors' pool stores no successors: it pairs each step with whatever observation
            # was stored next, also the first one of another episode.
            stored_next = jnp.concatenate([rollout.obs[1:], rollout.next_obs[-1:]])
            rollout = replace(rollout, next_obs=stored_next)
        return self.rows_of(state, rollout)

    def _metrics(
        self, state: DynamicsState, rows: Any, losses: jax.Array, ready: jax.Array
    ) -> Metrics:
        apart = math.ceil(rows["x"].shape[0] / 256)  # some rows, of all times, tell enough
        some = {name: leaf[::apart] for name, leaf in rows.items()}
        x, y = self.scaled(state, some)
        predicted = self.network(y.shape[-1]).mean_output(state.trained["posterior"], x)
        stds, _ = ravel_pytree(bayes.standard_deviations(state.trained["posterior"]))
        metrics = {
            "loss": losses.mean(),
            "prediction_mse": jnp.square(predicted - y).mean(),  # in squared deviations
            "posterior_std": stds.mean(),
            "likelihood_std": self.likelihood(state.trained),
        }
        return {name: jnp.where(ready, value, jnp.nan) for name, value in metrics.items()}

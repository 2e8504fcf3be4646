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
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.encoders.encoder import Encoder, action_code, action_size, observed_size
from explorax.nets import bayes
from explorax.nets.mlp import MLP
from explorax.ops import moments, replay

TARGETS = ("next_obs", "difference")
LEAST_NOISE, MOST_NOISE = 0.01, 100.0  # of a noise head, in deviations of the target


@pytree
class DynamicsState:
    trained: (
        Any  # {"posterior": bayes.Params, "log_likelihood_std": [], "noise_head": params or ()}
    )
    optimizer: Any
    pool: replay.Ring  # rows {"x": [I], "y": [D]}, raw, and {"known": []} with a latent
    moments_x: moments.Moments  # of all transitions seen; with a latent, of about the pool's
    moments_y: moments.Moments
    encoder: Any  # the latent's state; () without one


@dataclass(frozen=True)
class DynamicsModel:
    """p(s'|s, a; θ) = N(f_θ(s, a), σ_L²), θ ~ q_φ; inputs and targets standardised.

    With `latent`, s and s' are what that encoder makes of them, without gradient. With
    `noise_head`, σ_L is a vector, exp h(s, a), from a network h that is fitted by the same loss.
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
    latent: Encoder | None
    noise_head: bool

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
        one = not (self.noise_head and self.learn_likelihood)
        require(one, owner, "learn_likelihood", "False with noise_head=True, which learns σ_L too")
        alone = self.latent is None or not self.cross_episodes
        require(alone, owner, "cross_episodes", "False with a latent: it would pair two episodes")

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
        outputs = self._size(spec)
        inputs = outputs + action_size(spec)
        key_head, key_latent = (jax.random.fold_in(key, n) for n in (1, 2))
        trained = {
            "posterior": bayes.initialise(self.network(outputs), key, inputs),
            "log_likelihood_std": jnp.log(jnp.float32(self.likelihood_std)),
            "noise_head": (
                self._head(outputs).init(key_head, jnp.zeros((1, inputs)))
                if self.noise_head
                else ()
            ),
        }
        row = {
            "x": jax.ShapeDtypeStruct((inputs,), jnp.float32),
            "y": jax.ShapeDtypeStruct((outputs,), jnp.float32),
        }
        if self.latent is not None:
            row["known"] = jax.ShapeDtypeStruct((), jnp.float32)
        return DynamicsState(
            trained=trained,
            optimizer=self._optimizer.init(trained),
            pool=replay.empty(row, self.pool_size),
            moments_x=moments.empty((inputs,)),
            moments_y=moments.empty((outputs,)),
            encoder=() if self.latent is None else self.latent.init(key_latent, spec),
        )

    def _size(self, spec: Spec) -> int:
        return observed_size(spec) if self.latent is None else self.latent.size(spec)

    def _head(self, outputs: int) -> MLP:
        return MLP(self.hidden, outputs, self.activation, 0.0)  # starts at σ_L = likelihood_std

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        # One flat vector: a minibatch costs the overhead of its operations, not their arithmetic.
        return optax.flatten(optax.adam(self.learning_rate))

    def ready(self, state: DynamicsState) -> jax.Array:
        """Return whether the pool has its minimum: before that nothing is fitted, nothing paid."""
        return state.pool.count >= self.min_pool_size

    def likelihood(self, trained: Any, x: jax.Array) -> jax.Array:
        """Return σ_L, [] or with a noise head [N, D], at scaled inputs [N, I]."""
        if self.noise_head:
            outputs = trained["noise_head"]["params"]["output"]["bias"].shape[0]
            out = self._head(outputs).run(trained["noise_head"], x)[0]
            log_std = math.log(self.likelihood_std) + out
            # Below the floor a target is as good as certain, and 1/σ_L⁴ would drown the others.
            return jnp.exp(jnp.clip(log_std, math.log(LEAST_NOISE), math.log(MOST_NOISE)))
        if self.learn_likelihood:
            return jnp.exp(trained["log_likelihood_std"])
        return jnp.float32(self.likelihood_std)

    def rows(self, state: DynamicsState, rows: Rollout) -> dict[str, jax.Array]:
        """Return raw {"x": [N, I], "y": [N, D]} of transitions [N, ...] or [T, E, ...], N = T · E
        in time order; with a latent also "known" [N], 0.0 where there is no successor."""
        lead = rows.reward.shape
        count, known = math.prod(lead), {}
        if self.latent is None:
            before, after = rows.obs, rows.next_obs
        else:
            pairs = jax.lax.stop_gradient(self.latent.pairs(state.encoder, rows))
            before, after = pairs.before, pairs.after
            known = {"known": pairs.known.reshape(count).astype(jnp.float32)}
        flat = before.reshape(count, -1).astype(jnp.float32)
        after = after.reshape(count, -1).astype(jnp.float32)
        width = state.moments_x.mean.shape[0] - flat.shape[1]
        action = rows.action.reshape(count, *rows.action.shape[len(lead) :])
        target = after if self.target == "next_obs" else after - flat
        x = jnp.concatenate([flat, action_code(action, (count,), width)], -1)
        return {"x": x, "y": target} | known

    def paid(
        self, state: DynamicsState, rows: dict[str, jax.Array], amount: jax.Array
    ) -> jax.Array:
        """Return `amount` [N] where the pool has its minimum and the successor is known, else 0."""
        return jnp.where(self.ready(state), amount * rows.get("known", 1.0), 0.0)

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
        # Features drift as their network learns, so with a latent the moments forget what has
        # left the pool; observations do not drift.
        left = rollout.reward.size / self.pool_size if self.latent is not None else 0.0
        moments_x, moments_y = (
            moments.update(moments.forget(of, max(0.0, 1.0 - left)), rows[name])
            for of, name in ((state.moments_x, "x"), (state.moments_y, "y"))
        )
        state = replace(
            state,
            pool=replay.add(state.pool, rows),
            moments_x=moments_x,
            moments_y=moments_y,
        )
        updates = max(round(self.updates_per_step * rollout.reward.size), 1)
        network = self.network(rows["y"].shape[-1])
        key_batch, key_noise = jax.random.split(key)
        drawn = replay.sample(state.pool, key_batch, updates * self.batch_size)
        x, y = (leaf.reshape(updates, self.batch_size, -1) for leaf in self.scaled(state, drawn))
        weights = (
            drawn["known"].reshape(updates, -1) if "known" in drawn else jnp.ones((updates, 1))
        )
        shared = 1 if self.shared_noise else self.batch_size
        noise = jax.vmap(lambda key: network.draw_noise(key, self.samples, shared))(
            jax.random.split(key_noise, updates)
        )
        batches = (
            state.pool.count.astype(jnp.float32) / self.batch_size
            if self.elbo_scale == "dataset"
            else jnp.float32(self.elbo_scale)
        )

        def loss(
            trained: Any, x: jax.Array, y: jax.Array, weights: jax.Array, noise: Any
        ) -> jax.Array:
            return bayes.negative_elbo(
                network,
                trained["posterior"],
                x,
                y,
                noise,
                likelihood_std=self.likelihood(trained, x),
                prior_std=self.prior_std,
                batches=batches,
                weights=weights,
            )

        def one(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            trained, optimizer = carry
            value, gradient = jax.value_and_grad(loss)(trained, *batch)
            change, optimizer = self._optimizer.update(gradient, optimizer, trained)
            return (optax.apply_updates(trained, change), optimizer), value

        before = (state.trained, state.optimizer)
        after, losses = jax.lax.scan(one, before, (x, y, weights, noise))
        ready = self.ready(state)
        trained, optimizer = jax.tree.map(
            lambda new, old: jnp.where(ready, new, old), after, before
        )
        state = replace(state, trained=trained, optimizer=optimizer)
        metrics = self._metrics(state, rows, losses, ready)
        if self.latent is None:
            return state, metrics
        encoder, learned = self.latent.update(state.encoder, key, rollout)
        return replace(state, encoder=encoder), metrics | learned

    def _transitions(self, state: DynamicsState, rollout: Rollout) -> dict[str, jax.Array]:
        if self.cross_episodes:
            # The authors' pool stores no successors: it pairs each step with whatever observation
            # was stored next, also the first one of another episode.
            stored_next = jnp.concatenate([rollout.obs[1:], rollout.next_obs[-1:]])
            rollout = replace(rollout, next_obs=stored_next)
        return self.rows(state, rollout)

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
            "likelihood_std": self.likelihood(state.trained, x).mean(),
        }
        return {name: jnp.where(ready, value, jnp.nan) for name, value in metrics.items()}

"""Surprise: how unlikely, or how much likelier than before (Achiam & Sastry, arXiv 1703.01732)."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from explorax.bonuses import transitions
from explorax.bonuses.transitions import Transitions
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.encoder import action_size, observed_size
from explorax.nets import fitting
from explorax.nets.mlp import ACTIVATIONS, MLP
from explorax.ops import moments
from explorax.ops.distributions import Gaussian
from explorax.ops.trust_region import fisher_product, line_search, natural_step

FORMS = ("surprisal", "progress")
OPTIMIZERS = ("adam", "trust_region")
# Of the trust-region step: as in `TRPO`, which see.
CG_ITERATIONS, CG_DAMPING, BACKTRACK_FACTOR, BACKTRACK_STEPS = 10, 1e-3, 0.8, 15


@pytree
class Model:
    """All that a density p(s'|s, a) depends on."""

    params: Any  # {"network": ...}, and "log_std" [O] where it does not depend on (s, a)
    x: moments.Moments
    y: moments.Moments


@pytree
class SurpriseState:
    known: Transitions
    trained: fitting.Trained
    old: Any  # Models of the last `lag` rollouts, leaves [lag, ...], the oldest first; () if unused


@dataclass(frozen=True)
class Surprise:
    """Pays −log p(s'|s, a) of a learnt dynamics model, in nats, or how much that has just fallen.

    `form="surprisal"` is the first, "progress" is log p_t(s'|s, a) − log p_{t−k}(s'|s, a) with the
    model of k rollouts ago (Achiam & Sastry 2017, arXiv 1703.01732, section 3). p is a Gaussian
    whose mean, and with `predict_std` whose deviations, a network makes of (s, a). Surprisal stays
    high where dynamics are random, and progress does not.

    The surprisal is that of s' in deviations: a density has no scale of its own, and this one does
    not change with the units of the observations. It may be negative. Progress needs no scale: each
    model is taken with the moments it was fitted with.

    Paid raw: the paper divides by max(1, |mean of the rollout|) and scales; here `RunningStd`.
    Nothing is paid for the first rollout, which finds no model, and none of progress until there
    has been a model k rollouts ago.

    Deviations from the authors' code (jachiam/surprise): by default Adam, and not one step of a
    constrained optimiser (`optimizer="trust_region"`) per rollout, and no weight decay, theirs
    being 1; one network for mean and deviations, where they have two; standardised inputs and
    outputs; deviations of at least `min_std`, or the surprisal of a deterministic world has no end.
    """

    form: str = "surprisal"  # or "progress"
    lag: int = 1  # k, rollouts between the two models of "progress"
    hidden: tuple[int, ...] = (64, 64)  # of the dynamics model
    activation: str = "tanh"  # or "relu", "silu"
    predict_std: bool = True  # deviations depend on (s, a); False: one for each dimension
    min_std: float = 0.01  # the least deviation, in deviations of s'
    weight_decay: float = 0.0  # times ½‖weights‖² without biases, in the loss
    optimizer: str = "adam"  # or "trust_region": one natural-gradient step a rollout
    max_kl: float = 0.001  # nats, of the trust-region step
    learning_rate: float = 1e-3  # of Adam
    batch_size: int = 32  # rows of a minibatch, or all the rows of a trust-region step
    updates_per_step: float = 0.03  # Adam's minibatches per env step; at least one per rollout
    pool_size: int = 100_000  # transitions, first in first out
    clip: float = 10.0  # of inputs and targets, in deviations

    may_be_negative = True  # of the likely, and of what has become less likely

    def __post_init__(self) -> None:
        check_types(self)
        require(self.form in FORMS, self, "form", f"one of {FORMS}")
        require(self.optimizer in OPTIMIZERS, self, "optimizer", f"one of {OPTIMIZERS}")
        known = " or ".join(map(repr, ACTIVATIONS))
        require(self.activation in ACTIVATIONS, self, "activation", known)
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        for field in ("min_std", "max_kl", "learning_rate", "updates_per_step", "clip"):
            require(0 < getattr(self, field) < math.inf, self, field, "positive and finite")
        require(0 <= self.weight_decay < math.inf, self, "weight_decay", "at least 0 and finite")
        for field in ("lag", "batch_size"):
            require(getattr(self, field) >= 1, self, field, "at least 1")
        require(self.pool_size >= self.batch_size, self, "pool_size", "at least batch_size")

    @classmethod
    def paper(cls, form: str = "surprisal") -> "Surprise":
        """Return the settings of the authors' script, which learns from 5,000 of 5 million rows."""
        return cls(
            form=form,
            weight_decay=1.0,
            optimizer="trust_region",
            batch_size=5000,
            pool_size=5_000_000,
        )

    @property
    def replayable(self) -> bool:
        return True

    def init(self, key: Key, spec: Spec) -> SurpriseState:
        outputs = observed_size(spec)
        inputs = outputs + action_size(spec)
        network = self._network(outputs).init(key, jnp.zeros((1, inputs)))
        params: dict[str, Any] = {"network": network}
        if not self.predict_std:
            params["log_std"] = jnp.zeros(outputs)
        known = transitions.empty(inputs, outputs, self.pool_size)
        adam = self.optimizer == "adam"
        trained = fitting.start(params, self.learning_rate) if adam else fitting.Trained(params, ())
        model = Model(params, known.x, known.y)
        old = jax.tree.map(lambda leaf: jnp.stack([leaf] * self.lag), model)
        return SurpriseState(known, trained, old if self.form == "progress" else ())

    def _network(self, outputs: int) -> MLP:
        return MLP(self.hidden, 2 * outputs if self.predict_std else outputs, self.activation)

    def _distribution(self, params: Any, x: jax.Array, outputs: int) -> Gaussian:
        """Return p of standardised targets [N, outputs] at standardised inputs [N, I]."""
        out, _ = self._network(outputs).run(params["network"], x)
        if self.predict_std:
            log_std = out[:, outputs:]
        else:
            log_std = jnp.broadcast_to(params["log_std"][None], out.shape)
        return Gaussian(out[:, :outputs], jnp.maximum(log_std, math.log(self.min_std)))

    def score(
        self, state: SurpriseState, key: Key, rollout: Rollout
    ) -> tuple[jax.Array, SurpriseState]:
        return self._paid(state, rollout), state

    def rescore(self, state: SurpriseState, key: Key, rows: Rollout) -> jax.Array:
        return self._paid(state, rows)

    def _paid(self, state: SurpriseState, rows: Rollout) -> jax.Array:
        """Return the bonus [...] of a rollout or of rows."""
        x, y = self._rows(state, rows)
        now = Model(state.trained.params, state.known.x, state.known.y)
        if self.form == "surprisal":
            paid, ready = -self._log_prob(now, x, y), now.x.count > 0
        else:
            old = jax.tree.map(lambda leaf: leaf[0], state.old)
            # The log-densities of s' itself, without the deviations that both were divided by.
            units = jnp.log(moments.std(old.y)).sum() - jnp.log(moments.std(now.y)).sum()
            paid = self._log_prob(now, x, y) - self._log_prob(old, x, y) + units
            ready = old.x.count > 0
        return jnp.where(ready, paid, 0.0).reshape(rows.reward.shape)

    def _rows(self, state: SurpriseState, rows: Rollout) -> tuple[jax.Array, jax.Array]:
        """Return raw ((s, a) [N, I], s' [N, O])."""
        size = state.known.x.mean.shape[0]
        return transitions.inputs(rows, size), transitions.states(rows)[1]

    def _log_prob(self, model: Model, x: jax.Array, y: jax.Array) -> jax.Array:
        """Return log p [N] of raw rows, the targets in the model's own deviations."""
        x = moments.standardise(model.x, x, self.clip)
        y = moments.standardise(model.y, y, self.clip)
        return self._distribution(model.params, x, y.shape[1]).log_prob(y)

    def _loss(self, params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Return −mean log p of standardised rows, and the weight decay."""
        x, y = batch
        loss = -self._distribution(params, x, y.shape[1]).log_prob(y).mean()
        if self.weight_decay:
            kernels = [leaf for leaf in jax.tree.leaves(params["network"]) if leaf.ndim == 2]
            loss += 0.5 * self.weight_decay * sum(jnp.square(each).sum() for each in kernels)
        return loss

    def update(
        self, state: SurpriseState, key: Key, rollout: Rollout
    ) -> tuple[SurpriseState, Metrics]:
        if self.form == "progress":
            before = Model(state.trained.params, state.known.x, state.known.y)
            old = jax.tree.map(
                lambda past, new: jnp.concatenate([past[1:], new[None]]), state.old, before
            )
            state = replace(state, old=old)
        known = transitions.add(state.known, *self._rows(state, rollout))
        key_rows, key_fit = jax.random.split(key)
        if self.optimizer == "trust_region":
            batch = transitions.sample(known, key_rows, self.batch_size, self.clip)
            trained, metrics = self._trust_region_step(state.trained, batch)
            return replace(state, known=known, trained=trained), metrics
        updates = fitting.count_updates(self.updates_per_step, rollout.reward.size)
        rows = transitions.sample(known, key_rows, updates * self.batch_size, self.clip)
        trained, losses = fitting.fit(
            lambda params, batch, key: self._loss(params, batch),
            state.trained,
            rows,
            key_fit,
            updates=updates,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return replace(state, known=known, trained=trained), {"loss": losses.mean()}

    def _trust_region_step(
        self, trained: fitting.Trained, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[fitting.Trained, Metrics]:
        """Return (trained, metrics) after the step down the loss with a mean KL[old‖new] of at
        most `max_kl`, shortened until it improves."""
        flat, unravel = ravel_pytree(trained.params)
        x, y = batch

        def at(parameters: jax.Array) -> Gaussian:
            return self._distribution(unravel(parameters), x, y.shape[1])

        def loss(parameters: jax.Array) -> jax.Array:
            return self._loss(unravel(parameters), batch)

        before, gradient = jax.value_and_grad(loss)(flat)
        old = at(flat)
        product = fisher_product(at, flat, CG_DAMPING)
        found = line_search(
            lambda parameters: (before - loss(parameters), old.kl(at(parameters)).mean()),
            flat,
            natural_step(product, -gradient, self.max_kl, CG_ITERATIONS),
            self.max_kl,
            BACKTRACK_FACTOR,
            BACKTRACK_STEPS,
        )
        metrics = {"loss": before - found.improvement, "kl": found.kl}
        return fitting.Trained(unravel(found.parameters), ()), metrics

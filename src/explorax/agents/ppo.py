"""Proximal policy optimisation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.agents import actor_critic, unrolling
from explorax.agents.actor_critic import State
from explorax.agents.unrolling import Inputs
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.ops.returns import normalised

MINIBATCHES = 4  # of a rollout that so many share equally, where no number is set


@pytree
class Batch:
    """Rows of one minibatch, leaves [N, ...], or [T, e, ...] of some environments with a memory."""

    inputs: Inputs
    action: Any
    log_prob: Any  # of the actor
    advantage: Any
    target: Any  # [..., V], in the heads' units
    value: Any  # [..., V], what the heads said when acting


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation by a clipped objective (Schulman et al. 2017, arXiv 1707.06347).

    `epochs` passes over each rollout, in `minibatches` parts, each a step of Adam on
    −mean min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), ρ = π(a|s)/π_old(a|s) (Eq. 7), with the entropy and the
    value's loss as in Eq. 9. Advantages are generalised (arXiv 1506.02438) and standardised in each
    minibatch. A minibatch is a random part of all steps; with a `memory`, whole sequences of a
    random part of the environments, so that what was remembered is unrolled as it was.

    `bonus_discount` and `bonus_episodic` give the bonus a value head and a discount of its own, as
    RND has them (arXiv 1810.12894).

    Differences from the paper: observations are standardised, and the value's head predicts in
    units of the returns' running deviation (PopArt, arXiv 1602.07714).
    """

    rollout_length: int = 128
    hidden: tuple[int, ...] = (64, 64)  # before the memory, after convolutions of images
    activation: str = "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    memory: str | None = None  # or "lstm", "gru"
    memory_size: int = 64
    sees_last: bool = False  # the last action and reward are inputs of the memory
    init_std: float = 1.0
    discount: float = 0.99
    gae_lambda: float = 0.95
    epochs: int = 4
    minibatches: int | None = None  # None: 4, or the most below it that share a rollout equally
    clip: float = 0.2  # ε, of the ratio of probabilities
    clip_value: bool = False  # the value's loss is the larger with V within ε of V_old, and without
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    learning_rate: float = 1e-3
    decay_env_steps: int | None = None  # the learning rate falls to 0 over so many; None: never
    max_grad_norm: float = 0.5
    normalize_obs: bool = True
    normalize_advantages: bool = True
    bonus_scale: float = 1.0  # the papers' η
    bonus_discount: float | None = None  # of a second value head, for the bonus alone; None: one
    bonus_episodic: bool = True  # False: the return of the bonus goes on over the ends of episodes

    hands_on = actor_critic.HANDS_ON

    def __post_init__(self) -> None:
        actor_critic.validate(self)
        require(self.epochs >= 1, self, "epochs", "at least 1")
        several = self.minibatches is None or self.minibatches >= 1
        require(several, self, "minibatches", "at least 1, or None")
        require(0 < self.clip < 1, self, "clip", "between 0 and 1")

    def init(self, key: Key, spec: Spec) -> State:
        """Return the state before the first step.

        Raises Incompatible, also where a rollout does not divide into the minibatches, or where one
        of them is a single step, whose standardised advantage would always be 0.
        """
        rows, what = spec.num_envs, "environments"
        if self.memory is None:
            rows, what = rows * self.rollout_length, "steps"
        parts = self._parts(rows)
        if rows % parts != 0:
            some = _most_equal_parts(rows, parts)
            raise Incompatible(
                f"PPO(minibatches={self.minibatches}) cannot share {rows} {what} of a rollout "
                f"equally. Set minibatches={some}, or change the number of environments, "
                f"{spec.num_envs}."
            )
        return actor_critic.init(self, key, spec, parts)

    def _parts(self, rows: int) -> int:
        """Return how many minibatches a rollout of so many steps, or environments, makes."""
        if self.minibatches is not None:
            return self.minibatches
        return _most_equal_parts(rows, MINIBATCHES)

    def carry(self, spec: Spec) -> Any:
        return actor_critic.carry(self, spec)

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Any, Any, Any]:
        """See `actor_critic.act`."""
        return actor_critic.act(self, state, carry, key, percept, greedy)

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        wanted = unrolling.targets(self, state, rollout)
        value = rollout.extras["value"]
        state = unrolling.rescaled(state, wanted.value)
        batch = Batch(
            inputs=unrolling.inputs_of(self, state, rollout),
            action=actor_critic.flat_action(state, rollout.action),
            log_prob=rollout.extras["log_prob"],
            advantage=wanted.advantage,
            target=unrolling.in_units_of_heads(state, wanted.value),
            value=unrolling.in_units_of_heads(state, value),
        )

        def one(carry: tuple[Any, Any], rows: jax.Array) -> tuple[tuple[Any, Any], Metrics]:
            part = _part(batch, rows, self.memory is not None)
            gradient, metrics = jax.grad(self._loss, has_aux=True)(carry[0], part)
            return actor_critic.stepped(self, state, *carry, gradient), metrics

        count = value.shape[1] if self.memory is not None else value.shape[0] * value.shape[1]
        rows = jax.vmap(lambda key: jax.random.permutation(key, count))(
            jax.random.split(key, self.epochs)
        ).reshape(self.epochs * self._parts(count), -1)
        (params, optimizer), metrics = jax.lax.scan(one, (state.params, state.optimizer), rows)
        state = replace(state, params=params, optimizer=optimizer)
        state, shared = unrolling.finish(self, state, rollout, wanted)
        return state, {**{name: each.mean() for name, each in metrics.items()}, **shared}

    def _loss(self, params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        said, log_prob = unrolling.unrolled(self, params, batch.inputs, batch.action)
        advantage = batch.advantage
        if self.normalize_advantages:
            advantage = normalised(advantage)
        log_ratio = log_prob - batch.log_prob
        ratio = jnp.exp(log_ratio)
        held = jnp.clip(ratio, 1.0 - self.clip, 1.0 + self.clip)
        gain = jnp.minimum(ratio * advantage, held * advantage).mean()
        entropy = actor_critic.policy_of(params, said).entropy().mean()
        error = jnp.square(said.value - batch.target)
        if self.clip_value:
            near = batch.value + jnp.clip(said.value - batch.value, -self.clip, self.clip)
            error = jnp.maximum(error, jnp.square(near - batch.target))
        value_loss = 0.5 * error.sum(-1).mean()
        total = -gain - self.entropy_coef * entropy + self.value_coef * value_loss
        return total, {
            "policy_loss": -gain,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": (ratio - 1.0 - log_ratio).mean(),  # Schulman's estimator, of the old to the new
            "clipped": (jnp.abs(ratio - 1.0) > self.clip).mean(),
        }


def _most_equal_parts(rows: int, most: int) -> int:
    """Return the largest number of at most `most` that divides `rows`."""
    return next(k for k in range(min(most, rows), 0, -1) if rows % k == 0)


def _part(batch: Batch, rows: jax.Array, of_environments: bool) -> Batch:
    """Return the minibatch of these environments, [T, e, ...], or of these steps, [1, N, ...]."""
    if not of_environments:
        count = batch.advantage.size

        def one(leaf: jax.Array) -> jax.Array:
            return leaf.reshape(count, *leaf.shape[2:])[rows][None]

        return jax.tree.map(one, batch)
    memory = jax.tree.map(lambda leaf: leaf[rows], batch.inputs.memory)
    rest = replace(batch, inputs=replace(batch.inputs, memory=()))
    part = jax.tree.map(lambda leaf: leaf[:, rows], rest)
    return replace(part, inputs=replace(part.inputs, memory=memory))

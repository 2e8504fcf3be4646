"""Deep Q-learning."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from explorax.agents import experience, sight
from explorax.behaviors import EpsilonGreedy
from explorax.behaviors.behavior import Behavior
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import (
    Discrete,
    Key,
    Metrics,
    Percept,
    Rescore,
    Rollout,
    Spec,
)
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS, MLP
from explorax.nets.visual import ENCODERS
from explorax.ops import moments as running
from explorax.ops import replay
from explorax.ops.q_learning import n_step_sums, q_targets


@pytree
class DQNState:
    """What DQN learns with."""

    params: Any
    target_params: Any
    optimizer: Any
    ring: replay.Ring  # of Rollout rows [E, ...], bonus included; of images, see `agents.frames`
    moments: running.Moments  # of observations; of none where they are images
    env_steps: Any  # int32 [], of all E environments
    gradient_steps: Any  # int32 []


@pytree
class Batch:
    """Rows to regress on, leaves [B, ...]."""

    features: Any  # of the observation in which `action` was taken
    action: Any
    reward: Any  # the sum over the steps to `next_features`
    discount: Any  # of the value of `next_features`; 0 after a terminal step
    next_features: Any
    known: Any  # whether the row can be learned from


@dataclass(frozen=True)
class DQN:
    """Q-learning with a network, replay and a target network (Mnih et al. 2015). Discrete actions.

    With double Q-learning (van Hasselt et al. 2016) and n-step targets. Deviations from Mnih et
    al.: Adam in place of RMSProp; E environments side by side take `rollout_length` steps, then
    `updates_per_learn` batches are drawn from the replay, all before the first is learned from;
    observations are standardised by the moments of all so far. Images are not: they go through
    convolutions first, and the replay keeps each frame once (`agents.frames`, which says what
    becomes of time-outs).

    The total reward of a row is `reward + bonus_scale * bonus`. With `bonus_at="replay"` the bonus
    is asked for anew whenever the row is drawn, so that it fades in old rows as the bonus's model
    learns them; with "collection" it is what the row was paid when new. A bonus that cannot be
    replayed is paid as at collection either way.
    """

    behavior: Behavior = field(default=EpsilonGreedy())
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"  # or "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    rollout_length: int = 8  # steps of each environment between two calls of learn
    updates_per_learn: int = 8  # gradient steps
    batch_size: int = 64
    replay_capacity: int = 50_000  # env steps
    warmup_env_steps: int = 1_000  # before the first gradient step
    discount: float = 0.99
    n_steps: int = 3
    double: bool = True
    learning_rate: float = 1e-3
    loss: str = "squared"  # or "huber", which hears rare ends of episodes too little
    max_grad_norm: float | None = 10.0  # of the whole gradient; None: as it is
    target_update: str = "polyak"  # or "copy"
    target_copy_every: int = 200  # gradient steps, for "copy"
    polyak_rate: float = 0.01  # share of the new parameters per gradient step, for "polyak"
    normalize_obs: bool = True
    bonus_scale: float = 1.0
    bonus_at: str = "replay"  # or "collection"

    hands_on = ("params", "target_params", "moments")

    def __post_init__(self) -> None:
        check_types(self)
        for name in (
            "rollout_length",
            "updates_per_learn",
            "batch_size",
            "replay_capacity",
            "n_steps",
            "target_copy_every",
        ):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        require(self.activation in ACTIVATIONS, self, "activation", f"one of {[*ACTIVATIONS]}")
        require(self.encoder in ENCODERS, self, "encoder", " or ".join(map(repr, ENCODERS)))
        require(self.warmup_env_steps >= 0, self, "warmup_env_steps", "at least 0")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")
        require(0 < self.learning_rate < math.inf, self, "learning_rate", "above 0")
        require(self.loss in ("huber", "squared"), self, "loss", "'huber' or 'squared'")
        norm = self.max_grad_norm
        require(norm is None or norm > 0, self, "max_grad_norm", "above 0, or None")
        require(
            self.target_update in ("copy", "polyak"), self, "target_update", "'copy' or 'polyak'"
        )
        require(0 < self.polyak_rate <= 1, self, "polyak_rate", "above 0 and at most 1")
        experience.validate(self)

    def init(self, key: Key, spec: Spec) -> DQNState:
        """Return the state before the first step.

        Raises Incompatible for continuous actions and for a behaviour that needs counts.
        """
        if not isinstance(spec.action, Discrete):
            raise Incompatible(
                f"DQN chooses among discrete actions, and these are continuous: {spec.action}. "
                "Agents that take continuous actions: TRPO, REINFORCE, ERWR, MPO, SoftQ, A2C, PPO."
            )
        if self.behavior.needs_counts:
            raise Incompatible(
                f"DQN does not count how often each action was taken in a state, and "
                f"{self.behavior!r} needs that. An agent that counts: TabularQ."
            )
        steps = experience.steps_kept(self, spec, self.n_steps, "rollout_length", "n_steps")
        net = self._network(spec.action.n, sight.encoder_for(self, spec))
        params = net.init(key, sight.example(spec))
        return DQNState(
            params=params,
            target_params=jax.tree.map(jnp.copy, params),
            optimizer=self._optimizer().init(params),
            ring=replay.empty(experience.row(spec), steps),
            moments=sight.moments(spec),
            env_steps=jnp.int32(0),
            gradient_steps=jnp.int32(0),
        )

    def carry(self, spec: Spec) -> tuple[()]:
        """Return the actor's memory, of which there is none."""
        return ()

    def act(
        self, state: DQNState, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Int[Array, " E"], Any, dict[str, jax.Array]]:
        """Return (action, carry, {"latent": [E, H]}), the latent being the last hidden layer.

        `greedy` takes the first of the best actions.
        """
        values, latent = self._q_and_latent(state.params, self._seen(state, percept.obs))
        if greedy:
            return jnp.argmax(values, axis=-1).astype(jnp.int32), carry, {"latent": latent}
        return self.behavior.choose(key, values, state.env_steps), carry, {"latent": latent}

    def values(self, state: DQNState, obs: Any) -> Float[Array, "N A"]:
        """Return Q(s, ·) of observations [N, ...]."""
        return self._q(state.params, self._seen(state, obs))

    def learn(
        self, state: DQNState, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[DQNState, Metrics]:
        """Return (state, metrics) after storing the rollout and `updates_per_learn` gradient steps.

        Metrics are NaN while the replay holds less than `warmup_env_steps`.
        """
        state = experience.stored(self, state, rollout)
        batches = self._batches(state, key, rollout, rescore)
        start = (state.params, state.target_params, state.optimizer, state.gradient_steps)
        filled = experience.filled(state.ring, rollout, self.n_steps)
        ready = (state.env_steps >= self.warmup_env_steps) & filled
        after, metrics = experience.trained(self._update, start, batches, ready)
        params, target_params, optimizer, gradient_steps = after
        return replace(
            state,
            params=params,
            target_params=target_params,
            optimizer=optimizer,
            gradient_steps=gradient_steps,
        ), metrics

    def _network(self, num_actions: int, encoder: str | None) -> MLP:
        return MLP(self.hidden, num_actions, self.activation, encoder=encoder)

    def _q_and_latent(self, params: Any, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        num_actions = params["params"]["output"]["bias"].shape[-1]
        return self._network(num_actions, sight.encoder_of(self, params)).run(params, features)

    def _q(self, params: Any, features: jax.Array) -> jax.Array:
        return self._q_and_latent(params, features)[0]

    def _optimizer(self) -> optax.GradientTransformation:
        adam = optax.adam(self.learning_rate)
        if self.max_grad_norm is None:
            return adam
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), adam)

    def _seen(self, state: DQNState, obs: jax.Array) -> jax.Array:
        """Return what the network sees [N, ...] of observations [N, ...]."""
        return sight.seen(self, state.moments, state.params, obs)

    def _batches(self, state: DQNState, key: Key, rollout: Rollout, rescore: Rescore) -> Batch:
        """Return all batches of one `learn`, leaves [U, B, ...]; `rollout` was the last stored."""
        key_draw, key_rescore = jax.random.split(key)
        drawn = self.updates_per_learn * self.batch_size
        windows = experience.windows(state.ring, key_draw, drawn, self.n_steps, rollout)
        paid = experience.total_reward(self, key_rescore, windows, rescore)
        windows, known = experience.learnable(state.ring, windows)
        reward, discount, last = n_step_sums(
            paid, windows.terminated, windows.truncated, self.discount
        )
        batch = Batch(
            features=self._seen(state, windows.obs[:, 0]),
            action=windows.action[:, 0],
            reward=reward,
            discount=discount,
            next_features=self._seen(state, windows.next_obs[jnp.arange(drawn), last]),
            known=known[:, 0],
        )
        shape = (self.updates_per_learn, self.batch_size)
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), batch)

    def _update(
        self, learned: tuple[Any, Any, Any, jax.Array], batch: Batch
    ) -> tuple[tuple[Any, Any, Any, jax.Array], Metrics]:
        """Return (params, target_params, optimizer, gradient_steps) after one gradient step."""
        params, target_params, optimizer, gradient_steps = learned
        targets = q_targets(
            batch.reward,
            batch.discount,
            self._q(params, batch.next_features),
            self._q(target_params, batch.next_features),
            self.double,
        )

        def loss(params: Any) -> tuple[jax.Array, jax.Array]:
            values = self._q(params, batch.features)
            value = jnp.take_along_axis(values, batch.action[:, None], axis=1)[:, 0]
            each = optax.huber_loss if self.loss == "huber" else optax.l2_loss
            return jnp.where(batch.known, each(value, targets), 0.0).mean(), value.mean()

        (loss_mean, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        step, optimizer = self._optimizer().update(gradient, optimizer, params)
        params = optax.apply_updates(params, step)
        gradient_steps = gradient_steps + 1
        target_params = self._follow(target_params, params, gradient_steps)
        metrics = {
            "loss": loss_mean,
            "q_mean": q_mean,
            "target_mean": targets.mean(),
            "gradient_norm": optax.tree.norm(gradient),
        }
        return (params, target_params, optimizer, gradient_steps), metrics

    def _follow(self, target_params: Any, params: Any, gradient_steps: jax.Array) -> Any:
        """Return the target network's parameters after gradient step number `gradient_steps`."""
        if self.target_update == "polyak":
            return optax.incremental_update(params, target_params, self.polyak_rate)
        due = gradient_steps % self.target_copy_every == 0
        return jax.tree.map(lambda new, old: jnp.where(due, new, old), params, target_params)

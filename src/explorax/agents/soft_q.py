"""Soft Q-learning."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import action_values, experience, sight, soft_q_sampler
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Box, Discrete, Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS
from explorax.nets.visual import ENCODERS
from explorax.ops import moments as running
from explorax.ops import noise, replay
from explorax.ops.schedules import SHAPES, annealed
from explorax.ops.soft_values import soft_log_policy

CHOICES = {
    "sampler": ("auto", "stein", "softmax"),
    "value_proposal": ("uniform", "sampler"),
    "bandwidth": tuple(soft_q_sampler.BANDWIDTHS),
    "stein_space": ("pre_action", "action", "release"),
    "decay": SHAPES,
    "encoder": ENCODERS,
}
HOTTEST = 1e30  # temperature, and its inverse the coldest: what a float32 divides by
COUNTS = ("decay_env_steps", "rollout_length", "updates_per_learn", "batch_size",
          "replay_capacity", "target_copy_every")  # fmt: skip


@pytree
class SoftQState:
    """What soft Q-learning learns with."""

    params: Any  # {"critic"}, and {"sampler"} where actions are continuous
    target: Any  # the critic's parameters as they were a while ago
    optimizer: Any
    ring: replay.Ring  # of Rollout rows [E, ...], bonus included
    moments: running.Moments  # of observations
    action_like: Any  # zeros, shaped like an action; () where actions are discrete
    env_steps: Any  # int32 [], of all E environments
    gradient_steps: Any  # int32 []


@pytree
class Batch:
    """Rows to learn from, leaves [B, ...]."""

    features: Any
    action: Any
    reward: Any  # with the bonus
    next_features: Any  # of the true successor
    terminated: Any
    known: Any  # whether the row can be learned from


@dataclass(frozen=True)
class SoftQ:
    """Soft Q-learning (Haarnoja et al. 2017, arXiv 1702.08165): a policy ∝ exp(Q/α).

    The policy of maximum entropy, which keeps every way to a reward that is as good as another. The
    critic is fitted to r + γ V(s'), V(s) = α log ∫ exp(Q(s, a)/α) da by `value_samples` actions and
    a target network; time limits do not end the future. Continuous actions come from a network fed
    with noise, trained by amortised Stein variational gradient descent. Discrete actions have the
    exact sum and the exact softmax, without a sampler.

    α is `temperature`, in units of the return; with `end_temperature` it goes there within
    `decay_env_steps`. The released code scales rewards by 1/α and keeps α = 1: the same optimum, at
    another pace.

    `stein_space` says where the particles move. "action": on the actions themselves, in the box.
    "pre_action": before the tanh, with its density taken into account. "release": on the actions,
    but with that density's gradient all the same, as the released code has it, so that actions keep
    away from the edges of the box: their density is ∝ exp(Q/α) Π (1 − a_i²).

    Differences from the release: E environments side by side; observations are standardised, and
    images convolved by each network instead (their replay: `agents.frames`); the sampler's step
    does not shrink as α grows. From the paper: the exploration noise is optional.
    """

    hands_on = ("params", "target", "moments")

    hidden: tuple[int, ...] = (128, 128)  # of the critic, and of the sampler
    activation: str = "relu"  # or "silu", "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    temperature: float = 0.1  # α, in units of the return
    end_temperature: float | None = None  # None: stays as it is
    decay_env_steps: int = 10_000  # of all environments
    decay: str = "exponential"  # or "cosine", "linear"
    sampler: str = "auto"  # or "stein", "softmax": what the actions allow
    value_samples: int = 16  # K_V, for each state; discrete actions are summed over
    value_proposal: str = "uniform"  # or "sampler": whence these samples come
    fixed_particles: int = 16  # K, which push, for each state
    updated_particles: int = 16  # M, which are pushed
    bandwidth: str = "release"  # or "paper"
    stein_space: str = "pre_action"  # or "action", "release"
    noise_std: float = 0.0  # σ of Ornstein-Uhlenbeck noise on continuous actions; the paper's 0.3
    noise_reversion: float = 0.15  # θ of it
    discount: float = 0.99
    learning_rate: float = 3e-4  # Adam, of the critic
    sampler_learning_rate: float = 3e-4  # Adam
    max_grad_norm: float | None = None  # of each network's gradient; None: as it is
    target_copy_every: int = 1000  # gradient steps
    rollout_length: int = 8  # steps of each environment between two calls of learn
    updates_per_learn: int = 8  # gradient steps
    batch_size: int = 64
    replay_capacity: int = 100_000  # env steps
    warmup_env_steps: int = 1_000  # before the first gradient step
    normalize_obs: bool = True
    bonus_scale: float = 1.0
    bonus_at: str = "replay"  # or "collection"

    def __post_init__(self) -> None:
        check_types(self)
        for name, choices in CHOICES.items():
            require(getattr(self, name) in choices, self, name, " or ".join(map(repr, choices)))
        experience.validate(self)
        require(self.activation in ACTIVATIONS, self, "activation", f"one of {[*ACTIVATIONS]}")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        for name in COUNTS:
            require(getattr(self, name) >= 1, self, name, "at least 1")
        for name in ("value_samples", "fixed_particles", "updated_particles"):
            require(getattr(self, name) >= 2, self, name, "at least 2: they are compared")
        for name in ("learning_rate", "sampler_learning_rate"):
            require(0 < getattr(self, name) < math.inf, self, name, "positive and finite")
        for name in ("temperature", "end_temperature"):
            value = getattr(self, name)
            held = value is None or 1 / HOTTEST <= value <= HOTTEST
            require(held, self, name, f"positive, from {1 / HOTTEST:g} to {HOTTEST:g}")
        norm = self.max_grad_norm
        require(norm is None or norm > 0, self, "max_grad_norm", "above 0, or None")
        require(0 <= self.noise_std < math.inf, self, "noise_std", "at least 0 and finite")
        require(0 < self.noise_reversion <= 1, self, "noise_reversion", "above 0 and at most 1")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")
        require(self.warmup_env_steps >= 0, self, "warmup_env_steps", "at least 0")

    def init(self, key: Key, spec: Spec) -> SoftQState:
        """Return the state before the first step.

        Raises Incompatible where `sampler` does not go with the actions, and where the replay holds
        less than one rollout.
        """
        if isinstance(spec.action, Discrete):
            wrong, kind, cure = "stein", f"{spec.action.n} discrete", "softmax"
        else:
            wrong, kind, cure = "softmax", "continuous", "stein"
        if self.sampler == wrong:
            raise Incompatible(
                f"SoftQ(sampler={self.sampler!r}) does not go with these {kind} actions: the Stein "
                f"sampler is for continuous ones, the softmax for discrete ones. Set "
                f"sampler={cure!r}, or leave it at 'auto'."
            )
        steps = experience.steps_kept(self, spec, 1, "rollout_length")
        key_critic, key_sampler = jax.random.split(key)
        example, encoder = sight.example(spec), sight.encoder_for(self, spec)
        params = {"critic": action_values.init(self, key_critic, spec.action, example, encoder)}
        if isinstance(spec.action, Box):
            # As long as an action, and the sampler's noise is too.
            net = soft_q_sampler.network(self, spec.action, encoder)
            params["sampler"] = net.init(key_sampler, example, action_values.like(spec.action))
        return SoftQState(
            params=params,
            target=jax.tree.map(jnp.copy, params["critic"]),
            optimizer=self._optimizer(params).init(params),
            ring=replay.empty(experience.row(spec), steps),
            moments=sight.moments(spec),
            action_like=action_values.action_like(spec.action),
            env_steps=jnp.int32(0),
            gradient_steps=jnp.int32(0),
        )

    def carry(self, spec: Spec) -> Any:
        """Return the exploration noise [E, A], or () without any."""
        if self.noise_std == 0 or isinstance(spec.action, Discrete):
            return ()
        return jnp.zeros((spec.num_envs, math.prod(spec.action.shape)))

    def act(
        self, state: SoftQState, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """Return (action, carry, {"latent": [E, H]}).

        The latent is the critic's last hidden layer, or the sampler's where its noise is 0.
        `greedy` takes the best of all discrete actions, or of 32 that the sampler makes of the same
        noise each time.
        """
        space = action_values.space_of(state.action_like, state.params["critic"])
        seen = self._seen(state, percept.obs)
        if isinstance(space, Discrete):
            params = state.params["critic"]
            net = action_values.network(self, space, sight.encoder_of(self, params))
            q, latent = net.run(params, seen)
            log_policy = soft_log_policy(q, self.temperature_at(state.env_steps))
            action = q.argmax(-1) if greedy else jax.random.categorical(key, log_policy)
            return action.astype(jnp.int32), carry, {"latent": latent}
        key_sample, key_noise = jax.random.split(key)
        size = math.prod(space.shape)
        latent = soft_q_sampler.before_tanh(
            self, space, state.params["sampler"], seen, jnp.zeros((len(seen), 1, size))
        )[1][:, 0]
        if greedy:
            action = soft_q_sampler.best(self, space, state.params, seen)
        else:
            action = self.sample(state, key_sample, percept.obs, 1)[:, 0]
            if not isinstance(carry, tuple):
                carry = noise.following(
                    carry, key_noise, percept.first, self.noise_reversion, self.noise_std
                )
                action = jnp.clip(action + carry, -1.0, 1.0)
        return action.reshape(-1, *space.shape), carry, {"latent": latent}

    def sample(self, state: SoftQState, key: Key, obs: Any, count: int) -> jax.Array:
        """Return `count` continuous actions [N, count, A] of the policy at obs [N, ...]."""
        space = action_values.space_of(state.action_like, state.params["critic"])
        assert isinstance(space, Box)
        seen = self._seen(state, obs)
        xi = jax.random.normal(key, (len(seen), count, math.prod(space.shape)))
        u, _ = soft_q_sampler.before_tanh(self, space, state.params["sampler"], seen, xi)
        return jnp.tanh(u)

    def _seen(self, state: SoftQState, obs: jax.Array) -> jax.Array:
        """Return what both networks see of observations [..., *obs_shape]."""
        return sight.seen(self, state.moments, state.params["critic"], obs)

    def temperature_at(self, env_steps: jax.Array) -> jax.Array:
        """Return α after so many steps of all environments."""
        end = self.temperature if self.end_temperature is None else self.end_temperature
        return annealed(self.temperature, end, self.decay_env_steps, self.decay)(env_steps)

    def learn(
        self, state: SoftQState, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[SoftQState, Metrics]:
        """Return (state, metrics) after storing the rollout and `updates_per_learn` gradient steps.

        Metrics are NaN while the replay holds less than `warmup_env_steps`.
        """
        state = experience.stored(self, state, rollout)
        key_draw, key_update = jax.random.split(key)
        batches = self._batches(state, key_draw, rollout, rescore)
        space = action_values.space_of(state.action_like, state.params["critic"])
        temperature = self.temperature_at(state.env_steps)

        def one(learned: tuple[Any, ...], step: tuple[Batch, Key]) -> tuple[Any, Metrics]:
            return self._update(space, temperature, learned, *step)

        start = (state.params, state.target, state.optimizer, state.gradient_steps)
        keys = jax.random.split(key_update, self.updates_per_learn)
        filled = experience.filled(state.ring, rollout, 1)
        ready = (state.env_steps >= self.warmup_env_steps) & filled
        after, metrics = experience.trained(one, start, (batches, keys), ready)
        params, target, optimizer, gradient_steps = after
        return replace(
            state,
            params=params,
            target=target,
            optimizer=optimizer,
            gradient_steps=gradient_steps,
        ), metrics

    def _batches(self, state: SoftQState, key: Key, rollout: Rollout, rescore: Rescore) -> Batch:
        """Return all batches of one `learn`, leaves [U, B, ...]; `rollout` was just stored."""
        key_draw, key_rescore = jax.random.split(key)
        drawn = self.updates_per_learn * self.batch_size
        windows = experience.windows(state.ring, key_draw, drawn, 1, rollout)
        batch = Batch(
            features=self._seen(state, windows.obs),
            action=windows.action,
            reward=experience.total_reward(self, key_rescore, windows, rescore),
            next_features=self._seen(state, windows.next_obs),
            terminated=windows.terminated,
            known=experience.learnable(state.ring, windows)[1],
        )
        shape = (self.updates_per_learn, self.batch_size)
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[2:]), batch)

    def _update(
        self,
        space: Discrete | Box,
        temperature: jax.Array,
        learned: tuple[Any, ...],
        batch: Batch,
        key: Key,
    ) -> tuple[tuple[Any, ...], Metrics]:
        """Return (what has been learned, metrics) after one gradient step of both networks."""
        params, target, optimizer, gradient_steps = learned
        key_value, key_particles = jax.random.split(key)
        value = soft_q_sampler.state_values(
            self, space, target, params.get("sampler"), batch.next_features, temperature, key_value
        )
        targets = batch.reward + self.discount * jnp.where(batch.terminated, 0.0, value)

        def loss(learning: Any) -> tuple[jax.Array, Metrics]:
            q = action_values.q_of(self, space, learning["critic"], batch.features, batch.action)
            squares = jnp.where(batch.known, jnp.square(q - targets), 0.0)
            critic_loss = 0.5 * squares.mean()
            metrics = {"critic_loss": critic_loss, "q_mean": q.mean(), "value_mean": value.mean(),
                       "temperature": temperature}  # fmt: skip
            if isinstance(space, Discrete):
                return critic_loss, metrics
            stein, more = soft_q_sampler.loss(
                self, space, params["critic"], learning["sampler"], batch.features, temperature,
                key_particles,
            )  # fmt: skip
            return critic_loss + stein, {**metrics, **more}

        gradient, metrics = jax.grad(loss, has_aux=True)(params)
        step, optimizer = self._optimizer(params).update(gradient, optimizer, params)
        params: Any = optax.apply_updates(params, step)
        gradient_steps = gradient_steps + 1
        due = gradient_steps % self.target_copy_every == 0
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), params["critic"], target)
        return (params, target, optimizer, gradient_steps), metrics

    def _optimizer(self, params: Any) -> optax.GradientTransformation:
        def adam(learning_rate: float) -> optax.GradientTransformation:
            if self.max_grad_norm is None:
                return optax.adam(learning_rate)
            return optax.chain(
                optax.clip_by_global_norm(self.max_grad_norm), optax.adam(learning_rate)
            )

        rates = {"critic": self.learning_rate, "sampler": self.sampler_learning_rate}
        return optax.multi_transform(
            {name: adam(rates[name]) for name in params}, {name: name for name in params}
        )

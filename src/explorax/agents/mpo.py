"""Maximum a posteriori policy optimisation."""

import math
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from explorax.agents import action_values, experience, mpo_critic, mpo_policy, sight
from explorax.agents.mpo_critic import Sequences
from explorax.agents.mpo_policy import Policy
from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS
from explorax.nets.visual import ENCODERS
from explorax.ops import moments as running
from explorax.ops import mpo, replay

CHOICES = {
    "variant": ("nonparametric", "parametric"),
    "evaluation": ("retrace", "n_step"),
    "covariance": ("diagonal", "full"),
    "kl": ("decoupled", "joint"),
    "encoder": ENCODERS,
}


@pytree
class MPOState:
    """What MPO learns with."""

    params: Any  # {"policy", "critic"}
    multipliers: Any  # raw numbers, one array for each constraint of the M-step
    target: Any  # {"policy", "critic"}, as `params` were a while ago: π_old and Q_old
    optimizer: Any  # of params and of multipliers
    ring: replay.Ring  # of Rollout rows [E, ...], bonus and log-probabilities included
    moments: running.Moments  # of observations
    action_like: Any  # zeros, shaped like an action; () where actions are discrete
    env_steps: Any  # int32 [], of all E environments
    gradient_steps: Any  # int32 []


@dataclass(frozen=True)
class MPO:
    """Maximum a posteriori policy optimisation (Abdolmaleki et al. 2018, arXiv 1806.06920).

    Evaluates the policy by Retrace (arXiv 1606.02647) on sequences from a replay, with target
    networks. Improves it in two steps. E-step: actions of the old policy are weighed by
    q ∝ π_old exp(Q/η), η the minimum of the convex dual, so that KL[q ‖ π_old] = `max_kl`. M-step:
    the policy is fitted to these by weighted maximum likelihood, with Lagrange multipliers that
    keep KL[π_old ‖ π] within its bounds, for the mean and the covariance of a Gaussian apart
    (arXiv 1812.02256). Discrete actions are enumerated, not sampled.

    `variant="parametric"`: the improved policy is a network from the start. E_π[Q] is climbed
    directly, by the ratio π/π_old and with the baseline E_{π_old}[Q], under the same constraints,
    and there is no M-step; the paper finds that it needs stricter bounds.

    `action_penalty`: an action outside the box is worth what its clipped one is, so that no Q ever
    calls back a mean that has left the box. A second E-step does, with −‖a − clip(a)‖ for Q and a
    temperature of its own (arXiv 2005.07513), whose weights are added to the first one's. Discrete
    actions have no box and the parametric variant has no E-step: neither uses it.

    Differences from the paper: the states of the E-step are the first and the successors of each
    sequence, whose actions and values the evaluation needs anyway; the dual is solved for each
    batch; observations are standardised. `evaluation="n_step"` is the uncorrected return to the end
    of the sequence. Images are not standardised: they go through convolutions, the policy's and the
    critic's own, and the replay keeps each frame once (`agents.frames`).
    """

    hidden: tuple[int, ...] = (256, 256)  # of the policy, and of the critic
    activation: str = "silu"  # or "relu", "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    init_std: float = 0.5  # of a continuous policy, about, where actions reach from −1 to 1
    covariance: str = "diagonal"  # or "full"
    variant: str = "nonparametric"  # or "parametric"
    evaluation: str = "retrace"  # or "n_step"
    retrace_lambda: float = 0.95  # λ of the traces λ min(1, π/b)
    discount: float = 0.99
    action_samples: int = 20  # N, for each state; discrete actions are all looked at
    max_kl: float = 0.1  # ε of the E-step, in nats
    kl: str = "decoupled"  # mean and covariance apart, or "joint": one bound, max_kl_policy
    per_dimension: bool = True  # a bound and a multiplier for each dimension of the action
    max_kl_mean: float = 2.5e-3  # nats, of the mean
    max_kl_covariance: float = 1e-5  # nats, of the covariance
    max_kl_policy: float = 2.5e-3  # nats, of discrete actions and of a joint bound
    init_multiplier_mean: float = 10.0  # of the mean's constraint, and of max_kl_policy's
    init_multiplier_covariance: float = 100.0
    action_penalty: float | None = 1e-3  # ε of a second E-step: continuous actions in the box
    learning_rate: float = 3e-4  # Adam
    multiplier_learning_rate: float = 1e-2  # Adam
    max_grad_norm: float = 40.0
    target_copy_every: int = 100  # gradient steps
    rollout_length: int = 16  # steps of each environment between two calls of learn
    updates_per_learn: int = 16  # gradient steps
    batch_size: int = 256  # states of a gradient step, in sequences of sequence_length
    sequence_length: int = 8  # steps of a sequence: what Retrace and n_step look ahead, at most
    replay_capacity: int = 100_000  # env steps
    warmup_env_steps: int = 1_000  # before the first gradient step
    normalize_obs: bool = True
    bonus_scale: float = 1.0
    bonus_at: str = "replay"  # or "collection"

    hands_on = ("params", "multipliers", "target", "moments")

    def __post_init__(self) -> None:
        check_types(self)
        for name, choices in CHOICES.items():
            require(getattr(self, name) in choices, self, name, " or ".join(map(repr, choices)))
        experience.validate(self)
        require(self.activation in ACTIVATIONS, self, "activation", f"one of {[*ACTIVATIONS]}")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        for name in ("rollout_length", "updates_per_learn", "batch_size", "sequence_length",
                     "replay_capacity", "target_copy_every"):  # fmt: skip
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(self.action_samples >= 2, self, "action_samples", "at least 2: they are compared")
        for name in ("max_kl", "max_kl_mean", "max_kl_covariance", "max_kl_policy", "init_std",
                     "init_multiplier_mean", "init_multiplier_covariance", "learning_rate",
                     "multiplier_learning_rate", "max_grad_norm"):  # fmt: skip
            require(0 < getattr(self, name) < math.inf, self, name, "positive and finite")
        penalty = self.action_penalty
        require(penalty is None or 0 < penalty < math.inf, self, "action_penalty",
                "positive and finite, or None")  # fmt: skip
        for name in ("discount", "retrace_lambda"):
            require(0 <= getattr(self, name) <= 1, self, name, "between 0 and 1")
        require(self.warmup_env_steps >= 0, self, "warmup_env_steps", "at least 0")
        length = self.sequence_length
        require(length <= self.replay_capacity, self, "sequence_length",
                f"at most replay_capacity={self.replay_capacity}")  # fmt: skip
        require(self.batch_size % length == 0, self, "batch_size",
                f"a multiple of sequence_length={length}, such as "
                f"{max(self.batch_size // length, 1) * length}")  # fmt: skip
        split = not (self.per_dimension and self.covariance == "full" and self.kl == "decoupled")
        require(split, self, "per_dimension", "False with a full covariance, which does not split")

    def init(self, key: Key, spec: Spec) -> MPOState:
        """Return the state before the first step.

        Raises Incompatible where the replay holds less than one sequence of each environment.
        """
        length = self.sequence_length
        steps = experience.steps_kept(self, spec, length, "rollout_length", "sequence_length")
        key_policy, key_critic = jax.random.split(key)
        example, encoder = sight.example(spec), sight.encoder_for(self, spec)
        params = {
            "policy": mpo_policy.network(self, spec.action, encoder).init(key_policy, example),
            "critic": action_values.init(self, key_critic, spec.action, example, encoder),
        }
        multipliers = mpo_policy.start_multipliers(self, spec)
        log_prob = jax.ShapeDtypeStruct((spec.num_envs,), jnp.float32)
        return MPOState(
            params=params,
            multipliers=multipliers,
            target=jax.tree.map(jnp.copy, params),
            optimizer=self._optimizer().init((params, multipliers)),
            ring=replay.empty(experience.row(spec, {"log_prob": log_prob}), steps),
            moments=sight.moments(spec),
            action_like=action_values.action_like(spec.action),
            env_steps=jnp.int32(0),
            gradient_steps=jnp.int32(0),
        )

    def carry(self, spec: Spec) -> tuple[()]:
        """Return the actor's memory, of which there is none."""
        return ()

    def act(
        self, state: MPOState, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        """Return (action, carry, {"log_prob": [E], "latent": [E, H]}).

        The latent is the policy's last hidden layer. `greedy` takes the mean, or the likeliest.
        """
        seen = self._seen(state, percept.obs)
        space = action_values.space_of(state.action_like, state.params["critic"])
        policy, latent = mpo_policy.distribution(self, space, state.params["policy"], seen)
        action = policy.mode() if greedy else policy.sample(key)
        extras = {"log_prob": policy.log_prob(action), "latent": latent}
        if isinstance(space, Box):
            action = action.reshape(-1, *space.shape)
        return action, carry, extras

    def learn(
        self, state: MPOState, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[MPOState, Metrics]:
        """Return (state, metrics) after storing the rollout and `updates_per_learn` gradient steps.

        Metrics are NaN while the replay holds less than `warmup_env_steps`.
        """
        kept = {"log_prob": rollout.extras["log_prob"]}
        state = experience.stored(self, state, rollout, kept)
        key_draw, key_update = jax.random.split(key)
        sequences = self._sequences(state, key_draw, rollout, rescore)

        space = action_values.space_of(state.action_like, state.params["critic"])

        def one(learned: tuple[Any, ...], step: tuple[Sequences, Key]) -> tuple[Any, Metrics]:
            return self._update(space, learned, *step)

        start = (
            state.params, state.multipliers, state.target, state.optimizer, state.gradient_steps
        )  # fmt: skip
        keys = jax.random.split(key_update, self.updates_per_learn)
        filled = experience.filled(state.ring, rollout, self.sequence_length)
        ready = (state.env_steps >= self.warmup_env_steps) & filled
        after, metrics = experience.trained(one, start, (sequences, keys), ready)
        params, multipliers, target, optimizer, gradient_steps = after
        return replace(
            state,
            params=params,
            multipliers=multipliers,
            target=target,
            optimizer=optimizer,
            gradient_steps=gradient_steps,
        ), metrics

    def _seen(self, state: MPOState, obs: jax.Array) -> jax.Array:
        """Return what both networks see of observations [..., *obs_shape]."""
        return sight.seen(self, state.moments, state.params["policy"], obs)

    def _sequences(
        self, state: MPOState, key: Key, rollout: Rollout, rescore: Rescore
    ) -> Sequences:
        """Return all sequences of one `learn`, leaves [U, L, W, ...]; `rollout` was just stored."""
        key_draw, key_rescore = jax.random.split(key)
        updates, length = self.updates_per_learn, self.sequence_length
        each = self.batch_size // length
        windows = experience.windows(state.ring, key_draw, updates * each, length, rollout)
        paid = experience.total_reward(self, key_rescore, windows, rescore)
        windows, known = experience.learnable(state.ring, windows)
        drawn = Sequences(
            features=self._seen(state, windows.obs),
            next_features=self._seen(state, windows.next_obs),
            action=windows.action,
            log_prob=windows.extras["log_prob"],
            reward=paid,
            terminated=windows.terminated,
            truncated=windows.truncated,
            known=known,
        )
        return jax.tree.map(
            lambda leaf: leaf.reshape(updates, each, *leaf.shape[1:]).swapaxes(1, 2), drawn
        )

    def _update(
        self, space: Discrete | Box, learned: tuple[Any, ...], sequences: Sequences, key: Key
    ) -> tuple[tuple[Any, ...], Metrics]:
        """Return (what has been learned, metrics) after one gradient step."""
        params, multipliers, target, optimizer, gradient_steps = learned
        states = _states(sequences)
        old, _ = mpo_policy.distribution(self, space, target["policy"], states)
        actions, log_prior = mpo_policy.candidates(self, old, key)
        q = action_values.q_of_candidates(self, space, target["critic"], states, actions)
        weights = 1.0 / self.action_samples if log_prior is None else jnp.exp(log_prior)
        next_value = (weights * q).sum(-1)[1:]
        targets = mpo_critic.targets(self, space, target, sequences, next_value)
        old, actions, q = _flat(old), _rows_first(actions), q.reshape(-1, q.shape[-1])
        states = states.reshape(-1, *states.shape[2:])

        def loss(learning: Any) -> tuple[jax.Array, Metrics]:
            params, multipliers = learning
            value = action_values.q_of(
                self, space, params["critic"], sequences.features, sequences.action
            )
            error = value - targets
            new, _ = mpo_policy.distribution(self, space, params["policy"], states)
            improve, metrics = mpo_policy.loss(self, new, old, multipliers, actions, q)
            critic_loss = 0.5 * jnp.where(sequences.known, jnp.square(error), 0.0).mean()
            return critic_loss + improve, {
                "critic_loss": critic_loss,
                "q_mean": value.mean(),
                "entropy": new.entropy().mean(),
                **metrics,
            }

        learning = (params, multipliers)
        gradient, metrics = jax.grad(loss, has_aux=True)(learning)
        step, optimizer = self._optimizer().update(gradient, optimizer, learning)
        params, multipliers = cast(Any, optax.apply_updates(learning, step))
        multipliers = jax.tree.map(mpo.held, multipliers)
        gradient_steps = gradient_steps + 1
        due = gradient_steps % self.target_copy_every == 0
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), params, target)
        metrics |= {f"multiplier_{name}": mpo.positive(raw).mean()
                    for name, raw in multipliers.items()}  # fmt: skip
        return (params, multipliers, target, optimizer, gradient_steps), metrics

    def _optimizer(self) -> optax.GradientTransformation:
        networks = optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm), optax.adam(self.learning_rate)
        )
        return optax.multi_transform(
            {"networks": networks, "multipliers": optax.adam(self.multiplier_learning_rate)},
            ("networks", "multipliers"),
        )


def _states(sequences: Sequences) -> jax.Array:
    """Return the states [L + 1, W, ...] that the policy is improved in: the first, then successors.

    Nothing follows a terminal state and no action is taken there, so that the state before it
    stands in its place. Without the first ones, where an episode begins would never be learnt.
    """
    ended = jnp.expand_dims(sequences.terminated, range(2, sequences.features.ndim))
    after = jnp.where(ended, sequences.features, sequences.next_features)
    return jnp.concatenate([sequences.features[:1], after])


def _flat(policy: Policy) -> Policy:
    """Return a distribution of states [L, W] as one of [L · W]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), policy)


def _rows_first(actions: jax.Array | None) -> jax.Array | None:
    """Return actions [N, L, W, A] as [L · W, N, A]."""
    if actions is None:
        return None
    return jnp.moveaxis(actions, 0, 2).reshape(-1, actions.shape[0], actions.shape[-1])

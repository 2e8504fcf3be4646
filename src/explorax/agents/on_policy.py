"""What the on-policy agents share: a policy, a critic, advantages of the total reward.

The agents are settings of their own; these functions read the fields that all of them have.

Observations are standardised with running moments that live in the agent's state and change only
at the end of `learn`: the learner sees exactly what the actor saw.
"""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Box, Key, Metrics, Percept, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS, MLP
from explorax.ops import moments as running
from explorax.ops.distributions import Categorical, Distribution, Gaussian
from explorax.ops.moments import Moments
from explorax.ops.returns import gae, lambda_returns

MIN_LOG_STD = math.log(1e-6)  # rllab's min_std
TARGET_RATE = 0.3  # weight of a new batch in the critic's running target mean and deviation


class Settings(Protocol):
    """The fields that every on-policy agent has."""

    @property
    def rollout_length(self) -> int: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...
    @property
    def init_std(self) -> float: ...
    @property
    def init_mean_scale(self) -> float: ...
    @property
    def discount(self) -> float: ...
    @property
    def gae_lambda(self) -> float: ...
    @property
    def entropy_coef(self) -> float: ...
    @property
    def bonus_scale(self) -> float: ...
    @property
    def normalize_obs(self) -> bool: ...
    @property
    def normalize_advantages(self) -> bool: ...
    @property
    def value_hidden(self) -> tuple[int, ...]: ...
    @property
    def value_learning_rate(self) -> float: ...
    @property
    def value_epochs(self) -> int: ...
    @property
    def value_minibatches(self) -> int: ...
    @property
    def baseline_on_extrinsic(self) -> bool: ...


@pytree
class Critic:
    """A value function whose network predicts (V − mean)/std."""

    params: Any
    optimizer: Any
    mean: Any  # float32 [], running, of the targets
    std: Any
    batches: Any  # float32 [], fits so far


@pytree
class State:
    policy: Any  # {"network": ...}, and "log_std" [*action_shape] where actions are continuous
    optimizer: Any  # of the policy; () where there is none
    critic: Critic
    obs_moments: Moments


@pytree
class Batch:
    """A rollout as the learner sees it, leaves [T, E, ...]."""

    features: Any
    action: Any
    advantage: Any
    target: Any  # what the critic is fitted to
    value: Any  # what it said


def validate(settings: Settings) -> None:
    """Raise InvalidSetting for a type that a field, or a value that a shared one, cannot take."""
    check_types(settings)
    positive = "rollout_length value_epochs value_minibatches init_std value_learning_rate".split()
    for field in positive:
        require(0 < getattr(settings, field) < math.inf, settings, field, "greater than 0, finite")
    for field in ("discount", "gae_lambda"):
        require(0 <= getattr(settings, field) <= 1, settings, field, "between 0 and 1")
    for field in ("entropy_coef", "bonus_scale", "init_mean_scale"):
        require(0 <= getattr(settings, field) < math.inf, settings, field, "0 or more, finite")
    for field in ("hidden", "value_hidden"):
        widths = getattr(settings, field)
        good = all(width > 0 for width in widths)
        require(good, settings, field, "a tuple of positive whole numbers, such as (32,) or ()")
    known = " or ".join(map(repr, ACTIVATIONS))
    require(settings.activation in ACTIVATIONS, settings, "activation", known)


def policy_net(settings: Settings, outputs: int) -> MLP:
    return MLP(settings.hidden, outputs, settings.activation, settings.init_mean_scale)


def value_net(settings: Settings) -> MLP:
    return MLP(settings.value_hidden, 1, settings.activation, 0.0)  # starts at V = 0


def init(
    settings: Settings, key: Key, spec: Spec, optimizer: optax.GradientTransformation | None = None
) -> State:
    """Return the state before the first step; `optimizer` is the policy's.

    Raises Incompatible where observations or actions are empty, or not numbers.
    """
    size = math.prod(spec.obs.shape)
    box = spec.action if isinstance(spec.action, Box) else None
    outputs = math.prod(spec.action.shape) if isinstance(spec.action, Box) else spec.action.n
    if size == 0 or outputs == 0:
        raise Incompatible(
            f"{type(settings).__name__} needs observations and actions of at least one number; "
            f"this environment has observations {spec.obs.shape} and actions {spec.action}."
        )
    key_policy, key_value = jax.random.split(key)
    features = jnp.zeros((1, size))
    policy: dict[str, Any] = {"network": policy_net(settings, outputs).init(key_policy, features)}
    if box is not None:
        policy["log_std"] = jnp.full(box.shape, math.log(settings.init_std))
    value = value_net(settings).init(key_value, features)
    zero, one = jnp.float32(0), jnp.float32(1)
    return State(
        policy=policy,
        optimizer=() if optimizer is None else optimizer.init(policy),
        critic=Critic(value, _critic_optimizer(settings).init(value), zero, one, zero),
        obs_moments=running.empty(spec.obs.shape),
    )


def features(settings: Settings, state: State, obs: jax.Array) -> jax.Array:
    """Return observations [..., *obs_shape] as [..., D], standardised if so set."""
    return running.features(state.obs_moments, obs, settings.normalize_obs)


def distribution(settings: Settings, policy: Any, features: jax.Array) -> Distribution:
    """Return the policy's distribution at features [..., D]."""
    outputs = policy["network"]["params"]["output"]["bias"].shape[0]
    out = policy_net(settings, outputs).apply(policy["network"], features)
    assert isinstance(out, jax.Array)
    if "log_std" not in policy:
        return Categorical(out)
    log_std = jnp.maximum(policy["log_std"], MIN_LOG_STD).reshape((1,) * (out.ndim - 1) + (-1,))
    return Gaussian(out, jnp.broadcast_to(log_std, out.shape))


def act(
    settings: Settings, state: State, key: Key, percept: Percept, greedy: bool
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return (action [E, ...], {"log_prob": [E]})."""
    policy = distribution(settings, state.policy, features(settings, state, percept.obs))
    action = policy.mode() if greedy else policy.sample(key)
    extras = {"log_prob": policy.log_prob(action)}
    if "log_std" in state.policy:
        action = action.reshape(*action.shape[:-1], *state.policy["log_std"].shape)
    return action, extras


def values(settings: Settings, critic: Critic, features: jax.Array) -> jax.Array:
    """Return V [...] at features [..., D]."""
    out = value_net(settings).apply(critic.params, features)
    assert isinstance(out, jax.Array)
    return critic.mean + critic.std * out[..., 0]


def prepare(settings: Settings, state: State, rollout: Rollout) -> Batch:
    """Return the batch: advantages of reward + bonus_scale · bonus, and the critic's targets.

    The critic is fitted to the λ-return of the same total reward, or with `baseline_on_extrinsic`
    of the extrinsic reward alone, as VIME's released code does.
    """
    seen = features(settings, state, rollout.obs)
    value = values(settings, state.critic, seen)
    next_value = values(settings, state.critic, features(settings, state, rollout.next_obs))
    total = rollout.reward + settings.bonus_scale * rollout.bonus
    ends = (rollout.terminated, rollout.truncated, settings.discount, settings.gae_lambda)
    advantage = gae(total, value, next_value, *ends)
    if settings.baseline_on_extrinsic:
        target = lambda_returns(rollout.reward, next_value, *ends)
    else:
        target = advantage + value
    if settings.normalize_advantages:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    action = rollout.action
    if "log_std" in state.policy:
        action = action.reshape(*value.shape, -1)
    return Batch(seen, action, advantage, target, value)


def policy_metrics(settings: Settings, old: Any, new: Any, batch: Batch) -> Metrics:
    """Return the mean KL[old ‖ new] in nats, and the surrogate's rise, mean[(π'/π − 1) A]."""
    before = distribution(settings, old, batch.features)
    after = distribution(settings, new, batch.features)
    log_ratio = after.log_prob(batch.action) - before.log_prob(batch.action)
    return {
        "kl": before.kl(after).mean(),
        "surrogate_improvement": (jnp.expm1(log_ratio) * batch.advantage).mean(),
    }


def _critic_optimizer(settings: Settings) -> optax.GradientTransformation:
    return optax.adam(settings.value_learning_rate)


def _rescaled(critic: Critic, target: jax.Array) -> Critic:
    """Return the critic with its target mean and deviation moved towards those of `target`, and
    its output layer changed so that it predicts what it did (PopArt, van Hasselt et al. 2016,
    arXiv 1602.07714, section 2.2)."""
    rate = jnp.maximum(TARGET_RATE, 1.0 / (critic.batches + 1.0))
    mean = critic.mean + rate * (target.mean() - critic.mean)
    square = (1.0 - rate) * jnp.square(critic.std) + rate * jnp.square(target - mean).mean()
    std = jnp.maximum(jnp.sqrt(square), 1e-6)
    layer = critic.params["params"]["output"]
    ratio = critic.std / std
    output = {
        "kernel": layer["kernel"] * ratio,
        "bias": layer["bias"] * ratio + (critic.mean - mean) / std,
    }
    params = {"params": {**critic.params["params"], "output": output}}
    return replace(critic, params=params, mean=mean, std=std, batches=critic.batches + 1.0)


def fit_critic(settings: Settings, critic: Critic, batch: Batch) -> Critic:
    """Return the critic after `value_epochs` passes of Adam over the batch.

    Of K minibatches, the k-th holds the time steps k, k + K, k + 2K, ... of every environment. Each
    spans the whole rollout, which serves as well as a shuffle and saves its sort. K is the largest
    divisor of the rollout's length that is at most `value_minibatches`.
    """
    steps = batch.target.shape[0]
    most = min(settings.value_minibatches, steps)
    count = next(k for k in range(most, 0, -1) if steps % k == 0)
    critic = _rescaled(critic, batch.target)
    net, optimizer = value_net(settings), _critic_optimizer(settings)
    scaled = (batch.target - critic.mean) / critic.std

    def loss(params: Any, features: jax.Array, target: jax.Array) -> jax.Array:
        out = net.apply(params, features)
        assert isinstance(out, jax.Array)
        return 0.5 * jnp.square(out[..., 0] - target).mean()

    def one(carry: tuple[Any, Any], rows: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        params, optimizer_state = carry
        gradient = jax.grad(loss)(params, *rows)
        change, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, change), optimizer_state), None

    def minibatches(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, count, *rows.shape[1:]).swapaxes(0, 1)

    rows = (minibatches(batch.features), minibatches(scaled))
    start = (critic.params, critic.optimizer)
    (params, optimizer_state), _ = jax.lax.scan(
        lambda carry, _: jax.lax.scan(one, carry, rows), start, None, settings.value_epochs
    )
    return replace(critic, params=params, optimizer=optimizer_state)


def finish(
    settings: Settings, state: State, rollout: Rollout, batch: Batch
) -> tuple[State, Metrics]:
    """Return the state with the critic fitted and the observations counted, and shared metrics.

    Called last in `learn`. `explained_variance` is that of the critic before the fit; NaN where
    the targets do not vary.
    """
    error = jnp.var(batch.target - batch.value)
    spread = jnp.var(batch.target)
    explained = 1.0 - error / jnp.where(spread > 0.0, spread, jnp.nan)
    metrics = {"explained_variance": explained, "value_mean": batch.value.mean()}
    if "log_std" in state.policy:
        metrics["policy_std"] = jnp.exp(state.policy["log_std"]).mean()
    critic = fit_critic(settings, state.critic, batch)
    moments = state.obs_moments
    if settings.normalize_obs:
        moments = running.update(moments, rollout.obs)
    return replace(state, critic=critic, obs_moments=moments), metrics

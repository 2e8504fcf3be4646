"""What the on-policy agents share: a policy, a critic, advantages of the total reward.

The agents are settings of their own; these functions read the fields that all of them have.

Observations are standardised with running moments that live in the agent's state and change only
at the end of `learn`: the learner sees exactly what the actor saw. Images are not: they go as they
are through convolutions, the policy's and each critic's own.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import critic as critics
from explorax.agents import sight
from explorax.agents.settings import Settings
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Box, Key, Metrics, Percept, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS, MLP
from explorax.nets.visual import ENCODERS
from explorax.ops.distributions import Distribution, of_outputs
from explorax.ops.moments import Moments
from explorax.ops.returns import explained_variance, gae, lambda_returns, normalised

# What `--init-from` takes. The bonus starts afresh, and with it the critic of it alone.
HANDS_ON = ("policy", "critic.params", "critic.scale", "obs_moments")


@pytree
class State:
    policy: Any  # {"network": ...}, and "log_std" [*action_shape] where actions are continuous
    optimizer: Any  # of the policy; () where there is none
    critic: critics.Critic
    bonus_critic: Any  # a Critic of the bonus alone; () without `bonus_discount`
    obs_moments: Moments  # of none where they are images


@pytree
class Batch:
    """A rollout as the learner sees it, leaves [T, E, ...]."""

    features: Any
    action: Any
    advantage: Any
    target: Any  # what the critic is fitted to
    value: Any  # what it said
    bonus_target: Any = ()  # the same of the bonus's critic


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
    discount = settings.bonus_discount
    good = discount is None or 0 <= discount <= 1
    require(good, settings, "bonus_discount", "between 0 and 1, or None for one critic of both")
    good = settings.bonus_episodic or discount is not None
    require(good, settings, "bonus_episodic", "True without a bonus_discount such as 0.99")
    good = not (settings.baseline_on_extrinsic and discount is not None)
    words = "False with a bonus_discount, which gives the bonus a baseline of its own"
    require(good, settings, "baseline_on_extrinsic", words)
    known = " or ".join(map(repr, ACTIVATIONS))
    require(settings.activation in ACTIVATIONS, settings, "activation", known)
    require(settings.encoder in ENCODERS, settings, "encoder", " or ".join(map(repr, ENCODERS)))


def policy_net(settings: Settings, outputs: int, encoder: str | None) -> MLP:
    """Return the policy's network, of images with an `encoder`."""
    return MLP(settings.hidden, outputs, settings.activation, settings.init_mean_scale, encoder)


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
    features, encoder = sight.example(spec), sight.encoder_for(settings, spec)
    net = policy_net(settings, outputs, encoder)
    policy: dict[str, Any] = {"network": net.init(key_policy, features)}
    if box is not None:
        policy["log_std"] = jnp.full(box.shape, math.log(settings.init_std))
    two, key_bonus = settings.bonus_discount is not None, jax.random.fold_in(key_value, 1)
    return State(
        policy=policy,
        optimizer=() if optimizer is None else optimizer.init(policy),
        critic=critics.init(settings, key_value, features, encoder),
        bonus_critic=critics.init(settings, key_bonus, features, encoder) if two else (),
        obs_moments=sight.moments(spec),
    )


def features(settings: Settings, state: State, obs: jax.Array) -> jax.Array:
    """Return observations [..., *obs_shape] as [..., D], standardised if so set, or images."""
    return sight.seen(settings, state.obs_moments, state.policy["network"], obs)


def distribution(settings: Settings, policy: Any, features: jax.Array) -> Distribution:
    """Return the policy's distribution at features [..., D], or at images."""
    return _distribution_and_latent(settings, policy, features)[0]


def _distribution_and_latent(
    settings: Settings, policy: Any, features: jax.Array
) -> tuple[Distribution, jax.Array]:
    params = policy["network"]
    outputs = params["params"]["output"]["bias"].shape[0]
    net = policy_net(settings, outputs, sight.encoder_of(settings, params))
    out, latent = net.run(params, features)
    return of_outputs(out, policy.get("log_std")), latent


def act(
    settings: Settings, state: State, key: Key, percept: Percept, greedy: bool
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return (action [E, ...], {"log_prob": [E], "latent": [E, H]}).

    The latent is the policy's last hidden layer: what it makes of the observation.
    """
    seen = features(settings, state, percept.obs)
    policy, latent = _distribution_and_latent(settings, state.policy, seen)
    action = policy.mode() if greedy else policy.sample(key)
    extras = {"log_prob": policy.log_prob(action), "latent": latent}
    if "log_std" in state.policy:
        action = action.reshape(*action.shape[:-1], *state.policy["log_std"].shape)
    return action, extras


def prepare(settings: Settings, state: State, rollout: Rollout) -> Batch:
    """Return the batch: advantages of reward + bonus_scale · bonus, and the critic's targets.

    The critic is fitted to the λ-return of the same total reward, or with `baseline_on_extrinsic`
    of the extrinsic reward alone, as VIME's released code does. With `bonus_discount` it is the
    extrinsic reward's, and the bonus has a critic and a discount of its own (RND, arXiv 1810.12894,
    section 2.3): A = A_reward + bonus_scale · A_bonus.
    """
    seen = features(settings, state, rollout.obs)
    next_seen = features(settings, state, rollout.next_obs)
    value = critics.values(settings, state.critic, seen)
    next_value = critics.values(settings, state.critic, next_seen)
    two = settings.bonus_discount is not None
    total = rollout.reward if two else rollout.reward + settings.bonus_scale * rollout.bonus
    ends = (rollout.terminated, rollout.truncated, settings.discount, settings.gae_lambda)
    advantage = gae(total, value, next_value, *ends)
    if settings.baseline_on_extrinsic:
        target = lambda_returns(rollout.reward, next_value, *ends)
    else:
        target = advantage + value
    bonus_target: Any = ()
    if two:
        bonus_advantage, bonus_target = _of_bonus(settings, state, rollout, seen, next_seen)
        advantage = advantage + settings.bonus_scale * bonus_advantage
    if settings.normalize_advantages:
        advantage = normalised(advantage)
    action = rollout.action
    if "log_std" in state.policy:
        action = action.reshape(*value.shape, -1)
    return Batch(seen, action, advantage, target, value, bonus_target)


def _of_bonus(
    settings: Settings, state: State, rollout: Rollout, seen: jax.Array, next_seen: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return (advantages, critic's targets) [T, E] of the bonus stream alone.

    Unless `bonus_episodic`, an episode's end does not end the stream: what follows it is the next
    episode's first observation, whose novelty counts (RND's `use_news=0`). After the rollout's last
    row that observation is not there, and the true successor stands in.
    """
    assert settings.bonus_discount is not None
    value = critics.values(settings, state.bonus_critic, seen)
    next_value = critics.values(settings, state.bonus_critic, next_seen)
    terminated, truncated = rollout.terminated, rollout.truncated
    if not settings.bonus_episodic:
        next_value = jnp.concatenate([value[1:], next_value[-1:]])
        terminated = truncated = jnp.zeros_like(rollout.terminated)
    ends = (terminated, truncated, settings.bonus_discount, settings.gae_lambda)
    advantage = gae(rollout.bonus, value, next_value, *ends)
    return advantage, advantage + value


def policy_metrics(settings: Settings, old: Any, new: Any, batch: Batch) -> Metrics:
    """Return the mean KL[old ‖ new] in nats, and the surrogate's rise, mean[(π'/π − 1) A]."""
    before = distribution(settings, old, batch.features)
    after = distribution(settings, new, batch.features)
    log_ratio = after.log_prob(batch.action) - before.log_prob(batch.action)
    return {
        "kl": before.kl(after).mean(),
        "surrogate_improvement": (jnp.expm1(log_ratio) * batch.advantage).mean(),
    }


def finish(
    settings: Settings, state: State, rollout: Rollout, batch: Batch
) -> tuple[State, Metrics]:
    """Return the state with the critic fitted and the observations counted, and shared metrics.

    Called last in `learn`. `explained_variance` is that of the critic before the fit.
    """
    metrics = {
        "explained_variance": explained_variance(batch.target, batch.value),
        "value_mean": batch.value.mean(),
    }
    if "log_std" in state.policy:
        metrics["policy_std"] = jnp.exp(state.policy["log_std"]).mean()
    critic = critics.fit(settings, state.critic, batch.features, batch.target)
    bonus_critic = state.bonus_critic
    if settings.bonus_discount is not None:
        bonus_critic = critics.fit(settings, bonus_critic, batch.features, batch.bonus_target)
        metrics["bonus_value_mean"] = critics.values(settings, bonus_critic, batch.features).mean()
    moments = sight.noted(settings, state.obs_moments, state.policy["network"], rollout.obs)
    state = replace(state, critic=critic, bonus_critic=bonus_critic, obs_moments=moments)
    return state, metrics

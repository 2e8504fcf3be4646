"""What A2C, PPO and UNREAL share: settings, state, and acting by one network with a memory.

The agents are settings of their own; these functions read the fields that all of them have.

The learner sees exactly what the actor saw: moments and weights change only at the end of `learn`,
the memory is unrolled from the rollout's own `carry` step by step with the same number of rows, and
it is emptied where the actor's was.
"""

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from explorax.agents import sight
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Box, Key, Percept, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.nets.actor_critic import MEMORIES, ActorCritic, Said, empty_memory
from explorax.nets.mlp import ACTIVATIONS
from explorax.nets.visual import ENCODERS
from explorax.ops import popart
from explorax.ops.distributions import Distribution, of_outputs
from explorax.ops.moments import Moments
from explorax.ops.schedules import annealed

# What `--init-from` takes.
HANDS_ON = ("params", "scale", "moments")


class Settings(Protocol):
    """The fields that every agent of this kind has."""

    @property
    def rollout_length(self) -> int: ...
    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def activation(self) -> str: ...
    @property
    def encoder(self) -> str: ...
    @property
    def memory(self) -> str | None: ...
    @property
    def memory_size(self) -> int: ...
    @property
    def sees_last(self) -> bool: ...
    @property
    def init_std(self) -> float: ...
    @property
    def discount(self) -> float: ...
    @property
    def gae_lambda(self) -> float: ...
    @property
    def entropy_coef(self) -> float: ...
    @property
    def value_coef(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def decay_env_steps(self) -> int | None: ...
    @property
    def max_grad_norm(self) -> float: ...
    @property
    def normalize_obs(self) -> bool: ...
    @property
    def normalize_advantages(self) -> bool: ...
    @property
    def bonus_scale(self) -> float: ...
    @property
    def bonus_discount(self) -> float | None: ...
    @property
    def bonus_episodic(self) -> bool: ...


@pytree
class State:
    params: Any  # {"network": ...}, and "log_std" [A] where actions are continuous
    optimizer: Any
    scale: popart.Scale
    moments: Moments  # of observations; of none where they are images
    action_like: Any  # zeros like an action; () where they are discrete
    env_steps: Any  # int32 []
    replay: Any = ()  # of an agent that keeps some


def validate(settings: Settings) -> None:
    """Raise InvalidSetting for a type that a field, or a value that a shared one, cannot take."""
    check_types(settings)
    for field in ("rollout_length", "memory_size"):
        require(getattr(settings, field) >= 1, settings, field, "at least 1")
    for field in ("init_std", "learning_rate", "max_grad_norm"):
        require(0 < getattr(settings, field) < math.inf, settings, field, "positive and finite")
    for field in ("entropy_coef", "value_coef", "bonus_scale"):
        require(0 <= getattr(settings, field) < math.inf, settings, field, "0 or more, finite")
    for field in ("discount", "gae_lambda"):
        require(0 <= getattr(settings, field) <= 1, settings, field, "between 0 and 1")
    good = len(settings.hidden) > 0 and all(width > 0 for width in settings.hidden)
    require(good, settings, "hidden", "a tuple of positive whole numbers, such as (64,)")
    known = " or ".join(map(repr, ACTIVATIONS))
    require(settings.activation in ACTIVATIONS, settings, "activation", known)
    require(settings.encoder in ENCODERS, settings, "encoder", " or ".join(map(repr, ENCODERS)))
    known = " or ".join(map(repr, (*MEMORIES, None)))
    require(settings.memory in (*MEMORIES, None), settings, "memory", known)
    good = settings.memory is not None or not settings.sees_last
    require(good, settings, "sees_last", "False without a memory such as memory='lstm'")
    steps = settings.decay_env_steps
    require(steps is None or steps >= 1, settings, "decay_env_steps", "at least 1, or None")
    discount = settings.bonus_discount
    good = discount is None or 0 <= discount <= 1
    require(good, settings, "bonus_discount", "between 0 and 1, or None for one head of both")
    good = settings.bonus_episodic or discount is not None
    require(good, settings, "bonus_episodic", "True without a bonus_discount such as 0.99")


def optimizer_of(settings: Settings) -> optax.GradientTransformation:
    """Return Adam behind a bound on the gradient's norm, without a learning rate."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_grad_norm), optax.scale_by_adam(eps=1e-5)
    )


def step_size(settings: Settings, env_steps: jax.Array) -> jax.Array:
    """Return the learning rate [], which falls to 0 over `decay_env_steps`."""
    if settings.decay_env_steps is None:
        return jnp.float32(settings.learning_rate)
    return annealed(settings.learning_rate, 0.0, settings.decay_env_steps, "linear")(env_steps)


def stepped(settings: Settings, state: State, params: Any, optimizer: Any, gradient: Any) -> Any:
    """Return (params, optimiser's state) after one step down `gradient`."""
    change, optimizer = optimizer_of(settings).update(gradient, optimizer, params)
    rate = step_size(settings, state.env_steps)
    return jax.tree.map(lambda p, c: p - rate * c, params, change), optimizer


def init(settings: Settings, key: Key, spec: Spec, minibatches: int = 1) -> State:
    """Return the state before the first step.

    Raises Incompatible where observations or actions are empty, or not numbers, and where
    advantages would be standardised within a minibatch of a single step, which makes each 0.
    """
    if settings.normalize_advantages and spec.num_envs * settings.rollout_length == minibatches:
        fewer = "fewer minibatches, " if minibatches > 1 else ""
        raise Incompatible(
            f"A gradient step of {type(settings).__name__} sees one step of one environment: "
            f"num_envs={spec.num_envs}, rollout_length={settings.rollout_length}, minibatches: "
            f"{minibatches}. Its standardised advantage is 0, so that no policy would be learned. "
            f"Set more environments, a longer rollout_length, {fewer}or normalize_advantages=False."
        )
    shape = spec.obs.shape
    outputs = math.prod(spec.action.shape) if isinstance(spec.action, Box) else spec.action.n
    if math.prod(shape) == 0 or outputs == 0:
        raise Incompatible(
            f"{type(settings).__name__} needs observations and actions of at least one number; "
            f"this environment has observations {shape} and actions {spec.action}."
        )
    heads = 1 if settings.bonus_discount is None else 2
    net = _network(settings, outputs, heads, sight.encoder_for(settings, spec))
    last = jnp.zeros((1, outputs + 1 if settings.sees_last else 0))
    params: dict[str, Any] = {"network": net.begin(key, sight.example(spec), last)}
    action_like: Any = ()
    if isinstance(spec.action, Box):
        params["log_std"] = jnp.full((outputs,), math.log(settings.init_std))
        action_like = jnp.zeros(spec.action.shape)
    return State(
        params=params,
        optimizer=optimizer_of(settings).init(params),
        scale=popart.start(heads),
        moments=sight.moments(spec),
        action_like=action_like,
        env_steps=jnp.int32(0),
    )


def _network(settings: Settings, outputs: int, heads: int, encoder: str | None) -> ActorCritic:
    return ActorCritic(
        outputs,
        heads,
        settings.hidden,
        settings.activation,
        encoder,
        settings.memory,
        settings.memory_size,
    )


def network(settings: Settings, params: Any) -> ActorCritic:
    """Return the network whose weights `params` are: methods other than `init` have no spec."""
    heads = params["network"]["params"]
    outputs, values = (heads[name]["bias"].shape[0] for name in ("policy", "value"))
    return _network(settings, outputs, values, sight.encoder_of(settings, params["network"]))


def carry(settings: Settings, spec: Spec) -> Any:
    """Return the actor's memory at the start: () without one."""
    outputs = math.prod(spec.action.shape) if isinstance(spec.action, Box) else spec.action.n
    return empty_carry(settings, spec.num_envs, outputs)


def empty_carry(settings: Settings, rows: int, outputs: int) -> Any:
    """Return a memory of nothing for so many rows and numbers of an action's code."""
    if settings.memory is None:
        return ()
    memory = empty_memory(settings.memory, settings.memory_size, rows)
    last = {"last": jnp.zeros((rows, outputs))} if settings.sees_last else {}
    return {"memory": memory, **last}


def seen(settings: Settings, state: State, obs: jax.Array) -> jax.Array:
    """Return observations [..., *obs_shape] as the network takes them: images as they are."""
    return sight.seen(settings, state.moments, state.params["network"], obs)


def policy_of(params: Any, said: Said) -> Distribution:
    """Return the policy's distribution."""
    return of_outputs(said.policy, params.get("log_std"))


def values(state: State, said: Said) -> Float[Array, "... V"]:
    """Return what the value heads say, in the reward's units."""
    lead = (1,) * (said.value.ndim - 1)
    return state.scale.mean.reshape(*lead, -1) + said.value * state.scale.std.reshape(*lead, -1)


def flat_action(state: State, action: jax.Array) -> jax.Array:
    """Return actions as a distribution takes them: [...], or [..., A]."""
    if isinstance(state.action_like, tuple):
        return action
    return action.reshape(*action.shape[: action.ndim - state.action_like.ndim], -1)


def coded(state: State, params: Any, action: jax.Array) -> Float[Array, "... A"]:
    """Return actions as inputs: one-hot codes, or the numbers themselves."""
    if isinstance(state.action_like, tuple):
        outputs = params["network"]["params"]["policy"]["bias"].shape[0]
        return jax.nn.one_hot(action, outputs)
    return flat_action(state, action)


def last_inputs(
    action: Float[Array, "E A"], reward: Float[Array, " E"], first: Bool[Array, " E"]
) -> Float[Array, "E L"]:
    """Return the last action's code and the last reward; nothing where an episode begins."""
    return jnp.concatenate(
        [jnp.where(first[:, None], 0.0, action), jnp.where(first, 0.0, reward)[:, None]], -1
    )


def act(
    settings: Settings, state: State, carry: Any, key: Key, percept: Percept, greedy: bool
) -> tuple[jax.Array, Any, dict[str, Any]]:
    """Return (action [E, ...], carry, extras).

    `extras` hold "log_prob" [E], "value" [E, V] in the reward's units, "latent" [E, H] (the
    memory's output, without one the last hidden layer), "encoded" [E, F] (what was made of the
    observation before the memory), and what the learner needs to see the same: with a memory the
    "memory" after this step, with `sees_last` the "last_reward".
    """
    params = state.params
    before, last = (), jnp.zeros((len(percept.first), 0))
    if settings.memory is not None:
        before = carry["memory"]
    if settings.sees_last:
        last = last_inputs(carry["last"], percept.reward, percept.first)
    memory, said = network(settings, params).run(
        params["network"], before, seen(settings, state, percept.obs), last, percept.first
    )
    policy = policy_of(params, said)
    action = policy.mode() if greedy else policy.sample(key)
    extras = {
        "log_prob": policy.log_prob(action),
        "value": values(state, said),
        "latent": said.latent,
        "encoded": said.encoded,
    }
    shape = () if isinstance(state.action_like, tuple) else state.action_like.shape
    action = action.reshape(*action.shape[:1], *shape)
    if settings.memory is not None:
        extras["memory"] = memory
        carry = {"memory": memory}
        if settings.sees_last:
            carry["last"] = coded(state, params, action)
            extras["last_reward"] = percept.reward
    return action, carry, extras

"""What the learner makes of a rollout by an actor-critic: the same outputs again, and targets.

The memory is unrolled from the rollout's own `carry`, step by step and with as many rows as the
actor had, and it is emptied where the actor's was. So the log-probabilities are the actor's to the
last bit: products of more rows at once round differently.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.agents import actor_critic, sight
from explorax.agents.actor_critic import Settings, State
from explorax.core.protocols import Metrics, Rollout
from explorax.core.pytree import pytree, replace
from explorax.nets.actor_critic import Said
from explorax.ops import popart
from explorax.ops.returns import explained_variance, gae

VALUE_RATE = 0.1  # weight of a new rollout in the running mean and deviation of the targets


@pytree
class Inputs:
    """What the network was shown, leaves [T, E, ...]; `memory` is that before the first step."""

    seen: Any
    last: Any  # [T, E, L]
    first: Any
    memory: Any  # leaves [E, M], or ()


@pytree
class Targets:
    """What a rollout teaches, leaves [T, E, ...]."""

    advantage: Any  # [T, E], of both streams together
    value: Any  # [T, E, V], in the reward's units


def inputs_of(settings: Settings, state: State, rollout: Rollout) -> Inputs:
    """Return what the actor's network was shown, from the rollout [T, E] and its `carry`."""
    reward = rollout.extras["last_reward"] if settings.sees_last else rollout.reward
    return inputs_from(settings, state, rollout, reward, rollout.carry)


def inputs_from(
    settings: Settings, state: State, rows: Any, last_reward: Float[Array, "T E"], carry: Any
) -> Inputs:
    """Return what the network is shown of rows [T, E] with `obs`, `action` and `first`.

    `carry` is the actor's before the first of them, `last_reward` the reward before each.
    """
    last = jnp.zeros((*rows.first.shape, 0))
    if settings.sees_last:
        action = actor_critic.coded(state, state.params, rows.action)
        before = jnp.concatenate([carry["last"][None], action[:-1]])
        last = jax.vmap(actor_critic.last_inputs)(before, last_reward, rows.first)
    memory = () if settings.memory is None else carry["memory"]
    return Inputs(actor_critic.seen(settings, state, rows.obs), last, rows.first, memory)


def unrolled(
    settings: Settings, params: Any, inputs: Inputs, action: jax.Array
) -> tuple[Said, jax.Array]:
    """Return (what the network says, log π of `action` [T, E]) at each step, leaves [T, E, ...].

    `action` is [T, E] or [T, E, A]. The logarithm is taken within the step: over all steps at once
    it would be rounded otherwise.
    """
    net, weights = actor_critic.network(settings, params), params["network"]

    def one(memory: Any, row: tuple[Any, ...]) -> tuple[Any, tuple[Said, jax.Array]]:
        *seen, action = row
        memory, said = net.run(weights, memory, *seen)
        return memory, (said, actor_critic.policy_of(params, said).log_prob(action))

    rows = (inputs.seen, inputs.last, inputs.first, action)
    if settings.memory is None:
        lead = inputs.first.shape
        count = lead[0] * lead[1]
        flat = jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[2:]), rows)
        told = one((), flat)[1]
        return jax.tree.map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), told)
    return jax.lax.scan(one, inputs.memory, rows)[1]


def next_values(settings: Settings, state: State, rollout: Rollout) -> Float[Array, "T E V"]:
    """Return the values of the TRUE successors, in the reward's units.

    Within an episode that is what the actor said one step later. Where time ran out, and after the
    last step, the network is asked, with the memory that the actor had then; where no environment
    needs it, nothing is computed, except in rollouts of fewer than `loop.LARGE_ROLLOUT` rows, which
    learn under `vmap`. After the last step it is asked of terminal states too, for a stream that
    goes on over the ends of episodes; an earlier one has the value of the next episode's start,
    with which that stream goes on.
    """
    value = rollout.extras["value"]
    params, net = state.params, actor_critic.network(settings, state.params)
    action = actor_critic.coded(state, params, rollout.action)
    end = jnp.arange(len(value))[:, None] == len(value) - 1
    asked = rollout.truncated | end

    def ask(row: tuple[Any, Any, jax.Array, jax.Array]) -> jax.Array:
        obs, memory, action, reward = row
        never = jnp.zeros(len(reward), bool)
        last = jnp.zeros((len(reward), 0))
        if settings.sees_last:
            last = actor_critic.last_inputs(action, reward, never)
        seen = actor_critic.seen(settings, state, obs)
        _, said = net.run(params["network"], memory, seen, last, never)
        return actor_critic.values(state, said)

    def one(row: tuple[jax.Array, tuple[Any, ...]]) -> jax.Array:
        return jax.lax.cond(row[0].any(), ask, lambda _: jnp.zeros_like(value[0]), row[1])

    memory = () if settings.memory is None else rollout.extras["memory"]
    found = jax.lax.map(one, (asked, (rollout.next_obs, memory, action, rollout.reward)))
    later = jnp.concatenate([value[1:], value[-1:]])
    return jnp.where(asked[..., None], found, later)


def targets(settings: Settings, state: State, rollout: Rollout) -> Targets:
    """Return advantages of reward + bonus_scale · bonus, and what the value heads should say.

    With `bonus_discount` the bonus has a head and a discount of its own (RND, arXiv 1810.12894,
    section 2.3), A = A_reward + bonus_scale · A_bonus. Unless `bonus_episodic`, an episode's end
    does not end the stream of the bonus: what follows is the next episode's first observation.
    After the rollout's last row that is not known, and the true successor stands in.
    """
    value, after = rollout.extras["value"], next_values(settings, state, rollout)
    ends = (rollout.terminated, rollout.truncated)
    if settings.bonus_discount is None:
        total = rollout.reward + settings.bonus_scale * rollout.bonus
        rates = (settings.discount, settings.gae_lambda)
        advantage = gae(total, value[..., 0], after[..., 0], *ends, *rates)
        return Targets(advantage, (advantage + value[..., 0])[..., None])
    of_reward = gae(
        rollout.reward, value[..., 0], after[..., 0], *ends, settings.discount, settings.gae_lambda
    )
    following = after[..., 1]
    if not settings.bonus_episodic:
        following = jnp.concatenate([value[1:, :, 1], following[-1:]])
        ends = (jnp.zeros_like(rollout.terminated), jnp.zeros_like(rollout.truncated))
    of_bonus = gae(
        rollout.bonus, value[..., 1], following, *ends, settings.bonus_discount, settings.gae_lambda
    )
    both = jnp.stack([of_reward, of_bonus], -1)
    return Targets(of_reward + settings.bonus_scale * of_bonus, both + value)


def rescaled(state: State, target: Float[Array, "T E V"]) -> State:
    """Return the state with the value heads' scale moved towards that of `target`."""
    network = state.params["network"]["params"]
    scale, head = popart.rescaled(state.scale, network["value"], target, VALUE_RATE)
    params = {**state.params, "network": {"params": {**network, "value": head}}}
    return replace(state, params=params, scale=scale)


def in_units_of_heads(state: State, value: Float[Array, "... V"]) -> Float[Array, "... V"]:
    """Return values as the heads predict them, (V − mean)/std."""
    lead = (1,) * (value.ndim - 1)
    return (value - state.scale.mean.reshape(*lead, -1)) / state.scale.std.reshape(*lead, -1)


def finish(
    settings: Settings, state: State, rollout: Rollout, wanted: Targets
) -> tuple[State, Metrics]:
    """Return the state with observations and steps counted, and shared metrics.

    Called last in `learn`. `explained_variance` is that of the first value head as it was when
    acting.
    """
    target, value = wanted.value[..., 0], rollout.extras["value"][..., 0]
    metrics = {
        "explained_variance": explained_variance(target, value),
        "value_mean": value.mean(),
    }
    if settings.bonus_discount is not None:
        metrics["bonus_value_mean"] = rollout.extras["value"][..., 1].mean()
    if "log_std" in state.params:
        metrics["policy_std"] = jnp.exp(state.params["log_std"]).mean()
    moments = sight.noted(settings, state.moments, state.params["network"], rollout.obs)
    steps = state.env_steps + rollout.reward.size
    return replace(state, moments=moments, env_steps=steps), metrics

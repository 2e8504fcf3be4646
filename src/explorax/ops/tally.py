"""What a person wants to know of a rollout: episodes, returns, successes, where the agent went."""

from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.protocols import Metrics, Rollout, Spec, View
from explorax.core.pytree import pytree, replace

NEVER = -1  # first_success_env_steps of a seed that has not succeeded


@pytree
class Tally:
    """Running counts of one training run: sums since the last `summary`, maps since the start."""

    env_steps: Any  # int32 [], over all E environments
    first_success_env_steps: Any  # int32 [], NEVER until then
    running_return: Any  # [E], extrinsic, of the episode under way
    running_length: Any  # [E]
    episodes: Any  # float32 []
    return_sum: Any
    length_sum: Any
    success_sum: Any
    visits: Any  # float32 [bins x, bins y] visited states per cell of the view; () without a view
    paid: Any  # the same shape: sum of the bonus paid there


def empty(spec: Spec) -> Tally:
    """Return a tally of nothing."""
    per_env = jnp.zeros(spec.num_envs)
    zero = jnp.float32(0)
    grid = jnp.zeros(spec.view.bins) if spec.view is not None else ()
    return Tally(
        env_steps=jnp.int32(0),
        first_success_env_steps=jnp.int32(NEVER),
        running_return=per_env,
        running_length=per_env,
        episodes=zero,
        return_sum=zero,
        length_sum=zero,
        success_sum=zero,
        visits=grid,
        paid=grid,
    )


def count(tally: Tally, spec: Spec, rollout: Rollout) -> Tally:
    """Return the tally with a scored rollout [T, E] added."""
    threshold = jnp.inf if spec.success_return is None else spec.success_return - 1e-6

    def one(carry: tuple[Any, ...], row: tuple[Any, ...]) -> tuple[tuple[Any, ...], None]:
        ret, length, env_steps, first, sums = carry
        reward, done = row
        ret, length = ret + reward, length + 1
        env_steps = env_steps + spec.num_envs
        success = done & (ret >= threshold)
        ended = done.astype(jnp.float32)
        first = jnp.where((first == NEVER) & success.any(), env_steps, first)
        succeeded = success.astype(jnp.float32).sum()
        sums = sums + jnp.stack(
            [ended.sum(), (ret * ended).sum(), (length * ended).sum(), succeeded]
        )
        return (
            jnp.where(done, 0.0, ret),
            jnp.where(done, 0.0, length),
            env_steps,
            first,
            sums,
        ), None

    start = (
        tally.running_return,
        tally.running_length,
        tally.env_steps,
        tally.first_success_env_steps,
        jnp.zeros(4),
    )
    done = rollout.terminated | rollout.truncated
    (ret, length, env_steps, first, sums), _ = jax.lax.scan(one, start, (_counted(rollout), done))
    visits, paid = tally.visits, tally.paid
    if spec.view is not None:
        view = spec.view
        x, y = view.cell_at(rollout.place) if view.hidden else view.cell(rollout.next_obs)
        visits = visits.at[x, y].add(1.0)
        paid = paid.at[x, y].add(rollout.bonus)
    return replace(
        tally,
        env_steps=env_steps,
        first_success_env_steps=first,
        running_return=ret,
        running_length=length,
        episodes=tally.episodes + sums[0],
        return_sum=tally.return_sum + sums[1],
        length_sum=tally.length_sum + sums[2],
        success_sum=tally.success_sum + sums[3],
        visits=visits,
        paid=paid,
    )


def _counted(rollout: Rollout) -> jax.Array:
    """Return what returns are made of, [T, E]."""
    told = rollout.true_reward
    return rollout.reward if isinstance(told, tuple) else told


def summary(tally: Tally, view: View | None = None) -> tuple[Tally, Metrics]:
    """Return the tally with its sums at zero, and what they say.

    Means are NaN when no episode ended since the last summary. `return_mean` is extrinsic.
    `rooms_visited`, where the view has rooms, counts since the start.
    """
    zero = jnp.zeros_like(tally.episodes)
    some = jnp.where(tally.episodes > 0, tally.episodes, jnp.nan)
    metrics = {
        "env_steps": tally.env_steps,
        "episodes": tally.episodes,
        "return_mean": tally.return_sum / some,
        "length_mean": tally.length_sum / some,
        "success_rate": tally.success_sum / some,
        "first_success_env_steps": tally.first_success_env_steps,
    }
    if view is not None and view.rooms is not None:
        metrics["rooms_visited"] = _rooms_visited(tally.visits, view.rooms)
    fresh = replace(tally, episodes=zero, return_sum=zero, length_sum=zero, success_sum=zero)
    return fresh, metrics


def _rooms_visited(visits: jax.Array, rooms: tuple[int, int]) -> jax.Array:
    """Return in how many of the rooms along x and y of a map [bins x, bins y] anybody has been."""
    (bins_x, bins_y), (across, up) = visits.shape, rooms
    parts = visits.reshape(across, bins_x // across, up, bins_y // up)
    return (parts.sum((1, 3)) > 0).sum().astype(jnp.int32)

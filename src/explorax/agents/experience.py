"""What agents with a replay share: what is kept of a step, what it is paid when drawn, training."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from explorax.agents import frames
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Discrete, Key, Metrics, Rescore, Rollout, Spec
from explorax.core.pytree import replace
from explorax.ops import moments as running
from explorax.ops import replay
from explorax.ops.images import is_image

BONUS_AT = ("replay", "collection")


class Settings(Protocol):
    """The settings of an agent with a replay that are read here."""

    @property
    def bonus_scale(self) -> float: ...
    @property
    def bonus_at(self) -> str: ...
    @property
    def normalize_obs(self) -> bool: ...
    @property
    def replay_capacity(self) -> int: ...


def validate(settings: Settings) -> None:
    """Raise InvalidSetting for a setting of the bonus that cannot be."""
    scale = settings.bonus_scale
    require(0 <= scale < float("inf"), settings, "bonus_scale", "at least 0 and finite")
    words = " or ".join(map(repr, BONUS_AT))
    require(settings.bonus_at in BONUS_AT, settings, "bonus_at", words)


def total_reward(settings: Settings, key: Key, windows: Rollout, rescore: Rescore) -> jax.Array:
    """Return reward + bonus_scale · bonus [B, L] of rows drawn from the replay.

    The bonus is asked for anew with `bonus_at="replay"`, else what the row was paid when new.
    """
    bonus = windows.bonus
    if settings.bonus_at == "replay":
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), windows)
        bonus = rescore(key, rows).reshape(bonus.shape)
    return windows.reward + settings.bonus_scale * bonus


def row(spec: Spec, extras: Mapping[str, jax.ShapeDtypeStruct] | None = None) -> Rollout:
    """Return the shapes of one time step of all environments, with the shapes of `extras` [E, ...].

    Of images it has one frame and no successor (`agents.frames`).
    """
    discrete = isinstance(spec.action, Discrete)
    shape = () if isinstance(spec.action, Discrete) else spec.action.shape
    image = is_image(spec.obs.shape)
    seen = frames.frame_shape(spec) if image else spec.obs.shape
    obs = jax.ShapeDtypeStruct((spec.num_envs, *seen), jnp.dtype(spec.obs.dtype))
    number = jax.ShapeDtypeStruct((spec.num_envs,), jnp.float32)
    flag = jax.ShapeDtypeStruct((spec.num_envs,), jnp.bool_)
    return Rollout(
        obs=obs,
        action=jax.ShapeDtypeStruct(
            (spec.num_envs, *shape), jnp.int32 if discrete else jnp.float32
        ),
        reward=number,
        next_obs=() if image else obs,
        terminated=flag,
        truncated=flag,
        first=flag,
        bonus=number,
        extras=dict(extras) if extras else (),
    )


def steps_kept(settings: Settings, spec: Spec, window: int, *needed: str) -> int:
    """Return how many steps of each environment the replay holds.

    Raises Incompatible where that is fewer than one of the settings called `needed`, or than a
    window of so many steps of images takes.
    """
    steps = settings.replay_capacity // spec.num_envs
    told = " or ".join(f"{name}={getattr(settings, name)}" for name in needed)
    most = max(getattr(settings, name) for name in needed)
    if frames.rows_needed(spec, window) > max(most, steps):
        most = frames.rows_needed(spec, window)
        told = f"{most}, which {window} steps of images take, for their frames are kept once"
    if steps < most:
        raise Incompatible(
            f"{type(settings).__name__}(replay_capacity={settings.replay_capacity}) holds {steps} "
            f"steps of each of {spec.num_envs} environments, fewer than {told}. Give more capacity "
            f"or fewer environments."
        )
    return steps


def stored(settings: Settings, state: Any, rollout: Rollout, extras: Any = ()) -> Any:
    """Return an agent's state with a rollout in its `ring`, `moments` and `env_steps`.

    Of what `act` returned besides the action, `extras` are kept; of images, the newest frame.
    """
    moments, rows = state.moments, replace(rollout, extras=extras, carry=())
    if frames.kept_once(state.ring):
        rows = frames.newest(rows, state.ring.data.obs.shape[-1])
    elif settings.normalize_obs:
        moments = running.update(moments, rollout.obs)
    return replace(
        state,
        ring=replay.add(state.ring, rows),
        moments=moments,
        env_steps=state.env_steps + rollout.reward.size,
    )


def filled(ring: replay.Ring, rollout: Rollout, length: int) -> jax.Array:
    """Return whether the ring holds windows of `length` steps, to which rollouts are added."""
    if frames.kept_once(ring):
        length += frames.stack_of(ring, rollout)
    return ring.count >= length


def windows(ring: replay.Ring, key: Key, batch_size: int, length: int, rollout: Rollout) -> Rollout:
    """Return windows [B, L, ...] drawn from a ring to which rollouts like `rollout` are added."""
    if not frames.kept_once(ring):
        return replay.sample_windows(ring, key, batch_size, length)
    stack = frames.stack_of(ring, rollout)
    return frames.rebuilt(replay.sample_windows(ring, key, batch_size, length + stack), stack)


def learnable(ring: replay.Ring, windows: Rollout) -> tuple[Rollout, jax.Array]:
    """Return (windows [B, L] with returns of known successors, which steps have a known one)."""
    if frames.kept_once(ring):
        return frames.cut_before_time_outs(windows)
    return windows, jnp.ones(windows.truncated.shape, bool)


def trained(
    update: Callable[[Any, Any], tuple[Any, Metrics]], start: Any, steps: Any, ready: jax.Array
) -> tuple[Any, Metrics]:
    """Return (what is learned from `start` by `update` for each of `steps` [U, ...], mean metrics).

    Unless `ready`, nothing is learned and the metrics are NaN.
    """
    after, metrics = jax.lax.scan(update, start, steps)
    # Under vmap a branch would cost as much, and copy more.
    after = jax.tree.map(lambda new, old: jnp.where(ready, new, old), after, start)
    return after, {name: jnp.where(ready, each.mean(), jnp.nan) for name, each in metrics.items()}

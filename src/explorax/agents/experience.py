"""What an agent with a replay keeps of a time step, and what it is paid when it is drawn again."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from explorax.core.errors import require
from explorax.core.protocols import Discrete, Key, Rescore, Rollout, Spec

BONUS_AT = ("replay", "collection")


class Settings(Protocol):
    """The settings of an agent with a replay that concern the bonus."""

    @property
    def bonus_scale(self) -> float: ...
    @property
    def bonus_at(self) -> str: ...


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


def row(spec: Spec, extras: tuple[str, ...] = ()) -> Rollout:
    """Return the shapes of one time step of all environments, with numbers called `extras`."""
    discrete = isinstance(spec.action, Discrete)
    shape = () if isinstance(spec.action, Discrete) else spec.action.shape
    obs = jax.ShapeDtypeStruct((spec.num_envs, *spec.obs.shape), jnp.dtype(spec.obs.dtype))
    number = jax.ShapeDtypeStruct((spec.num_envs,), jnp.float32)
    flag = jax.ShapeDtypeStruct((spec.num_envs,), jnp.bool_)
    kept: Any = {name: number for name in extras} if extras else ()
    return Rollout(
        obs=obs,
        action=jax.ShapeDtypeStruct(
            (spec.num_envs, *shape), jnp.int32 if discrete else jnp.float32
        ),
        reward=number,
        next_obs=obs,
        terminated=flag,
        truncated=flag,
        first=flag,
        bonus=number,
        extras=kept,
    )

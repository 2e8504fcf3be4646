"""What an agent with a replay keeps of a time step."""

from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.protocols import Discrete, Rollout, Spec


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

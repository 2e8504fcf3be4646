"""Small worlds and rollouts to try a bonus or an agent with."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.keys import key_of
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.rollouts import LATENTS, leaves_of

SPECS = (
    Spec(Box((3,), -math.inf, math.inf), Discrete(3), 2),
    Spec(Box((3,)), Box((2,)), 2),
    Spec(Box((12,), 0.0, 1.0, one_hot=(12,)), Discrete(2), 2),
    Spec(Box((42, 42, 3), 0.0, 255.0, "uint8"), Discrete(2), 2),
)


def observations(box: Box, lead: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Return observations [*lead, *box.shape] within `box`."""
    shape = (*lead, *box.shape)
    if box.one_hot is not None:
        codes = [np.eye(size)[draw.integers(0, size, lead)] for size in box.one_hot]
        return np.concatenate(codes, -1).reshape(shape).astype(box.dtype)
    low, high = (
        np.broadcast_to(np.asarray(each, float), box.shape) for each in (box.low, box.high)
    )
    low, high = np.clip(low, -3.0, None), np.clip(high, None, 3.0 if box.dtype != "uint8" else None)
    return draw.uniform(np.minimum(low, high), high, shape).astype(box.dtype)


def actions(action: Box | Discrete, lead: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Return actions [*lead, ...]."""
    if isinstance(action, Discrete):
        return draw.integers(0, action.n, lead).astype(np.int32)
    return draw.uniform(-1.0, 1.0, (*lead, *action.shape)).astype(np.float32)


def rollout(spec: Spec, steps: int, seed: int = 0) -> Rollout:
    """Return experience [steps, E] of no world in particular, with both ends of episodes."""
    draw, lead = np.random.default_rng(seed), (steps, spec.num_envs)
    ended = draw.random(lead) < 0.15
    late = ended & (draw.random(lead) < 0.5)
    extras: Any = {
        name: observations(box, lead, draw)
        for name in LATENTS
        if (box := getattr(spec, name)) is not None
    }
    made = Rollout(
        obs=observations(spec.obs, lead, draw),
        action=actions(spec.action, lead, draw),
        reward=draw.normal(size=lead).astype(np.float32),
        next_obs=observations(spec.obs, lead, draw),
        terminated=ended & ~late,
        truncated=late,
        first=np.concatenate([np.ones((1, spec.num_envs), bool), ended[:-1]]),
        bonus=draw.random(lead).astype(np.float32),
        extras=extras or (),
    )
    return jax.tree.map(jnp.asarray, made)


def flat(rollout: Rollout) -> Rollout:
    """Return a rollout [T, E, ...] as rows [T · E, ...], without extras."""
    leaves = {name: getattr(rollout, name) for name in leaves_of(SPECS[0], (1,))}
    return Rollout(**{name: leaf.reshape(-1, *leaf.shape[2:]) for name, leaf in leaves.items()})


def key() -> jax.Array:
    """Return a key, whatever the caller draws with it."""
    return key_of(0)

"""What a rollout must be like for a spec, leaf by leaf: shapes and types.

All of it is asked while a program is traced; nothing is left of it in the compiled one.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Rollout, Spec

FLAGS = ("terminated", "truncated", "first")
LATENTS = ("latent", "encoded")  # in `extras`, where the spec tells of them


def leaves_of(spec: Spec, lead: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return what each leaf of a rollout with the axes `lead` must be like, by name.

    Without extras, carry, place and true_reward. Actions are int32 or float32, rewards float32 and
    flags bool, whatever the numbers of bits that JAX is set to.
    """
    obs = jax.ShapeDtypeStruct((*lead, *spec.obs.shape), _canonical(spec.obs.dtype))
    number = jax.ShapeDtypeStruct(lead, jnp.float32)
    flags = {name: jax.ShapeDtypeStruct(lead, jnp.bool_) for name in FLAGS}
    action = action_of(spec, lead)
    return {
        "obs": obs,
        "action": action,
        "reward": number,
        "next_obs": obs,
        **flags,
        "bonus": number,
    }


def action_of(spec: Spec, lead: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """Return what actions with the axes `lead` must be like."""
    if isinstance(spec.action, Discrete):
        return jax.ShapeDtypeStruct(lead, jnp.int32)
    return jax.ShapeDtypeStruct((*lead, *spec.action.shape), jnp.float32)


def check_live(who: str, spec: Spec, rollout: Rollout, scored: bool) -> None:
    """Raise Incompatible unless `rollout` is one of `spec`, [T, E, ...] in time order.

    who: what it is handed to, such as "RND.score". scored: whether it holds a bonus already; else
    `bonus` may be (). [E, T] cannot be told from [T, E] where T = E.
    """
    _check_is_rollout(who, rollout)
    shape, dtype = _like(rollout.reward)
    envs = spec.num_envs
    if len(shape) != 2 or shape[1] != envs or shape[0] < 1:
        raise Incompatible(
            f"{who} was given rollout.reward as {_shown(dtype, shape)}, where float32 [T, E] with "
            f"E = num_envs = {envs} is wanted: {_cure_of_axes(shape, envs)}."
        )
    _check_leaves(who, "rollout", spec, rollout, (shape[0], envs), scored)
    _check_latents(who, spec, rollout, (shape[0], envs))


def check_rows(who: str, spec: Spec, rows: Rollout) -> None:
    """Raise Incompatible unless `rows` are rows of `spec`, [N, ...], paid when they were new.

    `first` may be ().
    """
    _check_is_rollout(who, rows)
    shape, dtype = _like(rows.reward)
    if len(shape) != 1:
        raise Incompatible(
            f"{who} was given rows.reward as {_shown(dtype, shape)}, where float32 [N] is wanted: "
            "hand over replayed rows one after the other, leaf.reshape(-1, *leaf.shape[2:]) of a "
            "rollout."
        )
    _check_leaves(who, "rows", spec, rows, shape, scored=True)


def _check_is_rollout(who: str, rollout: Any) -> None:
    if not isinstance(rollout, Rollout):
        raise Incompatible(
            f"{who} was given a {type(rollout).__name__}, where an "
            "explorax.core.protocols.Rollout is wanted: Rollout(obs=..., action=..., ...)."
        )


def _check_leaves(
    who: str, name: str, spec: Spec, rollout: Rollout, lead: tuple[int, ...], scored: bool
) -> None:
    for field, wanted in leaves_of(spec, lead).items():
        leaf = getattr(rollout, field)
        unknown = isinstance(leaf, tuple) and leaf == ()
        if unknown and ((field == "bonus" and not scored) or (field == "first" and name == "rows")):
            continue
        if unknown or not hasattr(leaf, "shape"):
            given = "()" if unknown else f"a {type(leaf).__name__}"
            raise Incompatible(
                f"{who} was given {name}.{field} as {given}, where an array "
                f"{_shown(wanted.dtype, wanted.shape)} is wanted."
            )
        shape, dtype = _like(leaf)
        if shape != wanted.shape or dtype != wanted.dtype:
            raise Incompatible(
                f"{who} was given {name}.{field} as {_shown(dtype, shape)}, where "
                f"{_shown(wanted.dtype, wanted.shape)} is wanted: "
                f"{_cure(field, spec, lead, (shape, dtype), wanted)}."
            )


def _check_latents(who: str, spec: Spec, rollout: Rollout, lead: tuple[int, ...]) -> None:
    for name in LATENTS:
        box: Box | None = getattr(spec, name)
        if box is None:
            continue
        extras = rollout.extras
        told = _shown(_canonical(box.dtype), (*lead, *box.shape))
        if not isinstance(extras, dict) or name not in extras:
            raise Incompatible(
                f"{who} was given a rollout without extras[{name!r}], where {told} is wanted, as "
                f"spec.{name} says: hand over what the agent made of each observation, or bind "
                f"without spec.{name}."
            )
        shape, dtype = _like(extras[name])
        given = _shown(dtype, shape)
        if given != told:
            raise Incompatible(
                f"{who} was given rollout.extras[{name!r}] as {given}, where {told} is wanted, as "
                f"spec.{name} says: hand over what the agent made of the observations, in order."
            )


def _cure_of_axes(shape: tuple[int, ...], envs: int) -> str:
    if len(shape) == 1 and shape[0] % envs == 0 and shape[0] > 0:
        return f"give flat rows both axes in time order, leaf.reshape(-1, {envs}, *leaf.shape[1:])"
    if len(shape) == 2 and shape[0] == envs:
        return "time comes first, jnp.swapaxes(leaf, 0, 1) of each leaf"
    if len(shape) == 2 and shape[0] > 0:
        return f"bind with num_envs={shape[1]}, or hand over the steps of {envs} environments"
    return "hand over the reward of each step of each environment"


def _cure(
    field: str,
    spec: Spec,
    lead: tuple[int, ...],
    given: tuple[tuple[int, ...], Any],
    wanted: jax.ShapeDtypeStruct,
) -> str:
    """Return what to do about a leaf that is not `wanted`."""
    shape, dtype = given
    if field == "action" and isinstance(spec.action, Discrete):
        return _cure_of_numbers(shape, lead, spec.action.n)
    if shape == wanted.shape:
        return _cure_of_type(field, dtype, wanted.dtype)
    if len(lead) == 2 and shape[:2] == lead[::-1] and lead[0] != lead[1]:
        return "time comes first, jnp.swapaxes(leaf, 0, 1)"
    if math.prod(shape) == math.prod(wanted.shape):
        return f"it has as many numbers, {field}.reshape{wanted.shape} if they are in that order"
    if shape[: len(lead)] != lead:
        return f"its first axes must be those of the reward, {list(lead)}"
    return "hand over what the spec says, or bind with the spec of these environments"


def _cure_of_numbers(shape: tuple[int, ...], lead: tuple[int, ...], n: int) -> str:
    if shape == (*lead, n):
        return "number the actions, jnp.argmax(action, -1).astype(jnp.int32) of one-hot codes"
    if shape == lead:
        return f"hand over whole numbers 0 .. {n - 1}, action.astype(jnp.int32)"
    return f"hand over one number 0 .. {n - 1} for each step of each environment"


def _cure_of_type(field: str, dtype: Any, wanted: Any) -> str:
    if field in FLAGS:
        return f"flags are true or false, {field}.astype(bool)"
    if field in ("obs", "next_obs"):
        return f"hand over observations as spec.obs has them, or bind with dtype={str(dtype)!r}"
    if field == "action" and not jnp.issubdtype(dtype, jnp.floating):
        return "a Box of actions is of numbers from -1 to 1; numbered actions are Discrete"
    return f"convert it, {field}.astype(jnp.{wanted})"


def as_array(leaf: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and type that JAX gives a leaf of a pytree, a Python number among them."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    return jax.ShapeDtypeStruct(tuple(np.shape(leaf)), _canonical(dtype))


def _like(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Return (shape, dtype as JAX takes it) of an array of NumPy's or JAX's, or of a tracer."""
    return tuple(leaf.shape), _canonical(leaf.dtype)


def _canonical(dtype: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(dtype, allow_extended_dtype=True)


def _shown(dtype: Any, shape: tuple[int, ...]) -> str:
    return f"{dtype} {list(shape)}"

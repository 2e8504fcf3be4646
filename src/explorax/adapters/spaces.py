"""A batch of observations or actions as a bonus sees it: one array per batch.

Observations are encoded as everywhere in explorax (`envs.gymnasium_guard`), but E at a time.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from explorax.core.errors import BadEnvironmentData, Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.envs.gymnasium_guard import box_of, encode, whole_range
from explorax.envs.space_limits import check_codes
from explorax.ops.images import LEAST_IMAGE

Bounds: TypeAlias = tuple[float, float]
ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def spec_of(
    observed: spaces.Space, acted: spaces.Space, num_envs: int, name: str, bounds: Bounds | None
) -> Spec:
    """Return what a bonus may know of `num_envs` environments with these single spaces.

    Raises Incompatible for spaces whose elements have no fixed size or whose one-hot codes would
    be too long, and for actions without bounds where `bounds` does not say what they are.
    """
    obs = box_of(observed, name)
    if bounds is not None and not _are_bounds(bounds):
        raise InvalidSetting(
            f"action_bounds={bounds!r}: they must be two finite numbers, the lower one first, "
            "such as (-1.0, 1.0)."
        )
    check_codes(acted, name, acts=True)
    obs = replace(obs, shape=_channels_last(observed, np.broadcast_to(0, obs.shape)).shape)
    if isinstance(acted, spaces.Discrete):
        return Spec(obs, Discrete(int(acted.n)), num_envs)
    _check_action(acted, name, bounds)
    shape = acted.shape if isinstance(acted, spaces.Box) else (spaces.flatdim(acted),)
    return Spec(obs, Box(shape), num_envs)


def _are_bounds(bounds: Any) -> bool:
    try:
        low, high = (float(edge) for edge in bounds)
    except (TypeError, ValueError):
        return False
    return -math.inf < low < high < math.inf


def _check_action(space: spaces.Space, name: str, bounds: Bounds | None) -> None:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in _parts(space):
            _check_action(part, name, bounds)
    elif isinstance(space, spaces.Box):
        if not space.is_bounded() and bounds is None:
            raise Incompatible(
                f"{name} acts in {space}, which has no bounds, and a bonus sees actions between -1 "
                "and 1. Say what they stand for, action_bounds=(-1.0, 1.0), or wrap the "
                "environment (gymnasium.wrappers.RescaleAction). gymnasium.wrappers.ClipAction "
                "hides the bounds that there were."
            )
    elif not isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        raise Incompatible(
            f"{name} acts in {space}, which has no fixed size. Actions must be Discrete, a Box, "
            "MultiDiscrete, MultiBinary, or a Dict or Tuple of such."
        )


def _parts(space: Any) -> tuple[spaces.Space, ...]:
    return tuple(space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces)


def _entries(space: Any, batch: Any) -> list[tuple[spaces.Space, Any]]:
    keys = space.spaces if isinstance(space, spaces.Dict) else range(len(space.spaces))
    return [(part, batch[key]) for part, key in zip(_parts(space), keys, strict=True)]


def encode_observations(space: spaces.Space, batch: Any) -> np.ndarray:
    """Return E observations of the single `space` as one new array [E, *obs_shape].

    Images are uint8 [H, W, C], also where the environment gives [C, H, W] or [H, W]; all else is
    float32. Discrete becomes one-hot, Dict and Tuple are flattened in Gymnasium's order: what
    `gymnasium_guard.encode` makes of each. Raises BadEnvironmentData.
    """
    if isinstance(space, spaces.Box):
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        _check_range(space, batch)
        return _channels_last(space, _narrowed(batch, dtype))
    return _flat(space, batch)


def encode_observation(space: spaces.Space, observation: Any) -> np.ndarray:
    """Return one checked observation of `space` as `encode_observations` has it, [*obs_shape]."""
    return _channels_last(space, encode(space, observation))


def handed_on(space: spaces.Space, observation: Any) -> Any:
    """Return one observation as vector environments hand it on in a batch.

    They write it into arrays of the space's shape and dtype, and of a dict the entries that the
    space has. So an image given as floats, or (1, 3) for (3,), is the same at an episode's end as
    in every step before. What cannot be written so is returned as it is, for `fault` to name.
    """
    if isinstance(space, spaces.Dict) and isinstance(observation, Mapping):
        if space.spaces.keys() <= observation.keys():
            return {key: handed_on(part, observation[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple) and isinstance(observation, tuple | list):
        if len(observation) == len(space.spaces):
            return tuple(map(handed_on, space.spaces, observation))
    return _written(space, observation) if isinstance(space, ARRAYS) else observation


def _written(space: spaces.Space, value: Any) -> Any:
    """Return `value` as an array of the space's shape and whole dtype, or as it is."""
    shape, dtype = space.shape or (), np.dtype(space.dtype)
    try:
        array = np.asarray(value)
        fits = array.size == math.prod(shape)
        array = array.reshape(shape) if fits else np.broadcast_to(array, shape)
    except ValueError:  # ragged lists, or another size
        return value
    if array.dtype.kind == "f" and dtype.kind in "iub" and np.isfinite(array).all():
        with np.errstate(invalid="ignore"):
            return array.astype(dtype)
    return array


def _channels_last(space: spaces.Space, values: np.ndarray) -> np.ndarray:
    """Return [..., H, W, C] where `space` has images [C, H, W] or [H, W], else `values`."""
    shape = () if space.dtype != np.uint8 or space.shape is None else space.shape
    large = [side >= LEAST_IMAGE for side in shape]
    if large == [True, True]:
        return values[..., None]
    return np.moveaxis(values, -3, -1) if large == [False, True, True] else values


def _check_range(space: spaces.Space, batch: Any, what: str = "number") -> None:
    """Raise BadEnvironmentData, with the index of the environment, for what is no code, flag or
    byte of `space`. Floats will do where they are whole numbers."""
    values, edges = np.asarray(batch), whole_range(space)
    if edges[0] is None or values.dtype == np.uint8 == space.dtype:
        return
    if values.dtype.kind not in "iubf":
        raise BadEnvironmentData(f"a {what} has dtype {values.dtype} and must be a whole number")
    low, high = (np.broadcast_to(edge, values.shape) for edge in edges)
    odd = ~((values >= low) & (values <= high))
    if values.dtype.kind == "f":
        odd |= values != np.floor(values)
    if odd.any():
        where = tuple(np.argwhere(odd)[0])
        raise BadEnvironmentData(
            f"environment {where[0]}: {what} {values[where]} where there are {low[where]} to "
            f"{high[where]}"
        )


def _from_zero(space: Any, batch: Any, what: str = "number") -> np.ndarray:
    """Return numbers of a Discrete or MultiDiscrete `space`, counted from 0, as int64.

    Raises as `_check_range` does.
    """
    _check_range(space, batch, what)
    return np.asarray(batch).astype(np.int64) - np.asarray(space.start).astype(np.int64)


def encode_actions(space: spaces.Space, batch: Any, bounds: Bounds | None = None) -> np.ndarray:
    """Return E actions as a bonus sees them, a new array.

    Discrete: int32 [E], from 0. A Box: float32 [E, ...] between -1 and 1, and what lies outside is
    seen at the edge; an entry without two bounds has `bounds`. All else: float32 [E, A], one-hot
    codes (MultiDiscrete), 0 and 1 (MultiBinary) and scaled boxes, one after the other. Raises
    BadEnvironmentData for whole numbers that the space does not have.
    """
    if isinstance(space, spaces.Discrete):
        return _from_zero(space, batch, "action").astype(np.int32)
    if isinstance(space, spaces.Box):
        return _scaled(space, batch, bounds)
    return _flat(space, batch, True, bounds)


def _scaled(space: spaces.Box, batch: Any, bounds: Bounds | None) -> np.ndarray:
    own = space.bounded_below & space.bounded_above
    free = bounds or (-1.0, 1.0)
    low, high = (
        np.where(own, edge.astype(np.float64), other)
        for edge, other in zip((space.low, space.high), free, strict=True)
    )
    # Halves, since the whole width of bounds may be larger than the largest float.
    half = high / 2.0 - low / 2.0
    share = (np.asarray(batch, np.float64) / 2.0 - low / 2.0) / np.where(half > 0.0, half, 1.0)
    seen = np.asarray(2.0 * share - 1.0)  # -1 where one value alone is possible
    return np.clip(seen, -1.0, 1.0, out=seen, where=np.isfinite(seen)).astype(np.float32)


def counted_from_zero(space: spaces.Space) -> spaces.Space:
    """Return `space` with its codes counted from 0, as trainers do who ignore where it starts."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    return spaces.MultiDiscrete(space.nvec) if isinstance(space, spaces.MultiDiscrete) else space


def _flat(
    space: spaces.Space, batch: Any, acts: bool = False, bounds: Bounds | None = None
) -> np.ndarray:
    """Return E elements of the single `space` as float32 [E, D]."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = [_flat(part, values, acts, bounds) for part, values in _entries(space, batch)]
        return np.concatenate(parts, axis=1)
    if not isinstance(space, ARRAYS):  # texts, which come as a tuple
        return np.stack([encode(space, each) for each in batch])
    values, what = np.asarray(batch), "action" if acts else "number"
    if isinstance(space, spaces.Discrete):
        return _one_hot(_from_zero(space, values, what)[:, None], [int(space.n)])
    if isinstance(space, spaces.MultiDiscrete):
        codes = _from_zero(space, values, what).reshape(len(values), -1)
        return _one_hot(codes, [int(size) for size in space.nvec.ravel()])
    if acts and isinstance(space, spaces.Box):
        values = _scaled(space, values, bounds)
    else:
        _check_range(space, values, what)
    return _narrowed(values.reshape(len(values), -1), np.float32)


def _one_hot(values: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return codes float32 [E, sum(sizes)] of whole numbers [E, K] in 0 .. sizes - 1."""
    starts = np.cumsum([0, *sizes[:-1]])
    codes = np.zeros((len(values), sum(sizes)), np.float32)
    codes[np.arange(len(values))[:, None], starts[None] + values] = 1.0
    return codes


def _narrowed(values: Any, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is then found
        return np.array(values, dtype)

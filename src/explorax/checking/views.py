"""Whether a map shows where an environment is: its view beside what was observed."""

import math
from typing import Any

import numpy as np

from explorax.checking.calls import Fault
from explorax.core.protocols import Box, View

_ON_CIRCLE = 1e-3  # how far cos² + sin² may be from 1
_ANGULAR = ("rad", "angle", "°", "deg")


def check_view(name: str, view: View, obs: Box) -> None:
    """Raise Fault where `view` cannot be a map of observations in `obs`, whatever they are."""
    where = f"{name}.view"
    if not isinstance(view, View):
        raise Fault(f"{where} is {view!r}, where a View or None is wanted.")
    for low, high, bins, label in zip(view.low, view.high, view.bins, view.labels, strict=True):
        if not (math.isfinite(low) and math.isfinite(high) and low < high and bins >= 1):
            raise Fault(
                f"{where} goes from {low} to {high} in {bins} bins along {label!r}, where finite "
                "bounds, the lower one first, and at least one bin are wanted."
            )
    if view.hidden:
        return
    if view.grid is not None:
        cells = view.grid[0] * view.grid[1]
        if obs.shape[-2:] != view.grid and (len(obs.shape) != 1 or obs.shape[0] < cells):
            raise Fault(
                f"{where} has grid={view.grid}, {cells} cells, and observations of shape "
                f"{obs.shape} do not begin with a one-hot code of so many."
            )
        return
    _check_dims(where, view, obs)


def _check_dims(where: str, view: View, obs: Box) -> None:
    size = obs.shape[-1] if obs.shape else 0
    low, high = (
        np.broadcast_to(np.asarray(each, float), obs.shape)[(0,) * (len(obs.shape) - 1)]
        if size
        else np.zeros(0)
        for each in (obs.low, obs.high)
    )
    for axis, dim in enumerate(view.dims):
        entries = dim if isinstance(dim, tuple) else (dim,)
        outside = [entry for entry in entries if not -size <= entry < size]
        if outside or len(obs.shape) != 1:
            entry = outside[0] if outside else entries[0]
            raise Fault(
                f"{where} shows entry {entry} as {view.labels[axis]!r}, and observations have the "
                f"shape {obs.shape}: {f'entries 0 .. {size - 1}' if size else 'no entries'}"
                f"{'' if len(obs.shape) == 1 else ', not flat; take a grid, or hidden=True'}."
            )
        if isinstance(dim, tuple):
            continue
        begin, end = view.low[axis], view.high[axis]
        if high[dim] < begin or low[dim] > end:
            raise Fault(
                f"{where} shows entry {dim} from {begin} to {end} as {view.labels[axis]!r}, and "
                f"observations have it between {low[dim]:g} and {high[dim]:g}, never there."
            )
        unit = low[dim] >= -1.0 and high[dim] <= 1.0
        if view.periodic[axis] and unit and end - begin > math.pi:
            raise Fault(_not_an_angle(where, view, axis, dim))


def check_points(name: str, view: View, obs: np.ndarray, points: np.ndarray) -> None:
    """Raise Fault where observations [N, D] that were made do not lie on the map.

    points: their places [N, 2] by `view.project`, or those that the steps told where it is hidden.
    """
    where = f"{name}.view"
    if not view.hidden and view.grid is None:
        for axis, dim in enumerate(view.dims):
            if isinstance(dim, tuple):
                _check_pair(where, view, axis, dim, obs)
            elif view.periodic[axis] or any(word in view.labels[axis] for word in _ANGULAR):
                partner = _partner(obs, dim)
                if partner is not None:
                    raise Fault(_not_an_angle(where, view, axis, dim, partner))
    for axis in (0, 1):
        low, high = view.low[axis], view.high[axis]
        along = points[:, axis]
        if not ((along >= low) & (along <= high)).any():
            raise Fault(
                f"{where} goes from {low} to {high} along {view.labels[axis]!r}, and none of "
                f"{len(along)} steps was there: they lay between {along.min():.4g} and "
                f"{along.max():.4g}; take other bounds or other dims."
            )


def _check_pair(where: str, view: View, axis: int, dim: tuple[int, int], obs: np.ndarray) -> None:
    cosine, sine = (obs[:, entry].astype(float) for entry in dim)
    length = np.hypot(cosine, sine)
    away = np.abs(length - 1.0)
    if (away > _ON_CIRCLE).any():
        worst = int(away.argmax())
        raise Fault(
            f"{where} takes entries {dim} for the cosine and sine of {view.labels[axis]!r}, and an "
            f"observation has ({cosine[worst]:.4g}, {sine[worst]:.4g}) there, which is not a point "
            "of the unit circle; a dim that is the angle itself is written as one number."
        )


def _partner(obs: np.ndarray, dim: int) -> int | None:
    """Return the entry that is the sine (or cosine) to entry `dim`, if there is one."""
    value = obs[:, dim].astype(float)
    if len(np.unique(value)) < 3 or np.abs(value).max() > 1.0 + _ON_CIRCLE:
        return None
    for other in range(obs.shape[1]):
        sum_of_squares = np.square(value) + np.square(obs[:, other].astype(float))
        if other != dim % obs.shape[1] and np.abs(sum_of_squares - 1.0).max() < _ON_CIRCLE:
            return other
    return None


def _not_an_angle(where: str, view: View, axis: int, dim: int, partner: int | None = None) -> str:
    found = "" if partner is None else f", entry {partner} being the other one"
    return (
        f"{where} takes entry {dim} for the angle {view.labels[axis]!r}, and it is a cosine or a "
        f"sine{found}; an angle is written as the pair of entries (cosine, sine) in dims."
    )


def distance(view: View, one: np.ndarray, other: np.ndarray) -> Any:
    """Return how many cells of the map points [N, 2] are apart, the longer of both axes [N]."""
    low, high = np.asarray(view.low), np.asarray(view.high)
    away = np.abs(one - other)
    around = np.minimum(np.mod(away, high - low), high - low - np.mod(away, high - low))
    away = np.where(np.asarray(view.periodic), around, away)
    return (away / ((high - low) / np.asarray(view.bins))).max(-1)

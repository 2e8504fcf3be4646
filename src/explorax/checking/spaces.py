"""Whether spaces of observations and actions make sense by themselves."""

import numbers
from typing import Any

import numpy as np

from explorax.checking.calls import Fault
from explorax.core.protocols import Box, Discrete

_DTYPES = "biuf"  # kinds of NumPy's numbers that observations may be


def check_observations(where: str, box: Any) -> None:
    """Raise Fault unless `box` is one that observations can be in."""
    if not isinstance(box, Box):
        raise Fault(f"{where} is {box!r}, where a Box such as Box((4,)) is wanted.")
    _check_shape(where, box)
    try:
        kind = np.dtype(box.dtype).kind
    except TypeError:
        kind = ""
    if not kind or kind not in _DTYPES:
        raise Fault(
            f"{where} has the dtype {box.dtype!r}, where the name of a type of numbers, such as "
            "'float32', or 'uint8' for images, is wanted."
        )
    low, high = _bounds(where, box)
    if not (low <= high).all():
        raise Fault(f"{where} goes from {box.low} to {box.high}, where lower bounds come first.")
    codes, size = box.one_hot, int(np.prod(box.shape))
    if codes is not None and sum(codes) != size:
        raise Fault(
            f"{where} has one_hot={codes}, codes of {sum(codes)} entries, and its shape "
            f"{box.shape} has {size}; one_hot says how long each code is."
        )


def check_actions(where: str, space: Any) -> None:
    """Raise Fault unless `space` is one that agents act in."""
    if isinstance(space, Discrete):
        if isinstance(space.n, bool) or not isinstance(space.n, numbers.Integral) or space.n < 1:
            raise Fault(
                f"{where} is {space!r}, where a whole number of actions, at least 1, is wanted."
            )
        return
    if not isinstance(space, Box):
        raise Fault(
            f"{where} is {space!r}, where Discrete(n) or a Box such as Box((1,)), numbers from -1 "
            "to 1, is wanted."
        )
    _check_shape(where, space)
    low, high = _bounds(where, space)
    if np.dtype(space.dtype) != np.float32 or (low != -1.0).any() or (high != 1.0).any():
        raise Fault(
            f"{where} is a Box of {space.dtype} from {space.low} to {space.high}, and an agent's "
            "actions are float32 from -1 to 1; take Box(shape), and let step scale them."
        )


def check_codes(name: str, box: Box, obs: np.ndarray) -> None:
    """Raise Fault where observations [N, *shape] are no one-hot codes and `box` says so."""
    if box.one_hot is None:
        return
    rows = obs.reshape(obs.shape[0], -1)
    ends = np.cumsum(box.one_hot)[:-1]
    for code in np.split(rows, ends, axis=1):
        wrong = ~(((code == 0) | (code == 1)).all(1) & (code.sum(1) <= 1))
        if wrong.any():
            shown = ", ".join(f"{each:g}" for each in code[wrong][0][:6])
            raise Fault(
                f"{name} made an observation with the code ({shown}{', ...' * (code.shape[1] > 6)})"
                f", where obs says one_hot={box.one_hot}: a single 1, or nothing but zeros."
            )


def _check_shape(where: str, box: Box) -> None:
    shape = box.shape
    if not isinstance(shape, tuple | list) or not all(
        isinstance(each, numbers.Integral) and each >= 1 for each in shape
    ):
        raise Fault(f"{where} has the shape {shape!r}, where a tuple such as (4,) is wanted.")


def _bounds(where: str, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds (low, high) of each entry, [*shape]."""
    found = []
    for which, bound in (("low", box.low), ("high", box.high)):
        try:
            found.append(np.broadcast_to(np.asarray(bound, float), box.shape))
        except (TypeError, ValueError):
            raise Fault(
                f"{where} has the {which} bounds {bound}, where one number or one for each "
                f"entry of the shape {box.shape} is wanted."
            ) from None
    return found[0], found[1]

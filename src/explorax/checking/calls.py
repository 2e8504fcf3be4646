"""Calling what a user wrote: what goes wrong in it is told in one sentence, with file and line."""

import os
import re
import sysconfig
from collections.abc import Callable
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

import explorax
from explorax.core.errors import ExploraxError, Incompatible

_LONGEST = 300  # characters of somebody else's message
_OURS = os.path.dirname(explorax.__file__) + os.sep
_INSTALLED = tuple(
    {os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("purelib", "platlib")}
)
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_IN_PYTHON = "what changes belongs into the state that is passed in and returned"

_LEAKED = f"used an array of an earlier call, so state is kept in Python; {_IN_PYTHON}"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, to be compiled in as little time as can be: it runs a few times only."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


class Fault(Incompatible):
    """Something that a part does wrong, and not a refusal of its own."""


def called(where: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return `function(...)`. What it raises, but for errors of explorax, becomes a Fault.

    where: such as "Corridor.step".
    """
    try:
        return function(*arguments, **options)
    except ExploraxError:
        raise
    except jax.errors.UnexpectedTracerError as error:
        raise Fault(f"{where} {_LEAKED}{_place(error.__traceback__)}.") from error
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        said = said if len(said) <= _LONGEST else said[: _LONGEST - 3] + "..."
        told = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise Fault(f"{where} raised {told.rstrip('.')}{_place(error.__traceback__)}.") from error


def shapes(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `function` would return, as shapes and types; nothing is computed."""
    return called(where, lambda: jax.eval_shape(lambda *given: function(*given), *arguments))


def program(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the program (a closed jaxpr) that `function` is for these arguments.

    It is traced twice. Raises Fault where the second program is another one: then something is kept
    in Python, or drawn by other means than the key.
    """
    first, second = (
        called(where, lambda: jax.make_jaxpr(lambda *given: function(*given))(*arguments))
        for _ in range(2)
    )
    if any(isinstance(each, Tracer) for each in (*first.consts, *second.consts)):
        raise Fault(f"{where} {_LEAKED}.")
    if _text(first) != _text(second) or not _same(first.consts, second.consts):
        raise Fault(
            f"{where} is another program when it is traced a second time with the same arguments: "
            f"it keeps state in Python, or draws numbers without its key; {_IN_PYTHON}, and random "
            "numbers come from jax.random and the key."
        )
    return first


def _text(traced: Any) -> str:
    return _ADDRESS.sub("", str(traced))


def _same(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    return all(
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=_is_float(a))
        for a, b in zip(one, other, strict=True)
        if not jnp.issubdtype(getattr(a, "dtype", np.dtype(float)), jax.dtypes.extended)
    )


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(np.asarray(leaf).dtype, np.floating)


def _place(traceback: TracebackType | None) -> str:
    """Return " (file.py:12)" of the innermost line that neither explorax nor a package wrote, and
    "" where there is none."""
    found = ""
    while traceback is not None:
        file = os.path.realpath(traceback.tb_frame.f_code.co_filename)
        if not file.startswith((_OURS, *_INSTALLED)) and os.path.exists(file):
            found = f" ({os.path.relpath(file)}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return found

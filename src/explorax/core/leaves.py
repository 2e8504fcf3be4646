"""Leaves of a pytree as arrays that a file can hold, and back: exact in dtype, in bits and in kind.

A leaf is an array of NumPy or of JAX, a typed key, or a number of NumPy or of Python. What comes
back is what its template is. Nothing is cast: jnp.asarray would make int32 of an int64.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import CheckpointError

# What any file format has. All else is written as unsigned integers with the same bits.
_PLAIN = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 float32 float64 complex64 complex128".split()
)


def is_key(leaf: Any) -> bool:
    """Return whether a leaf, or its shape, is a typed key."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def array_of(leaf: Any) -> np.ndarray:
    """Return what is saved of a leaf: its numbers, or those of a typed key."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def shape_and_dtype(leaf: Any) -> list[Any]:
    """Return [shape, dtype's name] of what is saved of a leaf, or of its shape."""
    if is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    elif not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return [list(leaf.shape), str(leaf.dtype)]


def as_leaf(array: np.ndarray, like: Any) -> Any:
    """Return a saved array as a leaf like `like`, in memory of its own (training donates it).

    Raises CheckpointError where that leaf cannot hold the array's dtype.
    """
    if isinstance(like, bool | int | float | complex) and not isinstance(like, np.generic):
        return type(like)(array.item())
    if isinstance(like, np.ndarray | np.generic):
        found = array.copy()
        return found[()] if isinstance(like, np.generic) else found
    copied = jnp.array(array, copy=True)
    if copied.dtype != array.dtype:
        raise CheckpointError(
            f"An array of {array.dtype} was saved, and JAX as it is set would make {copied.dtype} "
            f"of it. Restore it with the settings of JAX that saved it."
        )
    return jax.random.wrap_key_data(copied, impl=_kind_of(like)) if is_key(like) else copied


def _kind_of(key: Any) -> Any:
    """Return the implementation of a key or of its shape, of which JAX tells only by tracing."""
    found: list[Any] = []
    jax.eval_shape(lambda each: found.append(jax.random.key_impl(each)), key)
    return found[0]


def packed(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array as one of a dtype that every format has, the same bits under it.

    Raises CheckpointError, with the leaf's name, where it holds no numbers.
    """
    dtype = array.dtype
    if dtype.isnative and dtype.name in _PLAIN:
        return array
    if dtype.names is None and dtype.kind in "biufV" and dtype.itemsize in (1, 2, 4, 8):
        return np.ascontiguousarray(array).reshape(array.shape).view(f"u{dtype.itemsize}")
    raise CheckpointError(
        f"{name} is an array of {dtype}, which cannot be saved. State must be made of numbers of "
        f"at most 64 bits (complex ones: 128), truth values and JAX's keys."
    )


def unpacked(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return the array that `packed` was given, of this dtype. Raises ValueError if it is none."""
    wanted = np.dtype(dtype)
    if array.dtype == wanted:
        return array
    if wanted.isnative and wanted.name in _PLAIN:
        raise ValueError(f"{array.dtype} where {wanted} was saved")
    return array.view(wanted)

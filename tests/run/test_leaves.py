"""Every kind of leaf comes back as it was: dtype, bits, shape, kind; from a run's checkpoint and
from a wrapper's file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from explorax.adapters import saving
from explorax.core import leaves
from explorax.core.errors import CheckpointError
from explorax.run import checkpoint

PLAIN = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
    "complex128"
).split()
ODD = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, ml_dtypes.uint4]
DTYPES = [np.dtype(each) for each in (*PLAIN, *ODD, ">i4", ">f8", "<u8")]


def numbers(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return arrays whose bits no narrower dtype could hold."""
    if dtype.kind in "iu" and dtype.itemsize > 1:
        return np.full(shape, np.iinfo(dtype).max, dtype)
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3 / 3 + 1).astype(dtype)


def everything() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dtype in DTYPES:
        for shape in ((2, 3), (), (0, 2)):
            found[f"{dtype.str} {dtype.name} {shape}"] = numbers(dtype, shape)
        if dtype.isnative and dtype.itemsize < 8:
            found[f"jax {dtype.name}"] = jnp.asarray(numbers(dtype, (2, 3)))
            found[f"jax {dtype.name} 0-d"] = jnp.asarray(numbers(dtype, ()))
    return found | {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4), 3),
        "key of another kind": jax.random.key(5, impl="rbg"),
        "no keys": jax.random.split(jax.random.key(4), 3)[:0],
        "a number of NumPy's": np.int64(2**40),
        "a number of Python's": 2**40,
        "turned": np.arange(6.0).reshape(2, 3).T,
        "every second": np.arange(6)[::2],
    }


def through_a_checkpoint(place: Path, state: Any, template: Any) -> Any:
    checkpoint.save(place, state, digest="d", seed=0, chunk=1, metrics_bytes=0)
    header = checkpoint.latest(place, "d", 0)
    assert header is not None
    return checkpoint.restore(header, template)


def through_a_wrappers_file(place: Path, state: Any, template: Any) -> Any:
    saving.write(place / "bonus.npz", {}, state)
    return saving.read(place / "bonus.npz", {}, template)


BOTH = pytest.mark.parametrize("through", [through_a_checkpoint, through_a_wrappers_file])


@BOTH
def test_every_leaf_comes_back_as_it_was(tmp_path: Path, through: Callable[..., Any]) -> None:
    state = everything()
    for way in range(2):  # what was restored can be saved and restored again
        back = through(tmp_path / str(way), state, everything())
        for name, was in everything().items():
            now = back[name]
            assert type(now) is type(was), name
            if isinstance(was, int):
                assert now == was
                continue
            assert now.dtype == was.dtype and now.shape == was.shape, name
            assert leaves.array_of(now).tobytes() == leaves.array_of(was).tobytes(), name
            if isinstance(now, np.ndarray):
                assert now.flags.writeable and now.flags.owndata, name
        state = back


def test_jax_arrays_can_be_given_by_their_shapes(tmp_path: Path) -> None:
    state = {
        "maps": np.arange(3, dtype=np.int64),
        "key": jax.random.key(5, impl="rbg"),
        "weights": jnp.ones((2, 2), jnp.bfloat16),
    }
    shapes = jax.eval_shape(lambda: {name: state[name] for name in ("key", "weights")})
    back = through_a_checkpoint(tmp_path, state, {"maps": np.zeros(3, np.int64), **shapes})
    assert back["key"].dtype == state["key"].dtype and back["weights"].dtype == jnp.bfloat16
    assert jax.random.uniform(back["key"]) == jax.random.uniform(state["key"])


@BOTH
@pytest.mark.parametrize(
    "odd",
    [np.array(["a"]), np.array([None]), np.array([1], "M8[s]"), np.zeros(2, [("a", "i4")])],
    ids=["text", "object", "date", "fields"],
)
def test_what_is_no_number_is_refused_by_name(
    tmp_path: Path, through: Callable[..., Any], odd: np.ndarray
) -> None:
    with pytest.raises(CheckpointError, match=r"\['odd'\] is an array of .* cannot be saved"):
        through(tmp_path, {"odd": odd}, {"odd": odd})
    assert not list(tmp_path.rglob("*"))


@BOTH
def test_another_dtype_is_refused_and_not_cast(tmp_path: Path, through: Callable[..., Any]) -> None:
    """Of the same width too: one is written as the other's bits."""
    for number, (one, other) in enumerate([("int64", "int32"), ("uint16", ml_dtypes.bfloat16)]):
        for was, here in ((one, other), (other, one)):
            with pytest.raises(CheckpointError, match="another version of explorax"):
                place = tmp_path / f"{number} {np.dtype(was)}"
                through(place, {"a": np.ones(2, was)}, {"a": np.ones(2, here)})


def test_jax_cannot_be_made_to_narrow_an_array() -> None:
    wide = jax.ShapeDtypeStruct((2,), np.dtype("int64"))
    with pytest.raises(CheckpointError, match="int64 was saved, and JAX as it is set"):
        leaves.as_leaf(np.ones(2, np.int64), wide)

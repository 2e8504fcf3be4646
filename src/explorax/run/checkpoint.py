"""Checkpoints: the whole state of all seeds, saved by orbax, with a header that is read first.

checkpoints/chunk_000012/header.json   whose it is, where it stands, what must be there
                         state/        orbax: one array per leaf
            chunk_000012_iteration_00000345/  after so many iterations of the chunk that follows

A checkpoint is written beside its place and renamed into it, and the one before is kept, so that a
process killed at any moment leaves one that works. Nothing in it is code.
"""

import contextlib
import json
import logging
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from explorax.core import leaves
from explorax.core.arguments import argument
from explorax.core.errors import CheckpointError
from explorax.files import check_is_utf_8
from explorax.run.directory import write_text, writing

FORMAT = 2
_KEPT = 2
_HEADER, _STATE = "header.json", "state"


@dataclass(frozen=True)
class Header:
    """What is known of a checkpoint before its arrays are read."""

    path: Path
    digest: str  # of the configuration
    seed: int
    chunk: int  # chunks done
    iteration: int  # iterations done of the chunk under way
    metrics_bytes: int
    leaves: list[list[Any]]  # [name, shape, dtype] of what `core.leaves` saves of each
    files: dict[str, list[int]]  # path within state/: [bytes, crc32]


def save(
    root: Path,
    state: Any,
    *,
    digest: str,
    seed: int,
    chunk: int,
    metrics_bytes: int,
    iteration: int = 0,
) -> Path:
    """Write the pytree `state` as the checkpoint after `chunk` chunks and `iteration` iterations of
    the next, and return its path; keep two.

    A checkpoint of that place is left as it is: it holds the same.
    """
    path = place(root, chunk, iteration)
    with writing(path):
        if not path.exists():
            told = {"digest": digest, "seed": seed, "chunk": chunk, "iteration": iteration}
            _write(path, state, **told, metrics_bytes=metrics_bytes)
        for old in saved_in(root)[:-_KEPT]:  # out of sight first: half of one is no checkpoint
            os.replace(old, old.with_name(f".{old.name}.old"))
        _sweep(root)
    return path


def _write(path: Path, state: Any, **told: Any) -> None:
    named = _named_arrays(state)
    packed = [leaves.packed(name, array) for name, array in named]
    _sweep(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.mkdir(parents=True)
    _save_arrays(temporary / _STATE, packed)
    header = {
        "format": FORMAT,
        **told,
        "jax": jax.__version__,
        "leaves": [[name, list(a.shape), str(a.dtype)] for name, a in named],
        "files": _checksums(temporary / _STATE),
    }
    write_text(temporary / _HEADER, json.dumps(header))
    os.replace(temporary, path)


def _sweep(root: Path) -> None:
    """Delete what is out of sight: checkpoints done with, and those that were never finished."""
    for hidden in root.glob(".chunk_*"):
        shutil.rmtree(hidden)


def latest(root: Path, digest: str, seed: int) -> Header | None:
    """Return the header of the newest checkpoint under `root`, None where there is none.

    Raises CheckpointError if it cannot be read or is of another configuration.
    """
    found = saved_in(root)
    return read_header(found[-1], digest, seed) if found else None


def read_header(path: Path, digest: str, seed: int) -> Header:
    """Return the header of the checkpoint at `path`. Raises CheckpointError as `latest` does."""
    header = _read_header(path)
    if (header.digest, header.seed) != (digest, seed):
        raise CheckpointError(
            f"{header.path} is of another experiment (digest {header.digest[:8]}, first seed "
            f"{header.seed}; this one is {digest[:8]}, first seed {seed}). Continue with the "
            f"configuration that wrote it, or start again with {argument('overwrite')}."
        )
    return header


def restore(header: Header, template: Any, whole: bool = True) -> Any:
    """Return the saved pytree in the structure of `template`: arrays, or the shapes of JAX's.

    Every leaf comes back as it was, to its dtype, and as the template has it: an array of NumPy, of
    JAX, or a typed key. whole: whether the template must have everything that was saved, or may be
    a part of it. Raises CheckpointError if the files are damaged or the shapes are not the
    template's.
    """
    wanted, structure = jax.tree_util.tree_flatten_with_path(template)
    names = _check_leaves(header, wanted, whole)
    arrays = read_arrays(header, names)
    found = [leaves.as_leaf(array, leaf) for array, (_, leaf) in zip(arrays, wanted, strict=True)]
    return jax.tree_util.tree_unflatten(structure, found)


def read_arrays(header: Header, names: Sequence[str]) -> list[np.ndarray]:
    """Return the saved arrays of these names. Raises CheckpointError if the files are damaged."""
    _check_files(header)
    there = {str(leaf[0]): (slot, leaf) for slot, leaf in enumerate(header.leaves)}
    found = []
    try:
        arrays = _read_arrays(header)
        for slot, (_, shape, dtype) in map(there.__getitem__, names):
            empty = 0 in shape
            array = np.zeros(shape, dtype) if empty else leaves.unpacked(arrays[_slot(slot)], dtype)
            if list(array.shape) != shape:
                raise ValueError(f"an array {array.shape} where {tuple(shape)} was saved")
            found.append(array)
    except Exception as error:  # orbax and tensorstore raise whatever they please
        raise _damaged(header.path, f"{type(error).__name__}: {error}".splitlines()[0]) from error
    return found


def _read_arrays(header: Header) -> dict[str, np.ndarray]:
    """Return all saved arrays by their slots, as NumPy's: JAX would make 32 bits of 64."""
    with _orbax() as checkpointer:
        import orbax.checkpoint as orbax

        slots = [_slot(i) for i, (_, shape, _) in enumerate(header.leaves) if 0 not in shape]
        args = {slot: orbax.RestoreArgs(restore_type=np.ndarray) for slot in slots}
        return checkpointer.restore((header.path / _STATE).absolute(), restore_args=args)


def _save_arrays(path: Path, arrays: list[np.ndarray]) -> None:
    slots = {_slot(i): array for i, array in enumerate(arrays) if array.size}
    try:
        with _orbax() as checkpointer:
            checkpointer.save(path.absolute(), slots)
    except OSError:
        raise
    except Exception as error:  # tensorstore reports a full disk as a ValueError
        raise OSError(f"{type(error).__name__}: {error}".splitlines()[0]) from error


def _slot(index: int) -> str:
    return f"leaf_{index:05d}"


def _named_arrays(state: Any) -> list[tuple[str, np.ndarray]]:
    return [
        (jax.tree_util.keystr(path), leaves.array_of(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    ]


def shapes_within(header: Header, name: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the saved arrays of the dict that was saved as state[name]."""
    prefix, suffix = f"['{name}']['", "']"
    return {
        str(leaf).removeprefix(prefix).removesuffix(suffix): jax.ShapeDtypeStruct(shape, dtype)
        for leaf, shape, dtype in header.leaves
        if str(leaf).startswith(prefix)
    }


def _check_leaves(header: Header, wanted: list[tuple[Any, Any]], whole: bool) -> list[str]:
    """Return the names of the wanted leaves. Raises CheckpointError if one is not saved so."""
    here = [[jax.tree_util.keystr(path), *leaves.shape_and_dtype(leaf)] for path, leaf in wanted]
    there = {str(leaf[0]): leaf for leaf in header.leaves}
    odd = [
        f"{leaf} here, {there.get(leaf[0], 'none')} there"
        for leaf in here
        if there.get(leaf[0]) != leaf
    ]
    if whole and not odd and len(here) != len(there):
        odd = [f"{len(here)} arrays here, {len(there)} there"]
    if odd:
        raise CheckpointError(
            f"{header.path} does not fit this agent, bonus and environment ({odd[0]}). It was "
            f"probably written by another version of explorax: use that version (meta.json names "
            f"it), or start again with {argument('overwrite')}."
        )
    return [leaf[0] for leaf in here]


def _checksums(directory: Path) -> dict[str, list[int]]:
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            checksum = 0
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    checksum = zlib.crc32(block, checksum)
            found[path.relative_to(directory).as_posix()] = [path.stat().st_size, checksum]
    return found


def _check_files(header: Header) -> None:
    there = _checksums(header.path / _STATE)
    for name, written in header.files.items():
        if name not in there:
            raise _damaged(header.path, f"{name} is missing")
        if there[name] != written:
            sizes = f"{there[name][0]:,} bytes, {written} expected"
            raise _damaged(header.path, f"{name} has other contents than were written ({sizes})")


def _damaged(path: Path, what: str) -> CheckpointError:
    others = [other.name for other in saved_in(path.parent) if other != path]
    cure = f"Delete it to continue from {others[-1]}" if others else "Restore it from a backup"
    return CheckpointError(
        f"The checkpoint {path} is damaged: {what}. {cure}, or start again with "
        f"{argument('overwrite')}."
    )


def place(root: Path, chunk: int, iteration: int = 0) -> Path:
    """Return where the checkpoint after so many chunks, and iterations of the next, lies."""
    return root / name_of(chunk, iteration)


def name_of(chunk: int, iteration: int = 0) -> str:
    """Return the name of a checkpoint's directory; names sort as checkpoints follow each other."""
    return f"chunk_{chunk:06d}" + (f"_iteration_{iteration:08d}" if iteration else "")


def saved_in(root: Path) -> list[Path]:
    """Return the checkpoints under `root`, the newest last."""
    return sorted(path for path in root.glob("chunk_*") if path.is_dir())


def _read_header(path: Path) -> Header:
    check_is_utf_8(path)
    try:
        record = json.loads((path / _HEADER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, f"{_HEADER} cannot be read ({error})") from None
    if not isinstance(record, Mapping) or record.get("format") != FORMAT:
        version = record.get("format") if isinstance(record, Mapping) else None
        raise CheckpointError(
            f"{path} has format {version!r}; this version of explorax reads format {FORMAT}. Use "
            f"the version that wrote it, or start again with {argument('overwrite')}."
        )
    fields = {"digest": str, "seed": int, "chunk": int, "iteration": int, "metrics_bytes": int}
    fields |= {"leaves": list, "files": dict}
    for name, kind in fields.items():
        if not isinstance(record.get(name), kind):
            raise _damaged(path, f"{_HEADER} lacks a proper {name!r}")
    return Header(path, **{name: record[name] for name in fields})


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Give orbax's checkpointer, imported late (it takes seconds) and kept from the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import orbax.checkpoint as orbax

        logger.setLevel(logging.CRITICAL)
        try:
            with orbax.Checkpointer(orbax.PyTreeCheckpointHandler()) as checkpointer:
                yield checkpointer
        finally:
            logger.setLevel(level)

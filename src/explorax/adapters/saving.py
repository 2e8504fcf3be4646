"""One file with all that a wrapper has learned: arrays, and a header that says whose they are.

A NumPy archive (.npz): a trainer keeps it beside its own model. Nothing in it is code, the archive
holds a checksum of each array, and it is written beside its place and renamed into it.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

from explorax.core import leaves
from explorax.core.errors import CheckpointError
from explorax.files import write_atomically

FORMAT = 2
_HEADER = "header"
_CURE = "Free space or mend the permissions there, or save it elsewhere."


def write(path: Path, owner: Mapping[str, Any], state: Any) -> None:
    """Save the pytree `state`, and `owner`, which is JSON. Raises CheckpointError."""
    arrays = {name: leaves.array_of(leaf) for name, leaf in _named(state)}
    dtypes = {name: str(array.dtype) for name, array in arrays.items()}
    packed = {name: leaves.packed(name, array) for name, array in arrays.items()}
    header = json.dumps({"format": FORMAT, "owner": owner, "dtypes": dtypes})

    def fill(file: IO[bytes]) -> None:
        np.savez(file, allow_pickle=False, **{_HEADER: np.array(header)}, **packed)

    write_atomically(path, fill, _CURE, CheckpointError)


def read(path: Path, owner: Mapping[str, Any], template: Any) -> Any:
    """Return the saved pytree in the structure of `template`.

    Raises CheckpointError where the file is missing, damaged, or of another owner.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive[_HEADER]))
            arrays = {name: archive[name] for name in archive.files if name != _HEADER}
        found, format = header["owner"], header["format"]
        if format == FORMAT:
            dtypes = header["dtypes"]
            arrays = {name: leaves.unpacked(each, dtypes[name]) for name, each in arrays.items()}
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}. `save` writes it.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged, or was not written by `save` ({type(error).__name__}: {error}). "
            "Take another copy of it."
        ) from error
    if format != FORMAT:
        raise CheckpointError(
            f"{path} has format {format!r}; this version of explorax reads format {FORMAT}."
        )
    for name, value in owner.items():
        if found.get(name) != value:
            raise CheckpointError(
                f"{path} was saved with {name} {found.get(name)!r}, and this wrapper has "
                f"{value!r}. Make the wrapper as the one that saved it."
            )
    return _fitted(path, arrays, template)


def _fitted(path: Path, arrays: dict[str, np.ndarray], template: Any) -> Any:
    found = []
    for name, leaf in _named(template):
        here, there = leaves.shape_and_dtype(leaf), arrays.get(name)
        if there is None or leaves.shape_and_dtype(there) != here:
            said = "nothing" if there is None else f"{there.dtype} {there.shape}"
            raise CheckpointError(
                f"{path} has {said} for {name}, which is {here[1]} {tuple(here[0])} here. It was "
                "probably written by another version of explorax: use that version."
            )
        found.append(leaves.as_leaf(there, leaf))
    return jax.tree.unflatten(jax.tree.structure(template), found)


def _named(state: Any) -> list[tuple[str, Any]]:
    found = jax.tree_util.tree_leaves_with_path(state)
    return [(f"state{jax.tree_util.keystr(path)}", leaf) for path, leaf in found]

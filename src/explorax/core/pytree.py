"""One container idiom: a frozen dataclass that JAX sees as a pytree."""

import dataclasses
from typing import TypeVar, dataclass_transform

import jax

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def pytree(cls: type[_T]) -> type[_T]:
    """Return `cls` as a frozen dataclass whose every field is a pytree child."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


replace = dataclasses.replace

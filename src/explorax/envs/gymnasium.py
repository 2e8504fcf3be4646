"""Gymnasium's environments behind our protocol, stepped from Python."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GymnasiumVector:
    """`num_envs` Gymnasium environments side by side."""

    id: str
    num_envs: int
    render: bool = False
    kwargs: tuple[tuple[str, Any], ...] = ()  # of the environment's constructor, sorted by name

    @property
    def traceable(self) -> bool:
        return False

"""Value replay: learn values once more from steps that are past."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.auxiliaries.auxiliary import About, Scene
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics
from explorax.core.settings import check_types
from explorax.ops.returns import lambda_returns


@dataclass(frozen=True)
class ValueReplay:
    """Value function replay (Jaderberg et al. 2016, arXiv 1611.05397, section 3.3).

    The value heads are fitted to n-step returns over a replayed window, bootstrapped at its end.
    Windows begin anywhere, so that returns look ahead over other stretches than when they were new.
    The loss is half the squared error in units of the returns' deviation. Where time ran out the
    successor is not kept: that step is left out, and returns before it are bootstrapped at it.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.weight < math.inf, self, "weight", "0 or more, finite")

    def init(self, key: Key, about: About) -> Any:
        return ()

    def loss(self, params: Any, scene: Scene) -> tuple[jax.Array, Metrics]:
        total = jnp.float32(0.0)
        for head in range(scene.value.shape[-1]):
            said, unknown = scene.value[..., head], scene.unknown[:-1, :, head]
            stop = jnp.concatenate([unknown[1:], jnp.zeros_like(unknown[:1])])
            wanted = lambda_returns(
                scene.streams[:-1, :, head],
                jax.lax.stop_gradient(said)[1:],
                scene.ended[:-1, :, head],
                stop,
                scene.discounts[head],
                1.0,
            )
            error = (wanted - said[:-1]) / scene.std[head]
            total = total + 0.5 * jnp.where(unknown, 0.0, jnp.square(error)).mean()
        return total, {}

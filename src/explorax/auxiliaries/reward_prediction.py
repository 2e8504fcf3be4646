"""Reward prediction: tell from what was just seen whether a reward comes next."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.auxiliaries.auxiliary import About, Scene
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics
from explorax.core.settings import check_types
from explorax.nets.mlp import MLP


@dataclass(frozen=True)
class RewardPrediction:
    """Reward prediction (Jaderberg et al. 2016, arXiv 1611.05397, section 3.2).

    Three observations in a row, each as the network makes it before the memory, go through a layer
    of `hidden` units that tells whether the reward of the third step is negative, zero or positive.
    Half of what is drawn ends in a reward, as far as there are any.

    The loss is the cross-entropy in nats. Difference from public code: the dense layer behind the
    network's convolutions is shared too.
    """

    weight: float = 1.0
    hidden: int = 128

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.weight < math.inf, self, "weight", "0 or more, finite")
        require(self.hidden >= 1, self, "hidden", "at least 1")

    def init(self, key: Key, about: About) -> Any:
        return self._head().init(key, jnp.zeros((1, 3 * about.encoded)))

    def _head(self) -> MLP:
        return MLP((self.hidden,), 3, "relu")

    def loss(self, params: Any, scene: Scene) -> tuple[jax.Array, Metrics]:
        seen = jnp.moveaxis(scene.skewed_encoded, 0, 1)
        told = self._head().run(params, seen.reshape(len(seen), -1))[0]
        sign = (jnp.sign(scene.skewed.reward[-1]) + 1.0).astype(jnp.int32)
        each = optax.softmax_cross_entropy_with_integer_labels(told, sign)
        known = scene.skewed_known.astype(jnp.float32)
        count = jnp.maximum(known.sum(), 1.0)
        right = (told.argmax(-1) == sign).astype(jnp.float32)
        return (each * known).sum() / count, {"right": (right * known).sum() / count}

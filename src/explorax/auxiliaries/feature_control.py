"""Feature control: learn how to change what one's own network makes of what is seen."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.auxiliaries.auxiliary import About, Scene
from explorax.auxiliaries.control import control_loss, dueling, number_of_actions
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics
from explorax.core.settings import check_types
from explorax.nets.mlp import MLP


@dataclass(frozen=True)
class FeatureControl:
    """Feature control (Jaderberg et al. 2016, arXiv 1611.05397, section 3.1).

    As PixelControl, with the activations of the last layer before the memory in place of pixels:
    a unit's reward is how much it changes in a step. The changes teach the head and, through the
    memory's output, the network; they are not themselves made larger.
    """

    weight: float = 0.05
    discount: float = 0.9

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.weight < math.inf, self, "weight", "0 or more, finite")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")

    def init(self, key: Key, about: About) -> Any:
        """Return the head's parameters. Raises Incompatible for continuous actions."""
        actions = number_of_actions(about.action, self)
        outputs = about.encoded * (1 + actions)
        return MLP((), outputs).init(key, jnp.zeros((1, about.latent)))

    def loss(self, params: Any, scene: Scene) -> tuple[jax.Array, Metrics]:
        outputs, units = params["params"]["output"]["bias"].shape[0], scene.encoded.shape[-1]
        out = MLP((), outputs).run(params, scene.latent)[0]
        heads = out.reshape(*out.shape[:2], outputs // units, units)
        q = dueling(heads[:, :, 0], heads[:, :, 1:])
        change = jax.lax.stop_gradient(jnp.abs(scene.encoded[1:] - scene.encoded[:-1]))
        return control_loss(q, change, scene.rows, self.discount), {"change": change.mean()}

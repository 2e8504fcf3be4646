"""Several multi-layer perceptrons of one shape side by side, and how much they differ."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.protocols import Key
from explorax.nets.mlp import MLP


@dataclass(frozen=True)
class Ensemble:
    """K networks `MLP(hidden, outputs, activation)`, each drawn from a key of its own."""

    models: int
    hidden: tuple[int, ...]
    outputs: int
    activation: str = "relu"

    @property
    def _model(self) -> MLP:
        return MLP(self.hidden, self.outputs, self.activation)

    def init(self, key: Key, inputs: int) -> Any:
        """Return parameters, leaves [K, ...], for inputs [N, `inputs`]."""
        start = jnp.zeros((1, inputs))
        return jax.vmap(lambda key: self._model.init(key, start))(
            jax.random.split(key, self.models)
        )

    def inputs(self, params: Any) -> int:
        """Return I, the numbers that a network of `params` takes."""
        first = params["params"]["Dense_0" if self.hidden else "output"]
        return first["kernel"].shape[1]

    def run(self, params: Any, x: Float[Array, "N I"]) -> Float[Array, "K N O"]:
        """Return what each model makes of the same rows.

        One after another: of thousands of rows XLA makes K products twice as fast as a batched one.
        """
        each = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(self.models)]
        return jnp.stack([self._model.run(one, x)[0] for one in each])

    def run_apart(self, params: Any, x: Float[Array, "K N I"]) -> Float[Array, "K N O"]:
        """Return what each model makes of rows of its own."""
        return jax.vmap(lambda params, x: self._model.run(params, x)[0])(params, x)


def mean(outputs: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """Return the mean over the models.

    Term by term, as `variance`: XLA's reductions over a leading axis take longer than the networks.
    """
    return sum(outputs[1:], outputs[0]) / outputs.shape[0]


def variance(outputs: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """Return the population variance over the models."""
    return mean(jnp.square(outputs - mean(outputs)[None]))

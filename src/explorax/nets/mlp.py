"""A multi-layer perceptron."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def _glorot(scale: float) -> nn.initializers.Initializer:
    """Return the Glorot uniform initialiser with its deviation times `scale`; zeros for 0."""
    if scale == 0.0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale * scale, "fan_avg", "uniform")


class MLP(nn.Module):
    """Dense layers `hidden` with `activation` between them, and a linear layer named "output".

    Weights are Glorot uniform (as in rllab's policies), biases zero; those of the output layer
    are multiplied by `output_scale`. `hidden` = () makes it linear.
    """

    hidden: tuple[int, ...]
    outputs: int
    activation: str = "tanh"  # or "relu", "silu"
    output_scale: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "... I"]
    ) -> tuple[Float[Array, "... O"], Float[Array, "... H"]]:
        """Return (outputs, what the last hidden layer made of x; x itself without one)."""
        activation = ACTIVATIONS[self.activation]
        lead = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])  # XLA's products over two leading axes are far slower
        for width in self.hidden:
            x = activation(nn.Dense(width, kernel_init=_glorot(1.0))(x))
        out = nn.Dense(self.outputs, kernel_init=_glorot(self.output_scale), name="output")(x)
        return out.reshape(*lead, self.outputs), x.reshape(*lead, -1)

    def run(
        self, params: Any, x: Float[Array, "... I"]
    ) -> tuple[Float[Array, "... O"], Float[Array, "... H"]]:
        """Return what `__call__` does, with `params` as the weights."""
        return cast(Any, self.apply(params, x))

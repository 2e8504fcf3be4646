"""A multi-layer perceptron, with convolutions before it where it sees images."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from explorax.nets.visual import Images

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


def dense(width: int, scale: float = 1.0) -> nn.Dense:
    """Return a layer with Glorot uniform weights times `scale`, and biases of zero."""
    return nn.Dense(width, kernel_init=_glorot(scale))


class MLP(nn.Module):
    """Dense layers `hidden` with `activation` between them, and a linear layer named "output".

    Weights are Glorot uniform (as in rllab's policies), biases zero; those of the output layer
    are multiplied by `output_scale`. `hidden` = () makes it linear.

    With an `encoder` its inputs are images [..., H, W, C], and what `nets.visual.Images` makes of
    them takes their place. Numbers `beside` the input, such as an action, join it after that.
    """

    hidden: tuple[int, ...]
    outputs: int
    activation: str = "tanh"  # or "relu", "silu"
    output_scale: float = 1.0
    encoder: str | None = None  # of images; None: flat inputs

    @nn.compact
    def __call__(
        self, x: Shaped[Array, "..."], beside: Float[Array, "... A"] | None = None
    ) -> tuple[Float[Array, "... O"], Float[Array, "... H"]]:
        """Return (outputs, what the last hidden layer made of x; x itself without one).

        `beside` may have more leading axes than `x`, which is convolved once for all of them.
        """
        activation = ACTIVATIONS[self.activation]
        if self.encoder is not None:
            rows = x.reshape(-1, *x.shape[-3:])
            x = Images(self.encoder, name="images")(rows).reshape(*x.shape[:-3], -1)
        if beside is not None:
            x = jnp.broadcast_to(x, (*beside.shape[:-1], x.shape[-1]))
            x = jnp.concatenate([x, beside], -1)
        lead = x.shape[:-1]
        x = x.reshape(-1, x.shape[-1])  # XLA's products over two leading axes are far slower
        for width in self.hidden:
            x = activation(dense(width)(x))
        out = nn.Dense(self.outputs, kernel_init=_glorot(self.output_scale), name="output")(x)
        return out.reshape(*lead, self.outputs), x.reshape(*lead, -1)

    def run(
        self, params: Any, x: Shaped[Array, "..."], beside: Float[Array, "... A"] | None = None
    ) -> tuple[Float[Array, "... O"], Float[Array, "... H"]]:
        """Return what `__call__` does, with `params` as the weights."""
        return cast(Any, self.apply(params, x, beside))


def sees_images(params: Any) -> bool:
    """Return whether these are weights of a network with an encoder, which it calls `images`."""
    return "images" in params["params"]

"""What turns an observation of any kind into features: a convolution for images, else an MLP."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from explorax.nets.visual import he_normal, strided
from explorax.ops.images import is_image


class Torso(nn.Module):
    """Features [N, `features`] of rows [N, *shape], the last layer linear.

    Images go through the three convolutions of DQN (Mnih et al. 2015) first, all else flattened
    through dense layers `hidden`, with ReLU between layers. Weights are normal with the variance
    2/inputs (He et al. 2015, arXiv 1502.01852, Eq. 10), biases zero. RND's and ICM's code draws
    orthogonal ones of the same size, which need a QR decomposition: with seeds side by side JAX's
    may wait for ever for a thread of its own pool, on a machine of two cores.
    """

    features: int
    hidden: tuple[int, ...]
    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "N ..."]) -> Float[Array, "N F"]:
        init = he_normal()
        if is_image(self.shape):
            x = strided(x, "dqn")
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = jax.nn.relu(nn.Dense(width, kernel_init=init)(x))
        return jnp.asarray(nn.Dense(self.features, kernel_init=init)(x))

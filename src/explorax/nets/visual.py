"""Convolutions that make features of images."""

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from explorax.nets.conv import Conv
from explorax.ops.images import unit_range

# Filters, size and stride of each layer.
STRIDED = {
    "dqn": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),  # Mnih et al. 2015
    "a3c": ((16, 8, 4), (32, 4, 2)),  # Mnih et al. 2013 and 2016; UNREAL's
}
_IMPALA = (16, 32, 32)  # filters of each section
ENCODERS = (*STRIDED, "impala")


def he_normal() -> nn.initializers.Initializer:
    """Return normal weights of variance 2/inputs (He et al. 2015, arXiv 1502.01852, Eq. 10)."""
    return nn.initializers.variance_scaling(2.0, "fan_in", "normal")


def strided(x: Float[Array, "N H W C"], encoder: str) -> Float[Array, "N h w F"]:
    """Return images after the convolutions of STRIDED, for use within a module."""
    for filters, size, stride in STRIDED[encoder]:
        x = jax.nn.relu(Conv(filters, size, stride, kernel_init=he_normal())(x))
    return x


class Images(nn.Module):
    """Features [N, F] of images [N, H, W, C], flattened after the last ReLU.

    "dqn" and "a3c" are convolutions with strides. "impala" is the residual network of Espeholt et
    al. 2018 (arXiv 1802.01561, Fig. 3): three sections, each a 3×3 convolution, a maximum over 3×3
    with stride 2, and two residual blocks of two 3×3 convolutions. Whole numbers 0 .. 255 are
    divided by 255 here and not before.
    """

    encoder: str

    @nn.compact
    def __call__(self, x: Shaped[Array, "N H W C"]) -> Float[Array, "N F"]:
        x = unit_range(x)
        if self.encoder == "impala":
            for filters in _IMPALA:
                x = _Section(filters)(x)
            x = jax.nn.relu(x)
        else:
            x = strided(x, self.encoder)
        return x.reshape(x.shape[0], -1)


class _Section(nn.Module):
    filters: int

    @nn.compact
    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w F"]:
        def conv(x: jax.Array) -> jax.Array:
            return Conv(self.filters, 3, same=True, kernel_init=he_normal())(x)

        x = nn.max_pool(conv(x), (3, 3), (2, 2), "SAME")
        for _ in range(2):
            x = x + conv(jax.nn.relu(conv(jax.nn.relu(x))))
        return x

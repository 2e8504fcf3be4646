"""Convolutions as matrix products.

XLA's own are slow on a processor where they are differentiated within a loop, and all training here
is one: a gradient step of the DQN encoder on 64 frames of 84×84 took 18 times as long within a scan
as outside of it (JAX 0.10.2, two cores). Over seeds side by side a product also stays a product.
Parameters have the names and shapes of flax's layers.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

_Initializer = nn.initializers.Initializer


def convolved(
    x: Float[Array, "N H W C"], kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "N h w F"]:
    """Return the convolution of images under filters that stay within them.

    out[n, r, c, f] = Σ_{u,v,i} x[n, stride r + u, stride c + v, i] kernel[u, v, i, f]
    """
    size, channels, filters = kernel.shape[0], *kernel.shape[2:]
    block = stride if size % stride == 0 else 1  # pixels that always move together
    step, many = stride // block, size // block
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    high, wide = ((count - 1) * step + many for count in (rows, columns))
    blocks = x[:, : high * block, : wide * block].reshape(-1, high, block, wide, block, channels)
    blocks = blocks.swapaxes(2, 3).reshape(-1, high, wide, block * block * channels)
    last_row, last_column = (rows - 1) * step + 1, (columns - 1) * step + 1
    seen = [
        blocks[:, u : u + last_row : step, v : v + last_column : step]
        for u in range(many)
        for v in range(many)
    ]
    weights = kernel.reshape(many, block, many, block, channels, filters).swapaxes(1, 2)
    return jnp.concatenate(seen, -1) @ weights.reshape(-1, filters)


def deconvolved(
    x: Float[Array, "N h w C"], kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "N H W F"]:
    """Return the transposed convolution, as flax has it: with the kernel turned by 180°.

    out[n, stride r + u, stride c + v, f] += Σ_i x[n, r, c, i] kernel[k − 1 − u, k − 1 − v, i, f].
    `stride` divides k.
    """
    size, channels, filters = kernel.shape[0], *kernel.shape[2:]
    many = size // stride
    rows, columns = x.shape[1:3]
    weights = kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1)
    spread = (x @ weights).reshape(-1, rows, columns, many, stride, many, stride, filters)
    high, wide = rows + many - 1, columns + many - 1
    out = jnp.zeros((len(x), high, wide, stride, stride, filters))
    for u in range(many):
        for v in range(many):
            part = spread[:, :, :, u, :, v]
            edges = ((0, 0), (u, many - 1 - u), (v, many - 1 - v), (0, 0), (0, 0), (0, 0))
            out = out + jnp.pad(part, edges)
    return out.swapaxes(2, 3).reshape(len(x), high * stride, wide * stride, filters)


class Conv(nn.Module):
    """A convolution with square filters; `same`: zeros around it keep the image's size."""

    filters: int
    size: int
    stride: int = 1
    same: bool = False
    kernel_init: _Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w F"]:
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.filters,))
        if self.same:
            before = (self.size - 1) // 2
            edge = (before, self.size - 1 - before)
            x = jnp.pad(x, ((0, 0), edge, edge, (0, 0)))
        return convolved(x, kernel, self.stride) + bias[None, None, None]


class ConvTranspose(nn.Module):
    """A transposed convolution with square filters, whose size `stride` divides."""

    filters: int
    size: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "N h w C"]) -> Float[Array, "N H W F"]:
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.filters,))
        return deconvolved(x, kernel, self.stride) + bias[None, None, None]

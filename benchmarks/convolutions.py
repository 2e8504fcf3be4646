"""What a gradient through convolutions costs within a loop: XLA's own, and as matrix products.

python benchmarks/convolutions.py
"""

from typing import Any

import common
import jax
import jax.numpy as jnp
from flax import linen as nn

from explorax.nets.visual import STRIDED, Images

STEPS, ROWS, REPEATS = 4, 64, 5


class OfFlax(nn.Module):
    """The same encoders with flax's layer, which calls XLA's convolution."""

    encoder: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for filters, size, stride in STRIDED[self.encoder]:
            x = jax.nn.relu(nn.Conv(filters, (size, size), stride, "VALID")(x))
        return x.reshape(x.shape[0], -1)


def step_of(net: Any) -> Any:
    def step(params: Any, x: jax.Array) -> tuple[Any, None]:
        gradient = jax.grad(lambda p: jnp.square(net.apply(p, x)).mean())(params)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), None

    return step


def measured(net: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return milliseconds of a gradient step by itself, and of one within a scan."""
    xs = jax.random.uniform(jax.random.key(0), (STEPS, ROWS, *shape))
    params = jax.jit(net.init)(jax.random.key(1), xs[0])
    one = jax.jit(step_of(net))
    many = jax.jit(lambda p, xs: jax.lax.scan(step_of(net), p, xs)[0])
    alone = common.seconds(lambda: one(params, xs[0])[0], REPEATS)
    return 1e3 * alone, 1e3 * common.seconds(lambda: many(params, xs), REPEATS) / STEPS


def main() -> None:
    rows = []
    for encoder, side, channels in (("dqn", 84, 4), ("a3c", 42, 3)):
        theirs = measured(OfFlax(encoder), (side, side, channels))
        ours = measured(Images(encoder), (side, side, channels))
        rows.append(
            [f"{encoder}, {ROWS} frames of {side} × {side} × {channels}"]
            + [f"{each:.0f}" for each in (*theirs, *ours)]
            + [f"{theirs[1] / ours[1]:.1f}"]
        )
    common.write(
        "convolutions",
        "A gradient step through convolutions, by itself and within a scan",
        ["encoder", "XLA's, ms", "… within a scan", "ours, ms", "… within a scan", "times faster"],
        rows,
        f"Medians of {REPEATS} rounds. All of explorax's training is within a scan.",
    )


if __name__ == "__main__":
    main()

"""Numbers that change as training goes on."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

SHAPES = ("linear", "cosine", "exponential")


def annealed(
    start: float, end: float, env_steps: int, shape: str
) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """Return the schedule from `start` at step 0 to `end` at step `env_steps`, where it stays.

    With p the share of the steps taken: "linear", start + (end − start) p; "cosine",
    end + (start − end)(1 + cos πp)/2; "exponential", start (end/start)^p, both positive. The
    schedules are optax's, asked so that no ratio of the ends overflows a float32.
    """
    if shape == "linear":
        schedule = optax.linear_schedule(start, end, env_steps)
    elif shape == "cosine":
        schedule = _cosine(start, end, env_steps)
    else:
        schedule = _exponential(start, end, env_steps)

    least, most = min(start, end), max(start, end)

    def at(step: jax.Array) -> jax.Array:
        # Compiled, optax's sums round past the end: a probability of −5e-8 is none.
        value = jnp.clip(schedule(step.astype(jnp.float32)), least, most)
        return jnp.where(step >= env_steps, end, value).astype(jnp.float32)

    return at


def _cosine(start: float, end: float, env_steps: int) -> optax.Schedule:
    share = optax.cosine_decay_schedule(1.0, env_steps)
    return lambda step: end + (start - end) * share(step)


def _exponential(start: float, end: float, env_steps: int) -> optax.Schedule:
    logarithm = optax.linear_schedule(math.log(start), math.log(end), env_steps)
    return lambda step: jnp.exp(logarithm(step))

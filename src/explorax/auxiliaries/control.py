"""Learning to change what is seen: Q-learning of many small rewards at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Rollout
from explorax.ops.returns import lambda_returns


def number_of_actions(space: Discrete | Box, owner: object) -> int:
    """Return the number of discrete actions. Raises Incompatible for continuous ones."""
    if not isinstance(space, Discrete):
        raise Incompatible(
            f"{owner!r} learns a value for each discrete action, and these are continuous, of "
            f"shape {space.shape}. Leave it out of the auxiliaries."
        )
    return space.n


def dueling(value: Float[Array, "... K"], advantage: Float[Array, "... A K"]) -> jax.Array:
    """Return Q = V + A − mean_a A, [..., A, K] (Wang et al. 2016, arXiv 1511.06581, Eq. 9)."""
    return value[..., None, :] + advantage - advantage.mean(-2, keepdims=True)


def control_loss(
    q: Float[Array, "L1 B A K"], change: Float[Array, "L B K"], rows: Rollout, discount: float
) -> Float[Array, ""]:
    """Return ½ Σ_k (R_k − Q_k(s_t, a_t))², the mean over steps.

    R is the return of `change` to the end of the window, bootstrapped there with max_a Q. The last
    step of an episode has no successor to compare with: it is left out, and the returns before it
    are bootstrapped at it.
    """
    steps, batch, cells = change.shape
    best = jax.lax.stop_gradient(q.max(2))
    cut = (rows.terminated | rows.truncated)[:-1]
    # what follows step t is the last row of a window or one without a successor
    stop = jnp.concatenate([cut[1:], jnp.ones_like(cut[:1])])

    def flat(each: jax.Array) -> jax.Array:
        return each.reshape(steps, batch * cells)

    stops = jnp.repeat(stop, cells, axis=1)
    wanted = lambda_returns(
        flat(jax.lax.stop_gradient(change)),
        flat(best[1:]),
        jnp.zeros_like(stops),
        stops,
        discount,
        1.0,
    ).reshape(change.shape)
    action = rows.action[:-1, :, None, None]
    taken = jnp.take_along_axis(q[:-1], action, axis=2)[:, :, 0]
    error = 0.5 * jnp.square(wanted - taken).sum(-1)
    return jnp.where(cut, 0.0, error).mean()

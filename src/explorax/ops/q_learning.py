"""Targets for Q-learning."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def n_step_sums(
    reward: Float[Array, "B n"],
    terminated: Bool[Array, "B n"],
    truncated: Bool[Array, "B n"],
    discount: float,
) -> tuple[Float[Array, " B"], Float[Array, " B"], Int[Array, " B"]]:
    """Return (sum, discount of the bootstrap, index of the last step) of windows of n steps.

    The window is cut after the first step m − 1 that ended an episode, else m = n:

    Σ_{k<m} γ^k r_k,    γ^m (1 − terminated_{m−1}),    m − 1

    so that the target is the sum plus the discount times the value of the last step's true
    successor. Sutton & Barto 2018, Eq. 7.1; what follows the first action is not corrected for the
    policy having changed (as in Rainbow, arXiv 1710.02298).
    """
    length = reward.shape[1]
    done = (terminated | truncated).astype(jnp.int32)
    ended_before = jnp.cumsum(done, axis=1) - done  # [B, n] episodes ended before step k
    alive = ended_before == 0
    power = discount ** jnp.arange(length, dtype=jnp.float32)
    total = jnp.where(alive, reward * power[None, :], 0.0).sum(axis=1)
    last = alive.sum(axis=1, dtype=jnp.int32) - 1
    ended = jnp.take_along_axis(terminated, last[:, None], axis=1)[:, 0]
    return total, jnp.where(ended, 0.0, discount * power[last]), last


def q_targets(
    reward: Float[Array, " B"],
    discount: Float[Array, " B"],
    next_online: Float[Array, "B A"],
    next_target: Float[Array, "B A"],
    double: bool,
) -> Float[Array, " B"]:
    """Return reward + discount · Q_target(s', a*) with a* the best action of s'.

    a* = argmax Q_online(s', ·) if `double` (van Hasselt et al. 2016, arXiv 1509.06461, Eq. 4), else
    argmax Q_target(s', ·) (Mnih et al. 2015).
    """
    chooser = next_online if double else next_target
    best = jnp.argmax(chooser, axis=1)[:, None]
    return reward + discount * jnp.take_along_axis(next_target, best, axis=1)[:, 0]

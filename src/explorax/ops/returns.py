"""Returns and advantages on time-major [T, E] arrays with true ends of episodes.

Two kinds of end are told apart. `terminated`: nothing follows, the successor is worth 0.
`truncated`: time ran out, the successor keeps its value. Both cut the recursion, and so does the
end of the rollout. The value of the TRUE successor is an argument of its own, `next_value`: values
shifted by one step would be those of the next episode's first observation at every end.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def _bootstrap(
    reward: jax.Array, next_value: jax.Array, terminated: jax.Array, discount: float
) -> jax.Array:
    """Return r_t + γ (1 − terminated_t) V(s'_t)."""
    return reward + discount * jnp.where(terminated, 0.0, next_value)


def _suffix_sums(increment: jax.Array, decay: jax.Array) -> jax.Array:
    """Return y with y_t = increment_t + decay_t y_{t+1} and y_T = 0."""

    def one(later: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        now = row[0] + row[1] * later
        return now, now

    zero = jnp.zeros_like(increment[0])
    return jax.lax.scan(one, zero, (increment, decay), reverse=True)[1]


def gae(
    reward: Float[Array, "T E"],
    value: Float[Array, "T E"],
    next_value: Float[Array, "T E"],
    terminated: Bool[Array, "T E"],
    truncated: Bool[Array, "T E"],
    discount: float,
    gae_lambda: float,
) -> Float[Array, "T E"]:
    """Return generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, Eq. 16).

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − V(s_t)
    A_t = δ_t + γ λ (1 − terminated_t)(1 − truncated_t) A_{t+1},    A_T = 0

    λ = 0 gives the one-step advantage δ; λ = 1 the discounted return, bootstrapped where the
    episode or the rollout is cut, minus V.
    """
    delta = _bootstrap(reward, next_value, terminated, discount) - value
    decay = jnp.where(terminated | truncated, 0.0, discount * gae_lambda)
    return _suffix_sums(delta, decay)


def lambda_returns(
    reward: Float[Array, "T E"],
    next_value: Float[Array, "T E"],
    terminated: Bool[Array, "T E"],
    truncated: Bool[Array, "T E"],
    discount: float,
    return_lambda: float,
) -> Float[Array, "T E"]:
    """Return λ-returns (Sutton & Barto 2018, Eq. 12.2, written backwards).

    G_t = r_t + γ (1 − terminated_t) [(1 − λ) V(s'_t) + λ G_{t+1}]

    with G_{t+1} replaced by V(s'_t) where the episode or the rollout is cut. λ = 1 gives the
    discounted return, Monte Carlo where `next_value` is zero; λ = 0 the one-step return. Equals
    `gae` + V(s_t) when V(s'_t) = V(s_{t+1}) within episodes, as it is for values of one function.
    """
    last = jnp.arange(reward.shape[0])[:, None] == reward.shape[0] - 1
    cut = terminated | truncated | last
    decay = jnp.where(cut, 0.0, discount * return_lambda)
    own_share = jnp.where(cut, 1.0, 1.0 - return_lambda)
    return _suffix_sums(_bootstrap(reward, own_share * next_value, terminated, discount), decay)

"""Returns, advantages and Q-targets on time-major [T, E] arrays with true ends of episodes.

Two kinds of end are told apart. `terminated`: nothing follows, the successor is worth 0.
`truncated`: time ran out, the successor keeps its value. Both cut the recursion, and so does the
end of the rollout. The value of the TRUE successor is an argument of its own, `next_value`: values
shifted by one step would be those of the next episode's first observation at every end.

`retrace` is for sequences out of a replay, [T, B], that another policy gathered; n-step targets of
the first step of such a sequence are in `ops/q_learning.py`.
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


def retrace(
    reward: Float[Array, "T B"],
    q_value: Float[Array, "T B"],
    next_value: Float[Array, "T B"],
    log_prob: Float[Array, "T B"],
    behavior_log_prob: Float[Array, "T B"],
    terminated: Bool[Array, "T B"],
    truncated: Bool[Array, "T B"],
    discount: float,
    retrace_lambda: float,
) -> Float[Array, "T B"]:
    """Return Retrace(λ) targets for Q(s_t, a_t) (Munos et al. 2016, arXiv 1606.02647, Eq. 3).

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − Q(s_t, a_t),    c_t = λ min(1, π(a_t|s_t)/b(a_t|s_t))
    G_t = Q(s_t, a_t) + δ_t + γ c_{t+1} (G_{t+1} − Q(s_{t+1}, a_{t+1}))

    the last term being 0 where the episode or the sequence is cut. `q_value` is the target
    network's at the actions taken, `next_value` its E_{a~π} Q(s'_t, a) at the TRUE successor,
    `log_prob` of π and `behavior_log_prob` of the policy b that took the action, as stored.
    Probabilities are compared as logarithms, so that no density under- or overflows.

    λ = 0 gives the one-step target. With c = 1 (λ = 1 and π = b, say) the sum telescopes:

    G_t = Σ_k γ^k r_{t+k} + γ^n V(s'_{t+n−1}) + Σ_{k≥1} γ^k [V(s_{t+k}) − Q(s_{t+k}, a_{t+k})]

    the n-step return to the cut, Monte Carlo without values, less a control variate that is 0 on
    average under π, and 0 always where Q does not depend on the action.
    """
    trace = retrace_lambda * jnp.exp(jnp.minimum(0.0, log_prob - behavior_log_prob))
    next_trace = jnp.concatenate([trace[1:], jnp.zeros_like(trace[:1])])
    decay = jnp.where(terminated | truncated, 0.0, discount * next_trace)
    delta = _bootstrap(reward, next_value, terminated, discount) - q_value
    return q_value + _suffix_sums(delta, decay)


def normalised(advantage: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return advantages less their mean, divided by their deviation."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def explained_variance(target: Float[Array, "..."], value: Float[Array, "..."]) -> Float[Array, ""]:
    """Return 1 − Var[target − value] / Var[target]; NaN where the targets do not vary."""
    spread = jnp.var(target)
    return 1.0 - jnp.var(target - value) / jnp.where(spread > 0.0, spread, jnp.nan)


def filtered(
    before: Float[Array, " E"],
    values: Float[Array, "T E"],
    discount: float,
    first: Bool[Array, "T E"] | None = None,
) -> Float[Array, "T E"]:
    """Return R_t = discount · R_{t−1} + values_t, from R_{−1} = `before`; anew where `first`."""

    def one(before: jax.Array, row: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        value, *begins = row
        for begin in begins:
            before = jnp.where(begin, 0.0, before)
        after = discount * before + value
        return after, after

    rows = (values,) if first is None else (values, first)
    return jax.lax.scan(one, before, rows)[1]

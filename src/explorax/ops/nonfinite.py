"""Which number was the first that is not finite, found inside the compiled program.

Metrics are NaN by contract while there is nothing to say, so NaN among them is no sign by itself.
Signs are an observation, a reward or a bonus that is not finite; an infinite metric; and among what
the agent has learned NaN, or an infinity where there was none. Replays are not looked through: what
is in them came in as observation, reward and bonus.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from explorax.core.protocols import Metrics, Rollout
from explorax.ops.replay import Ring

FINITE = -1  # what `first` says where nothing is wrong
_STREAMS = ("obs", "reward", "bonus")


def names(metrics: Iterable[str], agent: Any) -> tuple[str, ...]:
    """Return what is looked at, in the order in which it is computed.

    The streams; the metrics of the agent, losses first; what it learned, by its path in the state
    (or in the states' shapes) `agent`; the metrics of the bonus.
    """
    of_agent, of_bonus = _ordered(metrics)
    return (*_STREAMS, *of_agent, *_learned(agent), *of_bonus)


def sizes(agent: Any) -> Float[Array, " L"]:
    """Return the largest magnitude in each array that the agent learned, in the order of `names`.

    NaN where there is a NaN. One reduction for each array: this is done in every iteration.
    """
    largest = [
        jnp.max(jnp.abs(leaf), initial=0.0).astype(jnp.float32) for leaf in _learned(agent).values()
    ]
    return jnp.stack(largest) if largest else jnp.zeros(0)


def broken(
    rollout: Rollout,
    metrics: Metrics,
    before: Float[Array, " L"],
    after: Float[Array, " L"],
) -> Bool[Array, " Q"]:
    """Return for each of `names` whether it is not finite after an iteration.

    before, after: `sizes` of the agent. A NaN metric counts where the agent's numbers are broken
    too: then it had something to say.
    """
    streams = jnp.stack(
        [
            _finite(rollout.obs) & _finite(rollout.next_obs),
            _finite(rollout.reward),
            _finite(rollout.bonus),
        ]
    )
    learned = jnp.isnan(after) | (jnp.isinf(after) & ~jnp.isinf(before))
    of_agent, of_bonus = (_values(metrics, names) for names in _ordered(metrics))
    of_agent = jnp.isinf(of_agent) | (jnp.isnan(of_agent) & learned.any())
    return jnp.concatenate([~streams, of_agent, learned, jnp.isinf(of_bonus)])


def first(broken: Bool[Array, "n Q"]) -> Int[Array, ""]:
    """Return iteration · Q + quantity of the first that is broken, or FINITE."""
    iteration = jnp.argmax(broken.any(axis=1))
    quantity = jnp.argmax(broken[iteration])
    place = (iteration * broken.shape[1] + quantity).astype(jnp.int32)
    return jnp.where(broken.any(), place, FINITE)


def _ordered(metrics: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the metrics of the agent and of the bonus, losses first, else by name."""
    told = sorted(metrics, key=lambda name: ("loss" not in name, name))
    return (
        [name for name in told if name.startswith("agent/")],
        [name for name in told if name.startswith("bonus/")],
    )


def _values(metrics: Metrics, names: list[str]) -> jax.Array:
    if not names:
        return jnp.zeros(0)
    return jnp.stack([jnp.asarray(metrics[name]).astype(jnp.float32) for name in names])


def _learned(agent: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(agent, is_leaf=lambda it: isinstance(it, Ring))
    return {
        f"agent{jax.tree_util.keystr(path)}": leaf
        for path, leaf in leaves
        if not isinstance(leaf, Ring) and jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def _finite(stream: Any) -> jax.Array:
    """Return whether all numbers of a stream are finite."""
    return jnp.isfinite(stream).all()

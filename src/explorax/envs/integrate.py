"""Steps through an ordinary differential equation."""

from collections.abc import Callable
from typing import TypeVar

import jax

_S = TypeVar("_S")


def runge_kutta(slope: Callable[[_S], _S], state: _S, dt_s: float, substeps: int) -> _S:
    """Return the state after `dt_s` of ds/dt = slope(s), by `substeps` classical steps of order 4.

    s' = s + h/6 (k₁ + 2k₂ + 2k₃ + k₄); the pytrees of the state and of its slope are alike.
    """
    h = dt_s / substeps

    def ahead(state: _S, rate: _S, by: float) -> _S:
        return jax.tree.map(lambda s, k: s + by * k, state, rate)

    for _ in range(substeps):
        k1 = slope(state)
        k2 = slope(ahead(state, k1, h / 2))
        k3 = slope(ahead(state, k2, h / 2))
        k4 = slope(ahead(state, k3, h))
        state = jax.tree.map(
            lambda s, a, b, c, d: s + h / 6 * (a + 2 * b + 2 * c + d), state, k1, k2, k3, k4
        )
    return state

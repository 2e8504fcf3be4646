"""What a posterior is: the model of VIME, where it is not the paper's own."""

from typing import Protocol

import jax

from explorax.core.protocols import Key, Metrics, Rollout, Spec, State


class Posterior(Protocol):
    """A distribution over models that says what a transition would teach.

    A frozen dataclass of settings with pure methods.
    """

    @property
    def replayable(self) -> bool:
        """Whether the gain of a row can be had again from the row alone."""
        ...

    def init(self, key: Key, spec: Spec) -> State:
        """Return the prior. Raises Incompatible."""
        ...

    def information_gain(self, state: State, key: Key, rollout: Rollout) -> jax.Array:
        """Return the information gain, nats, of a rollout [T, E] in time order or of rows [N].

        Rows [N] have no order: each is paid by the posterior as it is.
        """
        ...

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (the posterior given the rollout too, metrics)."""
        ...

"""The cheapest agent there is, for tests of everything around the learning."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from explorax.core.protocols import Discrete, Percept, Rollout, Spec


@dataclass(frozen=True)
class Drifter:
    """Acts at random and learns nothing."""

    rollout_length: int = 5  # steps

    def init(self, key: Any, spec: Spec) -> Any:
        assert isinstance(spec.action, Discrete)
        return jnp.zeros(spec.action.n)

    def carry(self, spec: Spec) -> Any:
        return ()

    def act(
        self, state: Any, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
    ) -> Any:
        logits = jnp.broadcast_to(state[None], (*percept.reward.shape, *state.shape))
        return jax.random.categorical(key, logits).astype(jnp.int32), carry, {}

    def learn(self, state: Any, key: Any, rollout: Rollout, rescore: Any) -> Any:
        return state, {"paid": rollout.bonus.mean()}


@contextmanager
def in_the_catalogue() -> Iterator[None]:
    """Let expressions name Drifter as if explorax.agents had it."""
    from explorax import agents

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "Drifter", Drifter, raising=False)
        patch.setattr(agents, "__all__", [*agents.__all__, "Drifter"])
        patch.setattr(Drifter, "__module__", "explorax.agents.drifter")
        yield

"""Which number was the first that is not finite: order, exceptions, and a slow search."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.protocols import Rollout
from explorax.ops import nonfinite, replay

FINE = {"agent/entropy": 0.1, "agent/critic_loss": 0.2, "bonus/loss": 0.3, "reward_mean": 0.4}


def rollout(**changes: Any) -> Rollout:
    no, ones = jnp.zeros((3, 2), bool), jnp.ones((3, 2))
    parts: dict[str, Any] = {"obs": jnp.ones((3, 2, 4)), "next_obs": jnp.ones((3, 2, 4))}
    parts |= {"reward": ones, "bonus": ones} | changes
    return Rollout(action=no, terminated=no, truncated=no, first=no, **parts)


def agent(value: float = 1.0, stored: float = 1.0) -> dict[str, Any]:
    ring = replay.empty({"reward": jnp.zeros(())}, 4)
    ring = replay.add(ring, {"reward": jnp.full(2, stored)})
    return {"w": jnp.asarray([1.0, value]), "steps": jnp.int32(3), "ring": ring}


def told(rows: Any = None, before: Any = None, after: Any = None, **metrics: Any) -> list[str]:
    """Return the names of what is broken."""
    given = {name: jnp.float32(value) for name, value in {**FINE, **metrics}.items()}
    states = agent() if before is None else before, agent() if after is None else after
    sizes = map(jax.jit(nonfinite.sizes), states)
    found = jax.jit(nonfinite.broken)(rollout() if rows is None else rows, given, *sizes)
    names = nonfinite.names(given, agent())
    assert len(names) == len(found)
    return [name for name, broken in zip(names, found, strict=True) if broken]


def test_the_order_is_that_of_computing() -> None:
    assert nonfinite.names(FINE, jax.eval_shape(agent)) == (
        *("obs", "reward", "bonus", "agent/critic_loss", "agent/entropy"),
        *("agent['w']", "bonus/loss"),
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_streams_and_what_is_learned_must_be_finite(bad: float) -> None:
    assert told() == []
    assert told(rollout(next_obs=jnp.ones((3, 2, 4)).at[2, 1, 0].set(bad))) == ["obs"]
    assert told(rollout(obs=jnp.ones((3, 2), jnp.int32))) == []
    assert told(rollout(reward=jnp.ones((3, 2)).at[0, 1].set(bad))) == ["reward"]
    assert told(rollout(bonus=jnp.ones((3, 2)).at[2, 0].set(bad))) == ["bonus"]
    assert told(after=agent(bad)) == ["agent['w']"]
    assert told(after=agent(stored=bad)) == []  # a replay is not looked through


def test_what_is_no_sign() -> None:
    names = {"agent/entropy": np.nan, "bonus/loss": np.nan}
    assert told(**names) == []  # nothing to say
    assert told(before=agent(np.inf), after=agent(np.inf)) == []  # as it was made
    assert told(before=agent(np.nan), after=agent(np.nan)) == ["agent['w']"]


def test_a_metric_that_is_infinite_or_that_says_why() -> None:
    assert told(**{"agent/entropy": -np.inf, "bonus/loss": np.inf}) == [
        "agent/entropy", "bonus/loss"
    ]  # fmt: skip
    assert told(after=agent(np.nan), **{"agent/critic_loss": np.nan, "bonus/loss": np.nan}) == [
        "agent/critic_loss", "agent['w']"
    ]  # fmt: skip


def test_the_first_of_all_is_found_as_a_slow_search_finds_it() -> None:
    generator = np.random.default_rng(0)
    first = jax.jit(nonfinite.first)
    for density in (0.0, 0.05, 0.3):
        for _ in range(20):
            table = generator.random((7, 5)) < density
            places = [i * 5 + q for i in range(7) for q in range(5) if table[i, q]]
            assert int(first(jnp.asarray(table))) == min(places, default=nonfinite.FINITE)


def test_an_agent_without_numbers_and_metrics() -> None:
    none = nonfinite.sizes(())
    found = jax.jit(nonfinite.broken)(rollout(), {}, none, none)
    assert found.tolist() == [False] * 3

"""Q-learning in a table."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.behaviors import UCB1, EpsilonGreedy
from explorax.behaviors.behavior import Behavior
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Discrete, Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.ops import finite


@pytree
class TabularQState:
    """What TabularQ learns with: S states, A actions."""

    values: Any  # float32 [S, A]
    counts: Any  # int32 [S, A], how often each action was learned from
    numbers: finite.Numbering  # of states
    env_steps: Any  # int32 [], of all E environments


@dataclass(frozen=True)
class TabularQ:
    """Q-learning in a table (Watkins & Dayan 1992), for one-hot observations. Discrete actions.

    Q(s, a) ← Q(s, a) + α [r + γ (1 − terminated) max_a' Q(s', a') − Q(s, a)]

    r is `reward + bonus_scale * bonus`, s' the true successor also where time ran out. α is
    `step_size`, or without one 1/(n(s, a) + `initial_weight`) with n counting this visit too, which
    makes Q(s, a) the mean of its targets and of `initial_value`, the latter with that weight; UCB1
    needs such means. Values start at `initial_value`: above all that can be earned it makes the
    agent try everything (optimism; Sutton & Barto 2018, Sec. 2.6). With a weight of 0 the first
    visit wipes it out.

    The E environments share one table. Rows are learned from one after another, by a scan: all
    environments of a step in their order, then those of the next. So nothing is lost where several
    visit one cell at the same step, and the result is that of one stream of E T transitions. Made
    for the CPU: the scan's steps are tiny. Counts for the behaviour (UCB, UCB1) are those of the
    rows learned from, so they lag within a rollout of more than one step.
    """

    behavior: Behavior = field(default=EpsilonGreedy())  # how values become actions
    rollout_length: int = 1  # steps of each environment between two calls of learn
    discount: float = 0.99  # γ
    step_size: float | None = 0.1  # α; None: 1/n(s, a), the mean of all targets
    initial_value: float = 0.0  # of all Q(s, a); above all that can be earned: optimism
    initial_weight: float = 0.0  # visits that it counts for, where step_size is None
    bonus_scale: float = 1.0  # of the bonus in the total reward
    max_states: int = 1_000_000  # refuses a larger table, of 8 bytes per state and action

    hands_on = ("values", "counts")  # without its counts a mean of targets would begin anew

    def __post_init__(self) -> None:
        check_types(self)
        require(self.rollout_length >= 1, self, "rollout_length", "at least 1")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")
        step = self.step_size
        require(step is None or 0 < step <= 1, self, "step_size", "above 0 and at most 1, or None")
        require(math.isfinite(self.initial_value), self, "initial_value", "finite")
        require(0 <= self.initial_weight < math.inf, self, "initial_weight", "at least 0")
        require(
            step is None or self.initial_weight == 0,
            self,
            "initial_weight",
            "0 with a step_size, which says itself how fast the initial value fades",
        )
        require(0 <= self.bonus_scale < math.inf, self, "bonus_scale", "at least 0")
        require(self.max_states >= 1, self, "max_states", "at least 1")
        if isinstance(self.behavior, UCB1):  # its values must be means of rewards
            require(step is None, self, "step_size", "None with UCB1 (UCB is for other values)")
            require(self.discount == 0, self, "discount", "0 with UCB1 (UCB is for other values)")

    def init(self, key: Key, spec: Spec) -> TabularQState:
        """Return the state before the first step.

        Raises Incompatible for continuous actions, for observations that are not one-hot codes, and
        for more than `max_states` of them.
        """
        if not isinstance(spec.action, Discrete):
            raise Incompatible(
                f"TabularQ chooses among discrete actions, and these are continuous: {spec.action}."
                " Agents that take continuous actions: TRPO, REINFORCE, ERWR, MPO, SoftQ, A2C, PPO."
            )
        cure = "DQN learns with a network instead of a table."
        shape = (finite.table_size(spec.obs, "TabularQ", self.max_states, cure), spec.action.n)
        return TabularQState(
            values=jnp.full(shape, self.initial_value, jnp.float32),
            counts=jnp.zeros(shape, jnp.int32),
            numbers=finite.numbering(spec.obs),
            env_steps=jnp.int32(0),
        )

    def carry(self, spec: Spec) -> tuple[()]:
        """Return the actor's memory, of which there is none."""
        return ()

    def act(
        self, state: TabularQState, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Int[Array, " E"], Any, tuple[()]]:
        """Return (action, carry, ()). `greedy` takes the first of the best actions."""
        place = self._place(state, percept.obs, percept.reward)
        values = state.values[place]
        if greedy:
            return jnp.argmax(values, axis=-1).astype(jnp.int32), carry, ()
        counts = state.counts[place]
        return self.behavior.choose(key, values, state.env_steps, counts), carry, ()

    def values(self, state: TabularQState, obs: Any) -> Float[Array, "N A"]:
        """Return Q(s, ·) of observations [N, ...]."""
        return state.values[finite.number_of(state.numbers, obs.reshape(obs.shape[0], -1))]

    def learn(
        self, state: TabularQState, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[TabularQState, Metrics]:
        """Return (state, metrics) after learning from each row of the rollout once."""
        reward = rollout.reward + self.bonus_scale * rollout.bonus
        rows = (
            self._place(state, rollout.obs, reward),
            rollout.action,
            reward,
            jnp.where(rollout.terminated, 0.0, self.discount),
            self._place(state, rollout.next_obs, reward),
        )
        # time-major, so that the environments of one step come before those of the next
        rows = jax.tree.map(jnp.ravel, rows)
        tables, (errors, values) = jax.lax.scan(self._update, (state.values, state.counts), rows)
        state = TabularQState(*tables, state.numbers, state.env_steps + reward.size)
        return state, {"td_error": jnp.abs(errors).mean(), "q_mean": values.mean()}

    def _place(self, state: TabularQState, obs: jax.Array, like: jax.Array) -> jax.Array:
        """Return the numbers of observations [*like.shape, ...]."""
        return finite.number_of(state.numbers, obs.reshape(*like.shape, -1))

    def _update(
        self, tables: tuple[jax.Array, jax.Array], row: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        values, counts = tables
        state, action, reward, discount, successor = row
        count = counts[state, action] + 1
        if self.step_size is None:
            step_size = 1.0 / (count.astype(jnp.float32) + self.initial_weight)
        else:
            step_size = jnp.float32(self.step_size)
        old = values[state, action]
        error = reward + discount * values[successor].max() - old
        new = old + step_size * error
        tables = (values.at[state, action].set(new), counts.at[state, action].set(count))
        return tables, (error, new)

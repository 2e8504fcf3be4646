"""Deep Q-learning."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.agents import experience, q_learner, sight
from explorax.agents.q_learner import State
from explorax.behaviors import EpsilonGreedy
from explorax.behaviors.behavior import Behavior
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.settings import check_types
from explorax.nets.mlp import ACTIVATIONS
from explorax.nets.visual import ENCODERS


@dataclass(frozen=True)
class DQN:
    """Q-learning with a network, replay and a target network (Mnih et al. 2015). Discrete actions.

    With double Q-learning (van Hasselt et al. 2016) and n-step targets. Deviations from Mnih et
    al.: Adam in place of RMSProp; E environments side by side take `rollout_length` steps, then
    `updates_per_learn` batches are drawn from the replay, all before the first is learned from;
    observations are standardised by the moments of all so far. Images are not: they go through
    convolutions first, and the replay keeps each frame once (`agents.frames`, which says what
    becomes of time-outs).

    The total reward of a row is `reward + bonus_scale * bonus`. With `bonus_at="replay"` the bonus
    is asked for anew whenever the row is drawn, so that it fades in old rows as the bonus's model
    learns them; with "collection" it is what the row was paid when new. A bonus that cannot be
    replayed is paid as at collection either way.

    A bonus raises the values of what was tried, and nothing those of what never was. `optimism`
    does, with OPIQ (arXiv 2002.12174): optimism / (n(s, a) + 1)^optimism_power is added wherever
    actions are compared, when one is chosen and in the target, and n counts the steps so far.
    Observations must be one-hot codes for it. Greedy acting and `values` go without.
    """

    behavior: Behavior = field(default=EpsilonGreedy())
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"  # or "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    rollout_length: int = 8  # steps of each environment between two calls of learn
    updates_per_learn: int = 8  # gradient steps
    batch_size: int = 64
    replay_capacity: int = 50_000  # env steps
    warmup_env_steps: int = 1_000  # before the first gradient step
    discount: float = 0.99
    n_steps: int = 3
    double: bool = True
    learning_rate: float = 1e-3
    loss: str = "squared"  # or "huber", which hears rare ends of episodes too little
    max_grad_norm: float | None = 10.0  # of the whole gradient; None: as it is
    target_update: str = "polyak"  # or "copy"
    target_copy_every: int = 200  # gradient steps, for "copy"
    polyak_rate: float = 0.01  # share of the new parameters per gradient step, for "polyak"
    normalize_obs: bool = True
    optimism: float = 0.0  # above 0: added to values of what was never tried, for one-hot codes
    optimism_power: float = 2.0  # with which it falls as 1/(n(s, a) + 1)^power
    max_states: int = 1_000_000  # refuses a larger table of counts, with optimism
    bonus_scale: float = 1.0
    bonus_at: str = "replay"  # or "collection"

    hands_on = ("params", "target_params", "moments")

    def __post_init__(self) -> None:
        check_types(self)
        for name in (
            "rollout_length",
            "updates_per_learn",
            "batch_size",
            "replay_capacity",
            "n_steps",
            "target_copy_every",
        ):
            require(getattr(self, name) >= 1, self, name, "at least 1")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        require(self.activation in ACTIVATIONS, self, "activation", f"one of {[*ACTIVATIONS]}")
        require(self.encoder in ENCODERS, self, "encoder", " or ".join(map(repr, ENCODERS)))
        require(self.warmup_env_steps >= 0, self, "warmup_env_steps", "at least 0")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")
        require(0 < self.learning_rate < math.inf, self, "learning_rate", "above 0")
        require(self.loss in ("huber", "squared"), self, "loss", "'huber' or 'squared'")
        norm = self.max_grad_norm
        require(norm is None or norm > 0, self, "max_grad_norm", "above 0, or None")
        require(
            self.target_update in ("copy", "polyak"), self, "target_update", "'copy' or 'polyak'"
        )
        require(0 < self.polyak_rate <= 1, self, "polyak_rate", "above 0 and at most 1")
        require(0 <= self.optimism < math.inf, self, "optimism", "at least 0 and finite")
        require(0 < self.optimism_power < math.inf, self, "optimism_power", "above 0 and finite")
        require(self.max_states >= 1, self, "max_states", "at least 1")
        experience.validate(self)

    def init(self, key: Key, spec: Spec) -> State:
        """Return the state before the first step.

        Raises Incompatible for continuous actions and for a behavior that needs counts.
        """
        params = q_learner.network_for(self, "DQN", spec).init(key, sight.example(spec))
        return q_learner.start(self, spec, params, q_learner.optimizer_of(self).init(params))

    def carry(self, spec: Spec) -> tuple[()]:
        """Return the actor's memory, of which there is none."""
        return ()

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Int[Array, " E"], Any, dict[str, jax.Array]]:
        """Return (action, carry, {"latent": [E, H]}), the latent being the last hidden layer.

        `greedy` takes the first of the best actions.
        """
        seen = q_learner.seen(self, state, percept.obs)
        values, latent = q_learner.network(self, state.params).run(state.params, seen)
        if greedy:
            return jnp.argmax(values, axis=-1).astype(jnp.int32), carry, {"latent": latent}
        if self.optimism > 0:
            values = values + q_learner.optimism(self, state, percept.obs)
        return self.behavior.choose(key, values, state.env_steps), carry, {"latent": latent}

    def values(self, state: State, obs: Any) -> Float[Array, "N A"]:
        """Return Q(s, ·) of observations [N, ...]."""
        return self._q(state.params, q_learner.seen(self, state, obs))

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        """Return (state, metrics) after storing the rollout and `updates_per_learn` gradient steps.

        Metrics are NaN while the replay holds less than `warmup_env_steps`.
        """
        update = partial(q_learner.stepped, self, self._q)
        return q_learner.learn(self, state, key, rollout, rescore, update)

    def _q(self, params: Any, features: jax.Array) -> jax.Array:
        return q_learner.network(self, params).run(params, features)[0]

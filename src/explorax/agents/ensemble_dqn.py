"""Deep Q-learning by an ensemble of networks, each with a prior of its own."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from explorax.agents import q_learner, sight
from explorax.agents.dqn import DQN
from explorax.agents.q_learner import Batch, Learned, State
from explorax.behaviors import Greedy
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace
from explorax.core.settings import check_types

BASE = DQN(behavior=Greedy(), n_steps=1)


@dataclass(frozen=True)
class EnsembleDQN:
    """Bootstrapped DQN with randomized priors (Osband et al., arXiv 1602.04621, 1806.03335).

    Q_k(s, a) = f_k(s, a) + prior_scale · p_k(s, a),    k = 1 .. heads

    p_k is a network that stays as it was drawn. Each f_k learns as `base` does, from the same
    batches, towards Q_k's own target network, and from a row only where the row's mask has it: the
    mask is drawn when the row is stored, true for each k with probability `mask_prob`. Where an
    episode begins its environment draws one k, uniformly, and `base.behavior` chooses by Q_k until
    the episode ends. Greedy acting takes the vote of all k.

    `base=DQN(...)` brings DQN's defaults, its ε-greedy behavior too: say `behavior=Greedy()` where
    the heads alone are to explore, as they do in BASE.

    Differences from the papers: nothing is shared between the k, not the convolutions either
    (1602.04621 shares these); priors are as large as the networks; no noise is added to rewards;
    and those of DQN.
    """

    base: DQN = BASE
    heads: int = 10  # K; what learning costs is in proportion to it
    prior_scale: float = 3.0  # of p_k; must exceed the errors of what is learned
    mask_prob: float = 0.5  # with which a row is learned from by a head; 1: by all

    hands_on = ("params", "target_params", "priors", "moments")

    def __post_init__(self) -> None:
        check_types(self)
        require(self.heads >= 1, self, "heads", "at least 1")
        require(0 <= self.prior_scale < math.inf, self, "prior_scale", "at least 0 and finite")
        require(0 < self.mask_prob <= 1, self, "mask_prob", "above 0 and at most 1")

    @property
    def rollout_length(self) -> int:
        return self.base.rollout_length

    def init(self, key: Key, spec: Spec) -> State:
        """Return the state before the first step.

        Raises Incompatible for continuous actions and for a behavior that needs counts.
        """
        net = q_learner.network_for(self.base, type(self).__name__, spec)
        keys = jax.random.split(key, (2, self.heads))
        params, priors = (
            jax.vmap(lambda key: net.init(key, sight.example(spec)))(each) for each in keys
        )
        optimizer = jax.vmap(q_learner.optimizer_of(self.base).init)(params)
        mask = jax.ShapeDtypeStruct((spec.num_envs, self.heads), jnp.bool_)
        return q_learner.start(self.base, spec, params, optimizer, priors, {"mask": mask})

    def carry(self, spec: Spec) -> dict[str, Int[Array, " E"]]:
        """Return which head acts in each environment; all draw one where an episode begins."""
        return {"head": jnp.zeros(spec.num_envs, jnp.int32)}

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Int[Array, " E"], Any, dict[str, jax.Array]]:
        """Return (action, carry, {"latent": [E, K·H], "head": [E]}).

        The latent is the last hidden layer of all f_k side by side, so that it is the same function
        in every episode. `greedy` takes the action that is the best of the most heads, of several
        such that with the largest mean.
        """
        key_head, key_action = jax.random.split(key)
        drawn = jax.random.randint(key_head, carry["head"].shape, 0, self.heads, jnp.int32)
        head = jnp.where(percept.first, drawn, carry["head"])
        seen = q_learner.seen(self.base, state, percept.obs)
        values, latent = self._run(state.params, state.priors, seen)
        if greedy:
            action = majority(values)
        else:
            own = values[head, jnp.arange(head.size)]
            if self.base.optimism > 0:
                own = own + q_learner.optimism(self.base, state, percept.obs)
            action = self.base.behavior.choose(key_action, own, state.env_steps)
        side_by_side = jnp.moveaxis(latent, 0, 1).reshape(head.size, -1)
        return action, {"head": head}, {"latent": side_by_side, "head": head}

    def values(self, state: State, obs: Any) -> Float[Array, "K N A"]:
        """Return Q_k(s, ·) of observations [N, ...], of every head."""
        seen = q_learner.seen(self.base, state, obs)
        return self._run(state.params, state.priors, seen)[0]

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        """Return (state, metrics) after storing the rollout with its masks and learning as DQN.

        Metrics are means over heads, and NaN while the replay holds less than `warmup_env_steps`.
        """
        key_learn, key_mask = jax.random.split(key)
        mask = jax.random.bernoulli(key_mask, self.mask_prob, (*rollout.reward.shape, self.heads))
        update = partial(self._update, state.priors)
        return q_learner.learn(
            self.base, state, key_learn, rollout, rescore, update, {"mask": mask}
        )

    def _update(self, priors: Any, learned: Learned, batch: Batch) -> tuple[Learned, Metrics]:
        """Return (what all heads have learned, metrics) after one gradient step of each."""

        def one(prior: Any, learned: Learned, known: jax.Array) -> tuple[Learned, Metrics]:
            q = partial(self._q, prior)
            return q_learner.stepped(self.base, q, learned, replace(batch, known=known))

        known = batch.known[:, None] & batch.extras["mask"]
        axes = (0, 0, 0, None)  # all count the same gradient steps
        learned, metrics = jax.vmap(one, in_axes=(0, axes, 1), out_axes=(axes, 0))(
            priors, learned, known
        )
        return learned, {name: each.mean() for name, each in metrics.items()}

    def _q(self, prior: Any, params: Any, features: jax.Array) -> Float[Array, "N A"]:
        """Return Q_k(s, ·) of one head."""
        return self._q_and_latent(prior, params, features)[0]

    def _q_and_latent(
        self, prior: Any, params: Any, features: jax.Array
    ) -> tuple[Float[Array, "N A"], Float[Array, "N H"]]:
        net = q_learner.network(self.base, params)
        values, latent = net.run(params, features)
        if self.prior_scale == 0:
            return values, latent
        return values + self.prior_scale * net.run(prior, features)[0], latent

    def _run(self, params: Any, priors: Any, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (Q [K, N, A], latent [K, N, H]) of all heads."""
        return jax.vmap(self._q_and_latent, in_axes=(0, 0, None))(priors, params, features)


def majority(values: Float[Array, "K N A"]) -> Int[Array, " N"]:
    """Return the action that is the best of the most heads; of several, that of the largest mean.

    A vote and not the mean alone (1602.04621, Sec. 6.2): the values of one head that has not yet
    seen where an action leads would outweigh all others.
    """
    votes = jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1]).sum(0)
    most = votes == votes.max(axis=-1, keepdims=True)
    return jnp.argmax(jnp.where(most, values.mean(0), -jnp.inf), axis=-1).astype(jnp.int32)

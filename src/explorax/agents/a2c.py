"""Advantage actor-critic, with a memory where the world is seen in part."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import actor_critic, unrolling
from explorax.agents.actor_critic import State
from explorax.agents.unrolling import Inputs, Targets
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace
from explorax.ops.returns import normalised


@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783, all environments in step).

    One gradient step per rollout on −mean[log π(a|s) A] − entropy_coef · entropy + value_coef ·
    mean[(V − target)²]/2. With `gae_lambda` = 1 the advantage is that of n-step returns to the
    rollout's end, as in the paper; below 1 it is generalised (arXiv 1506.02438).

    With a `memory` the network is an LSTM or a GRU between one body and two heads. Gradients flow
    back through the rollout and no further. Images go through convolutions first.

    Differences from the paper: Adam instead of RMSProp, observations standardised, and the value's
    head predicts in units of the returns' running deviation (PopArt, arXiv 1602.07714).
    """

    rollout_length: int = 20  # n: returns look ahead so far, and gradients of the memory back
    hidden: tuple[int, ...] = (64,)  # dense layers before the memory, after convolutions of images
    activation: str = "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    memory: str | None = None  # or "lstm", "gru"
    memory_size: int = 64
    sees_last: bool = False  # the last action and reward are inputs of the memory, as in UNREAL
    init_std: float = 1.0
    discount: float = 0.99
    gae_lambda: float = 1.0
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    learning_rate: float = 1e-3
    decay_env_steps: int | None = None  # the learning rate falls to 0 over so many; None: never
    max_grad_norm: float = 0.5
    normalize_obs: bool = True
    normalize_advantages: bool = False
    bonus_scale: float = 1.0  # the papers' η
    bonus_discount: float | None = None  # of a second value head, for the bonus alone; None: one
    bonus_episodic: bool = True  # False: the return of the bonus goes on over the ends of episodes

    hands_on = actor_critic.HANDS_ON

    def __post_init__(self) -> None:
        actor_critic.validate(self)

    def init(self, key: Key, spec: Spec) -> State:
        """Return the state before the first step. Raises Incompatible."""
        return actor_critic.init(self, key, spec)

    def carry(self, spec: Spec) -> Any:
        return actor_critic.carry(self, spec)

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Any, Any, Any]:
        """See `actor_critic.act`."""
        return actor_critic.act(self, state, carry, key, percept, greedy)

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        inputs = unrolling.inputs_of(self, state, rollout)
        wanted = unrolling.targets(self, state, rollout)
        state = unrolling.rescaled(state, wanted.value)
        gradient, metrics = jax.grad(loss, argnums=2, has_aux=True)(
            self, state, state.params, inputs, rollout, wanted
        )
        params, optimizer = actor_critic.stepped(
            self, state, state.params, state.optimizer, gradient
        )
        state = replace(state, params=params, optimizer=optimizer)
        state, shared = unrolling.finish(self, state, rollout, wanted)
        return state, {**metrics, "gradient_norm": optax.tree.norm(gradient), **shared}


def loss(
    settings: Any, state: State, params: Any, inputs: Inputs, rollout: Rollout, wanted: Targets
) -> tuple[jax.Array, Metrics]:
    """Return (the loss of A2C [], metrics) of a rollout, as a function of `params`."""
    action = actor_critic.flat_action(state, rollout.action)
    said, log_prob = unrolling.unrolled(settings, params, inputs, action)
    advantage = wanted.advantage
    if settings.normalize_advantages:
        advantage = normalised(advantage)
    gain = (log_prob * advantage).mean()
    entropy = actor_critic.policy_of(params, said).entropy().mean()
    target = unrolling.in_units_of_heads(state, wanted.value)
    value_loss = 0.5 * jnp.square(said.value - target).sum(-1).mean()
    total = -gain - settings.entropy_coef * entropy + settings.value_coef * value_loss
    return total, {"policy_loss": -gain, "value_loss": value_loss, "entropy": entropy}

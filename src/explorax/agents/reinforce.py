"""REINFORCE, the vanilla policy gradient."""

from dataclasses import dataclass
from typing import Any

import jax
import optax

from explorax.agents import on_policy
from explorax.agents.on_policy import State
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace

_OPTIMIZERS = {"adam": optax.adam, "sgd": optax.sgd}


@dataclass(frozen=True)
class REINFORCE:
    """REINFORCE with a baseline (Williams 1992): one gradient step per rollout.

    Ascends mean[log π(a|s) A] + entropy_coef · entropy. As rllab's `VPG`, which VIME's experiments
    used: one step of a first-order optimiser over the whole batch, λ = 1, standardised advantages.
    Differences: the value of the last state is bootstrapped where an episode or the rollout is cut,
    observations are standardised by running moments, the baseline is a small network fitted with
    Adam, and the default learning rate is 0.01 instead of 0.001.
    """

    rollout_length: int = 500
    hidden: tuple[int, ...] = (32,)
    activation: str = "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    init_std: float = 1.0
    init_mean_scale: float = 1.0  # of the policy's output weights; near 0: it starts blind
    discount: float = 0.99
    gae_lambda: float = 1.0
    optimizer: str = "adam"  # or "sgd"
    learning_rate: float = 1e-2
    entropy_coef: float = 0.0
    bonus_scale: float = 1.0  # the papers' η
    normalize_obs: bool = True
    normalize_advantages: bool = True
    value_hidden: tuple[int, ...] = (32,)
    value_learning_rate: float = 3e-3
    value_epochs: int = 4
    value_minibatches: int = 10  # at most: the largest divisor of rollout_length below
    baseline_on_extrinsic: bool = False  # True: as VIME's released code
    bonus_discount: float | None = None  # of a second critic, for the bonus alone; None: one critic
    bonus_episodic: bool = True  # False: the return of the bonus goes on over the ends of episodes

    hands_on = on_policy.HANDS_ON

    def __post_init__(self) -> None:
        on_policy.validate(self)
        require(self.learning_rate > 0, self, "learning_rate", "greater than 0")
        known = " or ".join(map(repr, _OPTIMIZERS))
        require(self.optimizer in _OPTIMIZERS, self, "optimizer", known)

    def init(self, key: Key, spec: Spec) -> State:
        return on_policy.init(self, key, spec, self._optimizer())

    def carry(self, spec: Spec) -> Any:
        return ()

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Any, Any, Any]:
        action, extras = on_policy.act(self, state, key, percept, greedy)
        return action, carry, extras

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        batch = on_policy.prepare(self, state, rollout)

        def loss(policy: Any) -> tuple[jax.Array, jax.Array]:
            now = on_policy.distribution(self, policy, batch.features)
            entropy = now.entropy().mean()
            gain = (now.log_prob(batch.action) * batch.advantage).mean()
            return -(gain + self.entropy_coef * entropy), entropy

        gradient, entropy = jax.grad(loss, has_aux=True)(state.policy)
        change, optimizer = self._optimizer().update(gradient, state.optimizer, state.policy)
        old = state.policy
        state = replace(state, policy=optax.apply_updates(old, change), optimizer=optimizer)
        told = on_policy.policy_metrics(self, old, state.policy, batch)
        state, metrics = on_policy.finish(self, state, rollout, batch)
        return state, {
            **told,
            "entropy": entropy,
            "gradient_norm": optax.tree.norm(gradient),
            **metrics,
        }

    def _optimizer(self) -> optax.GradientTransformation:
        return _OPTIMIZERS[self.optimizer](self.learning_rate)

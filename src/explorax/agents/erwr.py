"""Episodic reward-weighted regression."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from explorax.agents import on_policy
from explorax.agents.on_policy import State
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace


def positive_weights(advantage: jax.Array) -> jax.Array:
    """Return advantages shifted so that the least is 0 (the shift of rllab's ERWR, whose 1e-8 is
    left out: equal advantages weigh 0 and change nothing)."""
    return advantage - advantage.min()


@dataclass(frozen=True)
class ERWR:
    """Episodic reward-weighted regression (Kober & Peters 2009) as in rllab's `ERWR`.

    Fits the policy to its own actions by weighted maximum likelihood, mean[w log π(a|s)] with
    w = A − min A, to `iterations` steps of L-BFGS per rollout. Deviates from the paper, as rllab
    does: weights are per step and shifted advantages instead of returns per episode. Deviates from
    rllab as `REINFORCE` does, and a fit that does not raise the objective is dropped.
    """

    rollout_length: int = 500
    hidden: tuple[int, ...] = (32,)
    activation: str = "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    init_std: float = 1.0
    init_mean_scale: float = 1.0  # of the policy's output weights; near 0: it starts blind
    discount: float = 0.99
    gae_lambda: float = 1.0
    iterations: int = 20  # of L-BFGS
    memory: int = 10  # pairs that L-BFGS remembers
    backtrack_steps: int = 15  # evaluations of one line search at most
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
        for field in ("iterations", "memory", "backtrack_steps"):
            require(getattr(self, field) > 0, self, field, "greater than 0")

    def init(self, key: Key, spec: Spec) -> State:
        return on_policy.init(self, key, spec)

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
        weight = positive_weights(batch.advantage)
        old = state.policy

        def loss(policy: Any) -> jax.Array:
            now = on_policy.distribution(self, policy, batch.features)
            fit = (weight * now.log_prob(batch.action)).mean()
            return -(fit + self.entropy_coef * now.entropy().mean())

        fitted = self._minimise(loss, old)
        improvement = loss(old) - loss(fitted)
        better = improvement > 0.0  # False for NaN too
        policy = jax.tree.map(lambda new, kept: jnp.where(better, new, kept), fitted, old)
        state = replace(state, policy=policy)
        told = on_policy.policy_metrics(self, old, policy, batch)
        entropy = on_policy.distribution(self, old, batch.features).entropy().mean()
        state, metrics = on_policy.finish(self, state, rollout, batch)
        return state, {
            **told,
            "entropy": entropy,
            "objective_improvement": jnp.where(better, improvement, 0.0),
            "fit_dropped": (~better).astype(jnp.float32),
            **metrics,
        }

    def _minimise(self, loss: Any, start: Any) -> Any:
        """Return the parameters after `iterations` steps of L-BFGS."""
        search = optax.scale_by_backtracking_linesearch(self.backtrack_steps, store_grad=True)
        optimizer = optax.lbfgs(memory_size=self.memory, linesearch=search)
        value_and_grad = optax.value_and_grad_from_state(loss)

        def one(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            params, state = carry
            value, gradient = value_and_grad(params, state=state)
            change, state = optimizer.update(
                gradient, state, params, value=value, grad=gradient, value_fn=loss
            )
            return (optax.apply_updates(params, change), state), None

        return jax.lax.scan(one, (start, optimizer.init(start)), None, self.iterations)[0][0]

"""Trust region policy optimisation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from explorax.agents import on_policy
from explorax.agents.on_policy import State
from explorax.core.errors import require
from explorax.core.protocols import Key, Metrics, Percept, Rescore, Rollout, Spec
from explorax.core.pytree import replace
from explorax.ops.distributions import Distribution
from explorax.ops.trust_region import fisher_product, line_search, natural_step


@dataclass(frozen=True)
class TRPO:
    """Trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477).

    Maximises E[π'(a|s)/π(a|s) A] (Eq. 14) subject to a mean KL[π ‖ π'] of at most `max_kl`, by one
    natural-gradient step and a backtracking line search, with generalised advantages (arXiv
    1506.02438). Continuous actions: a Gaussian, not squashed, whose deviation does not depend on
    the state. Discrete actions: a categorical.

    Differences from the rllab settings that VIME's experiments used: λ = 0.95 instead of 1, a
    damping that float32 can bear, running standardisation of observations, and a small network
    fitted with Adam as the baseline.
    """

    rollout_length: int = 500
    hidden: tuple[int, ...] = (32,)
    activation: str = "tanh"
    encoder: str = "dqn"  # of images: "dqn", "a3c" or "impala"
    init_std: float = 1.0
    init_mean_scale: float = 1.0  # of the policy's output weights; near 0: it starts blind
    discount: float = 0.99
    gae_lambda: float = 0.95
    max_kl: float = 0.01  # nats
    cg_iterations: int = 10
    cg_damping: float = 1e-3
    cg_subsample: int = 5  # every n-th time step enters the Fisher products
    backtrack_factor: float = 0.8
    backtrack_steps: int = 15
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
        for field in ("max_kl", "cg_iterations", "cg_subsample", "backtrack_steps"):
            require(getattr(self, field) > 0, self, field, "greater than 0")
        require(self.cg_damping >= 0, self, "cg_damping", "0 or more")
        require(0 < self.backtrack_factor < 1, self, "backtrack_factor", "between 0 and 1")

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
        flat, unravel = ravel_pytree(state.policy)

        def at(parameters: jax.Array, features: jax.Array) -> Distribution:
            return on_policy.distribution(self, unravel(parameters), features)

        old = at(flat, batch.features)
        old_log_prob, old_entropy = old.log_prob(batch.action), old.entropy().mean()

        def improvement_and_new(parameters: jax.Array) -> tuple[jax.Array, Distribution]:
            """The surrogate less its value at the old policy; expm1 keeps small differences."""
            new = at(parameters, batch.features)
            gain = (jnp.expm1(new.log_prob(batch.action) - old_log_prob) * batch.advantage).mean()
            return gain + self.entropy_coef * (new.entropy().mean() - old_entropy), new

        def evaluate(parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
            improvement, new = improvement_and_new(parameters)
            return improvement, old.kl(new).mean()

        some = batch.features[:: self.cg_subsample]
        product = fisher_product(lambda parameters: at(parameters, some), flat, self.cg_damping)
        gradient, _ = jax.grad(improvement_and_new, has_aux=True)(flat)
        step = natural_step(product, gradient, self.max_kl, self.cg_iterations)
        found = line_search(
            evaluate, flat, step, self.max_kl, self.backtrack_factor, self.backtrack_steps
        )
        state = replace(state, policy=unravel(found.parameters))
        state, metrics = on_policy.finish(self, state, rollout, batch)
        return state, {
            "kl": found.kl,
            "entropy": old_entropy,
            "surrogate_improvement": found.improvement,
            "line_search_steps": found.tried,
            "line_search_failed": (~found.accepted).astype(jnp.float32),
            **metrics,
        }

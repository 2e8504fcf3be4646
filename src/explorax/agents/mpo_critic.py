"""What MPO's critic is fitted to."""

from typing import Any, Protocol

from jaxtyping import Array, Float

from explorax.agents import mpo_policy
from explorax.agents.action_values import flat_action, q_of
from explorax.core.protocols import Box, Discrete
from explorax.core.pytree import pytree
from explorax.ops.returns import lambda_returns, retrace


@pytree
class Sequences:
    """Stretches of one environment's consecutive steps, leaves [L, W, ...]."""

    features: Any
    next_features: Any  # of the true successor
    action: Any
    log_prob: Any  # of the policy that took it, when it did
    reward: Any  # with the bonus
    terminated: Any
    truncated: Any
    known: Any  # whether the step can be learned from


class CriticSettings(mpo_policy.PolicySettings, Protocol):
    """The settings of `MPO` that concern its critic; they are documented there."""

    @property
    def evaluation(self) -> str: ...
    @property
    def retrace_lambda(self) -> float: ...
    @property
    def discount(self) -> float: ...


def targets(
    settings: CriticSettings,
    space: Discrete | Box,
    target: Any,
    sequences: Sequences,
    next_value: Float[Array, "L W"],
) -> Float[Array, "L W"]:
    """Return what the critic is fitted to, by the target networks {"policy", "critic"}."""
    ends = (sequences.terminated, sequences.truncated, settings.discount)
    if settings.evaluation == "n_step":
        return lambda_returns(sequences.reward, next_value, *ends, 1.0)
    policy, _ = mpo_policy.distribution(settings, space, target["policy"], sequences.features)
    return retrace(
        sequences.reward,
        q_of(settings, space, target["critic"], sequences.features, sequences.action),
        next_value,
        policy.log_prob(flat_action(space, sequences.action)),
        sequences.log_prob,
        *ends,
        settings.retrace_lambda,
    )

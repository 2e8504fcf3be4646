"""Whether a bonus can be paid step by step, beside a trainer that keeps its own features."""

import dataclasses
import warnings
from typing import Any

import jax

from explorax.bonuses import MedianRatio, RunningMean
from explorax.core.errors import ExploraxError, Incompatible, InvalidSetting
from explorax.core.keys import key_of
from explorax.core.protocols import Bonus, Rollout, Spec
from explorax.core.settings import parts_of
from explorax.encoders import AgentLatent


def check(bonus: Bonus, spec: Spec, scored: Rollout, learned: Rollout, resets: bool) -> None:
    """Raise Incompatible where `bonus` cannot score `scored` [1, E] and learn from `learned`.

    Of both only the shapes matter. resets: whether some rows of a step may be no transitions.
    Warns of normalisers whose memory is shorter than what is learned from at once. Raises
    InvalidSetting for what is not a bonus.
    """
    if isinstance(bonus, type) or not all(
        hasattr(bonus, name) for name in ("init", "score", "update")
    ):
        given = bonus.__name__ if isinstance(bonus, type) else repr(bonus)
        raise InvalidSetting(
            f"bonus={given}: it must be a bonus, an object such as RND() or "
            "Scale(RunningStd(RND()), 0.1)."
        )
    for part in parts_of(bonus):
        if isinstance(part, AgentLatent):
            raise Incompatible(
                f"{bonus!r} measures novelty in the agent's own features, AgentLatent, which a "
                "trainer outside explorax keeps to itself; besides, they need two steps of a "
                "rollout, and here each step is paid at once. Encode the observations: "
                "InverseEncoder() or RandomEncoder()."
            )
        if resets and getattr(part, "cross_episodes", False):
            raise Incompatible(
                f"{part!r} pairs an episode's end with the next step of its environment, which "
                "rows without the steps that only reset do not tell. Take cross_episodes=False, "
                "or a vector environment with autoreset_mode SAME_STEP."
            )
    _check_shapes(bonus, spec, scored, learned)
    _warn_of_short_memories(bonus, learned.reward.shape[0])


def _check_shapes(bonus: Bonus, spec: Spec, scored: Rollout, learned: Rollout) -> None:
    key = jax.eval_shape(key_of, 0)
    state = jax.eval_shape(lambda key: bonus.init(key, spec), key)
    try:
        paid, after = jax.eval_shape(bonus.score, state, key, scored)
        jax.eval_shape(bonus.update, state, key, learned)
    except ExploraxError:
        raise
    except Exception as error:
        raise Incompatible(
            f"{bonus!r} cannot be paid step by step: with one step of {spec.num_envs} "
            f"environments it raises {type(error).__name__}: {error}"
        ) from error
    if paid.shape != scored.reward.shape or _shapes(after) != _shapes(state):
        raise Incompatible(
            f"{bonus!r} must return (bonus {scored.reward.shape}, a state like the one given) "
            f"from score, and returned a bonus {paid.shape}."
        )


def _shapes(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _warn_of_short_memories(bonus: Bonus, steps: int) -> None:
    for part in parts_of(bonus):
        if isinstance(part, MedianRatio) and part.window < steps:
            cure = f"window={part.window * steps}"
        elif isinstance(part, RunningMean) and (1.0 - part.decay) * steps > 1.0:
            cure = f"decay={1.0 - (1.0 - part.decay) / steps:.7g}"
        else:
            continue
        warnings.warn(
            f"{type(part).__name__} normalises by the last rollouts, and here each step of the "
            f"environments is one, which is a short memory. Take {cure} for as much as in "
            "training by explorax, or RunningStd, which remembers all.",
            stacklevel=5,
        )


def env_axes(bonus: Bonus, spec: Spec) -> tuple[int | None, ...]:
    """Return, for each leaf of the state, which axis has an entry for each environment.

    Found by asking what the state would be like with one environment more. Raises Incompatible
    where a leaf grows otherwise.
    """
    key = jax.eval_shape(key_of, 0)
    more = dataclasses.replace(spec, num_envs=spec.num_envs + 1)
    here, there = (
        jax.tree.leaves(jax.eval_shape(lambda key, spec=spec: bonus.init(key, spec), key))
        for spec in (spec, more)
    )
    return tuple(
        _axis(bonus, one.shape, other.shape) for one, other in zip(here, there, strict=True)
    )


def _axis(bonus: Bonus, one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    if one == other:
        return None
    differ = [axis for axis, sizes in enumerate(zip(one, other, strict=True)) if len({*sizes}) > 1]
    if len(differ) > 1 or other[differ[0]] != one[differ[0]] + 1:
        raise Incompatible(
            f"{bonus!r} does not keep one entry of its state for each environment ({one}, and with "
            f"one environment more {other}), so a step in which some only reset cannot be paid. "
            "Use a vector environment with autoreset_mode SAME_STEP."
        )
    return differ[0]

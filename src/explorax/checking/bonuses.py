"""What a bonus must be like."""

from typing import Any

import jax
import numpy as np

from explorax.bonuses.combine import may_be_negative
from explorax.checking import calls, gradients, members, samples, settings
from explorax.checking.calls import Fault
from explorax.core.binding import Bound, bind
from explorax.core.errors import ExploraxError
from explorax.core.protocols import Bonus, Spec
from explorax.core.pytree import replace

_ROUNDING = 1e-3  # how far the order of rows may change a price, as a share of the largest


def check_bonus(bonus: Any, spec: Spec | None = None) -> None:
    """Raise where `bonus` does something else than `Bonus` asks for, in environments of `spec`.

    Without a spec small ones of our own are tried; it may refuse some of them, but not all. The
    first that it takes is run, in the others it is traced.
    """
    settings.check_frozen(bonus)
    members.check_members(bonus, Bonus)
    name = type(bonus).__name__
    before = settings.held(bonus)
    replayable = calls.called(f"{name}.replayable", lambda: bonus.replayable)
    if not isinstance(replayable, bool):
        raise Fault(f"{name}.replayable is {replayable!r}, where True or False is wanted.")
    refusal: ExploraxError | None = None
    ran = False
    for each in samples.SPECS if spec is None else (spec,):
        bound = bind(bonus, each)
        try:
            calls.shapes(f"{name}.init", bound.init, samples.key())
        except Fault:
            raise
        except ExploraxError as error:
            refusal = error
            continue
        _trace(name, bound, each, again=not ran)
        settings.check_held(bonus, before)
        if not ran:
            _run(name, bonus, bound, each, replayable)
            settings.check_held(bonus, before)
        ran = True
    if refusal is not None and not ran:
        raise refusal


def _steps(spec: Spec) -> int:
    """Return T other than E, so that [E, T] is no [T, E]."""
    return 6 if spec.num_envs != 6 else 5


def _trace(name: str, bound: Bound, spec: Spec, again: bool) -> None:
    """Check all that shapes, types and the traced programs say; again: by tracing twice."""
    key, rollout = samples.key(), samples.rollout(spec, _steps(spec))
    rows = samples.flat(rollout)
    state = calls.shapes(f"{name}.init", bound.init, key)
    look = calls.program if again else calls.shapes
    look(f"{name}.init", bound.init, key)
    for method, given in (("score", rollout), ("update", rollout), ("rescore", rows)):
        found = look(f"{name}.{method}", getattr(bound, method), state, key, given)
        if again and method == "score":
            _check_nothing_is_trained(name, state, found)


def _check_nothing_is_trained(name: str, state: Any, score: Any) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    pairs = [(number, 1 + number) for number in range(len(leaves))]  # the bonus comes out first
    trained = gradients.trained(score, pairs)
    if trained:
        paths = ", ".join(
            jax.tree_util.keystr(leaves[number][0]).lstrip(".") or "itself"
            for number in trained[:3]
        )
        more = f" and {len(trained) - 3} more" if len(trained) > 3 else ""
        raise Fault(
            f"{name}.score trains: it returns a state whose {paths}{more} changed by a gradient "
            "taken there, so novelty is learned away before it is paid; `score` may only count and "
            "average, and `update` learns."
        )


def _run(name: str, bonus: Bonus, bound: Bound, spec: Spec, replayable: bool) -> None:
    """Check numbers: finite ones, alike for the same arguments, of rows in any order."""
    first, second = (samples.rollout(spec, _steps(spec), seed) for seed in (1, 2))
    rows = samples.flat(second)
    order = np.random.default_rng(0).permutation(rows.reward.shape[0])
    shuffled = jax.tree.map(lambda leaf: leaf[order], rows)

    init, score, update, rescore = map(calls.compiled, bound)  # once each, and not as one program

    def tried() -> dict[str, Any]:
        key, other = jax.random.split(samples.key())
        state = init(key)
        told = {}
        told["score of rollout 0"], state = score(state, key, first)
        state, _ = update(state, key, replace(first, bonus=told["score of rollout 0"]))
        told["score of rollout 1"], state = score(state, key, second)
        told["rescore"] = rescore(state, key, rows)
        told["other key"] = rescore(state, other, rows)
        told["shuffled"] = rescore(state, key, shuffled)
        return told

    told = calls.called(name, tried)
    told = {label: np.asarray(paid) for label, paid in told.items()}
    for label in ("score of rollout 0", "score of rollout 1", "rescore"):
        wrong = told[label][~np.isfinite(told[label])]
        if wrong.size:
            raise Fault(
                f"{name}.{label.split()[0]} paid {wrong[0]} for {wrong.size} of "
                f"{told[label].size} ordinary steps, where finite numbers are wanted."
            )
    least = min(float(told[label].min()) for label in told)
    if least < 0 and not may_be_negative(bonus):
        raise Fault(
            f"{name} paid {least:.6g} and does not declare may_be_negative = True, by which "
            "normalisers that divide by the usual pay know what they cannot take."
        )
    drawn = not np.array_equal(told["rescore"], told["other key"])
    if replayable and not drawn:
        away = np.abs(told["rescore"][order] - told["shuffled"])
        if (away > _ROUNDING * max(1e-30, float(np.abs(told["rescore"]).max()))).any():
            raise Fault(
                f"{name}.rescore pays a row otherwise when the rows come in another order "
                f"({told['rescore'][order][away.argmax()]:.6g} and "
                f"{told['shuffled'][away.argmax()]:.6g}), and a replay has no order: price each "
                "row by itself, or set replayable = False and return rows.bonus."
            )

"""A bonus bound to the environments it is for, so that what it is handed can be checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from explorax.core import jax_settings, rollouts
from explorax.core.errors import Incompatible
from explorax.core.protocols import Bonus, Key, Metrics, Rollout, Spec, State


class Bound(NamedTuple):
    """The functions of a bonus for environments of one spec. All are pure and may be traced."""

    init: Callable[[Key], State]
    score: Callable[[State, Key, Rollout], tuple[jax.Array, State]]
    update: Callable[[State, Key, Rollout], tuple[State, Metrics]]
    rescore: Callable[[State, Key, Rollout], jax.Array]


def bind(bonus: Bonus, spec: Spec) -> Bound:
    """Return `bonus` as functions `init(key)`, `score(state, key, rollout)`, `update(state, key,
    rollout)` and `rescore(state, key, rows)` for environments of `spec`.

    They do what the methods of the same names do, and raise Incompatible, while they are traced and
    at no cost afterwards, for a rollout whose leaves have other shapes or types than `spec` says,
    [T, E, ...] or rows [N, ...]; and for a bonus that returns something else than `Bonus` asks for.
    `score` may be given `bonus=()`. extras["latent"] and extras["encoded"] must be there where
    `spec` tells of them. Raises InvalidSetting for settings of JAX's own that nothing works with.
    """
    jax_settings.check()
    checked = _Checked(bonus, spec)
    return Bound(checked.init, checked.score, checked.update, checked.rescore)


@dataclass(frozen=True)
class _Checked:
    bonus: Bonus
    spec: Spec

    def init(self, key: Key) -> State:
        return self.bonus.init(key, self.spec)

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        rollouts.check_live(self._named("score"), self.spec, rollout, scored=False)
        paid, after = self._pair("score", "bonus", self.bonus.score(state, key, rollout))
        self._check_paid("score", paid, rollout)
        self._check_state("score", state, after)
        return paid, after

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        rollouts.check_live(self._named("update"), self.spec, rollout, scored=True)
        after, metrics = self._pair("update", "metrics", self.bonus.update(state, key, rollout))
        self._check_state("update", state, after)
        check_metrics(self._named("update"), metrics)
        return after, metrics

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        rollouts.check_rows(self._named("rescore"), self.spec, rows)
        paid = self.bonus.rescore(state, key, rows)
        self._check_paid("rescore", paid, rows)
        return paid

    def _named(self, method: str) -> str:
        return f"{type(self.bonus).__name__}.{method}"

    def _pair(self, method: str, other: str, returned: Any) -> tuple[Any, Any]:
        if not isinstance(returned, tuple) or len(returned) != 2:
            wanted = "(bonus, state)" if other == "bonus" else "(state, metrics)"
            raise Incompatible(
                f"{self._named(method)} returned {described(returned)}, where the pair {wanted} "
                "is wanted."
            )
        return returned

    def _check_paid(self, method: str, paid: Any, rollout: Rollout) -> None:
        wanted = jax.ShapeDtypeStruct(rollout.reward.shape, jnp.float32)
        if not hasattr(paid, "shape") or (tuple(paid.shape), paid.dtype) != (
            wanted.shape,
            wanted.dtype,
        ):
            axes = "[T, E]" if method == "score" else "[N]"
            raise Incompatible(
                f"{self._named(method)} returned a bonus {described(paid)}, where float32 {axes} "
                f"= {list(wanted.shape)} is wanted, one number for each step."
            )

    def _check_state(self, method: str, before: State, after: State) -> None:
        difference = change_of(before, after)
        if difference is not None:
            raise Incompatible(
                f"{self._named(method)} returned a state whose {difference}; a state keeps its "
                "structure, shapes and types from `init` on."
            )


def change_of(before: Any, after: Any) -> str | None:
    """Return where two pytrees differ in structure, shape or type, in words; None: nowhere."""
    olds, news = (jax.tree_util.tree_flatten_with_path(tree) for tree in (before, after))
    if olds[1] != news[1]:
        paths = [{jax.tree_util.keystr(path) for path, _ in tree[0]} for tree in (olds, news)]
        lost, found = (sorted(one - other) for one, other in (paths, paths[::-1]))
        if "" in (*lost, *found):  # a leaf where a structure is now, or the other way round
            return f"structure was {described(before)} and is {described(after)}"
        if lost or found:
            told = [
                f"{word} {_named(these)}"
                for word, these in (("lost", lost), ("gained", found))
                if these
            ]
            return f"structure has {' and '.join(told)}"
        return f"structure was {olds[1]} and is {news[1]}"
    for (path, old), (_, new) in zip(olds[0], news[0], strict=True):
        one, other = (described(rollouts.as_array(leaf)) for leaf in (old, new))
        if one != other:
            return f"leaf {_named([jax.tree_util.keystr(path)])} was {one} and is {other}"
    return None


def check_metrics(who: str, metrics: Any) -> None:
    """Raise Incompatible unless `metrics` are numbers by name, each a scalar."""
    if not isinstance(metrics, dict):
        raise Incompatible(
            f"{who} returned metrics as {described(metrics)}, where a dict of scalars is wanted, "
            "{} for none."
        )
    for name, value in metrics.items():
        number = isinstance(value, int | float) or getattr(value, "shape", None) == ()
        if not isinstance(name, str) or not number:
            raise Incompatible(
                f"{who} returned the metric {name!r} as {described(value)}, where a scalar is "
                "wanted, such as its mean()."
            )


def described(value: Any) -> str:
    """Return what `value` is in a few words: "float32 [3, 2]", "a dict"."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, tuple):
        inside = ", ".join(map(described, value))
        return f"a tuple of {len(value)} ({inside})" if value else "()"
    return "None" if value is None else f"a {type(value).__name__}"


def _named(paths: list[str]) -> str:
    return ", ".join(path.lstrip(".") or "itself" for path in paths)

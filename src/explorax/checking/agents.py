"""What an agent must be like."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.checking import calls, members, samples, settings
from explorax.checking.calls import Fault
from explorax.core.binding import change_of, check_metrics, described
from explorax.core.errors import ExploraxError
from explorax.core.protocols import Agent, Discrete, Percept, Rollout, Spec
from explorax.core.pytree import replace
from explorax.core.rollouts import action_of


def check_agent(agent: Any, spec: Spec | None = None) -> None:
    """Raise where `agent` does something else than `Agent` asks for, in environments of `spec`.

    Without a spec small ones of our own are tried; it may refuse some of them, but not all. Only
    acting is run, and the rest is traced.
    """
    settings.check_frozen(agent)
    members.check_members(agent, Agent)
    name = type(agent).__name__
    before = settings.held(agent)
    length = calls.called(f"{name}.rollout_length", lambda: agent.rollout_length)
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise Fault(f"{name}.rollout_length is {length!r}, where a whole number from 1 is wanted.")
    refusal: ExploraxError | None = None
    accepted = False
    for each in samples.SPECS if spec is None else (spec,):
        try:
            state = calls.shapes(
                f"{name}.init", lambda key, spec=each: agent.init(key, spec), samples.key()
            )
        except Fault:
            raise
        except ExploraxError as error:
            refusal = error
            continue
        extras = _check_acting(name, agent, each, state, run=not accepted)
        _check_learning(name, agent, each, state, extras, again=not accepted)
        settings.check_held(agent, before)
        accepted = True
    if refusal is not None and not accepted:
        raise refusal


def _percept(spec: Spec) -> Percept:
    seen = samples.rollout(spec, 1)
    return Percept(seen.obs[0], seen.reward[0], jnp.arange(spec.num_envs) % 2 == 0)


def _carry(name: str, agent: Agent, spec: Spec) -> Any:
    carry = calls.called(f"{name}.carry", agent.carry, spec)
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if np.shape(leaf)[:1] != (spec.num_envs,):
            raise Fault(
                f"{name}.carry returned{jax.tree_util.keystr(path) and ' '}"
                f"{jax.tree_util.keystr(path)} {described(leaf)}, "
                f"where one entry for each of {spec.num_envs} environments is wanted, [E, ...], "
                "or () without a memory."
            )
    return carry


def _check_acting(name: str, agent: Agent, spec: Spec, state: Any, run: bool) -> Any:
    """Return what `act` gives as extras, as shapes; actions are run if so asked."""
    where, carry, percept = f"{name}.act", _carry(name, agent, spec), _percept(spec)
    wanted = action_of(spec, (spec.num_envs,))
    extras: Any = ()
    for greedy in (False, True):

        def act(state: Any, carry: Any, key: Any, percept: Any, greedy: bool = greedy) -> Any:
            return agent.act(state, carry, key, percept, greedy=greedy)

        given = (state, carry, samples.key(), percept)
        returned = calls.shapes(where, act, *given)
        if not isinstance(returned, tuple) or len(returned) != 3:
            raise Fault(
                f"{where} returned {described(returned)}, where (action, carry, extras) is wanted."
            )
        action, after, extras = returned
        if (getattr(action, "shape", None), getattr(action, "dtype", None)) != (
            wanted.shape,
            wanted.dtype,
        ):
            raise Fault(
                f"{where} returned an action {described(action)}, where {described(wanted)} is "
                f"wanted, one action of {spec.action} for each of {spec.num_envs} environments."
            )
        difference = change_of(carry, after)
        if difference is not None:
            raise Fault(
                f"{where} returned a carry whose {difference}; it keeps what {name}.carry gave it."
            )
        for path, leaf in jax.tree_util.tree_leaves_with_path(extras):
            if leaf.shape[:1] != (spec.num_envs,):
                raise Fault(
                    f"{where} returned extras{jax.tree_util.keystr(path)} as {described(leaf)}, "
                    f"where one entry for each of {spec.num_envs} environments is wanted, [E, ...]."
                )
        if run and not greedy:
            calls.program(where, act, *given)
            _run(name, agent, spec, act)
    return extras


def _run(name: str, agent: Agent, spec: Spec, act: Any) -> None:
    """Check that actions are those of the space."""

    @calls.compiled
    def acted(key: Any, percept: Any) -> Any:
        return act(agent.init(key, spec), agent.carry(spec), key, percept)[0]

    action = np.asarray(calls.called(f"{name}.act", acted, samples.key(), _percept(spec)))
    if isinstance(spec.action, Discrete):
        wrong = action[(action < 0) | (action >= spec.action.n)]
        wanted = f"whole numbers 0 .. {spec.action.n - 1} are"
    else:
        wrong, wanted = action[~np.isfinite(action)], "finite numbers, about -1 to 1, are"
    if wrong.size:
        raise Fault(f"{name}.act returned the action {wrong[0]}, where {wanted} wanted.")


def _check_learning(
    name: str, agent: Agent, spec: Spec, state: Any, extras: Any, again: bool
) -> None:
    where, steps = f"{name}.learn", agent.rollout_length
    one = jax.eval_shape(lambda: samples.rollout(spec, 1))
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((steps, *leaf.shape), leaf.dtype),
        replace(
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), one),
            extras=extras,
        ),
    )
    rollout = replace(rows, carry=jax.eval_shape(lambda: agent.carry(spec)))

    def learn(state: Any, key: Any, rollout: Rollout) -> Any:
        return agent.learn(state, key, rollout, lambda key, rows: jnp.zeros_like(rows.reward))

    given = (state, samples.key(), rollout)
    returned = calls.shapes(where, learn, *given)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise Fault(f"{where} returned {described(returned)}, where (state, metrics) is wanted.")
    difference = change_of(state, returned[0])
    if difference is not None:
        raise Fault(
            f"{where} returned a state whose {difference}; a state keeps its structure, shapes and "
            "types from `init` on."
        )
    check_metrics(where, returned[1])
    if again:
        calls.program(where, learn, *given)

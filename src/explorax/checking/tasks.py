"""What a task, and environments side by side, must be like."""

import dataclasses
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.checking import calls, members, samples, settings, spaces, views
from explorax.checking.calls import Fault
from explorax.core.binding import change_of, described
from explorax.core.protocols import Box, Discrete, Env, Spec, Step, View
from explorax.core.rollouts import as_array, leaves_of
from explorax.envs.task import OPTIONAL, Batched, Task

_ENVS, _STEPS = 4, 24  # of a short play of a task
_PLACES = 5  # along each axis of the view, where `place` is asked
_CELLS = 1.5  # of the map, how far from the point a placed state may lie


def check_task(task: Any) -> None:
    """Raise where `task` does something else than `Task` asks for."""
    settings.check_frozen(task)
    members.check_members(task, Task, optional=OPTIONAL)
    name = type(task).__name__
    before = settings.held(task)
    spec = calls.called(f"{name}'s spec", lambda: Batched(task, _ENVS).spec)
    check_spec(name, spec)
    key = samples.key()
    state = calls.shapes(f"{name}.reset", task.reset, key)
    _check_observed(f"{name}.observe", calls.shapes(f"{name}.observe", task.observe, state), spec)
    action = jax.ShapeDtypeStruct(
        () if isinstance(spec.action, Discrete) else spec.action.shape,
        jnp.int32 if isinstance(spec.action, Discrete) else jnp.float32,
    )
    _check_step(name, state, calls.shapes(f"{name}.step", task.step, state, key, action))
    if spec.view is not None and spec.view.hidden:
        _check_where(name, task, state)
    for method, given in (
        ("reset", (key,)),
        ("observe", (state,)),
        ("step", (state, key, action)),
    ):
        calls.program(f"{name}.{method}", getattr(task, method), *given)
    _play(name, Batched(task, _ENVS))
    if spec.view is not None and callable(getattr(task, "place", None)):
        _check_place(name, task, spec.view, state)
    if callable(getattr(task, "draw", None)):
        _check_frame(f"{name}.draw", calls.called(f"{name}.draw", _drawn, task))
    settings.check_held(task, before)


def check_env(env: Any) -> None:
    """Raise where `env`, environments side by side, does something else than `Env` asks for.

    Those that are not traceable are reset and take three steps.
    """
    if isinstance(env, Batched):
        return check_task(env.task)
    settings.check_frozen(env)
    members.check_members(env, Env, optional=("draw",))
    name = type(env).__name__
    before = settings.held(env) if env.traceable else {}
    spec = calls.called(f"{name}.spec", lambda: env.spec)
    check_spec(name, spec)
    if not env.traceable:
        return _step_by_hand(name, env, spec)
    key, acted = samples.key(), jnp.asarray(_actions(spec, 1)[0])
    state, _ = _reset(name, calls.shapes(f"{name}.reset", env.reset, key), spec)
    returned = calls.shapes(f"{name}.step", env.step, state, key, acted)
    _check_steps(name, spec, state, returned)
    calls.program(f"{name}.step", env.step, state, key, acted)
    _play(name, env)
    settings.check_held(env, before)


def check_spec(name: str, spec: Spec) -> None:
    """Raise Fault where a spec makes no sense."""
    spaces.check_observations(f"{name}.obs", spec.obs)
    spaces.check_actions(f"{name}.action", spec.action)
    least = spec.success_return
    if least is not None and (isinstance(least, bool) or not isinstance(least, numbers.Real)):
        raise Fault(
            f"{name}.success_return is {least!r}, where a number, or None where no return is a "
            "success, is wanted."
        )
    limit = spec.max_episode_steps
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise Fault(
            f"{name}.max_episode_steps is {limit!r}, where a whole number from 1, or None for no "
            "time limit, is wanted."
        )
    if spec.view is not None:
        views.check_view(name, spec.view, spec.obs)


def _check_observed(where: str, obs: Any, spec: Spec, lead: tuple[int, ...] = ()) -> None:
    wanted = leaves_of(spec, lead)["obs"]
    if not hasattr(obs, "shape") or described(as_array(obs)) != described(wanted):
        raise Fault(
            f"{where} returned an observation {described(obs)}, where {described(wanted)} is "
            f"wanted, as {'spec.obs' if lead else 'obs'} says."
        )


def _check_step(name: str, state: Any, returned: Any) -> None:
    where = f"{name}.step"
    if not isinstance(returned, tuple) or len(returned) != 3:
        more = " (a time limit is max_episode_steps)" if _long(returned) else ""
        raise Fault(
            f"{where} returned {described(returned)}, where (state, reward, terminated) is "
            f"wanted{more}."
        )
    after, reward, terminated = returned
    for label, given, dtype in (("reward", reward, "float32"), ("terminated", terminated, "bool")):
        if described(given) != f"{dtype} []":
            raise Fault(
                f"{where} returned {label} as {described(given)}, where {dtype} [] is wanted, one "
                f"{'number' if dtype == 'float32' else 'flag'} of the one environment."
            )
    difference = change_of(state, after)
    if difference is not None:
        raise Fault(
            f"{where} returned a state whose {difference}; it keeps the structure, shapes and "
            f"types that {name}.reset gave it."
        )


def _long(returned: Any) -> bool:
    return isinstance(returned, tuple) and len(returned) > 3


def _check_where(name: str, task: Any, state: Any) -> None:
    if not hasattr(task, "where"):
        raise Fault(
            f"{name}.view is hidden and {name} has no where(state) -> [2], which says at which "
            "point of the view a state is."
        )
    point = calls.shapes(f"{name}.where", task.where, state)
    if described(point) != "float32 [2]":
        raise Fault(f"{name}.where returned {described(point)}, where float32 [2] is wanted.")


def _reset(name: str, returned: Any, spec: Spec) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise Fault(f"{name}.reset returned {described(returned)}, where (state, obs) is wanted.")
    _check_observed(f"{name}.reset", returned[1], spec, (spec.num_envs,))
    return returned


def _check_steps(name: str, spec: Spec, state: Any, returned: Any) -> None:
    """Check what `step` of environments side by side returned, values or shapes."""
    where, lead = f"{name}.step", (spec.num_envs,)
    if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], Step):
        raise Fault(
            f"{where} returned {described(returned)}, where (state, Step(obs=..., next_obs=..., "
            "reward=..., terminated=..., truncated=...)) is wanted."
        )
    after, out = returned
    wanted = leaves_of(spec, lead)
    hidden = spec.view is not None and spec.view.hidden
    if hidden:
        wanted["place"] = jax.ShapeDtypeStruct((*lead, 2), jnp.float32)
    if not isinstance(out.true_reward, tuple):
        wanted["true_reward"] = wanted["reward"]
    for field in (each.name for each in dataclasses.fields(out) if each.name in wanted):
        given = getattr(out, field)
        if not hasattr(given, "shape") or described(as_array(given)) != described(wanted[field]):
            raise Fault(
                f"{where} returned Step.{field} as {described(given)}, where "
                f"{described(wanted[field])} is wanted"
                f"{', since the view is hidden' if field == 'place' else ''}."
            )
    difference = (
        change_of(state, after) if hasattr(jax.tree.leaves((state, 0))[0], "shape") else None
    )
    if difference is not None:
        raise Fault(
            f"{where} returned a state whose {difference}; it keeps the structure, shapes and "
            f"types that {name}.reset gave it."
        )


def _actions(spec: Spec, steps: int) -> np.ndarray:
    return samples.actions(spec.action, (steps, spec.num_envs), np.random.default_rng(0))


def _play(name: str, env: Env) -> None:
    """Take steps with random actions, and check what numbers come of it."""
    spec = env.spec

    @calls.compiled
    def played(key: Any, acted: Any) -> Any:
        state, obs = env.reset(key)

        def one(state: Any, given: Any) -> Any:
            return env.step(state, *given)

        keys = jax.random.split(key, _STEPS)
        return obs, jax.lax.scan(one, state, (keys, acted))[1]

    acted = jnp.asarray(_actions(spec, _STEPS))
    obs, out = calls.called(name, played, samples.key(), acted)
    _check_numbers(name, spec, np.asarray(obs), jax.tree.map(np.asarray, out))


def _step_by_hand(name: str, env: Env, spec: Spec) -> None:
    state, obs = _reset(name, calls.called(f"{name}.reset", env.reset, samples.key()), spec)
    seen = []
    for acted in _actions(spec, 3):
        returned = calls.called(f"{name}.step", env.step, state, samples.key(), acted)
        _check_steps(name, spec, None, returned)
        state = returned[0]
        seen.append(jax.tree.map(np.asarray, returned[1]))
    out = jax.tree.map(lambda *leaves: np.stack(leaves), *seen)
    _check_numbers(name, spec, np.asarray(obs), out)


def _check_numbers(name: str, spec: Spec, obs: np.ndarray, out: Any) -> None:
    """Check observations [E, ...] of reset and steps [T, E, ...]."""
    if not np.isfinite(out.reward).all():
        raise Fault(
            f"{name}.step paid {out.reward[~np.isfinite(out.reward)][0]}, no finite number."
        )
    every = np.concatenate([obs[None], out.obs, out.next_obs]).reshape(-1, *spec.obs.shape)
    _check_inside(name, spec.obs, every)
    spaces.check_codes(name, spec.obs, every)
    view = spec.view
    if view is not None:
        points = out.place if view.hidden else np.asarray(view.project(jnp.asarray(out.next_obs)))
        flat = out.next_obs.reshape(-1, *spec.obs.shape)
        views.check_points(name, view, flat, points.reshape(-1, 2))


def _check_inside(name: str, box: Box, obs: np.ndarray) -> None:
    low, high = (
        np.broadcast_to(np.asarray(each, float), box.shape) for each in (box.low, box.high)
    )
    values = obs.astype(float)
    slack = 1e-4 * np.maximum(1.0, np.where(np.isfinite(high - low), high - low, 1.0))
    wrong = ~np.isfinite(values) | (values < low - slack) | (values > high + slack)
    if wrong.any():
        index = tuple(int(each[0]) for each in np.nonzero(wrong))
        place = index[1:]
        shown = place[0] if len(place) == 1 else place
        raise Fault(
            f"{name} made an observation whose entry {shown} is {values[index]:.6g}, where obs "
            f"says {low[place]:g} .. {high[place]:g}; give the Box wider bounds, or "
            "infinite ones."
        )


def _check_place(name: str, task: Any, view: View, state: Any) -> None:
    where = f"{name}.place"
    point = jax.ShapeDtypeStruct((2,), jnp.float32)
    placed = calls.shapes(where, task.place, point)
    difference = change_of(state, placed)
    if difference is not None:
        raise Fault(
            f"{where} returned a state whose {difference}; it gives states like those of "
            f"{name}.reset."
        )
    shares = (np.arange(_PLACES) + 0.5) / _PLACES
    low, high, bins = (np.asarray(each, float) for each in (view.low, view.high, view.bins))
    across, along = (
        low[i] + (np.floor(shares * bins[i]) + 0.5) / bins[i] * (high - low)[i] for i in (0, 1)
    )
    asked = np.stack(np.meshgrid(across, along), -1).reshape(-1, 2).astype(np.float32)
    if view.grid is not None:
        asked = np.unique(np.floor(asked), axis=0)

    def there(point: Any) -> Any:
        placed = task.place(point)
        return task.where(placed) if view.hidden else view.project(task.observe(placed))

    found = np.asarray(calls.called(where, calls.compiled(jax.vmap(there)), jnp.asarray(asked)))
    away = views.distance(view, asked, found)
    if np.median(away) > _CELLS:
        worst = int(away.argmax())
        raise Fault(
            f"{where} of the point {_point(asked[worst])} gives a state that lies at "
            f"{_point(found[worst])} of the view, and so for most points."
        )


def _point(point: np.ndarray) -> str:
    return f"({point[0]:.4g}, {point[1]:.4g})"


def _drawn(task: Any) -> Any:
    one = Batched(task, 1)
    return one.draw(calls.compiled(one.reset)(samples.key())[0])


def _check_frame(where: str, frame: Any) -> None:
    shape = getattr(frame, "shape", ())
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or len(shape) != 3:
        raise Fault(
            f"{where} returned {described(frame)}, where uint8 [height, width, 3] is wanted."
        )
    if shape[2] != 3 or math.prod(shape) == 0:
        raise Fault(
            f"{where} returned {described(frame)}, where uint8 [height, width, 3] is wanted."
        )

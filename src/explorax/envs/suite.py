"""From a name to an environment, and back."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast, get_type_hints

import explorax.envs as envs
from explorax.core import jax_settings
from explorax.core.errors import Incompatible, InvalidSetting, unknown_name
from explorax.core.protocols import Env
from explorax.envs import own
from explorax.envs.atari import PREFIX as ATARI
from explorax.envs.atari import AtariVector
from explorax.envs.dm_control import PREFIX as DM_CONTROL
from explorax.envs.dm_control import DMControlVector
from explorax.envs.gymnasium import GymnasiumVector
from explorax.envs.gymnasium_vector import NO_SETTINGS
from explorax.envs.minigrid import PREFIX as MINIGRID
from explorax.envs.minigrid import MiniGridVector
from explorax.envs.mujoco_vector import PREFIX as MUJOCO
from explorax.envs.mujoco_vector import MuJoCoVector, task_of
from explorax.envs.noisy_tv import NoisyTV
from explorax.envs.own import TELEVISION
from explorax.envs.supervision import ALONE, Supervision
from explorax.envs.task import Batched, Task
from explorax.naming.writing import write

GYMNASIUM = "gymnasium:"
_WRAPPED: dict[str, type] = {ATARI: AtariVector, MINIGRID: MiniGridVector}
_FORM = re.compile(r"(?P<name>[^/()]+)(?:/(?P<size>[^/()]+))?(?:\((?P<settings>.*)\))?", re.DOTALL)
# the user's own: the module to import, and the id that it registers with Gymnasium
_OWN = re.compile(r"[A-Za-z_][\w.]*:[^:()]+")
_EXAMPLES = "Forms: mountain_car, deep_sea/20, mountain_car_sparse(power=0.0008)."


def make(name: str | Task | Env, num_envs: int) -> Env:
    """Return `num_envs` environments side by side.

    `name` is `mountain_car`, `deep_sea/20`, `mountain_car_sparse(power=0.0008)`,
    `gymnasium:MountainCar-v0`, `gymnasium:LunarLander-v3(continuous=True)`,
    `dm_control:cheetah-run`, `ale:MontezumaRevenge-v5(clip_reward=True)`,
    `minigrid:DoorKey-8x8-v0`, `mujoco:HalfCheetahSparse(both_sides=True)`,
    `acrobot:AcrobotSparse(power=2)` for a class of tasks or environments in a module of the user's,
    `my_package:MyEnv-v0` for an id that it registers with Gymnasium (the module is imported), a
    task or an environment. Any task takes `noisy_tv=N` too and is, unless N = 0, a NoisyTV of N
    channels.
    Raises UnknownName, InvalidSetting (of JAX's own settings too, here where every use of explorax
    begins), or Incompatible where an environment object cannot be had in that number, or a task can
    have no television.
    """
    jax_settings.check()
    if not isinstance(name, str):
        return _from_object(name, num_envs)
    return _hosted(name.strip(), num_envs) or Batched(_task(name), num_envs)


def supervised(env: Env, supervision: Supervision) -> Env:
    """Return the same environments, stepped as `supervision` says.

    Raises Incompatible where that cannot be: tasks in JAX are computed, and hang or die nowhere.
    """
    if supervision == ALONE:
        return env
    if "supervision" not in getattr(env, "__dataclass_fields__", {}):
        raise Incompatible(
            f"{name_of(env)} cannot be stepped by worker processes or restarted, which is for "
            f"environments of Gymnasium ({GYMNASIUM}, {ATARI}, {MINIGRID}, package:Name-v0). Leave "
            "out workers, step_limit_s and restarts."
        )
    return dataclasses.replace(cast(Any, env), supervision=supervision)


def name_of(env: Any) -> str:
    """Return the canonical name of what `make` takes, the shortest that it accepts back.

    Settings at their defaults are left out, and so are `render`, which does not change the task,
    and `num_envs`. Raises InvalidSetting where an object holds what no other process would name
    alike.
    """
    if isinstance(env, str):
        return name_of(_hosted(env.strip(), 1) or _task(env))
    if isinstance(env, GymnasiumVector):
        prefix = "" if _OWN.match(env.id) else GYMNASIUM
        return prefix + env.id + _settings_text(dict(env.kwargs))
    if isinstance(env, DMControlVector):
        return DM_CONTROL + env.id
    if isinstance(env, AtariVector | MiniGridVector):
        return env.recipe.name + _settings_text(_given(env, NO_SETTINGS))
    if isinstance(env, MuJoCoVector):
        return env.name + _settings_text(_given(env.task, ()))
    shown = env.task if isinstance(env, Batched) else env
    task = shown.task if isinstance(shown, NoisyTV) else shown
    name = _snake(type(task).__name__)
    if _classes().get(name) is not type(task):
        return own.own_name(shown, task)
    fields = dataclasses.fields(cast(Any, task))  # every task is a dataclass
    sized = [field for field in fields if field.default is dataclasses.MISSING]
    given = _given(task, [field.name for field in sized])
    if isinstance(shown, NoisyTV):
        given[TELEVISION] = shown.channels
    size = "".join(f"/{getattr(task, field.name)}" for field in sized)
    return name + size + _settings_text(given)


def _given(settings: Any, others: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a dataclass that are not at their defaults, without `others`."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in others and getattr(settings, field.name) != field.default
    }


def catalogue() -> dict[str, str]:
    """Return each task's name and what it is in one line; `N` stands for a size."""
    return {
        name + "/N" * _needs_size(cls): (inspect.getdoc(cls) or "").split("\n")[0]
        for name, cls in sorted(_classes().items())
    }


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _classes() -> dict[str, type]:
    classes = {name: getattr(envs, name) for name in envs.__all__}
    return {_snake(name): cls for name, cls in classes.items() if cls is not NoisyTV}


def _needs_size(cls: type) -> bool:
    fields = dataclasses.fields(cls)
    return bool(fields) and fields[0].default is dataclasses.MISSING


def _from_object(env: Any, num_envs: int) -> Env:
    if hasattr(env, "observe"):
        return Batched(env, num_envs)
    given = env.spec.num_envs
    if given == num_envs:
        return env
    if "num_envs" in getattr(env, "__dataclass_fields__", {}):
        return dataclasses.replace(env, num_envs=num_envs)
    raise Incompatible(
        f"{env!r} has {given} environments side by side, and {num_envs} are wanted. "
        "Make it with that number, or give the name of the environment."
    )


def _task(text: str) -> Task:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidSetting(f"{text!r} is not the name of an environment. {_EXAMPLES}")
    classes = _classes()
    name = match["name"].strip()
    if name in (TELEVISION, NoisyTV.__name__):
        raise InvalidSetting(
            f"{text!r}: a noisy television is a setting of any task: deep_sea/20({TELEVISION}=32)."
        )
    if name in envs.__all__:  # the `repr` of a task
        name = _snake(name)
    if name not in classes:
        cure = (
            f"Gymnasium's environments are written {GYMNASIUM}MountainCar-v0, dm_control's "
            f"{DM_CONTROL}cheetah-run, Atari's {ATARI}MontezumaRevenge-v5, MiniGrid's "
            f"{MINIGRID}DoorKey-8x8-v0, the papers' in MuJoCo {MUJOCO}HalfCheetahSparse, and "
            "your own my_package:MyEnv-v0 or my_module:MyTask(size=8)."
        )
        raise unknown_name("environment", name, classes, cure)
    cls = classes[name]
    settings = _settings(match["settings"], text)
    channels = settings.pop(TELEVISION, 0)
    if type(channels) is not int or channels < 0:
        raise InvalidSetting(
            f"{text!r}: {TELEVISION} must be a whole number of channels, 0 for no television."
        )
    fields = [field.name for field in dataclasses.fields(cls)]
    if match["size"] is not None:
        if not _needs_size(cls):
            raise InvalidSetting(f"{text!r}: {name} takes no size after a slash. {_EXAMPLES}")
        settings = {fields[0]: _literal(match["size"], text), **settings}
    elif _needs_size(cls) and fields[0] not in settings:
        raise InvalidSetting(f"{text!r}: {name} needs a {fields[0]}, as in {name}/10.")
    task = cls(**_checked(name, cls, settings, more=(TELEVISION,)))
    return NoisyTV(task, channels) if channels else task


def _checked(
    name: str,
    cls: type,
    settings: dict[str, Any],
    others: Sequence[str] = (),
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """Return `settings` if they are names and types of fields of `cls` that are not `others`, whole
    numbers as floats where those are wanted; raise otherwise, and say that `more` are possible."""
    types = get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls) if field.name not in others]
    for given, value in settings.items():
        if given not in fields:
            raise unknown_name(f"setting of {name}", given, [*fields, *more])
        wanted = types[given]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number if wanted is float else type(value) is wanted):
            raise InvalidSetting(
                f"{name}({given}={value!r}): {given} must be of type {wanted.__name__}."
            )
    return {
        given: float(value) if types[given] is float else value for given, value in settings.items()
    }


def _hosted(text: str, num_envs: int) -> Any:
    """Return the environments that `text` names if they are stepped from Python, else None."""
    if text.startswith(DM_CONTROL):
        return DMControlVector(_dm_control_id(text), num_envs)
    if text.startswith(MUJOCO):
        id, settings = _host_parts(text, MUJOCO)
        cls = task_of(id)
        return MuJoCoVector(cls(**_checked(MUJOCO + id, cls, settings)), num_envs)
    for prefix, cls in _WRAPPED.items():
        if text.startswith(prefix):
            id, settings = _host_parts(text, prefix)
            return cls(id, num_envs, **_checked(prefix + id, cls, settings, NO_SETTINGS))
    if not text.startswith(GYMNASIUM) and _OWN.match(text):
        found = own.made(text, num_envs)
        if found is not None:
            return _from_object(found, num_envs)
    if text.startswith(GYMNASIUM) or _OWN.match(text):
        id, settings = _host_parts(text, GYMNASIUM)
        return GymnasiumVector(id, num_envs, kwargs=tuple(sorted(settings.items())))
    return None


def _host_parts(text: str, prefix: str) -> tuple[str, dict[str, Any]]:
    """Return (id, settings) of the name of an environment that is stepped from Python."""
    id, parenthesis, rest = text.removeprefix(prefix).partition("(")
    if parenthesis and not rest.rstrip().endswith(")"):
        raise InvalidSetting(f"{text!r}: the parenthesis is not closed.")
    settings = _settings(rest.rstrip()[:-1] if parenthesis else None, text)
    if TELEVISION in settings:
        raise InvalidSetting(
            f"{text!r}: {TELEVISION} is for our own tasks, which `explorax list` shows. Wrap the "
            "Gymnasium environment to have one."
        )
    return id.strip(), settings


def _dm_control_id(text: str) -> str:
    id, parenthesis, _ = text.removeprefix(DM_CONTROL).partition("(")
    if parenthesis:
        raise InvalidSetting(f"{text!r}: a task of dm_control takes no settings. Leave them out.")
    return id.strip()


def _literal(text: str, whole: str) -> Any:
    if text.strip() in ("inf", "-inf", "nan"):  # as repr writes them
        return float(text)
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InvalidSetting(f"{whole!r}: {text!r} is not a number or a text.") from None


def _settings(text: str | None, whole: str) -> dict[str, Any]:
    """Return the keyword arguments written in `text`, literals only: nothing is evaluated."""
    if text is None:
        return {}
    try:
        call = ast.parse(f"settings({text})", mode="eval").body
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise InvalidSetting(f"{whole!r}: settings must be written name=value. {_EXAMPLES}")
    settings = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in settings:
            raise InvalidSetting(f"{whole!r}: settings must be written name=value, once each.")
        settings[keyword.arg] = _literal(ast.unparse(keyword.value), whole)
    return settings


def _settings_text(settings: dict[str, Any]) -> str:
    inside = ", ".join(f"{name}={write(value)}" for name, value in sorted(settings.items()))
    return f"({inside})" if inside else ""

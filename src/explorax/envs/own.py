"""Tasks and environments that are classes of the user's own, by name: `acrobot:AcrobotSparse()`."""

import ast
import dataclasses
import sys
from typing import Any, get_type_hints

import explorax.envs as envs
from explorax.core.errors import InvalidSetting, UnknownName
from explorax.core.protocols import Env
from explorax.core.settings import check_types, members_of
from explorax.envs.noisy_tv import NoisyTV
from explorax.envs.task import OPTIONAL, Task
from explorax.naming.own import TYPED, check_importable, imported, lacks, no_class, own_class
from explorax.naming.reading import Reader, parsed
from explorax.naming.writing import write, write_short

TELEVISION = "noisy_tv"  # the setting that every task has: the channels of its NoisyTV
_TASK = tuple(name for name in members_of(Task) if name not in OPTIONAL)
_ENV = tuple(name for name in members_of(Env) if name not in OPTIONAL)


def made(text: str, num_envs: int) -> Task | Env | None:
    """Return the task or environment that `module:Class(...)` makes.

    None where the name is that of an environment that the module registers with Gymnasium. The
    module is imported. Raises UnknownName, InvalidSetting, Incompatible.
    """
    name = text.partition("(")[0].strip()
    module, _, path = name.partition(":")
    if not all(part.isidentifier() for part in path.split(".")):  # an id such as MyEnv-v0
        return None
    check_importable(name)
    its, outermost = imported(module, name), path.partition(".")[0]
    if not isinstance(getattr(its, outermost, None), type):
        if _registered(path):
            return None
        more = f"Nor does it register an environment {path!r} with Gymnasium."
        raise UnknownName(f"{no_class(its, outermost)} {more}")
    return _constructed(text, name, num_envs)


def own_name(shown: Any, task: Any) -> str:
    """Return the name of a task or environment that is in no catalogue; `shown` is `task`, or a
    NoisyTV around it. Raises InvalidSetting where it has none that holds in another process."""
    if type(task).__module__.partition(".")[0] == "explorax":
        return write(shown)
    if _is_gymnasiums(type(task)):
        id = getattr(getattr(task, "spec", None), "id", "CartPole-v1")
        raise InvalidSetting(
            f"{type(task).__name__} is an environment of Gymnasium, and they are given by name, "
            f"'gymnasium:{id}', or 'module:MyEnv-v0' for what a module of yours registers."
        )
    name = write_short(task, without=("num_envs",))
    if not isinstance(shown, NoisyTV):
        return name
    inside = f"{name[:-1]}, " if name.endswith(")") else f"{name}("
    return f"{inside}{TELEVISION}={shown.channels})"


def kind_of(cls: type) -> str:
    """Return "task", "environment", or "" for a class of neither."""
    if not lacks(cls, _TASK):
        return "task"
    return "environment" if not lacks(cls, _ENV) else ""


def _constructed(text: str, name: str, num_envs: int) -> Task | Env | None:
    node = parsed(text, f"{name}(size=8)")
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    cls, _ = own_class(name, TYPED, settings=False)
    kind = kind_of(cls)
    if not kind:
        if _registered(name.rpartition(":")[2]):
            return None
        raise InvalidSetting(_neither(cls, name))
    names = {each: getattr(envs, each) for each in envs.__all__}
    reader = Reader(text, names, TYPED)
    fields = {field.name for field in dataclasses.fields(cls)} if _is_settings(cls) else set()
    channels = 0
    if TELEVISION not in fields:
        channels = reader.taken(call, TELEVISION, 0)
    if type(channels) is not int or channels < 0 or (channels and kind != "task"):
        raise InvalidSetting(
            f"{text!r}: {TELEVISION} must be a whole number of channels, 0 for no television, and "
            f"is for tasks in JAX."
        )
    given = {keyword.arg for keyword in call.keywords}
    if kind == "environment" and "num_envs" in fields - given:
        call.keywords.append(ast.keyword("num_envs", ast.Constant(num_envs)))
    value = _typed(reader.top(call))
    return NoisyTV(value, channels) if channels else value


def _is_settings(cls: type) -> bool:
    return dataclasses.is_dataclass(cls)


def _typed(value: Any) -> Any:
    """Return settings whose plain fields hold what their types say, whole numbers as floats where
    those are wanted, so that 2 and 2.0 are one setting. Raises InvalidSetting."""
    try:
        hints = get_type_hints(type(value))
    except Exception:  # names that only a type checker imports
        return value
    changes = {
        field.name: float(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if hints.get(field.name) is float and type(getattr(value, field.name)) is int
    }
    value = dataclasses.replace(value, **changes) if changes else value
    check_types(value)
    return value


def _registered(name: str) -> bool:
    """Return whether Gymnasium knows the environment `name`, in whatever version."""
    registry: Any = getattr(sys.modules.get("gymnasium"), "registry", ())
    return any(name in (id, id.rpartition("-v")[0]) for id in registry)


def _is_gymnasiums(cls: type) -> bool:
    return any(base.__module__.partition(".")[0] == "gymnasium" for base in cls.__mro__)


def _neither(cls: type, name: str) -> str:
    if _is_gymnasiums(cls):
        module, _, path = name.partition(":")
        return (
            f"{name} is an environment of Gymnasium, and they are named by the id under which they "
            f"are registered: let {module} call gymnasium.register(id='{path}-v0', "
            f"entry_point={path}) and write {module}:{path}-v0."
        )
    return (
        f"{name} is not a task: it has no {', '.join(lacks(cls, _TASK))}. "
        f"explorax.envs.task.Task says what one must have."
    )

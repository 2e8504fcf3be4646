"""What there is to choose from: the catalogues, one line each, and one entry in full."""

import dataclasses
import importlib
import inspect
import io
import tokenize
from collections.abc import Callable

from explorax.core.errors import unknown_name
from explorax.naming.grammar import modules
from explorax.naming.own import TYPED, lacks, own_class

PACKAGES = {
    "agents": "agent",
    "bonuses": "bonus",
    "auxiliaries": "auxiliary",
    "behaviors": "behavior",
    "encoders": "encoder",
    "densities": "density",
    "posteriors": "posterior",
}
KINDS = ("environments", *PACKAGES, "presets")
MUJOCO = "mujoco:"
TELEVISION = "noisy_tv"  # the setting that every environment of ours has
SUITES = {  # of others: the module and class that know them, and what they are
    "dm_control": ("dm_control", "DMControlVector", "The DeepMind control suite itself"),
    "ale": ("atari", "AtariVector", "Atari's games, through ale-py and Gymnasium"),
    "minigrid": ("minigrid", "MiniGridVector", "MiniGrid's tasks, through Gymnasium"),
    "mujoco": ("mujoco_vector", "MuJoCoVector", "The papers' tasks in MuJoCo"),
}
NOTES = {
    "environments": f"Each takes {TELEVISION}=N too, as in deep_sea/20({TELEVISION}=32): a noisy "
    f"television beside it. `explorax list {TELEVISION}` says more. Environments of others: "
    "gymnasium:MountainCar-v0, dm_control:cheetah-run (`explorax list dm_control`), "
    "ale:MontezumaRevenge-v5 (`explorax list ale`), minigrid:DoorKey-8x8-v0 (`explorax list "
    "minigrid`), the papers' in MuJoCo mujoco:HalfCheetahSparse (`explorax list mujoco`)."
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a settings class."""

    name: str
    default: str  # as it would be written; empty where the field must be given
    doc: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a catalogue, in full."""

    kind: str
    name: str
    doc: str
    settings: tuple[Setting, ...] = ()
    constructors: tuple[tuple[str, str], ...] = ()  # (text, first line of its docstring)
    experiments: tuple[str, ...] = ()


def overview(kind: str) -> dict[str, str]:
    """Return the names of one of KINDS, each with what it is in one line. Raises UnknownName."""
    if kind in PACKAGES:
        return {name: _first_line(cls) for name, cls in _classes(kind).items()}
    if kind == "environments":
        return importlib.import_module("explorax.envs.suite").catalogue()
    if kind == "presets":
        return importlib.import_module("explorax.presets").catalogue()
    raise unknown_name("catalogue", kind, KINDS)


def describe(name: str) -> tuple[Entry, ...]:
    """Return the entries called `name` in any catalogue. Raises UnknownName where there is none."""
    if _is_own(name):
        return (_own(name),)
    found = [
        _entry(singular, name, _classes(kind)[name])
        for kind, singular in PACKAGES.items()
        if name in _classes(kind)
    ]
    tasks = _tasks()
    if _base(name) in tasks:
        entry = _entry("environment", name, tasks[_base(name)])
        television = Setting(TELEVISION, "0", "channels of a noisy television beside it; 0: none")
        found.append(dataclasses.replace(entry, settings=(*entry.settings, television)))
    if name in (TELEVISION, "NoisyTV"):
        cls = importlib.import_module("explorax.envs").NoisyTV
        found.append(_entry("setting of every environment", name, cls))
    if name in SUITES:
        found.append(_suite(name))
    simulated = _simulated()
    if name.removeprefix(MUJOCO) in simulated:
        cls = simulated[name.removeprefix(MUJOCO)]
        found.append(_entry("environment", MUJOCO + cls.__name__, cls))
    if name in overview("presets"):
        found.append(_preset(name))
    if not found:
        possible = {key.removesuffix("/N") for kind in KINDS for key in overview(kind)}
        raise unknown_name("entry", name, possible | {TELEVISION, *SUITES, *KINDS, *simulated})
    return tuple(found)


def _is_own(name: str) -> bool:
    """Return whether `name` is `module:Class` of the user's own."""
    return bool(modules(name))


def _own(name: str) -> Entry:
    """Return the entry of `module:Class`, a class of the user's own. Raises UnknownName,
    InvalidSetting, Incompatible."""
    name = name.partition("(")[0].strip()
    cls, _ = own_class(name, TYPED)
    expressions = importlib.import_module("explorax.run.expressions")
    kind = importlib.import_module("explorax.envs.own").kind_of(cls)
    if not kind:
        fitting = (each for each in expressions.KINDS if not lacks(cls, expressions.members(each)))
        kind = next(fitting, "part")
    return _entry(kind, name, cls)


def _suite(name: str) -> Entry:
    """Return the entry of a suite of others: all its names, a line for those that begin alike, what
    its class says, and the settings that go in parentheses."""
    file, cls, doc = SUITES[name]
    module = importlib.import_module(f"explorax.envs.{file}")
    families: dict[str, list[str]] = {}
    for task in module.task_names():
        families.setdefault(task.partition("-")[0], []).append(module.PREFIX + task)
    names = "\n".join(map(" ".join, families.values()))
    if name == MUJOCO.removesuffix(":"):
        lines = [f"{MUJOCO}{task}: {_first_line(cls)}" for task, cls in _simulated().items()]
        more = f"`explorax list {MUJOCO}AntMaze` says more of one, with its settings, which go in "
        names = "\n".join([*lines, "", more + "parentheses."])
    entry = _entry("environments", name, getattr(module, cls))
    fixed = importlib.import_module("explorax.envs.gymnasium_vector").NO_SETTINGS
    settings = tuple(each for each in entry.settings if each.name not in (*fixed, "task"))
    told = f"{doc}, stepped from Python. Any of these is an --env:\n\n{names}"
    if settings:
        told += f"\n\n{entry.doc}"
    return dataclasses.replace(entry, doc=told, settings=settings)


def _preset(name: str) -> Entry:
    presets = importlib.import_module("explorax.presets")
    brief = importlib.import_module("explorax.run.brief").brief
    lines = [
        f"{each.env} · {brief(each.agent)} · {brief(each.bonus)} · "
        f"{each.env_steps:,} steps × {each.seeds} seeds"
        for each in presets.preset(name)
    ]
    doc = inspect.getdoc(getattr(presets, name)) or ""
    return Entry("preset", name, doc, experiments=tuple(lines))


def _base(name: str) -> str:
    """Return an environment's name without its size and settings: deep_sea of deep_sea/20."""
    return name.partition("(")[0].partition("/")[0]


def _classes(kind: str) -> dict[str, type]:
    package = importlib.import_module(f"explorax.{kind}")
    found: dict[str, type] = {name: getattr(package, name) for name in package.__all__}
    return {name: found[name] for name in found if dataclasses.is_dataclass(found[name])}


def _tasks() -> dict[str, type]:
    """Return each task's class by the name that `suite` gives it, without its size."""
    names = [_base(key) for key in overview("environments")]
    classes = importlib.import_module("explorax.envs")
    by_letters = {name.lower(): getattr(classes, name) for name in classes.__all__}
    return {name: by_letters[name.replace("_", "")] for name in names}


def _simulated() -> dict[str, type]:
    """Return the classes of the tasks in MuJoCo by their names."""
    tasks = importlib.import_module("explorax.envs.mujoco_tasks")
    return {name: getattr(tasks, name) for name in tasks.__all__}


def _entry(kind: str, name: str, cls: type) -> Entry:
    docs = field_docs(cls)
    settings = [
        Setting(field.name, _default(field), docs.get(field.name, ""))
        for field in dataclasses.fields(cls)
    ]
    constructors = [
        (f"{cls.__name__}.{member}()", _first_line(getattr(cls, member)))
        for member, value in vars(cls).items()
        if isinstance(value, classmethod) and not member.startswith("_")
    ]
    return Entry(kind, name, inspect.getdoc(cls) or "", tuple(settings), tuple(constructors))


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return ""


def _first_line(thing: type | Callable[..., object]) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def field_docs(cls: type) -> dict[str, str]:
    """Return the comment at the end of each field's line in the source of a dataclass."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # a class made in an interactive session has no source
        return {}
    names = {field.name for field in dataclasses.fields(cls)}
    docs: dict[str, str] = {}
    for line in inspect.cleandoc(source).split("\n"):
        name = line.strip().partition(":")[0]
        if name in names and name not in docs:
            docs[name] = _comment(line.strip())
    return docs


def _comment(line: str) -> str:
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ")
    except tokenize.TokenError:  # a default that goes on in the next line
        pass
    return ""

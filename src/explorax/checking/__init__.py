"""Whether a part keeps what its protocol asks for, said in one sentence where it does not."""

from typing import Any

from explorax.checking.agents import check_agent
from explorax.checking.bonuses import check_bonus
from explorax.checking.tasks import check_env, check_task
from explorax.core import jax_settings
from explorax.core.errors import InvalidSetting
from explorax.core.protocols import Env, Spec
from explorax.core.settings import parts_of
from explorax.envs.task import Batched


def check(part: Any, spec: Spec | None = None) -> None:
    """Raise unless `part`, a task, environments, an agent or a bonus, is one that can be trained.

    Its methods are traced, and a few small steps are run. An agent and a bonus are tried in small
    worlds, of which they may refuse some (Incompatible), or in environments of `spec`. `train` does
    this with every part that is not of explorax.

    Raises InvalidSetting for settings that could change or have no hash, and for those of JAX's own
    that nothing works with; Incompatible for what a method gives in another shape, type or range
    than its protocol says, keeps in Python, or raises. Each says what was given, what is wanted,
    and where.
    """
    jax_settings.check()
    if hasattr(part, "observe"):
        return check_task(part)
    if hasattr(part, "act") or hasattr(part, "learn"):
        return check_agent(part, spec)
    if hasattr(part, "score") or hasattr(part, "rescore"):
        return check_bonus(part, spec)
    if hasattr(part, "spec") and hasattr(part, "step"):
        return check_env(part)
    if hasattr(part, "reset") and hasattr(part, "step"):
        return check_task(part)
    known = part is None or isinstance(part, str | int | float)
    given = repr(part) if known else f"An object of {type(part).__name__}"
    given = f"The class {part.__name__}" if isinstance(part, type) else given
    raise InvalidSetting(
        f"{given} is neither a task, environments, an agent nor a bonus: explorax.core.protocols "
        "says what methods they have. Give an object, such as RND()."
    )


def check_foreign(env: Env, agent: Any, bonus: Any) -> None:
    """Check those parts of a run that were written outside explorax.

    Our own are held to the same by tests.
    """
    task = env.task if isinstance(env, Batched) else env
    if _is_foreign(task):
        check(task)
    spec = env.spec
    if _is_foreign(agent):
        check(agent, spec)
    if _is_foreign(bonus):
        check(bonus, spec)


def _is_foreign(settings: Any) -> bool:
    """Return whether `settings`, or a part within it, is of a class outside explorax."""
    modules = {type(part).__module__ for part in parts_of(settings)}
    return any(not each.startswith("explorax.") for each in modules - {"builtins"})

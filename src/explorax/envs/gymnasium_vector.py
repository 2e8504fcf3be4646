"""What our adapters to Gymnasium share: environments of one kind, made, stepped and described."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import jax
import numpy as np

from explorax.core.errors import (
    BadEnvironmentData,
    ExploraxError,
    Incompatible,
    InvalidSetting,
    UnknownName,
    in_words,
)
from explorax.core.protocols import Box, Discrete, Key, Spec, Step, View
from explorax.envs.border import Running, check_draws, to_codes, to_units
from explorax.envs.supervision import ALONE, Supervision, close_quietly, is_fault
from explorax.envs.worlds import LARGEST_SEED, Worlds

# fields of an adapter that a name does not set
NO_SETTINGS = ("id", "num_envs", "render", "supervision")


@dataclass(frozen=True)
class Recipe:
    """How one environment is made."""

    name: str  # as people write it, for messages: gymnasium:CartPole-v1
    id: str  # in Gymnasium's registry
    settings: dict[str, Any]  # of its constructor
    cure: Callable[[str], str]  # what to do where a package is missing, from the error's text
    unknown: Callable[[], UnknownName]  # the error where `id` is not registered
    prepare: Callable[[], object] = tuple  # registers it, by importing a package
    wrap: Callable[[Any], Any] = lambda env: env
    locate: Callable[[Any], tuple[float, float]] | None = None  # the place of a hidden view
    facts: Callable[[Any], dict[str, Any]] = lambda env: {}  # fields of the Spec that it knows


class Adapter(Protocol):
    """Environments of one kind, as they are made."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def num_envs(self) -> int: ...
    @property
    def render(self) -> bool: ...
    @property
    def supervision(self) -> Supervision: ...


def start(env: Adapter, key: Key) -> tuple[Running, np.ndarray]:
    """Return (state, obs) of new environments, seeded from `key`."""
    import gymnasium

    # a script may have registered what a worker process cannot import
    known = gymnasium.registry.get(env.recipe.id)
    build = partial(_world, env, known)
    worlds = Worlds(env.recipe.name, build, env.num_envs, env.supervision)
    seeds = np.asarray(jax.random.bits(key, (env.num_envs,), "uint32")) & LARGEST_SEED
    return Running(worlds), worlds.reset(seeds.tolist())


def _world(adapter: Adapter, known: Any, index: int, steps: int) -> Any:
    """Return one environment, checked; it has made so many steps before."""
    import gymnasium

    from explorax.envs.gymnasium_guard import Guard

    recipe = adapter.recipe
    if known is not None:
        gymnasium.registry.setdefault(recipe.id, known)
    settings: dict[str, Any] = recipe.settings | (
        {"render_mode": "rgb_array"} if adapter.render else {}
    )
    # Gymnasium's own checker warns, at the first step only, about a part of what Guard raises at
    # every step
    env = built(recipe, lambda: gymnasium.make(recipe.id, disable_env_checker=True, **settings))
    return built(recipe, lambda: Guard(recipe.wrap(env), recipe.name, index, recipe.locate, steps))


def advance(recipe: Recipe, state: Running, action: Any) -> Step:
    """Return what one step gives; the environments change in place."""
    worlds = state.vector
    rows = worlds.step(_to_units(recipe.name, worlds.action_space, np.asarray(action)))
    return Step(
        obs=rows.obs,
        next_obs=rows.next_obs,
        reward=rows.reward,
        terminated=rows.terminated,
        truncated=rows.truncated,
        place=rows.place if recipe.locate is not None else (),
    )


def frame(env: Adapter, state: Running, index: int) -> np.ndarray:
    """Return the environment's own picture. Raises InvalidSetting unless made with `render`."""
    check_draws(env)
    recipe = env.recipe
    return built(recipe, lambda: state.vector.draw(index))


def _to_units(name: str, space: Any, action: np.ndarray) -> np.ndarray:
    """Return `action` [E, ...] in the units of the environment's own `space`."""
    if not hasattr(space, "low"):
        return to_codes(name, action, int(space.start), int(space.n), space.dtype)
    return to_units(name, action, space.low, space.high).astype(space.dtype)


def spec_of(env: Any) -> Spec:
    """Return what Gymnasium says of an Adapter's environments: one alone is asked, once."""
    alone = replace(env, num_envs=1, render=False, supervision=ALONE)
    return replace(_described(alone), num_envs=env.num_envs)


@lru_cache(maxsize=64)
def _described(env: Any) -> Spec:
    import gymnasium

    recipe = env.recipe
    bare = built(
        recipe, lambda: gymnasium.make(recipe.id, disable_env_checker=True, **recipe.settings)
    )
    try:
        told = built(recipe, lambda: _asked(recipe, bare))
    finally:
        close_quietly(bare.close, recipe.name)
    return told


def _asked(recipe: Recipe, bare: Any) -> Spec:
    """Return what an environment says of itself, which is neither reset nor stepped for it."""
    from gymnasium import spaces

    from explorax.envs.gymnasium_guard import box_of
    from explorax.envs.space_limits import check_choices, check_observed

    spec, facts = bare.spec, recipe.facts(bare)
    made = recipe.wrap(bare)
    check_observed(made.observation_space, recipe.name)
    obs = box_of(made.observation_space, recipe.name)
    view = _view(obs) if isinstance(made.observation_space, spaces.Box) else None
    space = made.action_space
    if isinstance(space, spaces.Discrete):
        check_choices(int(space.n), recipe.name)
        action: Discrete | Box = Discrete(int(space.n))
    elif isinstance(space, spaces.Box) and space.is_bounded():
        action = Box(space.shape)
    else:
        raise Incompatible(
            f"{recipe.name} acts in {space}; actions must be Discrete, or a Box with finite "
            "bounds. Wrap the environment (gymnasium.wrappers.TransformAction) to have one."
        )
    steps = None if spec is None else spec.max_episode_steps
    threshold = None if spec is None else spec.reward_threshold
    success = None if threshold is None else float(threshold)
    told = Spec(obs, action, 1, max_episode_steps=steps, success_return=success, view=view)
    return replace(told, **facts)


def _view(obs: Box) -> View | None:
    if len(obs.shape) != 1 or obs.shape[0] < 2 or obs.dtype != "float32":
        return None
    low = np.broadcast_to(np.asarray(obs.low), obs.shape)[:2]
    high = np.broadcast_to(np.asarray(obs.high), obs.shape)[:2]
    # float32's largest number is how some environments write "no bound"
    if not (np.abs([low, high]) < np.finfo(np.float32).max / 2).all():
        return None
    return View(
        labels=("observation 0", "observation 1"),
        low=(float(low[0]), float(low[1])),
        high=(float(high[0]), float(high[1])),
    )


def built(recipe: Recipe, build: Callable[[], Any]) -> Any:
    """Return `build()`, its failures turned into errors that say what to do."""
    import gymnasium

    try:
        recipe.prepare()
        return build()
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise Incompatible(
            f"{recipe.name} needs a package that is not installed: {error}."
            f" {recipe.cure(str(error))}".rstrip()
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise recipe.unknown() from error
    except ExploraxError:
        raise
    except BaseException as error:
        if isinstance(error, TypeError) and recipe.settings:
            raise InvalidSetting(f"{recipe.name} refuses {recipe.settings}: {error}.") from error
        if not is_fault(error):
            raise
        raise BadEnvironmentData(
            f"{recipe.name} cannot be made: it raised {in_words(error)}. Mend the environment."
        ) from error


def registered(beginning: str) -> tuple[str, ...]:
    """Return what follows `beginning` in the registered ids that have it, in alphabetical order."""
    import gymnasium

    ids = sorted(id for id in gymnasium.registry if id.startswith(beginning))
    return tuple(id.removeprefix(beginning) for id in ids)

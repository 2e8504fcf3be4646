"""Gymnasium's environments behind our protocol, stepped from Python."""

import difflib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from explorax.core.errors import (
    BadEnvironmentData,
    Incompatible,
    InvalidSetting,
    UnknownName,
    require,
)
from explorax.core.protocols import Box, Discrete, Key, Spec, Step, View
from explorax.envs.cart_pole import CartPole
from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_continuous import MountainCarContinuous

# Where one of our tasks is the same one, its map and its meaning of success hold.
_TWINS = {
    "CartPole-v1": CartPole(),
    "MountainCar-v0": MountainCar(),
    "MountainCarContinuous-v0": MountainCarContinuous(),
}
# Packages that add their environments to Gymnasium's registry when imported.
_PACKAGES = {"ALE/": ("ale_py", "ale-py"), "MiniGrid-": ("minigrid", "minigrid")}
_EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "classic_control": "classic-control"}
_EXTRAS |= {"toy_text": "toy-text"}


@dataclass(frozen=True, eq=False)
class Running:
    """Live environments: the state, changed in place by `step`.

    JAX sees a pytree without leaves, so that nothing tries to copy, save or trace it.
    """

    vector: Any  # gymnasium.vector.SyncVectorEnv


jax.tree_util.register_pytree_node(Running, lambda state: ((), state), lambda state, _: state)


@dataclass(frozen=True)
class GymnasiumVector:
    """`num_envs` Gymnasium environments side by side, which reset in the step that ends an episode.

    Box actions in [-1, 1] are scaled to the environment's bounds and clipped; Discrete ones count
    from 0. Images stay uint8; every other observation becomes float32: Discrete one-hot, Dict and
    Tuple flattened. What the environment returns is checked, and BadEnvironmentData names the
    environment, the step and the field that is not finite or has a wrong shape or type.

    `reset` makes new environments; `step` moves them in place and ignores its key, since Gymnasium
    environments draw from generators of their own, which `reset` seeds from its key. Raises
    UnknownName for an id that is not registered, InvalidSetting where the environment refuses
    `kwargs`, Incompatible where a package is missing or a space has no counterpart here.
    """

    id: str
    num_envs: int
    render: bool = False  # whether `draw` will be called
    kwargs: tuple[tuple[str, Any], ...] = ()  # of the environment's constructor, sorted by name

    def __post_init__(self) -> None:
        require(self.num_envs >= 1, self, "num_envs", "at least 1")
        names = [name for name, _ in self.kwargs]
        require(names == sorted(set(names)), self, "kwargs", "sorted by name, each once")
        try:
            hash(self.kwargs)
        except TypeError:
            require(False, self, "kwargs", "of numbers, texts and tuples, not lists or dicts")

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        spec = _describe(self.id, self.kwargs)
        twin = _TWINS.get(self.id) if not self.kwargs else None
        if twin is not None:
            spec = replace(spec, success_return=twin.success_return, view=twin.view)
        return replace(spec, num_envs=self.num_envs)

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        import gymnasium
        from gymnasium.vector import AutoresetMode

        from explorax.envs.gymnasium_guard import Guard

        index = itertools.count()
        settings = dict(self.kwargs) | ({"render_mode": "rgb_array"} if self.render else {})
        vector = _built(
            self.id,
            self.kwargs,
            lambda: gymnasium.make_vec(
                self.id,
                self.num_envs,
                "sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
                wrappers=[lambda env: Guard(env, self.id, next(index))],
                # Gymnasium's own checker warns, at the first step only, about a part of what Guard
                # raises at every step
                disable_env_checker=True,
                **settings,
            ),
        )
        seeds = np.asarray(jax.random.bits(key, (self.num_envs,), "uint32"))
        obs, _ = vector.reset(seed=[int(seed) for seed in seeds])
        return Running(vector), obs

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        vector = state.vector
        chosen = _to_units(self.id, vector.single_action_space, np.asarray(action))
        obs, reward, terminated, truncated, info = vector.step(chosen)
        next_obs = obs.copy()
        for index in np.flatnonzero(terminated | truncated):
            next_obs[index] = info["final_obs"][index]
        return state, Step(
            obs=obs,
            next_obs=next_obs,
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated & ~terminated,
        )

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        if not self.render:
            raise InvalidSetting(f"{self!r} cannot draw. Make it with render=True.")
        frame = _built(self.id, self.kwargs, lambda: state.vector.envs[index].render())
        return np.asarray(frame, np.uint8)


def _to_units(id: str, space: Any, action: np.ndarray) -> np.ndarray:
    """Return `action` [E, ...] in the units of the environment's own `space`."""
    if not hasattr(space, "low"):
        return action + space.start
    if not np.isfinite(action).all():
        index = int(np.flatnonzero(~np.isfinite(action).reshape(len(action), -1).all(1))[0])
        raise BadEnvironmentData(
            f"gymnasium:{id}, environment {index}: the agent's action is not finite: "
            f"{action[index]}. Its learning has diverged: try a smaller step size."
        )
    share = (np.clip(action, -1.0, 1.0) + 1.0) / 2.0
    return (space.low + share * (space.high - space.low)).astype(space.dtype)


@lru_cache(maxsize=64)
def _describe(id: str, kwargs: tuple[tuple[str, Any], ...]) -> Spec:
    """Return what Gymnasium says of one environment."""
    import gymnasium

    from explorax.envs.gymnasium_guard import array_space, code_sizes

    env = _built(id, kwargs, lambda: gymnasium.make(id, disable_env_checker=True, **dict(kwargs)))
    flat = array_space(env.observation_space, id)
    low, high = _bound(flat.low), _bound(flat.high, upper=True)
    obs = Box(flat.shape, low, high, str(flat.dtype), code_sizes(env.observation_space))
    view = _view(obs) if isinstance(env.observation_space, gymnasium.spaces.Box) else None
    space, spec = env.action_space, env.spec
    env.close()
    if isinstance(space, gymnasium.spaces.Discrete):
        action: Discrete | Box = Discrete(int(space.n))
    elif isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
        action = Box(space.shape)
    else:
        raise Incompatible(
            f"gymnasium:{id} acts in {space}; actions must be Discrete, or a Box with finite "
            "bounds. Wrap the environment (gymnasium.wrappers.TransformAction) to have one."
        )
    steps = None if spec is None else spec.max_episode_steps
    threshold = None if spec is None else spec.reward_threshold
    success = None if threshold is None else float(threshold)
    return Spec(obs, action, 1, max_episode_steps=steps, success_return=success, view=view)


def _bound(values: np.ndarray, upper: bool = False) -> float | tuple[float, ...]:
    """Return one bound where all are alike or there are many dimensions, else one per entry."""
    widest = float(values.max() if upper else values.min())
    if values.ndim != 1 or (values == widest).all():
        return widest
    return tuple(float(value) for value in values)


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


def _built(id: str, kwargs: tuple[tuple[str, Any], ...], build: Callable[[], Any]) -> Any:
    """Return `build()`, its failures turned into errors that say what to do."""
    import gymnasium

    package = next((pair for prefix, pair in _PACKAGES.items() if id.startswith(prefix)), None)
    try:
        if package is not None:
            __import__(package[0])
        return build()
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        cure = "" if "pip install" in str(error) else f" {_cure(id, package)}"
        raise Incompatible(
            f"gymnasium:{id} needs a package that is not installed: {error}.{cure}"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        near = difflib.get_close_matches(id, gymnasium.registry, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownName(
            f"There is no Gymnasium environment {id!r}.{hint} gymnasium.pprint_registry() lists "
            "all; 'gymnasium:package:Name-v0' imports a package first that registers its own."
        ) from error
    except TypeError as error:
        if not kwargs:
            raise
        raise InvalidSetting(f"gymnasium:{id} refuses {dict(kwargs)}: {error}.") from error


def _cure(id: str, package: tuple[str, str] | None) -> str:
    import gymnasium

    if package is not None:
        return f"Install it: pip install {package[1]}"
    spec = gymnasium.registry.get(id)
    entry = str(spec.entry_point) if spec is not None else ""
    extra = next((extra for part, extra in _EXTRAS.items() if part in entry), None)
    if extra is None:
        return "Install it with pip."
    return f'Install it: pip install "gymnasium[{extra}]"'

"""The papers' tasks in MuJoCo as environments of Gymnasium: importing this registers them.

    import explorax.envs.mujoco
    env = gymnasium.make("explorax/HalfCheetahSparse-v0")

or, in one line, `gymnasium.make("explorax.envs.mujoco:explorax/HalfCheetahSparse-v0")`. Settings of
the task are keywords: `gymnasium.make(..., both_sides=True)`. `gymnasium.make_vec` steps many at
once in MuJoCo's threads. MuJoCo is the extra `mujoco`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from explorax.core.errors import Incompatible, InvalidSetting
from explorax.envs.mujoco_simulation import Simulation, picture
from explorax.envs.mujoco_tasks.task import HORIZON
from explorax.envs.mujoco_vector import PREFIX, task_names, task_of

NAMESPACE = "explorax"
# Of observations: how environments write that there is none, and Gymnasium's checker lets it pass.
BOUND = float(np.finfo(np.float32).max)
RENDER_MODE = "rgb_array"
_METADATA: dict[str, Any] = {"render_modes": [RENDER_MODE]}
# names in the registry, and the settings of each
REGISTERED: dict[str, dict[str, Any]] = {name: {"task": name} for name in task_names()}
REGISTERED["Walker2dSparse"] = {"task": "Walker2d", "sparse": True}


def _worlds(
    task: str, settings: dict[str, Any], num_envs: int, height: int, width: int, horizon: int
) -> Simulation:
    """Return the worlds of a task. Raises UnknownName, InvalidSetting or Incompatible."""
    cls = task_of(task)
    try:
        made = cls(**settings)
    except TypeError as error:
        raise InvalidSetting(f"{PREFIX}{task} refuses {settings}: {error}.") from error
    generators = [np.random.default_rng() for _ in range(num_envs)]
    return Simulation(PREFIX + task, made, generators, horizon=horizon, size=(height, width))


def _check_render_mode(mode: str | None) -> None:
    if mode not in (None, RENDER_MODE):
        raise InvalidSetting(f"render_mode={mode!r}: it must be None or {RENDER_MODE!r}.")


def _spaces(worlds: Simulation) -> tuple[spaces.Box, spaces.Box]:
    """Return the spaces of one observation and of one action."""
    return (
        spaces.Box(-BOUND, BOUND, worlds.observe().shape[1:], np.float64),
        spaces.Box(-1.0, 1.0, worlds.low.shape, np.float32),
    )


class MuJoCoEnv(gymnasium.Env):
    """One world of a task, with the definition that `MuJoCoVector` has: observations are float64.

    Actions are in [-1, 1]. `info["place"]` is the point of the task's map. Raises UnknownName for a
    task that is not there, InvalidSetting for settings that it does not take, and Incompatible
    where MuJoCo is not installed or, in `render`, nothing can draw.
    """

    metadata: dict[str, Any] = _METADATA

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        height: int = 240,
        width: int = 320,
        **settings: Any,
    ) -> None:
        _check_render_mode(render_mode)
        self.render_mode = render_mode
        self._worlds = _worlds(task, settings, 1, height, width, HORIZON)
        self.observation_space, self.action_space = _spaces(self._worlds)
        self.metadata = {**self.metadata, "render_fps": round(1 / self._worlds.span)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._worlds.generators[0] = self.np_random
        self._worlds.reset(np.array([0]))
        return self._worlds.observe()[0], self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward, terminated = self._worlds.advance(np.asarray(action)[None])
        obs = self._worlds.observe()[0]
        # the registry's time limit truncates
        return obs, float(reward[0]), bool(terminated[0]), False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"place": self._worlds.task.place(self._worlds.moment())[0].copy()}

    def render(self) -> Any:
        if self.render_mode is None:
            raise Incompatible(f"This environment was made without render_mode={RENDER_MODE!r}.")
        return picture(self._worlds, 0)

    def close(self) -> None:
        self._worlds.close()


class MuJoCoVectorEnv(gymnasium.vector.VectorEnv):
    """Worlds of one task, all stepped by one call of MuJoCo's `rollout` in its threads.

    All three of Gymnasium's autoreset modes; the time limit is inside. A seed s gives the worlds
    the seeds s, s + 1, ..., as Gymnasium's own vectors do. Raises what `MuJoCoEnv` raises.
    """

    metadata: dict[str, Any] = _METADATA | {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        num_envs: int,
        task: str,
        render_mode: str | None = None,
        max_episode_steps: int = HORIZON,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        height: int = 240,
        width: int = 320,
        **settings: Any,
    ) -> None:
        _check_render_mode(render_mode)
        self.num_envs, self.render_mode = num_envs, render_mode
        self._worlds = _worlds(task, settings, num_envs, height, width, max_episode_steps)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self.autoreset_mode,
            "render_fps": round(1 / self._worlds.span),
        }
        self.single_observation_space, self.single_action_space = _spaces(self._worlds)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.zeros(num_envs, bool)  # episodes that ended in the last step

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        rows = np.flatnonzero(mask)
        if seed is not None:
            seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
            for row in rows:
                if seeds[row] is not None:
                    self._worlds.generators[row] = np.random.default_rng(seeds[row])
        self._worlds.reset(rows)
        self._over[rows] = False
        return self._worlds.observe(), self._info()

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        worlds, begun = self._worlds, np.flatnonzero(self._over)
        reward, terminated = worlds.advance(np.asarray(actions))
        truncated = worlds.ended & ~terminated
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and begun.size:
            worlds.reset(begun)
            for each in (reward, terminated, truncated):
                each[begun] = 0
        obs, info = worlds.observe(), self._info()
        over = terminated | truncated
        rows = np.flatnonzero(over)
        if self.autoreset_mode == AutoresetMode.SAME_STEP and rows.size:
            final = np.full(self.num_envs, None, dtype=object)
            for row in rows:
                final[row] = obs[row]
            worlds.reset(rows)
            obs = worlds.observe()
            info = self._info() | {
                "final_obs": final,
                "_final_obs": over,
                "final_info": info,
                "_final_info": over,
            }
        self._over = over
        return obs, reward, terminated, truncated, info

    def _info(self) -> dict[str, Any]:
        place = self._worlds.task.place(self._worlds.moment()).copy()
        return {"place": place, "_place": np.ones(self.num_envs, bool)}

    def render(self) -> Any:
        if self.render_mode is None:
            raise Incompatible(f"These environments were made without render_mode={RENDER_MODE!r}.")
        return tuple(picture(self._worlds, row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        self._worlds.close()


for _name, _settings in REGISTERED.items():
    gymnasium.register(
        f"{NAMESPACE}/{_name}-v0",
        entry_point=f"{__name__}:{MuJoCoEnv.__name__}",
        vector_entry_point=f"{__name__}:{MuJoCoVectorEnv.__name__}",
        max_episode_steps=HORIZON,
        kwargs=_settings,
    )

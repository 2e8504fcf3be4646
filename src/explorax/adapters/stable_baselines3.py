"""A bonus within the reward of Stable-Baselines3's vector environments.

Imports Stable-Baselines3, which explorax does not install.
"""

import warnings
from typing import Any

import numpy as np
from gymnasium import spaces

from explorax.adapters.ends import save_ends
from explorax.adapters.learning import Schedule
from explorax.adapters.spaces import Bounds, counted_from_zero
from explorax.adapters.stream import Keeps, Stream
from explorax.core.errors import BadEnvironmentData, Incompatible
from explorax.core.protocols import Bonus

try:
    from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
        VecEnv,
        VecEnvWrapper,
    )
except ImportError as error:
    raise Incompatible(
        f"explorax.adapters.stable_baselines3 needs Stable-Baselines3: {error}. Install it: "
        "pip install torch stable-baselines3"
    ) from error


class IntrinsicReward(Keeps, VecEnvWrapper):
    """Pays reward + scale · bonus, and learns what the bonus needs as it goes.

    Each info says `extrinsic_reward`, what the environment paid, and `intrinsic_reward`, the bonus
    before it is scaled. With scale 0 the reward stays as it is.

    Each step is scored by what was learned before it, as a rollout of one step: a bonus that
    normalises by the last rollouts sees the last steps. Every `update_every` env steps the bonus
    learns. Observations and everything else pass untouched; the successor at the end of an episode
    is info["terminal_observation"], and an end by TimeLimit is no termination.

    Put it over Monitor, which then shows the environment's own returns, and under VecNormalize,
    VecFrameStack and VecTransposeImage. Evaluate on an environment without it, or with NoBonus()
    where EvalCallback wants the same wrappers.
    """

    def __init__(
        self,
        venv: VecEnv,
        bonus: Bonus,
        scale: float = 1.0,
        *,
        update_every: int = 1024,
        seed: int = 0,
        action_bounds: Bounds | None = None,
    ) -> None:
        """Wrap `venv`.

        update_every: env steps of all environments together between two updates of the bonus.
        seed: of the bonus's networks and draws. action_bounds: what -1 and 1 stand for where
        actions are a Box without bounds of its own. Raises Incompatible where the bonus cannot be
        paid here, InvalidSetting for values that are out of range.
        """
        super().__init__(venv)  # pyright: ignore[reportCallIssue]  (it is not installed here)
        _warn_of_goals(venv)
        self._stream = Stream(
            _name(venv),
            bonus,
            (venv.observation_space, _sent(venv), venv.num_envs),
            Schedule(scale, update_every, seed),
            resets=False,
            bounds=action_bounds,
            saved=save_ends(_envs(venv)),
        )
        self._acted: np.ndarray | None = None

    def reset(self) -> Any:
        observations = self.venv.reset()
        self._stream.begin(observations)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        try:
            self._acted = self._stream.act(actions)
        except BadEnvironmentData as error:
            if np.any(getattr(self.action_space, "start", 0)):
                raise BadEnvironmentData(
                    f"{error} Stable-Baselines3's algorithms count actions from 0, wherever "
                    f"{self.action_space} begins; those that explore by its sample() do not."
                ) from None
            raise
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step, and pay. Raises BadEnvironmentData where something is not finite."""
        observations, reward, done, infos = self.venv.step_wait()
        assert self._acted is not None, "step_wait follows step_async"
        cut = np.array([bool(info.get("TimeLimit.truncated")) for info in infos])
        final = {int(index): infos[index] for index in np.flatnonzero(done)}
        bonus, _ = self._stream.step(
            self._acted,
            reward,
            observations,
            {index: self._last(info) for index, info in final.items()},
            done & ~cut,
            done & cut,
        )
        told = [
            {**info, "extrinsic_reward": float(paid), "intrinsic_reward": float(more)}
            for info, paid, more in zip(infos, reward, bonus, strict=True)
        ]
        return observations, self._stream.mixed(reward, bonus), done, told

    def _last(self, info: dict[str, Any]) -> Any:
        if "terminal_observation" not in info:
            raise Incompatible(
                f"{_name(self.venv)} does not say in info['terminal_observation'] where an episode "
                "ended. Every VecEnv of Stable-Baselines3 does."
            )
        return info["terminal_observation"]


def _sent(venv: VecEnv) -> spaces.Space:
    """Return the space of what Stable-Baselines3's algorithms send to `venv`.

    They count codes from 0, wherever Discrete(n, start) or MultiDiscrete(nvec, start) begin, and
    DummyVecEnv and SubprocVecEnv hand that on as it is.
    """
    space = venv.action_space
    if isinstance(space, spaces.Dict | spaces.Tuple):
        raise Incompatible(
            f"{_name(venv)} acts in {space}, which no algorithm of Stable-Baselines3 does. Actions "
            "must be Discrete, a Box, MultiDiscrete or MultiBinary."
        )
    return counted_from_zero(space)


def _warn_of_goals(venv: VecEnv) -> None:
    """Warn where a replay may give rows new goals, and new rewards without the bonus."""
    space = venv.observation_space
    if isinstance(space, spaces.Dict) and {"achieved_goal", "desired_goal"} <= space.spaces.keys():
        warnings.warn(
            f"{_name(venv)} has goals. HerReplayBuffer gives rows of its replay other goals and "
            "asks the environment for their rewards, in which there is no bonus: with its "
            "n_sampled_goal=4 in 80% of what it samples. Take DictReplayBuffer, or a trainer "
            "without a replay, where the bonus shall be in all.",
            stacklevel=3,
        )


def _envs(venv: VecEnv) -> Any:
    """Return the environments that are in this process; None where they are in others.

    Those are not asked for anything: what they answer is pickled, and what cannot be (a wrapper
    made of a lambda, in the spec) ends their process.
    """
    return getattr(venv.unwrapped, "envs", None)


def _name(venv: VecEnv) -> str:
    """Return the id of the environments where it can be seen from here, or the vector's class."""
    envs = _envs(venv) or [None]
    spec = getattr(getattr(envs[0], "unwrapped", None), "spec", None)
    return type(venv.unwrapped).__name__ if spec is None else spec.id

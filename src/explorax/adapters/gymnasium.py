"""A bonus within the reward of a Gymnasium vector environment, for whatever trainer uses it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from explorax.adapters.ends import save_ends
from explorax.adapters.learning import Schedule
from explorax.adapters.spaces import Bounds
from explorax.adapters.stream import Keeps, Stream
from explorax.core.errors import Incompatible
from explorax.core.protocols import Bonus


class IntrinsicReward(Keeps, VectorWrapper, gymnasium.utils.RecordConstructorArgs):
    """Pays reward + scale · bonus, and learns what the bonus needs as it goes.

    `info` tells the two apart: `extrinsic_reward`, what the environment paid, and
    `intrinsic_reward`, the bonus before it is scaled, each [E] with a mask `_…` of the steps that
    were transitions. With scale 0 the reward stays as it is, for a trainer with a second value.

    Each step is scored by what was learned before it, as a rollout of one step: a bonus that
    normalises by the last rollouts sees the last steps. Every `update_every` env steps the bonus
    learns. Observations and everything else pass untouched. The successor at the end of an episode
    is the true one. A step that only resets (autoreset_mode NEXT_STEP, Gymnasium's default) is no
    transition: it is paid nothing and not learned from. SAME_STEP has none and is faster.

    Put it on the environment itself, under wrappers that normalise rewards or observations and
    over RecordEpisodeStatistics, which then shows the environment's own returns: the wrapper of
    single environments, since Gymnasium 1.3.0's for vectors counts wrongly in SAME_STEP and
    DISABLED. Wrap only the environments that are trained on.
    """

    def __init__(
        self,
        env: VectorEnv,
        bonus: Bonus,
        scale: float = 1.0,
        *,
        update_every: int = 1024,
        seed: int = 0,
        action_bounds: Bounds | None = None,
    ) -> None:
        """Wrap `env`.

        update_every: env steps of all environments together between two updates of the bonus.
        seed: of the bonus's networks and draws. action_bounds: what -1 and 1 stand for where
        actions are a Box without bounds of its own. Raises Incompatible where the bonus cannot be
        paid here, InvalidSetting for values that are out of range.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(
            self,
            bonus=bonus,
            scale=scale,
            update_every=update_every,
            seed=seed,
            action_bounds=action_bounds,
        )
        VectorWrapper.__init__(self, env)
        self._mode = _autoreset_mode(env)
        same = self._mode is AutoresetMode.SAME_STEP
        self._stream = Stream(
            _name(env),
            bonus,
            (env.single_observation_space, env.single_action_space, env.num_envs),
            Schedule(scale, update_every, seed),
            resets=not same,
            bounds=action_bounds,
            saved=same and save_ends(getattr(env.unwrapped, "envs", None)),
        )

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environments, or with options={"reset_mask": bool [E]} some of them."""
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else np.array(mask)
        env: Any = self.env  # whose own annotation forgets lists of seeds
        obs, info = env.reset(seed=seed, options=options)
        self._stream.begin(obs, mask)
        return obs, info

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step, and pay. Raises BadEnvironmentData where something is not finite."""
        acted = self._stream.act(actions)  # before the environment, which may change it
        obs, reward, terminated, truncated, info = self.env.step(actions)
        done = np.asarray(terminated | truncated)
        same = self._mode is AutoresetMode.SAME_STEP
        final = self._finals(done, info) if same else {}
        bonus, live = self._stream.step(acted, reward, obs, final, terminated, truncated)
        told = {
            **info,
            "extrinsic_reward": np.array(reward),  # the environment may write over its own
            "_extrinsic_reward": live,
            "intrinsic_reward": bonus,
            "_intrinsic_reward": live.copy(),
        }
        return obs, self._stream.mixed(reward, bonus), terminated, truncated, told

    def _finals(self, done: np.ndarray, info: dict[str, Any]) -> dict[int, Any]:
        """Return {environment: the last observation of the episode that ended in this step}."""
        if not done.any():
            return {}
        if "final_obs" not in info:
            raise Incompatible(
                f"{_name(self.env)} resets in the step that ends an episode and does not say in "
                "info['final_obs'] where the episode ended. Use autoreset_mode NEXT_STEP."
            )
        return {int(index): info["final_obs"][index] for index in np.flatnonzero(done)}


def _name(env: VectorEnv) -> str:
    return str(env) if env.spec is None else env.spec.id


def _autoreset_mode(env: VectorEnv) -> AutoresetMode:
    # Gymnasium's own vectors write their mode into the metadata of the environment's class, where
    # the next vector writes another; so their attribute comes first.
    mode = getattr(env.unwrapped, "autoreset_mode", None)
    mode = env.metadata.get("autoreset_mode") if mode is None else mode
    if mode is None:
        raise Incompatible(
            f"{env} does not say when it resets its environments. Set its "
            'metadata["autoreset_mode"] to a gymnasium.vector.AutoresetMode.'
        )
    return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)

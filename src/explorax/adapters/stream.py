"""What the wrappers share: the live stream of steps, paid at once and learned from now and then."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from explorax.adapters import learning, saving, suitability
from explorax.adapters.ends import Suspicion
from explorax.adapters.learning import Learned, Schedule
from explorax.adapters.spaces import (
    ARRAYS,
    Bounds,
    encode_actions,
    encode_observation,
    encode_observations,
    handed_on,
    spec_of,
)
from explorax.core import jax_settings
from explorax.core.errors import BadEnvironmentData, Diverged
from explorax.core.keys import key_of
from explorax.core.protocols import Bonus, Discrete, Rollout
from explorax.envs.gymnasium_guard import fault
from explorax.files import user_path


class Stream:
    """The experience of E environments, which a bonus pays step by step.

    Each step is scored as a rollout [1, E], in time order, before anything is learned from it. Its
    transitions are gathered, and when there are `update_every` the bonus learns from them as a
    rollout [T, E]. A row that only resets an environment is neither. Where there are such rows,
    those that are transitions are scored as [1, n], which is compiled for each n that occurs, and
    the columns of what is learned from hold rows in time order and not one environment each.
    """

    def __init__(
        self,
        name: str,
        bonus: Bonus,
        worlds: tuple[spaces.Space, spaces.Space, int],
        schedule: Schedule,
        resets: bool,
        bounds: Bounds | None = None,
        saved: bool = False,
    ) -> None:
        """Start with a fresh bonus.

        worlds: what one environment observes and how it acts, and how many there are. resets:
        whether an environment whose episode ended resets in its next step, or when it is told to,
        and not in the same step. bounds: of actions without bounds. saved: whether last
        observations are known to be copies.
        """
        jax_settings.check()
        self._name, self._bonus, self._schedule, self._resets = name, bonus, schedule, resets
        self._observed, self._acted, self._envs = worlds
        self._bounds, self._suspicion = bounds, Suspicion(name, saved)
        self._spec = spec_of(*worlds, name, bounds)
        self._steps = -(-schedule.update_every // self._envs)  # T, between two updates
        scored, learned = (self._rollout(self._empty(n), n) for n in (1, self._steps))
        suitability.check(bonus, self._spec, scored, learned, resets)
        self._axes = suitability.env_axes(bonus, self._spec) if resets else ()
        key_init, key = jax.random.split(key_of(schedule.seed))
        state = jax.jit(bonus.init, static_argnums=1)(key_init, self._spec)
        self._learned = Learned(jax.tree.map(jnp.copy, state), key)
        self._metrics: dict[str, jax.Array] = {}  # of the last update
        self._stepped, self._updates = 0, 0
        self._rows, self._filled = self._empty(self._steps + 1), 0
        self._bonuses = np.zeros(len(self._rows["reward"]), np.float32)  # of the rows
        self._obs: np.ndarray | None = None  # what is acted in, [E, *obs_shape]; None before reset
        self._first = np.ones(self._envs, bool)
        self._over = np.zeros(self._envs, bool)  # ended, and the next step only resets

    @property
    def told(self) -> dict[str, float]:
        """What the bonus said when it last learned."""
        return {name: float(value) for name, value in self._metrics.items()}

    def begin(self, observations: Any, mask: np.ndarray | None = None) -> None:
        """Take what `reset` returned, of all environments or of those of `mask`."""
        self._obs = self._encoded(observations)
        self._check_finite("the observation of reset", self._obs)
        chosen = np.ones(self._envs, bool) if mask is None else mask
        self._first[chosen], self._over[chosen] = True, False

    def act(self, actions: Any) -> np.ndarray:
        """Return `actions` as the bonus sees them, to be handed to `step`.

        Called before the environments are stepped. Raises BadEnvironmentData.
        """
        if self._obs is None:
            raise BadEnvironmentData(f"{self._name}: step was called before reset. Call reset.")
        if isinstance(self._acted, ARRAYS):
            self._check_shape("actions", np.asarray(actions), self._acted.shape)
        acted = self._located(
            lambda: encode_actions(self._acted, actions, self._bounds),
            "Send what the space of actions has, or wrap the environment so that it has others.",
        )
        self._check_finite("the action that it is given", acted)
        return acted

    def step(
        self,
        acted: np.ndarray,
        reward: np.ndarray,
        observations: Any,
        finals: dict[int, Any],
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (bonus float32 [E], which rows were transitions bool [E]), and learn when due.

        finals: {environment: last observation} of the episodes that ended, where `observations`
        already holds the first of the next. Raises BadEnvironmentData where something is not
        finite, Diverged where the bonus is not.
        """
        self._stepped += 1
        assert self._obs is not None, "step follows act"
        obs = self._encoded(observations)
        next_obs = self._successors(obs, finals)
        for index in finals:
            self._suspicion.look(self._obs[index], next_obs[index], obs[index])
        with np.errstate(over="ignore"):
            extrinsic = np.asarray(reward).astype(np.float32)
        self._check_shape("rewards", extrinsic, ())
        self._check_finite("the observation", obs)
        self._check_finite("the reward", extrinsic)
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        live, done = ~self._over, terminated | truncated
        row = {
            "obs": self._obs,
            "action": acted,
            "reward": extrinsic,
            "next_obs": next_obs,
            "terminated": terminated,
            "truncated": truncated & ~terminated,
            "first": self._first,
        }
        bonus = self._pay(row, live)
        self._obs = obs
        self._first = ~live if self._resets else done
        self._over = live & done & self._resets
        if self._filled >= self._steps * self._envs:
            self._learn()
        return bonus, live

    def mixed(self, reward: np.ndarray, bonus: np.ndarray) -> np.ndarray:
        """Return reward + scale · bonus in the reward's own dtype; whole numbers become floats."""
        reward = np.asarray(reward)
        kind = reward.dtype if reward.dtype.kind == "f" else np.result_type(reward, np.float32)
        return reward.astype(kind) + kind.type(self._schedule.scale) * bonus.astype(kind)

    def save(self, path: Path) -> None:
        saving.write(path, self._owner, self._all)

    def restore(self, path: Path) -> None:
        kept = saving.read(path, self._owner, self._all)
        self._learned, self._rows, self._bonuses = kept["learned"], kept["rows"], kept["bonuses"]
        self._stepped, self._updates, self._filled = (int(each) for each in kept["counted"])
        self._metrics = {}

    @property
    def _owner(self) -> dict[str, Any]:
        return {
            "bonus": repr(self._bonus),
            "environments": repr(self._spec),
            "update_every": self._schedule.update_every,
        }

    @property
    def _all(self) -> dict[str, Any]:
        counted = np.array([self._stepped, self._updates, self._filled], np.int64)
        return {
            "learned": self._learned,
            "rows": self._rows,
            "bonuses": self._bonuses,
            "counted": counted,
        }

    def _empty(self, steps: int) -> dict[str, np.ndarray]:
        """Return room for the rows of `steps` steps of all environments, [steps · E, ...]."""
        obs, action = self._spec.obs, self._spec.action
        discrete = isinstance(action, Discrete)
        fields = {
            "obs": (obs.shape, obs.dtype),
            "action": ((), "int32") if discrete else (action.shape, "float32"),
            "reward": ((), "float32"),
            "next_obs": (obs.shape, obs.dtype),
            "terminated": ((), "bool"),
            "truncated": ((), "bool"),
            "first": ((), "bool"),
        }
        count = steps * self._envs
        return {name: np.zeros((count, *shape), dtype) for name, (shape, dtype) in fields.items()}

    def _rollout(self, rows: dict[str, np.ndarray], steps: int, bonus: Any = None) -> Rollout:
        """Return rows [steps · n, ...] as a rollout [steps, n], with a bonus of 0 or this one."""
        bonus = np.zeros_like(rows["reward"]) if bonus is None else bonus
        return Rollout(
            **{
                name: leaf.reshape(steps, len(leaf) // steps, *leaf.shape[1:])
                for name, leaf in {**rows, "bonus": bonus}.items()
            }
        )

    def _pay(self, row: dict[str, np.ndarray], live: np.ndarray) -> np.ndarray:
        """Return the bonus [E] of the live rows, 0 for the others, and gather the live ones."""
        envs, bonus = np.flatnonzero(live), np.zeros(self._envs, np.float32)
        if not len(envs):
            return bonus
        begin, end = self._filled, self._filled + len(envs)
        for name, values in row.items():
            self._rows[name][begin:end] = values[envs]
        # JAX may read these arrays where they lie, so what is in them never changes again.
        now = self._rollout({name: leaf[begin:end] for name, leaf in self._rows.items()}, 1)
        number = np.uint32(self._stepped)
        if len(envs) == self._envs:
            paid, self._learned = learning.score(self._bonus, self._learned, number, now)
        else:
            paid, self._learned = learning.score_some(
                self._bonus, self._axes, self._learned, number, now, envs.astype(np.int32)
            )
        bonus[envs] = np.asarray(paid)[0]
        if not np.isfinite(bonus).all():
            index = int(np.flatnonzero(~np.isfinite(bonus))[0])
            raise Diverged(
                f"{self._told_of(index)}: the bonus is {bonus[index]}. What "
                f"{type(self._bonus).__name__} learns has diverged: try a smaller step size."
            )
        self._bonuses[begin:end] = bonus[envs]
        self._filled = end
        return bonus

    def _learn(self) -> None:
        """Learn from the oldest rows, and keep those that are too many."""
        count = self._steps * self._envs
        full = {name: leaf[:count] for name, leaf in self._rows.items()}
        rollout = self._rollout(full, self._steps, self._bonuses[:count])
        self._metrics, self._learned = learning.update(
            self._bonus, self._learned, np.uint32(self._updates), rollout
        )
        self._updates += 1
        rows, bonuses, left = self._rows, self._bonuses, self._filled - count
        self._rows, self._bonuses = self._empty(self._steps + 1), np.zeros_like(bonuses)
        for name, leaf in rows.items():
            self._rows[name][:left] = leaf[count : self._filled]
        self._bonuses[:left] = bonuses[count : self._filled]
        self._filled = left

    def _encoded(self, observations: Any) -> np.ndarray:
        if isinstance(self._observed, ARRAYS):  # as the environment has them
            self._check_shape("observations", np.asarray(observations), self._observed.shape)
        obs = self._located(
            lambda: encode_observations(self._observed, observations),
            "Mend the environment, or wrap it.",
        )
        self._check_shape("observations", obs, self._spec.obs.shape)
        return obs

    def _check_shape(self, what: str, values: np.ndarray, shape: Any) -> None:
        wanted = (self._envs, *shape)
        if values.shape != wanted:
            raise BadEnvironmentData(
                f"{self._name}, step {self._stepped}: the {what} have shape {values.shape} and "
                f"must have {wanted}. Mend the environment, or wrap it."
            )

    def _located(self, encode: Callable[[], np.ndarray], cure: str) -> np.ndarray:
        """Return `encode()`, what is wrong with it told with the step and with what to do."""
        try:
            return encode()
        except BadEnvironmentData as error:
            told = f"{self._name}, step {self._stepped}, {error}. {cure}"
            raise BadEnvironmentData(told) from None

    def _successors(self, obs: np.ndarray, finals: dict[int, Any]) -> np.ndarray:
        """Return the true successors [E, *obs_shape]."""
        if not finals:
            return obs
        next_obs = obs.copy()
        for index, given in finals.items():
            observation = handed_on(self._observed, given)
            wrong = fault(self._observed, observation)
            if wrong is not None:
                raise BadEnvironmentData(
                    f"{self._told_of(index)}: the last observation of the episode {wrong}. "
                    "Mend the environment, or wrap it."
                )
            next_obs[index] = encode_observation(self._observed, observation)
        return next_obs

    def _check_finite(self, what: str, values: np.ndarray) -> None:
        """Raise BadEnvironmentData, naming the environment and the step, unless all are finite."""
        if values.dtype.kind != "f" or np.isfinite(values).all():
            return
        index = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))[0])
        shown = np.array2string(values[index].ravel(), threshold=12)
        raise BadEnvironmentData(
            f"{self._told_of(index)}: {what} is not finite, or too large for float32: {shown}. "
            "Mend the environment, or wrap it."
        )

    def _told_of(self, index: int) -> str:
        return f"{self._name}, environment {index}, step {self._stepped}"


class Keeps:
    """What a wrapper says and keeps of its stream."""

    _stream: Stream

    @property
    def metrics(self) -> dict[str, float]:
        """What the bonus said when it last learned; empty before."""
        return self._stream.told

    def save(self, path: str | Path) -> None:
        """Write all that the wrapper has learned into one file. Raises CheckpointError."""
        self._stream.save(user_path(path))

    def restore(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises CheckpointError.

        The environments are not in the file: reset them, or bring them back in your own way.
        """
        self._stream.restore(user_path(path))

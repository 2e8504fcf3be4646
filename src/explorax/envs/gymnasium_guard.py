"""The border to a Gymnasium environment: what it returns is checked and made into one array.

Imports gymnasium, so it is imported only when such an environment is made.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium import spaces

from explorax.core.errors import BadEnvironmentData, Incompatible, in_words
from explorax.core.protocols import Box
from explorax.envs.space_limits import check_codes
from explorax.envs.supervision import close_quietly, is_fault

_MANY = 4096  # more bounds than this are summed up in one


def array_space(space: spaces.Space, name: str) -> spaces.Box:
    """Return the Box of the arrays into which `encode` turns observations of `space`.

    Raises Incompatible for spaces that Gymnasium cannot flatten, and for those whose elements have
    no fixed size, or no entries.
    """
    if _is_empty(space):
        raise Incompatible(f"{name} observes {space}, in which there is nothing to see.")
    check_codes(space, name)
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return space
    try:
        flat = space if isinstance(space, spaces.Box) else spaces.flatten_space(space)
    except NotImplementedError:
        raise Incompatible(
            f"{name} observes {space}, which Gymnasium cannot flatten. Take out what cannot be "
            "used (gymnasium.wrappers.FilterObservation)."
        ) from None
    if not isinstance(flat, spaces.Box):
        raise Incompatible(
            f"{name} observes {space}, which has no fixed size. "
            "Wrap it so that it observes a Box, a Discrete, or a Dict or Tuple of such."
        )
    low, high = flat.low.astype(np.float32), flat.high.astype(np.float32)
    return spaces.Box(low, high, dtype=np.float32)


def _is_empty(space: spaces.Space) -> bool:
    """Return whether `space`, or a part of it, has no entries at all."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return not parts or any(map(_is_empty, parts))
    return 0 in (space.shape or ())


def box_of(space: spaces.Space, name: str) -> Box:
    """Return what is seen of observations of `space` once they are encoded.

    Bounds are one number where all are alike, or there are many, or an image has them. Raises
    Incompatible as `array_space` does.
    """
    flat = array_space(space, name)
    low, high = _summed_up(flat.low, np.min), _summed_up(flat.high, np.max)
    return Box(flat.shape, low, high, str(flat.dtype), code_sizes(space))


def _summed_up(
    edge: np.ndarray, outermost: Callable[[np.ndarray], Any]
) -> float | tuple[float, ...]:
    widest = float(outermost(edge))
    if edge.ndim != 1 or edge.size > _MANY or (edge == widest).all():
        return widest
    return tuple(float(each) for each in edge)


def code_sizes(space: spaces.Space) -> tuple[int, ...] | None:
    """Return the sizes of the one-hot codes that `encode` makes of `space`, in their order.

    None where something else is among them: numbers, or flags that are no codes (MultiBinary).
    """
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(size) for size in space.nvec.ravel())
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        sizes = [code_sizes(part) for part in parts]
        known = [size for size in sizes if size is not None]
        return sum(known, ()) if known and len(known) == len(sizes) else None
    return None


def encode(space: spaces.Space, observation: Any) -> np.ndarray:
    """Return a checked observation as an array: images as uint8, all else as float32.

    Discrete becomes one-hot; Dict and Tuple are flattened in Gymnasium's order.
    """
    if isinstance(space, spaces.Box):
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        return np.asarray(observation, dtype)
    return np.asarray(spaces.flatten(space, observation), np.float32)


def fault(space: spaces.Space, value: Any) -> str | None:
    """Return what is wrong with an element of `space`, or None.

    Wrong are NaN and infinities, another shape, another kind of number, and numbers that no code,
    flag or byte has; a wider float than the space has (float64 for float32) is right.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or value.keys() != space.spaces.keys():
            return f"must be a dict with the keys {', '.join(space.spaces)}"
        parts = [(repr(name), part, value[name]) for name, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            return f"must be a tuple of {len(space.spaces)}"
        parts = [(str(index), part, value[index]) for index, part in enumerate(space.spaces)]
    else:
        return _array_fault(space, value)
    for name, part, element in parts:
        wrong = fault(part, element)
        if wrong is not None:
            return f"has an entry [{name}] that {wrong}"
    return None


def _array_fault(space: spaces.Space, value: Any) -> str | None:
    if isinstance(space, spaces.Text):
        return None if space.contains(value) else f"is {value!r} and must be in {space}"
    try:
        array = np.asarray(value)
    except ValueError:  # ragged lists
        return f"must be an array of shape {space.shape}"
    if array.shape != space.shape:
        return f"has shape {array.shape} and must have {space.shape}"
    whole = space.dtype is not None and np.dtype(space.dtype).kind in "iub"
    if array.dtype.kind not in ("iub" if whole else "fiub"):
        return f"has dtype {array.dtype} and must have {space.dtype}"
    wrong = _unfit(array)
    if wrong is not None:
        return f"{wrong}: {np.array2string(array.ravel(), threshold=12)}"
    low, high = whole_range(space)
    if low is None or array.dtype == np.uint8 == space.dtype:
        return None
    if ((array >= low) & (array <= high)).all():
        return None
    if array.ndim == 0:
        return f"is {int(array)} and must be in {low} .. {high}"
    return f"is {np.array2string(array, threshold=12)} and must be in {space}"


def whole_range(space: spaces.Space) -> tuple[Any, Any]:
    """Return the least and the greatest whole numbers of what becomes codes or bytes, or Nones."""
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start) + int(space.n) - 1
    if isinstance(space, spaces.MultiDiscrete):
        start = space.start.astype(np.int64)  # a narrow dtype may not hold the sum
        return start, start + space.nvec.astype(np.int64) - 1
    if isinstance(space, spaces.MultiBinary):
        return 0, 1
    return (0, 255) if space.dtype == np.uint8 else (None, None)


def _unfit(array: np.ndarray) -> str | None:
    """Return why learners, who have float32, cannot take these numbers, or None."""
    if not np.isfinite(array).all():
        return "is not finite"
    with np.errstate(over="ignore"):
        return None if np.isfinite(array.astype(np.float32)).all() else "is too large for float32"


class Guard:
    """One environment of several: checks what it returns and encodes its observations.

    `place` is what `locate` says after the last step, also where an episode ended.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        name: str,
        index: int,
        locate: Callable[[gymnasium.Env], tuple[float, float]] | None = None,
        steps: int = 0,
    ) -> None:
        self.env, self.name, self.index, self.steps = env, name, index, steps
        self.locate, self.place = locate, (0.0, 0.0)
        self.action_space = env.action_space
        self._scalar = isinstance(env.action_space, spaces.Box) and env.action_space.shape == ()
        space = array_space(env.observation_space, name)
        self.obs_like = np.zeros(space.shape, space.dtype)
        is_box = isinstance(env.observation_space, spaces.Box)
        self._plain = space.shape if is_box and space.dtype == np.float32 else None

    @property
    def unwrapped(self) -> Any:
        return self.env.unwrapped

    def reset(self, seed: int | None) -> np.ndarray:
        try:
            observation, _ = self.env.reset(seed=seed)
        except BaseException as error:
            raise self._failed("reset", error) from error
        return self._observe(observation, "the observation of reset")

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        self.steps += 1
        observation, reward, terminated, truncated = self._stepped(action)
        encoded = self._observe(observation, "the observation")
        if not (isinstance(reward, float) and -_FITS < reward < _FITS):
            self._check_reward(reward)
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                self._raise(name, f"must be True or False and is {flag!r}")
        if self.locate is not None:
            self.place = self.locate(self.env)
        return encoded, float(reward), bool(terminated), bool(truncated)

    def draw(self) -> np.ndarray:
        try:
            return np.asarray(self.env.render(), np.uint8)
        except (ImportError, gymnasium.error.DependencyNotInstalled):
            raise  # with a cure of its own
        except BaseException as error:
            raise self._failed("render", error) from error

    def close(self) -> None:
        close_quietly(self.env.close, f"{self.name}, environment {self.index}")

    def _failed(self, method: str, error: BaseException) -> BaseException:
        """Return what to raise: whatever an environment does, what was learned must be saved."""
        if not is_fault(error):
            raise error
        return BadEnvironmentData(self._told(f"{method} raised {in_words(error)}"))

    def _stepped(self, action: Any) -> tuple[Any, Any, Any, Any]:
        if self._scalar:  # rows give a number, and a Box contains arrays
            action = np.asarray(action)
        try:
            observation, reward, terminated, truncated, _ = self.env.step(action)
        except BaseException as error:
            raise self._failed("step", error) from error
        return observation, reward, terminated, truncated

    def _check_reward(self, reward: Any) -> None:
        if np.shape(reward) != () or np.asarray(reward).dtype.kind not in "fiub":
            self._raise("the reward", f"must be one number and is {reward!r}")
        wrong = _unfit(np.asarray(reward))
        if wrong is not None:
            self._raise("the reward", f"{wrong}: {float(reward)}")

    def _observe(self, observation: Any, field: str) -> np.ndarray:
        if self._plain is not None and _is_small(observation, self._plain):
            return observation  # the environment's own, which the rows copy before any other call
        try:
            wrong = fault(self.env.observation_space, observation)
            if wrong is None:
                return encode(self.env.observation_space, observation)
        except Exception as error:  # an object of its own that is like an array, and is none
            wrong = f"cannot be read: {in_words(error)}"
        self._raise(field, wrong)

    def _raise(self, field: str, wrong: str) -> NoReturn:
        raise BadEnvironmentData(self._told(f"{field} {wrong}"))

    def _told(self, wrong: str) -> str:
        return (
            f"{self.name}, environment {self.index}, step {self.steps}: {wrong}. "
            "Mend the environment, or wrap it."
        )


_FITS = 1e38  # what is smaller fits into float32
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _is_small(observation: Any, shape: tuple[int, ...]) -> bool:
    """Return whether this is an array of floats of that shape that surely fit into float32.

    One product in place of the full check, which takes longer than many an environment's step.
    """
    if type(observation) is not np.ndarray or observation.shape != shape:
        return False
    if observation.dtype not in _FLOATS:
        return False
    flat = observation.ravel()
    with np.errstate(over="ignore"):
        return bool(flat.dot(flat) < _FITS)

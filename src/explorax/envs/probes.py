"""Probe environments: the smallest tasks that show which part of an agent is broken.

Easiest first, as in rejax's tests and Andy Jones's "Debugging RL". Every one has analytic answers:
`value(obs, gamma)`, the value [] of an observation under the best policy, and, where actions
matter, `best_action(obs)`. Each takes discrete actions (two of them) or, if `continuous`, one
number in [-1, 1]. Observations are [1], and those of the probe of memory, the last one, [2].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key
from explorax.core.pytree import pytree
from explorax.core.settings import check_types

_OBS = Box((1,))


@pytree
class ProbeState:
    sign: jax.Array  # float32 [], the observation


def _one(key: Key) -> ProbeState:
    return ProbeState(jnp.float32(1.0))


def _either(key: Key) -> ProbeState:
    return ProbeState(jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32))


def _observe(state: ProbeState) -> jax.Array:
    return state.sign[None]


def _place(point: jax.Array) -> ProbeState:
    return ProbeState(point[0])


def _draw(state: ProbeState) -> np.ndarray:
    from explorax.envs.drawing import draw_grid

    return draw_grid(2, 2, int(state.sign > 0), {})


def _action(continuous: bool) -> Discrete | Box:
    return Box((1,)) if continuous else Discrete(2)


@dataclass(frozen=True)
class ProbeConstant:
    """One step, always the same observation and reward 1: is the value learned at all?"""

    continuous: bool = False

    obs = _OBS
    max_episode_steps = 1
    success_return = 1.0
    view = None
    reset, observe = staticmethod(_one), staticmethod(_observe)
    place, draw = staticmethod(_place), staticmethod(_draw)

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    def step(
        self, state: ProbeState, key: Key, action: jax.Array
    ) -> tuple[ProbeState, jax.Array, jax.Array]:
        return state, jnp.float32(1.0), jnp.bool_(True)

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        return jnp.ones_like(obs[0])


@dataclass(frozen=True)
class ProbeObservation:
    """One step, observation ±1 at random and the same as reward: does the value see its input?"""

    continuous: bool = False

    obs = _OBS
    max_episode_steps = 1
    success_return = None
    view = None
    reset, observe = staticmethod(_either), staticmethod(_observe)
    place, draw = staticmethod(_place), staticmethod(_draw)

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    def step(
        self, state: ProbeState, key: Key, action: jax.Array
    ) -> tuple[ProbeState, jax.Array, jax.Array]:
        return state, state.sign, jnp.bool_(True)

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        return obs[0]


@dataclass(frozen=True)
class ProbeDelay:
    """Two steps, observation −1 then 1, reward 1 at the end: is the discount right?"""

    continuous: bool = False

    obs = _OBS
    max_episode_steps = 2
    success_return = 1.0
    view = None
    observe = staticmethod(_observe)
    place, draw = staticmethod(_place), staticmethod(_draw)

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    def reset(self, key: Key) -> ProbeState:
        return ProbeState(jnp.float32(-1.0))

    def step(
        self, state: ProbeState, key: Key, action: jax.Array
    ) -> tuple[ProbeState, jax.Array, jax.Array]:
        last = state.sign > 0
        return ProbeState(jnp.float32(1.0)), last.astype(jnp.float32), last

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        return jnp.where(obs[0] > 0, 1.0, gamma)


@dataclass(frozen=True)
class ProbeAction:
    """One step, always the same observation; action 1 pays 1, action 0 pays −1: is the policy led?

    Continuous: the reward is 1 − (a − 0.5)².
    """

    continuous: bool = False

    obs = _OBS
    max_episode_steps = 1
    success_return = 0.9
    view = None
    reset, observe = staticmethod(_one), staticmethod(_observe)
    place, draw = staticmethod(_place), staticmethod(_draw)

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    def step(
        self, state: ProbeState, key: Key, action: jax.Array
    ) -> tuple[ProbeState, jax.Array, jax.Array]:
        if self.continuous:
            reward = 1.0 - (jnp.clip(action[0], -1.0, 1.0) - 0.5) ** 2
        else:
            reward = jnp.where(action == 1, 1.0, -1.0)
        return state, reward.astype(jnp.float32), jnp.bool_(True)

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        return jnp.ones_like(obs[0])

    def best_action(self, obs: jax.Array) -> jax.Array:
        return jnp.full(1, 0.5) if self.continuous else jnp.int32(1)


@dataclass(frozen=True)
class ProbeBoth:
    """One step, observation ±1 at random; action 1 is right at 1, action 0 at −1: do both meet?

    The right action pays 1 and the wrong one −1. Continuous: the reward is 1 − (a − obs/2)².
    """

    continuous: bool = False

    obs = _OBS
    max_episode_steps = 1
    success_return = 0.9
    view = None
    reset, observe = staticmethod(_either), staticmethod(_observe)
    place, draw = staticmethod(_place), staticmethod(_draw)

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    def step(
        self, state: ProbeState, key: Key, action: jax.Array
    ) -> tuple[ProbeState, jax.Array, jax.Array]:
        if self.continuous:
            reward = 1.0 - (jnp.clip(action[0], -1.0, 1.0) - 0.5 * state.sign) ** 2
        else:
            reward = jnp.where((action == 1) == (state.sign > 0), 1.0, -1.0)
        return state, reward.astype(jnp.float32), jnp.bool_(True)

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        return jnp.ones_like(obs[0])

    def best_action(self, obs: jax.Array) -> jax.Array:
        return 0.5 * obs if self.continuous else (obs[0] > 0).astype(jnp.int32)


@pytree
class RecallState:
    sign: jax.Array  # float32 [], what the first observation showed
    step: jax.Array  # int32 [], 0 .. delay


@dataclass(frozen=True)
class ProbeRecall:
    """The first observation shows ±1, blank ones follow, and the last action must say which it was.

    Observations are [2]: the sign, at first, and 0 later; and how much of the `delay` is over, from
    0 to 1. An episode has delay + 1 steps, and only the action in its last one counts: the right
    one pays 1 and the other −1. Continuous: the reward is sign · a. Who remembers gets 1 in every
    episode; whatever one does without memory, the mean return is 0.
    `best_action` is told the episode's first observation.
    """

    delay: int
    continuous: bool = False

    obs = Box((2,))
    success_return = 0.9
    view = None

    def __post_init__(self) -> None:
        check_types(self)
        require(self.delay >= 1, self, "delay", "at least 1")

    @property
    def action(self) -> Discrete | Box:
        return _action(self.continuous)

    @property
    def max_episode_steps(self) -> int:
        return self.delay + 1

    def reset(self, key: Key) -> RecallState:
        return RecallState(_either(key).sign, jnp.int32(0))

    def observe(self, state: RecallState) -> jax.Array:
        shown = jnp.where(state.step == 0, state.sign, 0.0)
        return jnp.stack([shown, state.step.astype(jnp.float32) / self.delay])

    def step(
        self, state: RecallState, key: Key, action: jax.Array
    ) -> tuple[RecallState, jax.Array, jax.Array]:
        if self.continuous:
            answer = jnp.clip(action[0], -1.0, 1.0)
        else:
            answer = jnp.where(action == 1, 1.0, -1.0)
        last = state.step == self.delay
        reward = jnp.where(last, answer * state.sign, 0.0).astype(jnp.float32)
        # the last observation stays within bounds: nobody sees what follows it
        return RecallState(state.sign, jnp.minimum(state.step + 1, self.delay)), reward, last

    def value(self, obs: jax.Array, gamma: float) -> jax.Array:
        """Return γ^(steps until the answer), for who remembers."""
        return jnp.power(gamma, self.delay * (1.0 - obs[1]))

    def best_action(self, obs: jax.Array) -> jax.Array:
        """Return the right answer, given the first observation."""
        return obs[:1] if self.continuous else (obs[0] > 0).astype(jnp.int32)

    def place(self, point: jax.Array) -> RecallState:
        """Return the first step with sign `point[0]`."""
        return RecallState(point[0], jnp.int32(0))

    def draw(self, state: RecallState) -> np.ndarray:
        from explorax.envs.drawing import draw_grid

        columns = self.delay + 1
        return draw_grid(2 * columns, columns, int(state.step) + columns * int(state.sign < 0), {})

"""Mountain car with a throttle, and a price on using it."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Key
from explorax.core.settings import check_types
from explorax.envs.mountain_car import (
    CAR_OBS,
    CAR_VIEW,
    CarState,
    arrived,
    observe_car,
    place_car,
    reset_car,
    roll,
)

GOAL = 0.45


@dataclass(frozen=True)
class MountainCarContinuous:
    """Drive a car onto a hill: +100 there, and −0.1 · throttle² per step.

    Equal to Gymnasium's MountainCarContinuous-v0 for actions within [-1, 1]; ours also clips the
    action before it is paid for, which Gymnasium does not. So an episode of at most 999 steps that
    reaches the goal returns at least 0.1, and one that does not returns at most 0.
    """

    power: float = 0.0015

    def __post_init__(self) -> None:
        check_types(self)
        require(0 < self.power < math.inf, self, "power", "positive")

    obs = CAR_OBS
    action = Box((1,))
    max_episode_steps = 999
    success_return = 0.05
    view = CAR_VIEW

    reset = staticmethod(reset_car)
    observe = staticmethod(observe_car)
    place = staticmethod(place_car)

    def step(
        self, state: CarState, key: Key, action: jax.Array
    ) -> tuple[CarState, jax.Array, jax.Array]:
        throttle = jnp.clip(action[0], -1.0, 1.0)
        state = roll(state, throttle * self.power)
        terminated = arrived(state, GOAL)
        reward = jnp.where(terminated, 100.0, 0.0) - 0.1 * throttle**2
        return state, reward.astype(jnp.float32), terminated

    def draw(self, state: CarState) -> np.ndarray:
        from explorax.envs.drawing import draw_mountain_car

        return draw_mountain_car(float(state.position), GOAL)

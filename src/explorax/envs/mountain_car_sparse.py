"""Mountain car that pays at the goal and nowhere else."""

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
from explorax.envs.mountain_car_continuous import GOAL


@dataclass(frozen=True)
class MountainCarSparse:
    """Drive a car onto a hill: +1 there and 0 elsewhere, in 500 steps.

    The sparse task of VIME (arXiv 1605.09674, section 3) on the dynamics of Gymnasium's
    MountainCarContinuous-v0 instead of rllab's Box2D world; unlike there, leaving at the left pays
    nothing. `power` is the engine's: the weaker, the more swings it takes. Of 2,000 episodes of
    Gaussian noise with deviation 1, one reached the goal with the stock 0.0015, none with 0.0008.
    """

    power: float = 0.0015

    def __post_init__(self) -> None:
        check_types(self)
        require(0 < self.power < math.inf, self, "power", "positive")

    obs = CAR_OBS
    action = Box((1,))
    max_episode_steps = 500
    success_return = 1.0
    view = CAR_VIEW

    reset = staticmethod(reset_car)
    observe = staticmethod(observe_car)
    place = staticmethod(place_car)

    def step(
        self, state: CarState, key: Key, action: jax.Array
    ) -> tuple[CarState, jax.Array, jax.Array]:
        state = roll(state, jnp.clip(action[0], -1.0, 1.0) * self.power)
        terminated = arrived(state, GOAL)
        return state, terminated.astype(jnp.float32), terminated

    def draw(self, state: CarState) -> np.ndarray:
        from explorax.envs.drawing import draw_mountain_car

        return draw_mountain_car(float(state.position), GOAL)

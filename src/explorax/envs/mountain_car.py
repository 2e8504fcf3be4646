"""Mountain car: an engine too weak to climb, so the car must first swing away from the goal."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree

MIN_POSITION, MAX_POSITION, MAX_SPEED, GRAVITY = -1.2, 0.6, 0.07, 0.0025

CAR_OBS = Box((2,), low=(MIN_POSITION, -MAX_SPEED), high=(MAX_POSITION, MAX_SPEED))
CAR_VIEW = View(
    labels=("position (m)", "velocity (m/step)"),
    low=(MIN_POSITION, -MAX_SPEED),
    high=(MAX_POSITION, MAX_SPEED),
)


@pytree
class CarState:
    position: jax.Array  # m, float32 []
    velocity: jax.Array  # m/step, float32 []


def reset_car(key: Key) -> CarState:
    """Return a car at rest near the bottom of the valley, position ~ U(-0.6, -0.4)."""
    return CarState(jax.random.uniform(key, minval=-0.6, maxval=-0.4), jnp.float32(0.0))


def observe_car(state: CarState) -> jax.Array:
    """Return (position, velocity), float32 [2]."""
    return jnp.stack([state.position, state.velocity])


def place_car(point: jax.Array) -> CarState:
    """Return the car at `point` = (position, velocity)."""
    return CarState(point[0], point[1])


def roll(state: CarState, push: jax.Array) -> CarState:
    """Return the car one step later, pushed by the acceleration `push` (m/step²).

    v' = clip(v + push − 0.0025 cos 3x, ±0.07),  x' = clip(x + v', −1.2, 0.6);
    the wall at the left stops the car.
    """
    velocity = state.velocity + push - GRAVITY * jnp.cos(3.0 * state.position)
    velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
    position = jnp.clip(state.position + velocity, MIN_POSITION, MAX_POSITION)
    at_wall = (position <= MIN_POSITION) & (velocity < 0.0)
    return CarState(position, jnp.where(at_wall, 0.0, velocity))


def arrived(state: CarState, goal: float) -> jax.Array:
    """Return whether the car is at the goal and not rolling back, bool []."""
    return (state.position >= goal) & (state.velocity >= 0.0)


@dataclass(frozen=True)
class MountainCar:
    """Push a car left, not at all or right: −1 per step until it is on the hill.

    Equal to Gymnasium's MountainCar-v0 (Moore 1990; Sutton and Barto 2018, example 10.1).
    An episode that reaches the flag before its last step, the 200th, returns more than −200.
    """

    obs = CAR_OBS
    action = Discrete(3)
    max_episode_steps = 200
    success_return = -199.0
    view = CAR_VIEW

    reset = staticmethod(reset_car)
    observe = staticmethod(observe_car)
    place = staticmethod(place_car)

    def step(
        self, state: CarState, key: Key, action: jax.Array
    ) -> tuple[CarState, jax.Array, jax.Array]:
        state = roll(state, (action.astype(jnp.float32) - 1.0) * 0.001)
        return state, jnp.float32(-1.0), arrived(state, goal=0.5)

    def draw(self, state: CarState) -> np.ndarray:
        from explorax.envs.drawing import draw_mountain_car

        return draw_mountain_car(float(state.position), goal=0.5)

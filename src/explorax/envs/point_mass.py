"""A mass in a plane that must come to rest in the middle."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.envs.control_suite import (
    EPISODE_STEPS,
    HALF_OF_ALL,
    gaussian_tolerance,
    limit_force,
    quadratic_tolerance,
)

MASS_KG, DAMPING, FORCE_N, WALL_M, TARGET_M, DT_S = 0.3, 1.0, 0.1, 0.29, 0.015, 0.02


@pytree
class PointMassState:
    position: jax.Array  # m, float32 [2]
    velocity: jax.Array  # m/s, float32 [2]


@dataclass(frozen=True)
class PointMass:
    """Push a mass to the middle of a square and stay there, gently: 1,000 steps.

    dm_control's point_mass-easy: 0.3 kg, damping 1 N s/m, a force of ±0.1 N along each axis, soft
    walls at ±0.29 m; starts at rest anywhere within them; 0.02 s per step. The place (m) and the
    velocity (m/s) are observed. With d the distance from the middle it pays, per step,
    10^−((d − r)/r)² beyond r = 0.015 m and 1 within, times ⅕(4 + ½ Σᵢ (1 − aᵢ²)).

    Nothing deviates but float32: one step is MuJoCo's semi-implicit Euler with implicit damping,
    v' = v + h (F − c v + wall) / (m + h c),  x' = x + h v'.

    An episode succeeds with a return of 500, half of all there is.
    """

    obs = Box((4,), low=-math.inf, high=math.inf)
    action = Box((2,))
    max_episode_steps = EPISODE_STEPS
    success_return = HALF_OF_ALL
    view = View(labels=("x (m)", "y (m)"), low=(-0.3, -0.3), high=(0.3, 0.3))

    def reset(self, key: Key) -> PointMassState:
        position = jax.random.uniform(key, (2,), minval=-WALL_M, maxval=WALL_M)
        return PointMassState(position, jnp.zeros(2))

    def observe(self, state: PointMassState) -> jax.Array:
        return jnp.concatenate([state.position, state.velocity])

    def step(
        self, state: PointMassState, key: Key, action: jax.Array
    ) -> tuple[PointMassState, jax.Array, jax.Array]:
        push = jnp.clip(action, -1.0, 1.0)
        force = FORCE_N * push - DAMPING * state.velocity
        force = force + limit_force(
            state.position, state.velocity, force / MASS_KG, 1 / MASS_KG, 1 / MASS_KG,
            limit=WALL_M, time_constant_s=2 * DT_S,
        )  # fmt: skip
        velocity = state.velocity + DT_S * force / (MASS_KG + DT_S * DAMPING)
        position = state.position + DT_S * velocity
        beyond = jnp.maximum(jnp.hypot(position[0], position[1]) - TARGET_M, 0.0)
        calm = (4 + quadratic_tolerance(push, 1.0).mean()) / 5
        reward = gaussian_tolerance(beyond, TARGET_M) * calm
        return PointMassState(position, velocity), reward, jnp.bool_(False)

    def draw(self, state: PointMassState) -> np.ndarray:
        from explorax.envs.drawing_control import draw_point_mass

        x, y = np.asarray(state.position)
        return draw_point_mass((float(x), float(y)), WALL_M, TARGET_M)

    def place(self, point: jax.Array) -> PointMassState:
        return PointMassState(point, jnp.zeros(2))

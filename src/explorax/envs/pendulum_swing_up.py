"""Pendulum swing-up: a motor too weak to lift the mass must swing it."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.envs.control_suite import EPISODE_STEPS, GRAVITY, HALF_OF_ALL, in_turn

MASS_KG, LENGTH_M, BALL_M, DAMPING, TORQUE_NM, DT_S = 1.0, 0.5, 0.05, 0.1, 1.0, 0.02
INERTIA = MASS_KG * (LENGTH_M**2 + 0.4 * BALL_M**2)  # kg m², about the hinge
UPRIGHT_RAD = math.radians(8)


@pytree
class SwingState:
    angle: jax.Array  # rad from upright, clockwise
    omega: jax.Array  # rad/s


@dataclass(frozen=True)
class PendulumSwingUp:
    """Swing a pendulum up and hold it there: +1 per step within 8° of upright, 1,000 steps.

    dm_control's pendulum-swingup: a ball of 1 kg and radius 0.05 m on a massless rod of 0.5 m,
    hinge damping 0.1 N m s, a torque of ±1 N m where holding the rod level takes 4.9; starts at
    rest at any angle; (cos θ, sin θ, ω) is observed; 0.02 s per step. Nothing deviates but float32:
    the step is MuJoCo's semi-implicit Euler with implicit damping, I = 0.251 kg m²,
    ω' = ω + h (m g l sin θ − c ω + τ) / (I + h c),  θ' = θ + h ω'.

    An episode succeeds with a return of 500, half of all there is.
    """

    obs = Box((3,), low=(-1.0, -1.0, -math.inf), high=(1.0, 1.0, math.inf))
    action = Box((1,))
    max_episode_steps = EPISODE_STEPS
    success_return = HALF_OF_ALL
    view = View(
        labels=("angle (rad, 0 stands)", "angular velocity (rad/s)"),
        low=(-math.pi, -10.0),
        high=(math.pi, 10.0),
        dims=((0, 1), 2),
        periodic=(True, False),
    )

    def reset(self, key: Key) -> SwingState:
        angle = jax.random.uniform(key, minval=-math.pi, maxval=math.pi)
        return SwingState(angle, jnp.float32(0.0))

    def observe(self, state: SwingState) -> jax.Array:
        return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.omega])

    def step(
        self, state: SwingState, key: Key, action: jax.Array
    ) -> tuple[SwingState, jax.Array, jax.Array]:
        torque = TORQUE_NM * jnp.clip(action[0], -1.0, 1.0) - DAMPING * state.omega
        torque = torque + MASS_KG * GRAVITY * LENGTH_M * jnp.sin(state.angle)
        omega = state.omega + DT_S * torque / (INERTIA + DT_S * DAMPING)
        state = SwingState(in_turn(state.angle + DT_S * omega), omega)
        upright = jnp.cos(state.angle) >= math.cos(UPRIGHT_RAD)
        return state, upright.astype(jnp.float32), jnp.bool_(False)

    def draw(self, state: SwingState) -> np.ndarray:
        from explorax.envs.drawing_control import draw_pendulum

        return draw_pendulum(float(state.angle), UPRIGHT_RAD)

    def place(self, point: jax.Array) -> SwingState:
        return SwingState(point[0], point[1])

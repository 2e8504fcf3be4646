"""Cart-pole: keep a pole upright by pushing the cart that it stands on."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree

CART_MASS_KG, POLE_MASS_KG, HALF_LENGTH_M, FORCE_N = 1.0, 0.1, 0.5, 10.0


@pytree
class CartPoleState:
    x: jax.Array  # m
    v: jax.Array  # m/s
    angle: jax.Array  # rad from upright, positive where the pole leans to the right
    omega: jax.Array  # rad/s


def accelerations(
    angle: jax.Array, omega: jax.Array, force: jax.Array, gravity: float, pole_inertia: float
) -> tuple[jax.Array, jax.Array]:
    """Return (ẍ, θ̈) of a frictionless cart with a hinged rigid pole.

    With M = m_c + m_p, the half length l and the pole's inertia I about its own centre:
    t = (F + m_p l ω² sin θ) / M,  θ̈ = (g sin θ − t cos θ) / (l (1 + I/(m_p l²) − m_p cos²θ / M)),
    ẍ = t − m_p l θ̈ cos θ / M.  A thin rod has I = m_p l² / 3, which gives the factor 4/3 of Barto,
    Sutton and Anderson (1983).
    """
    total, moment = CART_MASS_KG + POLE_MASS_KG, POLE_MASS_KG * HALF_LENGTH_M
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    push = (force + moment * omega**2 * sine) / total
    shape = 1.0 + pole_inertia / (moment * HALF_LENGTH_M)
    angular = (gravity * sine - cosine * push) / (
        HALF_LENGTH_M * (shape - POLE_MASS_KG * cosine**2 / total)
    )
    return push - moment * angular * cosine / total, angular


def observe_cart_pole(state: CartPoleState) -> jax.Array:
    """Return (x, v, angle, angular velocity), float32 [4]."""
    return jnp.stack([state.x, state.v, state.angle, state.omega])


X_LIMIT_M, ANGLE_LIMIT_RAD = 2.4, 12 * 2 * math.pi / 360
THIN_ROD_KG_M2 = POLE_MASS_KG * HALF_LENGTH_M**2 / 3
DT_S = 0.02


@dataclass(frozen=True)
class CartPole:
    """Push a cart left or right so that its pole does not fall: +1 per step, 500 steps.

    Equal to Gymnasium's CartPole-v1: Euler steps of 0.02 s, the end at ±2.4 m or ±12°.
    """

    obs = Box(
        (4,),
        low=(-2 * X_LIMIT_M, -math.inf, -2 * ANGLE_LIMIT_RAD, -math.inf),
        high=(2 * X_LIMIT_M, math.inf, 2 * ANGLE_LIMIT_RAD, math.inf),
    )
    action = Discrete(2)
    max_episode_steps = 500
    success_return = 475.0
    view = View(
        labels=("angle (rad)", "angular velocity (rad/s)"), low=(-0.25, -3.0), high=(0.25, 3.0),
        dims=(2, 3),
    )  # fmt: skip

    observe = staticmethod(observe_cart_pole)

    def reset(self, key: Key) -> CartPoleState:
        return CartPoleState(*jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05))

    def step(
        self, state: CartPoleState, key: Key, action: jax.Array
    ) -> tuple[CartPoleState, jax.Array, jax.Array]:
        force = jnp.where(action == 1, FORCE_N, -FORCE_N)
        acceleration, angular = accelerations(
            state.angle, state.omega, force, gravity=9.8, pole_inertia=THIN_ROD_KG_M2
        )
        state = CartPoleState(
            state.x + DT_S * state.v,
            state.v + DT_S * acceleration,
            state.angle + DT_S * state.omega,
            state.omega + DT_S * angular,
        )
        fallen = (jnp.abs(state.x) > X_LIMIT_M) | (jnp.abs(state.angle) > ANGLE_LIMIT_RAD)
        return state, jnp.float32(1.0), fallen

    def draw(self, state: CartPoleState) -> np.ndarray:
        from explorax.envs.drawing import draw_cart_pole

        return draw_cart_pole(float(state.x), float(state.angle), X_LIMIT_M, ANGLE_LIMIT_RAD)

    def place(self, point: jax.Array) -> CartPoleState:
        rest = jnp.float32(0.0)
        return CartPoleState(rest, rest, point[0], point[1])

"""Cart-pole swing-up that pays only while the pole is nearly upright."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import replace
from explorax.core.settings import check_types
from explorax.envs.cart_pole import (
    FORCE_N,
    POLE_MASS_KG,
    CartPoleState,
    accelerations,
    observe_cart_pole,
)
from explorax.envs.integrate import runge_kutta

X_LIMIT_M, UPRIGHT, GRAVITY = 3.0, 0.8, 10.0
BAR_KG_M2 = POLE_MASS_KG * (1.0**2 + 0.1**2) / 12  # a bar of 1 m by 0.1 m
DT_S, SUBSTEPS = 0.05, 2
MAX_SPEED = 0.5 * math.pi / DT_S  # rad/s
ANGLES = ("raw", "cos_sin")


@dataclass(frozen=True)
class CartPoleSwingUpSparse:
    """Swing a hanging pole up by moving its cart: +1 per step while it is nearly upright.

    VIME's CartpoleSwingupX (arXiv 1605.09674, section 3; released code): +1 where cos θ > 0.8 and
    |x| ≤ 3, and the end, without pay, where |x| > 3; 500 steps; x ~ U(±1), v ~ U(±2),
    θ ~ U(π ± 1), ω ~ U(±3); force ±10 N. The bodies are rllab's: a cart of 1 kg, a pole of 0.1 kg,
    1 m by 0.1 m, hinged at its foot, g = 10 m/s², 0.05 s per step.

    Deviations: the equations of motion in closed form, by Runge-Kutta steps of 0.025 s, in place of
    Box2D and its tiny friction (its limit of π/2 per step on every rotation is kept); θ grows
    clockwise, a mirror image.

    `angle` is how θ is observed. "raw", the original: a number that is not wrapped, so that it
    never jumps; π hangs, and 0, 2π, 4π, ... stand, which a pole that has spun cannot tell apart.
    "cos_sin": its cosine and sine, (x, v, cos θ, sin θ, ω), where all upright poles look the same.
    """

    angle: str = "raw"  # or "cos_sin"

    action = Box((1,))
    max_episode_steps = 500
    success_return = 1.0

    def __post_init__(self) -> None:
        check_types(self)
        require(self.angle in ANGLES, self, "angle", f"one of {ANGLES}")

    @property
    def obs(self) -> Box:
        return Box((4 if self.angle == "raw" else 5,), low=-math.inf, high=math.inf)

    @property
    def view(self) -> View:
        return View(
            labels=("angle (rad)", "angular velocity (rad/s)"),
            low=(-math.pi, -10.0),
            high=(math.pi, 10.0),
            dims=(2, 3) if self.angle == "raw" else ((2, 3), 4),
            periodic=(True, False),
        )

    def observe(self, state: CartPoleState) -> jax.Array:
        if self.angle == "raw":
            return observe_cart_pole(state)
        cosine, sine = jnp.cos(state.angle), jnp.sin(state.angle)
        return jnp.stack([state.x, state.v, cosine, sine, state.omega])

    def reset(self, key: Key) -> CartPoleState:
        spread = jnp.array([1.0, 2.0, 1.0, 3.0])
        x, v, angle, omega = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0) * spread
        return CartPoleState(x, v, angle + math.pi, omega)

    def step(
        self, state: CartPoleState, key: Key, action: jax.Array
    ) -> tuple[CartPoleState, jax.Array, jax.Array]:
        force = jnp.clip(action[0], -1.0, 1.0) * FORCE_N

        def slope(state: CartPoleState) -> CartPoleState:
            acceleration, angular = accelerations(
                state.angle, state.omega, force, GRAVITY, BAR_KG_M2
            )
            return CartPoleState(state.v, acceleration, state.omega, angular)

        state = runge_kutta(slope, state, DT_S, SUBSTEPS)
        state = replace(state, omega=jnp.clip(state.omega, -MAX_SPEED, MAX_SPEED))
        outside = jnp.abs(state.x) > X_LIMIT_M
        upright = jnp.cos(state.angle) > UPRIGHT
        return state, (upright & ~outside).astype(jnp.float32), outside

    def draw(self, state: CartPoleState) -> np.ndarray:
        from explorax.envs.drawing import draw_cart_pole

        return draw_cart_pole(float(state.x), float(state.angle), X_LIMIT_M, math.acos(UPRIGHT))

    def place(self, point: jax.Array) -> CartPoleState:
        rest = jnp.float32(0.0)
        return CartPoleState(rest, rest, point[0], point[1])

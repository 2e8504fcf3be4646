"""Cart-pole swing-up as the DeepMind control suite has it, with its dense or its sparse reward."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import replace
from explorax.core.settings import check_types
from explorax.envs.cart_pole import (
    CART_MASS_KG,
    FORCE_N,
    HALF_LENGTH_M,
    POLE_MASS_KG,
    CartPoleState,
)
from explorax.envs.control_suite import (
    EPISODE_STEPS,
    GRAVITY,
    HALF_OF_ALL,
    capsule_inertia,
    gaussian_tolerance,
    in_turn,
    limit_force,
    quadratic_tolerance,
    solve_symmetric,
    within,
)
from explorax.envs.integrate import runge_kutta

RAIL_M, RAIL_TIME_CONSTANT_S, DT_S = 1.8, 0.08, 0.01
CART_DAMPING, HINGE_DAMPING = 5e-4, 2e-6  # N s/m, N m s
TOTAL_KG, MOMENT = CART_MASS_KG + POLE_MASS_KG, POLE_MASS_KG * HALF_LENGTH_M
POLE_INERTIA = capsule_inertia(POLE_MASS_KG, 1.0, 0.045) + MOMENT * HALF_LENGTH_M  # at the hinge
RESPONSE_UPRIGHT = POLE_INERTIA / (TOTAL_KG * POLE_INERTIA - MOMENT**2)
NEAR_M, UPRIGHT = 0.25, 0.995  # what the sparse reward asks of |x| and of cos θ


def cart_pole_slope(state: CartPoleState, force: jax.Array) -> CartPoleState:
    """Return the time derivative of a cart-pole on a rail with soft ends.

    With M = m_c + m_p, s = m_p l and the pole's inertia J about the hinge,
    M ẍ + s cos θ θ̈ = F − c v + s ω² sin θ + (the rail's end),
    s cos θ ẍ + J θ̈ = s g sin θ − c_h ω.
    """
    sine, cosine = jnp.sin(state.angle), jnp.cos(state.angle)
    push = force - CART_DAMPING * state.v + MOMENT * state.omega**2 * sine
    turn = MOMENT * GRAVITY * sine - HINGE_DAMPING * state.omega

    inertia = (TOTAL_KG, MOMENT * cosine, POLE_INERTIA)
    free, _ = solve_symmetric(*inertia, (push, turn))
    response, _ = solve_symmetric(*inertia, (jnp.ones_like(push), jnp.zeros_like(turn)))
    end = limit_force(
        state.x, state.v, free, response, RESPONSE_UPRIGHT,
        limit=RAIL_M, time_constant_s=RAIL_TIME_CONSTANT_S,
    )  # fmt: skip
    acceleration, angular = solve_symmetric(*inertia, (push + end, turn))
    return CartPoleState(state.v, acceleration, state.omega, angular)


@dataclass(frozen=True)
class CartPoleSwingUp:
    """Swing a hanging pole up by moving its cart, and balance it in the middle: 1,000 steps.

    dm_control's cartpole-swingup: a cart of 1 kg on a rail of ±1.8 m with soft ends, friction
    5e-4 N s/m; a pole of 0.1 kg, a capsule of 1 m and radius 0.045 m, hinge damping 2e-6 N m s; a
    force of ±10 N; 0.01 s per step. Hangs at the start: x, θ − π, v and ω ~ N(0, 0.01²). Observed:
    (x, cos θ, sin θ, v, ω). Nothing deviates but float32: the suite too takes Runge-Kutta steps.

    It pays ½(1 + cos θ) · ½(1 + G(x / 2 m)) · ⅕(4 + Q(a)) · ½(1 + G(ω / 5 rad/s)) with
    G(d) = 10^−d² and Q(a) = max(0, 1 − a²). If `sparse`, cartpole-swingup_sparse, +1 where
    |x| ≤ 0.25 m and cos θ ≥ 0.995 (5.7°) and 0 elsewhere.

    An episode succeeds with a return of 500, half of all there is; if `sparse`, with any reward.
    """

    sparse: bool = False

    obs = Box((5,), low=(-math.inf, -1.0, -1.0, -math.inf, -math.inf),
              high=(math.inf, 1.0, 1.0, math.inf, math.inf))  # fmt: skip
    action = Box((1,))
    max_episode_steps = EPISODE_STEPS
    view = View(
        labels=("angle (rad, 0 stands)", "angular velocity (rad/s)"),
        low=(-math.pi, -10.0),
        high=(math.pi, 10.0),
        dims=((1, 2), 4),
        periodic=(True, False),
    )

    def __post_init__(self) -> None:
        check_types(self)

    @property
    def success_return(self) -> float:
        return 1.0 if self.sparse else HALF_OF_ALL

    def reset(self, key: Key) -> CartPoleState:
        x, v, angle, omega = 0.01 * jax.random.normal(key, (4,))
        return CartPoleState(x, v, in_turn(angle + math.pi), omega)

    def observe(self, state: CartPoleState) -> jax.Array:
        cosine, sine = jnp.cos(state.angle), jnp.sin(state.angle)
        return jnp.stack([state.x, cosine, sine, state.v, state.omega])

    def step(
        self, state: CartPoleState, key: Key, action: jax.Array
    ) -> tuple[CartPoleState, jax.Array, jax.Array]:
        push = jnp.clip(action[0], -1.0, 1.0)
        state = runge_kutta(lambda s: cart_pole_slope(s, FORCE_N * push), state, DT_S, 1)
        state = replace(state, angle=in_turn(state.angle))
        return state, self._pay(state, push), jnp.bool_(False)

    def _pay(self, state: CartPoleState, push: jax.Array) -> jax.Array:
        cosine = jnp.cos(state.angle)
        if self.sparse:
            return within(jnp.abs(state.x), NEAR_M) * (cosine >= UPRIGHT).astype(jnp.float32)
        central = (1 + gaussian_tolerance(state.x, 2.0)) / 2
        calm = (4 + quadratic_tolerance(push, 1.0)) / 5
        still = (1 + gaussian_tolerance(state.omega, 5.0)) / 2
        return (1 + cosine) / 2 * central * calm * still

    def draw(self, state: CartPoleState) -> np.ndarray:
        from explorax.envs.drawing import draw_cart_pole

        near = NEAR_M if self.sparse else None
        return draw_cart_pole(float(state.x), float(state.angle), RAIL_M, math.acos(UPRIGHT), near)

    def place(self, point: jax.Array) -> CartPoleState:
        rest = jnp.float32(0.0)
        return CartPoleState(rest, rest, point[0], point[1])

"""Double pendulum that pays only while its tip is near the upright target."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.integrate import runge_kutta

GRAVITY, LENGTH_M, MASS_KG = 10.0, 1.0, 0.5
INERTIA_KG_M2 = MASS_KG * (1.0**2 + 0.1**2) / 12  # of a link of 1 m by 0.1 m about its own centre
DT_S, SUBSTEPS = 0.02, 4
MAX_SPEED = 0.5 * math.pi / 0.01  # rad/s


@pytree
class PendulumState:
    """Both angles are absolute: rad, counter-clockwise from hanging."""

    angle1: jax.Array
    angle2: jax.Array
    omega1: jax.Array  # rad/s
    omega2: jax.Array


def pendulum_slope(state: PendulumState, torque: jax.Array) -> PendulumState:
    """Return the time derivative of a two-link pendulum with `torque` (N m) at the joint between.

    With d = θ₁ − θ₂, equal links of length l, mass m and central inertia I,
    a = 5/4 m l² + I,  b = ½ m l² cos d,  c = ¼ m l² + I, Lagrange's equations read
    a ω̇₁ + b ω̇₂ = −½ m l² ω₂² sin d − 3/2 m g l sin θ₁ − τ,
    b ω̇₁ + c ω̇₂ =  ½ m l² ω₁² sin d − ½ m g l sin θ₂ + τ.
    """
    ml2, mgl = MASS_KG * LENGTH_M**2, MASS_KG * GRAVITY * LENGTH_M
    between = state.angle1 - state.angle2
    swirl = 0.5 * ml2 * jnp.sin(between)
    a, c = 1.25 * ml2 + INERTIA_KG_M2, 0.25 * ml2 + INERTIA_KG_M2
    b = 0.5 * ml2 * jnp.cos(between)
    right1 = -swirl * state.omega2**2 - 1.5 * mgl * jnp.sin(state.angle1) - torque
    right2 = swirl * state.omega1**2 - 0.5 * mgl * jnp.sin(state.angle2) + torque
    determinant = a * c - b**2
    return PendulumState(
        state.omega1,
        state.omega2,
        (c * right1 - b * right2) / determinant,
        (a * right2 - b * right1) / determinant,
    )


def tip(state: PendulumState) -> tuple[jax.Array, jax.Array]:
    """Return (x, y) of the free end, m from the first joint, y upwards."""
    x = LENGTH_M * (jnp.sin(state.angle1) + jnp.sin(state.angle2))
    return x, -LENGTH_M * (jnp.cos(state.angle1) + jnp.cos(state.angle2))


def near_target(state: PendulumState) -> jax.Array:
    """Return whether the tip is within 1 m of the upright target (0, 2), bool []."""
    x, y = tip(state)
    return x**2 + (y - 2 * LENGTH_M) ** 2 < 1.0


@dataclass(frozen=True)
class DoublePendulumSparse:
    """Swing up two links by the joint between them: +1 per step while the tip is near the top.

    VIME's DoublePendulumX (released code of arXiv 1605.09674): +1 where the tip is within 1 m of
    (0, 2); 500 steps and no other end; angles ~ N(0, 0.1²) from hanging, speeds ~ N(0, 0.01²). The
    bodies are rllab's: links of 1 m by 0.1 m and 0.5 kg, g = 10 m/s², 0.02 s per step, a torque of
    up to ±50 N m between the links and none at the first joint. So is the observation: sine, cosine
    and angular velocity of each link's absolute angle.

    `torque` decides how sparse the task is. Of 1,000 episodes of Gaussian noise with deviation 1,
    those with any reward were 99.8% at 50 N m, 40% at 10, 12% at 5 and none at 2.

    Deviations: Lagrange's equations by Runge-Kutta steps of 0.005 s in place of Box2D, whose limit
    of π/2 per step of 0.01 s on every rotation is kept; the true tip (the original subtracts where
    it should add the second link's x, which is the same when upright).
    """

    torque: float = 50.0  # N m at action 1

    obs = Box((6,), low=(-1.0, -1.0, -MAX_SPEED, -1.0, -1.0, -MAX_SPEED),
              high=(1.0, 1.0, MAX_SPEED, 1.0, 1.0, MAX_SPEED))  # fmt: skip
    action = Box((1,))
    max_episode_steps = 500
    success_return = 1.0
    view = View(
        labels=("angle 1 (rad, 0 hangs)", "angle 2 (rad, 0 hangs)"),
        low=(-math.pi, -math.pi),
        high=(math.pi, math.pi),
        dims=((1, 0), (4, 3)),
        periodic=(True, True),
    )

    def __post_init__(self) -> None:
        check_types(self)
        require(0 < self.torque < math.inf, self, "torque", "positive")

    def reset(self, key: Key) -> PendulumState:
        spread = jnp.array([0.1, 0.1, 0.01, 0.01])
        return PendulumState(*jax.random.normal(key, (4,)) * spread)

    def observe(self, state: PendulumState) -> jax.Array:
        sines = jnp.sin(state.angle1), jnp.sin(state.angle2)
        cosines = jnp.cos(state.angle1), jnp.cos(state.angle2)
        return jnp.stack([sines[0], cosines[0], state.omega1, sines[1], cosines[1], state.omega2])

    def step(
        self, state: PendulumState, key: Key, action: jax.Array
    ) -> tuple[PendulumState, jax.Array, jax.Array]:
        torque = jnp.clip(action[0], -1.0, 1.0) * self.torque
        state = runge_kutta(lambda s: pendulum_slope(s, torque), state, DT_S, SUBSTEPS)
        state = PendulumState(
            # whole turns are dropped: float32 angles of long spins would lose their digits
            jnp.mod(state.angle1 + math.pi, 2 * math.pi) - math.pi,
            jnp.mod(state.angle2 + math.pi, 2 * math.pi) - math.pi,
            jnp.clip(state.omega1, -MAX_SPEED, MAX_SPEED),
            jnp.clip(state.omega2, -MAX_SPEED, MAX_SPEED),
        )
        return state, near_target(state).astype(jnp.float32), jnp.bool_(False)

    def draw(self, state: PendulumState) -> np.ndarray:
        from explorax.envs.drawing import draw_double_pendulum

        reached = bool(near_target(state))
        return draw_double_pendulum(float(state.angle1), float(state.angle2), reached)

    def place(self, point: jax.Array) -> PendulumState:
        rest = jnp.float32(0.0)
        return PendulumState(point[0], point[1], rest, rest)

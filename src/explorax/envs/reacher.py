"""A two-link arm in a plane that must bring its finger to a target."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.control_suite import (
    EPISODE_STEPS,
    HALF_OF_ALL,
    capsule_inertia,
    limit_force,
    solve_symmetric,
    within,
)

TARGETS = {"easy": 0.05, "hard": 0.015}  # radius, m
FINGER_M, WRIST_LIMIT, NEAREST_M, FARTHEST_M = 0.01, math.radians(160), 0.05, 0.20
DAMPING, TORQUE_NM, DT_S = 0.01, 0.05, 0.02
# Two capsules of 0.12 m and 0.1 m and a ball at the second's end, 0.12 m from the wrist: all of
# radius 0.01 m and of the density of water.
LENGTH_M, HAND_M, REACH_M, RADIUS_M, KG_M3 = 0.12, 0.10, 0.12, 0.01, 1000.0
BALL_KG = KG_M3 * math.pi * RADIUS_M**3 * 4 / 3
ARM_KG, HAND_KG = (
    KG_M3 * math.pi * RADIUS_M**2 * length + BALL_KG for length in (LENGTH_M, HAND_M)
)
ARM_INERTIA = capsule_inertia(ARM_KG, LENGTH_M, RADIUS_M) + ARM_KG * (LENGTH_M / 2) ** 2
HAND_INERTIA = capsule_inertia(HAND_KG, HAND_M, RADIUS_M) + HAND_KG * (HAND_M / 2) ** 2
# of hand and finger together: about the wrist, and their first moment times the arm's length
FAR_INERTIA = HAND_INERTIA + BALL_KG * (0.4 * RADIUS_M**2 + REACH_M**2)
COUPLING = LENGTH_M * (HAND_KG * HAND_M / 2 + BALL_KG * REACH_M)
NEAR_INERTIA = ARM_INERTIA + (HAND_KG + BALL_KG) * LENGTH_M**2 + FAR_INERTIA
# (M⁻¹)₂₂ of the stretched arm: M₁₁ / det M
_STRETCHED = NEAR_INERTIA + 2 * COUPLING
RESPONSE_STRETCHED = _STRETCHED / (_STRETCHED * FAR_INERTIA - (FAR_INERTIA + COUPLING) ** 2)


@pytree
class ReacherState:
    shoulder: jax.Array  # rad, counter-clockwise from the x axis; not wrapped
    wrist: jax.Array  # rad, of the hand against the arm
    omega_shoulder: jax.Array  # rad/s
    omega_wrist: jax.Array  # rad/s
    target_x: jax.Array  # m
    target_y: jax.Array  # m


def inertia(wrist: jax.Array) -> tuple[jax.Array, jax.Array, float]:
    """Return the entries (M₁₁, M₁₂, M₂₂) of the arm's inertia matrix, kg m²."""
    coupling = COUPLING * jnp.cos(wrist)
    return NEAR_INERTIA + 2 * coupling, FAR_INERTIA + coupling, FAR_INERTIA


def finger(state: ReacherState) -> tuple[jax.Array, jax.Array]:
    """Return (x, y) of the finger, m from the shoulder."""
    hand = state.shoulder + state.wrist
    x = LENGTH_M * jnp.cos(state.shoulder) + REACH_M * jnp.cos(hand)
    return x, LENGTH_M * jnp.sin(state.shoulder) + REACH_M * jnp.sin(hand)


@dataclass(frozen=True)
class Reacher:
    """Bring the finger of a two-link arm to a target: +1 per step there, 1,000 steps.

    dm_control's reacher-easy and, with `target`="hard", reacher-hard: +1 where the finger, a ball
    of radius 0.01 m, touches a target of radius 0.05 m or 0.015 m. Links of 0.12 m, joint damping
    0.01 N m s, torques of ±0.05 N m, the wrist within ±160° by a soft limit, no gravity, nothing
    collides. At the start the arm rests at any angles; the target is 0.05 to 0.2 m from the
    shoulder. Observed: both angles (rad, the shoulder's not wrapped), the vector from finger to
    target (m), both angular velocities; 0.02 s per step.

    Nothing deviates but float32: with the inertia M(q), the velocity-dependent forces c(q, q̇) and
    D = 0.01 one step is MuJoCo's semi-implicit Euler with implicit damping,
    q̇' = q̇ + h (M + h D)⁻¹ (τ − c − D q̇ + limit),  q' = q + h q̇'.

    An episode succeeds with a return of 500, half of all there is.
    """

    target: str = "easy"  # or "hard"

    obs = Box((6,), low=-math.inf, high=math.inf)
    action = Box((2,))
    max_episode_steps = EPISODE_STEPS
    success_return = HALF_OF_ALL
    view = View(
        labels=("shoulder (rad)", "wrist (rad)"),
        low=(-math.pi, -math.pi),
        high=(math.pi, math.pi),
        periodic=(True, False),
    )

    def __post_init__(self) -> None:
        check_types(self)
        require(self.target in TARGETS, self, "target", f"one of {tuple(TARGETS)}")

    def reset(self, key: Key) -> ReacherState:
        shoulder, wrist, turn, share = jax.random.uniform(key, (4,))
        radius = NEAREST_M + share * (FARTHEST_M - NEAREST_M)
        rest = jnp.float32(0.0)
        return ReacherState(
            shoulder=(2 * shoulder - 1) * math.pi,
            wrist=(2 * wrist - 1) * WRIST_LIMIT,
            omega_shoulder=rest,
            omega_wrist=rest,
            target_x=radius * jnp.sin(2 * math.pi * turn),
            target_y=radius * jnp.cos(2 * math.pi * turn),
        )

    def observe(self, state: ReacherState) -> jax.Array:
        x, y = finger(state)
        return jnp.stack(
            [
                state.shoulder,
                state.wrist,
                state.target_x - x,
                state.target_y - y,
                state.omega_shoulder,
                state.omega_wrist,
            ]
        )

    def step(
        self, state: ReacherState, key: Key, action: jax.Array
    ) -> tuple[ReacherState, jax.Array, jax.Array]:
        torque = TORQUE_NM * jnp.clip(action, -1.0, 1.0)
        one, two = state.omega_shoulder, state.omega_wrist
        swirl = COUPLING * jnp.sin(state.wrist)
        right1 = torque[0] + swirl * two * (2 * one + two) - DAMPING * one
        right2 = torque[1] - swirl * one**2 - DAMPING * two
        a, b, c = inertia(state.wrist)
        _, free = solve_symmetric(a, b, c, (right1, right2))
        limit = limit_force(
            state.wrist, two, free, a / (a * c - b**2), RESPONSE_STRETCHED,
            limit=WRIST_LIMIT, time_constant_s=2 * DT_S,
        )  # fmt: skip
        damped = (a + DT_S * DAMPING, b, c + DT_S * DAMPING)
        change1, change2 = solve_symmetric(*damped, (right1, right2 + limit))
        one, two = one + DT_S * change1, two + DT_S * change2
        state = ReacherState(
            state.shoulder + DT_S * one,
            state.wrist + DT_S * two,
            one,
            two,
            state.target_x,
            state.target_y,
        )
        return state, self._reached(state), jnp.bool_(False)

    def _reached(self, state: ReacherState) -> jax.Array:
        x, y = finger(state)
        distance = jnp.hypot(state.target_x - x, state.target_y - y)
        return within(distance, TARGETS[self.target] + FINGER_M)

    def draw(self, state: ReacherState) -> np.ndarray:
        from explorax.envs.drawing_control import draw_reacher

        target = (float(state.target_x), float(state.target_y))
        elbow = (LENGTH_M * math.cos(state.shoulder), LENGTH_M * math.sin(state.shoulder))
        x, y = finger(state)
        reached = bool(self._reached(state))
        return draw_reacher(elbow, (float(x), float(y)), target, TARGETS[self.target], reached)

    def place(self, point: jax.Array) -> ReacherState:
        """Return the arm at rest at the angles `point`, with the target at (0, 0.15)."""
        rest = jnp.float32(0.0)
        return ReacherState(point[0], point[1], rest, rest, rest, jnp.float32(0.15))

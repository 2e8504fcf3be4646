"""What the tasks after the DeepMind control suite share: the shapes of rewards, and two of physics.

The suite is arXiv 1801.00690 and 2006.12983; constants and functions are those of its package
dm_control 1.0.50 under MuJoCo 3.17. Its tasks pay between 0 and 1 per step for 1,000 steps and
never terminate. Ours step as MuJoCo does, its integrators and its soft limits included, so the one
deviation is float32: from the same states with the same random actions, positions, velocities and
observations differ by less than 3e-6 after 10 steps and 2e-5 after 100. (In float64 by 1e-13, or by
3e-6 where a cart met the end of its rail, which is the tolerance of MuJoCo's solver.)
"""

import math

import jax
import jax.numpy as jnp

EPISODE_STEPS = 1000
HALF_OF_ALL = 500.0  # a return that needs the goal to be held for half of an episode or longer
GRAVITY = 9.81  # m/s²


def within(distance: jax.Array, tolerance: float) -> jax.Array:
    """Return 1 where distance ≤ tolerance and 0 elsewhere, float32."""
    return (distance <= tolerance).astype(jnp.float32)


def gaussian_tolerance(excess: jax.Array, margin: float) -> jax.Array:
    """Return 10^−(excess / margin)²: 1 where nothing is in excess, 0.1 at the margin, never 0.

    The suite's default shape, exp(−½ (d √(−2 ln 0.1))²) with d = excess / margin.
    """
    return jnp.exp(-math.log(10.0) * jnp.square(excess / margin))


def quadratic_tolerance(excess: jax.Array, margin: float) -> jax.Array:
    """Return max(0, 1 − (excess / margin)²): 1 where nothing is in excess, 0 from the margin on."""
    return jnp.maximum(1.0 - jnp.square(excess / margin), 0.0)


def in_turn(angle: jax.Array) -> jax.Array:
    """Return the same angle in [−π, π): float32 angles of long spins would lose their digits."""
    return jnp.mod(angle + math.pi, 2 * math.pi) - math.pi


def capsule_inertia(mass: float, length: float, radius: float) -> float:
    """Return a solid capsule's moment of inertia about its centre, across its axis, kg m².

    A cylinder of `length` between two half balls. With their masses m_c and m_b together,
    I = m_c (L²/12 + r²/4) + m_b (2r²/5 + L²/4 + 3Lr/8).
    """
    cylinder = mass * length / (length + 4 / 3 * radius)
    along = cylinder * (length**2 / 12 + radius**2 / 4)
    return along + (mass - cylinder) * (0.4 * radius**2 + length**2 / 4 + 0.375 * length * radius)


def solve_symmetric(
    a: jax.Array | float, b: jax.Array, c: jax.Array | float, right: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Return the x with [[a, b], [b, c]] x = right."""
    determinant = a * c - b**2
    return (c * right[0] - b * right[1]) / determinant, (a * right[1] - b * right[0]) / determinant


def limit_force(
    position: jax.Array,
    velocity: jax.Array,
    free: jax.Array,
    response: jax.Array | float,
    response_at_zero: float,
    *,
    limit: float,
    time_constant_s: float,
) -> jax.Array:
    """Return the force of MuJoCo's soft limit on a joint that should stay within ±`limit`, [].

    `free` is the joint's acceleration without the limit and `response` what one unit of force on
    the joint adds to it, A; `response_at_zero` is A where all joints are at 0. Beyond the limit by
    r > 0 and with u, u̇ and ü towards the inside, so that u = −r, the force f ≥ 0 solves
    ü + R f = −b u̇ − k d(r) u, a critically damped return within `time_constant_s` = t:
    b = 2 / (0.95 t), k = 1 / (0.95 t)², R = A₀ (1 − d) / d, and the impedance d(r) rises smoothly
    from 0.9 to 0.95 over the first millimetre (or milliradian): MuJoCo's defaults, documented in
    its chapter on computation. t is at least two steps of the simulator's.
    """
    side = jnp.where(position > 0, 1.0, -1.0)
    beyond = jnp.abs(position) - limit
    share = jnp.clip(beyond / 1e-3, 0.0, 1.0)
    smooth = jnp.where(share < 0.5, 2 * share**2, 1 - 2 * (1 - share) ** 2)
    impedance = 0.9 + 0.05 * smooth
    span = 0.95 * time_constant_s
    wanted = 2 / span * side * velocity + impedance / span**2 * beyond
    regularised = response + response_at_zero * (1 - impedance) / impedance
    inwards = jnp.maximum((wanted + side * free) / regularised, 0.0)
    return jnp.where(beyond > 0, -side * inwards, 0.0)

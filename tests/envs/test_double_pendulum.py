"""The double pendulum against a Lagrangian written apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import followed

from explorax.envs import DoublePendulumSparse
from explorax.envs.double_pendulum_sparse import PendulumState, pendulum_slope

MASS, LENGTH, WIDTH, GRAVITY = 0.5, 1.0, 0.1, 10.0
INERTIA = MASS * (LENGTH**2 + WIDTH**2) / 12


def centres(q):
    """Return the two links' centres of mass [2, 2], from absolute angles from hanging."""
    along1 = jnp.array([jnp.sin(q[0]), -jnp.cos(q[0])])
    along2 = jnp.array([jnp.sin(q[1]), -jnp.cos(q[1])])
    return jnp.stack([0.5 * along1, along1 + 0.5 * along2])


def lagrangian(q, w):
    speeds = jax.jacfwd(centres)(q) @ w  # [2, 2]
    kinetic = 0.5 * MASS * (speeds**2).sum() + 0.5 * INERTIA * (w**2).sum()
    return kinetic - MASS * GRAVITY * centres(q)[:, 1].sum()


def energy(q, w):
    return 2 * MASS * GRAVITY * centres(q)[:, 1].sum() + lagrangian(q, w)


def accelerations(q, w, torque):
    """Solve d/dt ∂L/∂w = ∂L/∂q + Q, where the joint's torque does the work τ d(q₂ − q₁)."""
    mass = jax.hessian(lagrangian, argnums=1)(q, w)
    mixed = jax.jacfwd(jax.grad(lagrangian, argnums=1), argnums=0)(q, w)
    force = jax.grad(lagrangian)(q, w) + torque * jnp.array([-1.0, 1.0])
    return jnp.linalg.solve(mass, force - mixed @ w)


def test_equations_of_motion_are_lagranges():
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.uniform(-np.pi, np.pi, (200, 2)), jnp.float32)
    w = jnp.asarray(rng.uniform(-8, 8, (200, 2)), jnp.float32)
    torque = jnp.asarray(rng.uniform(-50, 50, 200), jnp.float32)
    rate = jax.jit(jax.vmap(pendulum_slope))(PendulumState(*q.T, *w.T), torque)
    np.testing.assert_array_equal(jnp.stack([rate.angle1, rate.angle2], -1), w)
    ours = jnp.stack([rate.omega1, rate.omega2], -1)
    theirs = jax.jit(jax.vmap(accelerations))(q, w, torque)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=5e-3)


def at(q1: float, q2: float, w1: float = 0.0, w2: float = 0.0) -> PendulumState:
    return PendulumState(*jnp.asarray([q1, q2, w1, w2], jnp.float32))


def test_energy_is_kept_without_torque():
    path, _, _ = followed(DoublePendulumSparse(), at(2.0, -1.0), jnp.zeros((500, 1)))
    q = jnp.stack([path.angle1, path.angle2], -1)
    w = jnp.stack([path.omega1, path.omega2], -1)
    energies = np.asarray(jax.jit(jax.vmap(energy))(q, w))
    assert np.ptp(path.omega1) > 3.0  # it does swing
    assert np.ptp(energies) < 2e-2  # of about 8 J to and fro


def test_pay_is_within_one_metre_of_the_top():
    task = DoublePendulumSparse()
    step = jax.jit(lambda state: task.step(state, jax.random.key(0), jnp.zeros(1)))
    # both links at d from upright: the tip is 2·|1 − e^{id}| = 4 sin(d/2) from the target
    edge = 2 * np.arcsin(0.25)
    for off, pay in ((0.0, 1.0), (edge - 0.03, 1.0), (edge + 0.03, 0.0), (np.pi, 0.0)):
        for side in (1, -1):
            _, reward, terminated = step(at(np.pi + side * off, np.pi + side * off))
            assert float(reward) == pay, off
            assert not terminated
    # opposite bends bring the tip back above the joint: 2 − 2 cos d = 1 at d = π/3
    assert float(step(at(np.pi + 1.0, np.pi - 1.0))[1]) == 1.0
    assert float(step(at(np.pi + 1.1, np.pi - 1.1))[1]) == 0.0


@pytest.mark.parametrize("constant", [True, False])
def test_hardest_torque_stays_finite(constant):
    signs = np.ones(500) if constant else np.random.default_rng(0).choice([-1, 1], 500)
    path, reward, _ = followed(
        DoublePendulumSparse(), at(0.0, 0.0), jnp.asarray(9.0 * signs[:, None], jnp.float32)
    )
    for leaf in jax.tree.leaves(path):
        assert np.isfinite(leaf).all()
    assert max(np.abs(path.omega1).max(), np.abs(path.omega2).max()) <= 0.5 * np.pi / 0.01 + 1e-3
    assert np.isin(reward, [0, 1]).all()


def test_starts_hanging_as_the_original():
    draw = jax.vmap(DoublePendulumSparse().reset)
    starts = jax.jit(lambda key: draw(jax.random.split(key, 4000)))(jax.random.key(0))
    deviations = [np.std(leaf) for leaf in jax.tree.leaves(starts)]
    np.testing.assert_allclose(deviations, [0.1, 0.1, 0.01, 0.01], rtol=0.05)


def test_observation_is_sine_cosine_and_speed_of_each_link():
    obs = jax.jit(DoublePendulumSparse().observe)(at(0.5, -2.0, 3.0, 4.0))
    expected = [np.sin(0.5), np.cos(0.5), 3.0, np.sin(-2.0), np.cos(-2.0), 4.0]
    np.testing.assert_allclose(obs, expected, rtol=1e-6)

"""The tasks after the DeepMind control suite: against its simulator, Lagrange, and slow loops."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from playing import followed, scanned

from explorax.core.errors import InvalidSetting
from explorax.envs import CartPoleSwingUp, PendulumSwingUp, PointMass, Reacher
from explorax.envs.cart_pole import CartPoleState
from explorax.envs.cart_pole_swing_up import cart_pole_slope
from explorax.envs.control_suite import (
    capsule_inertia,
    gaussian_tolerance,
    in_turn,
    quadratic_tolerance,
    within,
)
from explorax.envs.pendulum_swing_up import SwingState
from explorax.envs.point_mass import PointMassState
from explorax.envs.reacher import ReacherState, finger
from explorax.envs.task import Batched

TASKS = [
    PendulumSwingUp(),
    CartPoleSwingUp(),
    CartPoleSwingUp(sparse=True),
    Reacher(),
    Reacher("hard"),
    PointMass(),
]


def state_of(task: Any, position: Any, velocity: Any) -> Any:
    """Return a state from the simulator's own coordinates; a reacher's target is at (0, 0.15)."""
    q, v = jnp.asarray(position, jnp.float32), jnp.asarray(velocity, jnp.float32)
    if isinstance(task, PendulumSwingUp):
        return SwingState(q[0], v[0])
    if isinstance(task, CartPoleSwingUp):
        return CartPoleState(q[0], v[0], q[1], v[1])
    if isinstance(task, Reacher):
        return ReacherState(q[0], q[1], v[0], v[1], jnp.float32(0.0), jnp.float32(0.15))
    return PointMassState(q, v)


def coordinates(task, state) -> np.ndarray:
    """Return the positions, then the velocities."""
    if isinstance(task, PendulumSwingUp):
        parts = [state.angle, state.omega]
    elif isinstance(task, CartPoleSwingUp):
        parts = [state.x, state.angle, state.v, state.omega]
    elif isinstance(task, Reacher):
        parts = [state.shoulder, state.wrist, state.omega_shoulder, state.omega_wrist]
    else:
        parts = [*jnp.moveaxis(state.position, -1, 0), *jnp.moveaxis(state.velocity, -1, 0)]
    return np.stack([np.asarray(part) for part in parts], -1)


# What dm_control 1.0.50 under MuJoCo 3.17.0 gives from these positions and velocities with the
# actions sin(0.07 t + i), i = 0, 1: the same after 10 and 100 steps, and the rewards' sums until
# then. The second of each two meets the soft limit of the rail, the wrist or the walls.
REFERENCE = [
    (PendulumSwingUp(), [2.0], [-1.0], [2.203524, 2.657497], 0.0, [2.407107, 5.320864], 0.0),
    (PendulumSwingUp(), [-0.3], [1.5], [-0.089096, 0.896496], 3.0, [2.199029, -5.263714], 13.0),
    (CartPoleSwingUp(), [0.1, 3.0], [0.0, 0.5],
     [0.109916, 3.072984, 0.303126, 1.094617], 0.0282,
     [1.256884, 3.108209, 0.064162, -4.455871], 6.56698),
    (CartPoleSwingUp(), [1.7, 2.5], [1.0, -2.0],
     [1.810063, 2.356854, 1.031319, -1.014004], 0.66697,
     [0.950277, 3.127673, -2.376391, 1.011207], 4.75792),
    (Reacher(), [0.3, -1.0], [1.0, -2.0],
     [0.322708, -0.182792, 0.944396, 4.458838], 0.0,
     [0.388578, -0.037973, 0.658044, 4.298389], 4.0),
    (Reacher(), [-2.0, 2.7], [0.5, 6.0],
     [-1.800493, 2.885324, 2.246446, -0.206245], 0.0,
     [-1.922601, 1.29474, 0.914911, 4.311978], 11.0),
    (PointMass(), [0.02, -0.03], [0.05, 0.1],
     [0.028379, -0.010426, 0.04231, 0.097956], 0.54728,
     [0.044253, 0.004042, -0.009605, 0.051322], 0.85581),
    (PointMass(), [0.28, -0.28], [0.5, -0.4],
     [0.287985, -0.286124, -0.042324, 0.061968], 0.0,
     [0.242564, -0.282419, -0.011239, 0.051214], 0.0),
]  # fmt: skip


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: f"{row[0]} from {row[1]}")
def test_paths_are_the_suites(row):
    task, position, velocity, after_10, paid_10, after_100, paid_100 = row
    time = np.arange(100)[:, None]
    actions = np.sin(0.07 * time + np.arange(task.action.shape[0]))
    path, rewards, _ = followed(task, state_of(task, position, velocity), actions)
    ours = coordinates(task, path)
    np.testing.assert_allclose(ours[9], after_10, atol=2e-5)
    np.testing.assert_allclose(ours[99], after_100, atol=3e-4)
    np.testing.assert_allclose(np.sum(rewards[:10]), paid_10, atol=2e-5)
    np.testing.assert_allclose(np.sum(rewards), paid_100, atol=2e-4)


def test_shapes_of_rewards_are_the_closed_forms():
    far = jnp.asarray([0.0, 0.5, 1.0, 2.0, -1.0, 6.0])
    scale = math.sqrt(-2 * math.log(0.1))
    gaussian = [math.exp(-0.5 * (x / 2 * scale) ** 2) for x in far.tolist()]
    np.testing.assert_allclose(jax.jit(gaussian_tolerance, static_argnums=1)(far, 2.0), gaussian,
                               rtol=1e-5)  # fmt: skip
    assert float(gaussian_tolerance(jnp.float32(2.0), 2.0)) == pytest.approx(0.1)
    quadratic = [1.0, 0.9375, 0.75, 0.0, 0.75, 0.0]
    np.testing.assert_allclose(jax.jit(quadratic_tolerance, static_argnums=1)(far, 2.0), quadratic)
    np.testing.assert_array_equal(jax.jit(within, static_argnums=1)(far, 1.0), [1, 1, 1, 0, 1, 0])
    np.testing.assert_allclose(
        jax.jit(in_turn)(jnp.asarray([-4.0, math.pi, 3.0, 70.0])),
        [-4 + 2 * math.pi, -math.pi, 3.0, 70 - 22 * math.pi], atol=1e-5,
    )  # fmt: skip


def test_inertia_of_a_capsule_is_the_sum_of_its_slices():
    mass, length, radius = 0.1, 1.0, 0.045
    z = np.linspace(-length / 2 - radius, length / 2 + radius, 200_001)
    beyond = np.maximum(np.abs(z) - length / 2, 0)
    squares = radius**2 - beyond**2  # of each slice's radius
    density = mass / np.trapezoid(np.pi * squares, z)
    slices = density * np.pi * squares * (squares / 4 + z**2)
    ours = capsule_inertia(mass, length, radius)
    assert ours == pytest.approx(np.trapezoid(slices, z), rel=1e-6)
    assert ours == pytest.approx(0.00942459, abs=1e-8)  # as MuJoCo computes it


def forces_of(lagrangian, q, w):
    """Return (M, c) with M ẅ + c = Q: Lagrange's equations of L(q, w) by differentiation."""
    mass = jax.hessian(lagrangian, argnums=1)(q, w)
    mixed = jax.jacfwd(jax.grad(lagrangian, argnums=1), argnums=0)(q, w)
    return mass, mixed @ w - jax.grad(lagrangian)(q, w)


def kinetic(places, masses, q, w, spins, inertias):
    speeds = jax.jacfwd(places)(q) @ w
    return 0.5 * (masses[:, None] * speeds**2).sum() + 0.5 * (inertias * spins**2).sum()


def cart_pole_lagrangian(q, w):
    def places(q):
        pole = jnp.stack([q[0] + 0.5 * jnp.sin(q[1]), 0.5 * jnp.cos(q[1])])
        return jnp.stack([jnp.stack([q[0], 0.0 * q[0]]), pole])

    moving = kinetic(
        places, jnp.array([1.0, 0.1]), q, w, w * jnp.array([0.0, 1.0]), jnp.array([0, 0.00942459])
    )
    return moving - 0.1 * 9.81 * places(q)[1, 1]


def reacher_lagrangian(q, w):
    """Arm, hand and finger with MuJoCo's masses and inertias; there is no gravity in the plane."""

    def places(q):
        def along(angle, by):
            return by * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

        elbow, hand = along(q[0], 0.12), q[0] + q[1]
        return jnp.stack([along(q[0], 0.06), elbow + along(hand, 0.05), elbow + along(hand, 0.12)])

    masses = jnp.array([0.0418879, 0.03560472, 0.00418879])
    inertias = jnp.array([6.33135639e-05, 3.91756604e-05, 1.67551608e-07])
    return kinetic(places, masses, q, w, jnp.stack([w[0], w.sum(), w.sum()]), inertias)


def test_equations_of_motion_of_the_cart_pole_are_lagranges():
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.uniform([-1.7, -np.pi], [1.7, np.pi], (200, 2)), jnp.float32)
    w = jnp.asarray(rng.uniform([-4, -9], [4, 9], (200, 2)), jnp.float32)
    force = jnp.asarray(rng.uniform(-10, 10, 200), jnp.float32)

    def theirs(q, w, force):
        mass, rest = forces_of(cart_pole_lagrangian, q, w)
        friction = jnp.array([5e-4, 2e-6]) * w
        return jnp.linalg.solve(mass, jnp.stack([force, 0.0 * force]) - friction - rest)

    rate = jax.jit(jax.vmap(cart_pole_slope))(
        CartPoleState(q[:, 0], w[:, 0], q[:, 1], w[:, 1]), force
    )
    np.testing.assert_array_equal(jnp.stack([rate.x, rate.angle], -1), w)
    ours = jnp.stack([rate.v, rate.omega], -1)
    np.testing.assert_allclose(ours, jax.jit(jax.vmap(theirs))(q, w, force), rtol=2e-4, atol=1e-3)


def test_energy_of_the_cart_pole_goes_into_friction_and_nowhere_else():
    task = CartPoleSwingUp()
    path, _, _ = followed(task, state_of(task, [0.0, 1.0], [0.0, 0.0]), np.zeros((500, 1)))

    def energy(q, w):
        return cart_pole_lagrangian(q, w) + 2 * 0.1 * 9.81 * 0.5 * jnp.cos(q[1])

    rows = jnp.asarray(coordinates(task, path))
    energies = np.asarray(jax.jit(jax.vmap(energy))(rows[:, :2], rows[:, 2:]))
    power = np.asarray(5e-4 * rows[:, 2] ** 2 + 2e-6 * rows[:, 3] ** 2)
    heat = np.concatenate([[0.0], 0.01 * np.cumsum((power[1:] + power[:-1]) / 2)])
    assert np.ptp(path.omega) > 3.0  # it does swing
    assert np.ptp(energies) > 1e-4  # J, of about 0.3 to and fro
    assert np.ptp(energies + heat) < 1e-5


def test_steps_of_the_reacher_are_lagranges_with_implicit_damping():
    rng = np.random.default_rng(1)
    q = jnp.asarray(rng.uniform([-3, -2.5], [3, 2.5], (200, 2)), jnp.float32)
    w = jnp.asarray(rng.uniform(-8, 8, (200, 2)), jnp.float32)
    actions = jnp.asarray(rng.uniform(-1.5, 1.5, (200, 2)), jnp.float32)

    def theirs(q, w, action):
        mass, rest = forces_of(reacher_lagrangian, q, w)
        force = 0.05 * jnp.clip(action, -1, 1) - rest - 0.01 * w
        w = w + 0.02 * jnp.linalg.solve(mass + 0.02 * 0.01 * jnp.eye(2), force)
        return jnp.concatenate([q + 0.02 * w, w])

    def ours(q, w, action):
        after, _, _ = Reacher().step(state_of(Reacher(), q, w), jax.random.key(0), action)
        return after

    after = coordinates(Reacher(), jax.jit(jax.vmap(ours))(q, w, actions))
    expected = jax.jit(jax.vmap(theirs))(q, w, actions)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)


def test_pendulum_and_point_mass_follow_a_slow_loop():
    actions = np.random.default_rng(2).uniform(-1.5, 1.5, (300, 2))
    angle, omega = 1.0, 2.0
    place, speed = np.array([0.05, -0.1]), np.array([0.1, 0.2])
    swings, moves = [], []
    for action in np.clip(actions, -1, 1):
        torque = action[0] + 4.905 * math.sin(angle)
        # ω' obeys I (ω' − ω) / h = torque − c ω', damping taken at the end of the step
        omega = (0.251 * omega + 0.02 * torque) / (0.251 + 0.02 * 0.1)
        angle += 0.02 * omega
        swings.append([math.cos(angle), math.sin(angle), omega])
        speed = (0.3 * speed + 0.02 * 0.1 * action) / (0.3 + 0.02)
        place = place + 0.02 * speed
        moves.append([*place, *speed])
    assert np.abs(np.asarray(moves)[:, :2]).max() < 0.29  # no wall is met
    for task, expected in ((PendulumSwingUp(), swings), (PointMass(), moves)):
        begin = ([1.0], [2.0]) if len(expected[0]) == 3 else ([0.05, -0.1], [0.1, 0.2])
        path, _, _ = followed(task, state_of(task, *begin), actions[:, : task.action.shape[0]])
        np.testing.assert_allclose(jax.jit(jax.vmap(task.observe))(path), expected, atol=2e-3)


def test_a_mass_that_is_pushed_against_the_wall_rests_a_little_beyond_it():
    path, _, _ = followed(PointMass(), state_of(PointMass(), [0.2, 0.0], [0.0, 0.0]),
                   np.tile([1.0, 0.0], (400, 1)))  # fmt: skip
    # where the limit carries the force of 0.1 N: R f = k d(r) r with R = (1 − d) / (d m)
    beyond = 0.0
    for _ in range(50):
        impedance = 0.9 + 0.05 * 2 * (beyond / 1e-3) ** 2
        resistance = (1 - impedance) / (impedance * 0.3)
        beyond = resistance * 0.1 * (0.95 * 0.04) ** 2 / impedance
    assert 1e-5 < beyond < 1e-4
    np.testing.assert_allclose(path.position[-1], [0.29 + beyond, 0.0], atol=1e-6)
    np.testing.assert_allclose(path.velocity[-1], 0.0, atol=1e-5)


def test_pendulum_pays_within_eight_degrees():
    step = jax.jit(lambda state: PendulumSwingUp().step(state, jax.random.key(0), jnp.zeros(1)))
    for degrees, pay in ((0.0, 1.0), (7.5, 1.0), (-7.5, 1.0), (8.5, 0.0), (-8.5, 0.0), (180, 0)):
        reward = step(SwingState(jnp.float32(math.radians(degrees)), jnp.float32(0)))[1]
        assert float(reward) == pay, degrees


def test_cart_pole_pays_the_product_of_four():
    task = CartPoleSwingUp()
    rng = np.random.default_rng(3)
    q = rng.uniform([-1.9, -np.pi], [1.9, np.pi], (300, 2))
    w = rng.uniform([-4, -9], [4, 9], (300, 2))
    actions = rng.uniform(-1.5, 1.5, (300, 1))
    run = jax.vmap(lambda q, w, a: task.step(state_of(task, q, w), jax.random.key(0), a)[:2])
    after, rewards = jax.jit(run)(*(jnp.asarray(each, jnp.float32) for each in (q, w, actions)))
    x, angle, _, omega = coordinates(task, after).T.astype(np.float64)
    push = np.clip(actions[:, 0], -1, 1)
    upright, calm = (1 + np.cos(angle)) / 2, (4 + 1 - push**2) / 5
    central, still = (1 + 0.1 ** (x / 2) ** 2) / 2, (1 + 0.1 ** (omega / 5) ** 2) / 2
    np.testing.assert_allclose(rewards, upright * calm * central * still, rtol=1e-4, atol=1e-6)
    assert np.abs(actions).max() > 1.4  # what is clipped is what is charged


def test_cart_pole_pays_upright_in_the_middle_and_hanging_never():
    for sparse in (False, True):
        task = CartPoleSwingUp(sparse=sparse)
        step = jax.jit(lambda state, task=task: task.step(state, jax.random.key(0), jnp.zeros(1)))
        pay = {
            where: float(step(state_of(task, where, [0, 0]))[1])
            for where in ((0.0, 0.0), (0.24, 0.0), (0.26, 0.0), (0.0, 0.09), (0.0, 0.11),
                          (0.0, math.pi))
        }  # fmt: skip
        assert pay[0.0, 0.0] == pytest.approx(1.0)
        assert pay[0.0, math.pi] == pytest.approx(0.0, abs=1e-6)
        if sparse:  # arccos 0.995 is 0.1000 rad
            assert list(pay.values()) == [1, 1, 0, 1, 0, 0]


def test_reacher_pays_where_finger_and_target_touch():
    for task, radius in ((Reacher(), 0.05), (Reacher("hard"), 0.015)):
        step = jax.jit(lambda state, task=task: task.step(state, jax.random.key(0), jnp.zeros(2)))
        for gap, pay in ((-0.001, 1.0), (0.001, 0.0)):
            begin = state_of(task, [0.4, 1.2], [0, 0])
            x, y = finger(begin)
            away = radius + 0.01 + gap
            begin = ReacherState(
                begin.shoulder, begin.wrist, begin.omega_shoulder, begin.omega_wrist,
                x + 0.6 * away, y - 0.8 * away,
            )  # fmt: skip
            assert float(step(begin)[1]) == pay, (task, gap)
            np.testing.assert_allclose(
                jax.jit(task.observe)(begin), [0.4, 1.2, 0.6 * away, -0.8 * away, 0, 0], atol=1e-6
            )
    elbow = 0.12 * np.array([math.cos(0.4), math.sin(0.4)])
    hand = 0.12 * np.array([math.cos(1.6), math.sin(1.6)])
    ends = jnp.stack(finger(state_of(Reacher(), [0.4, 1.2], [0, 0])))
    np.testing.assert_allclose(ends, elbow + hand, atol=1e-6)


def test_point_mass_pays_near_the_middle_and_gentle_pushes():
    step = jax.jit(lambda state, action: PointMass().step(state, jax.random.key(0), action)[1])
    for place, action, pay in (
        ([0.0, 0.0], [0, 0], 1.0),
        ([0.009, -0.0119], [0, 0], 1.0),
        ([0.018, -0.024], [0, 0], 0.1),  # 0.03 m away: one margin beyond the target's rim
        ([0.2, 0.0], [0, 0], 0.0),
        ([0.0, 0.0], [1, 0], 0.9),
        ([0.0, 0.0], [9, -9], 0.8),
    ):
        reward = step(state_of(PointMass(), place, [0, 0]), jnp.asarray(action, jnp.float32))
        assert float(reward) == pytest.approx(pay, abs=1e-5), (place, action)


@pytest.mark.parametrize("task", TASKS, ids=repr)
@pytest.mark.parametrize("kind", ["random", "constant"])
def test_episodes_are_a_thousand_steps_of_pay_between_0_and_1(task, kind):
    env, size = Batched(task, 4), task.action.shape[0]
    rng = np.random.default_rng(4)
    actions = rng.uniform(-1, 1, (1001, 4, size))
    if kind == "constant":
        actions = np.broadcast_to(9.0 * rng.choice([-1, 1], (4, size)), actions.shape)
    _, out = scanned(env, jnp.asarray(actions, jnp.float32))
    assert not out.terminated.any()
    ends = np.argwhere(np.asarray(out.truncated))
    np.testing.assert_array_equal(ends, [[999, lane] for lane in range(4)])
    rewards = np.asarray(out.reward)
    assert (rewards >= 0).all()
    assert (rewards <= 1).all()
    assert np.isfinite(out.next_obs).all()
    # the soft limits hold, however hard one pushes
    farthest = np.abs(out.next_obs).max((0, 1))
    if isinstance(task, CartPoleSwingUp):
        assert farthest[0] < 2.1
    if isinstance(task, Reacher):
        assert farthest[1] < math.radians(160) + 0.2
    if isinstance(task, PointMass):
        assert farthest[:2].max() < 0.292


def test_actions_beyond_one_are_one():
    for task in TASKS:
        size = task.action.shape[0]
        begin = state_of(task, [0.1] * size, [0.2] * size)
        far, near = (followed(task, begin, np.full((20, size), by)) for by in (-7.0, -1.0))
        jax.tree.map(np.testing.assert_array_equal, far, near)


def test_starts_are_the_suites():
    def starts(task):
        draw = jax.jit(jax.vmap(lambda key: task.reset(key)))
        return draw(jax.random.split(jax.random.key(5), 4000))

    swing = starts(PendulumSwingUp())
    np.testing.assert_allclose(np.std(swing.angle), 2 * np.pi / 12**0.5, rtol=0.03)
    assert (swing.omega == 0).all()
    pole = starts(CartPoleSwingUp())
    deviations = [np.std(leaf) for leaf in (pole.x, pole.v, pole.omega)]
    np.testing.assert_allclose(deviations, 0.01, rtol=0.05)
    hanging = np.mod(np.asarray(pole.angle), 2 * np.pi) - np.pi
    np.testing.assert_allclose([hanging.mean(), hanging.std()], [0, 0.01], atol=5e-4)
    arm = starts(Reacher())
    np.testing.assert_allclose(np.std(arm.shoulder), 2 * np.pi / 12**0.5, rtol=0.03)
    wrist = np.asarray(arm.wrist)
    np.testing.assert_allclose([wrist.min(), wrist.max()], np.radians([-160, 160]), atol=0.01)
    radius = np.hypot(arm.target_x, arm.target_y)
    np.testing.assert_allclose([radius.min(), radius.max()], [0.05, 0.2], atol=1e-3)
    np.testing.assert_allclose(radius.mean(), 0.125, atol=2e-3)  # even in radius, not in area
    mass = starts(PointMass())
    edges = [np.min(mass.position), np.max(mass.position)]
    np.testing.assert_allclose(edges, [-0.29, 0.29], atol=1e-3)
    assert (mass.velocity == 0).all()


def test_only_the_known_targets_are_taken():
    with pytest.raises(InvalidSetting, match="target='huge'.*easy.*hard"):
        Reacher("huge")

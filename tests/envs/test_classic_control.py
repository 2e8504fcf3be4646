"""Our classic-control tasks against Gymnasium's, step by step from the same states."""

from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.envs import (
    CartPole,
    CartPoleSwingUpSparse,
    MountainCar,
    MountainCarContinuous,
    MountainCarSparse,
)
from explorax.envs.cart_pole import CartPoleState
from explorax.envs.mountain_car import CarState
from explorax.envs.task import Task

SPARSE = MountainCarSparse()
STEPS = 4000
LEGS = 25  # steps between two random states


@partial(jax.jit, static_argnums=0)
def stepped(task: Task, state, action):
    after, reward, terminated = task.step(state, jax.random.key(0), action)
    return after, task.observe(after), reward, terminated


def random_cars(rng: np.random.Generator) -> np.ndarray:
    """Return a car anywhere; often at the wall or at the hill, where the rules change."""
    position = rng.choice([rng.uniform(-1.2, 0.6), rng.uniform(-1.2, -1.1), rng.uniform(0.35, 0.5)])
    return np.array([position, rng.uniform(-0.07, 0.07)], np.float32)


def random_poles(rng: np.random.Generator) -> np.ndarray:
    high = np.array([2.5, 2.0, 0.23, 2.0])
    return rng.uniform(-high, high).astype(np.float32)


def compare(id: str, task: Task, as_state, random_point, random_action) -> int:
    """Compare every step from the same states, and return how many of them ended the episode."""
    env: Any = gymnasium.make(id, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    rng, rows = np.random.default_rng(0), []
    point = random_point(rng)
    for step in range(STEPS):
        if step % LEGS == 0 or rows[-1][-1]:
            point = random_point(rng)
            env.steps_beyond_terminated = None
        env.state = point.astype(np.float64)  # no more digits than we have
        action = random_action(rng)
        after, reward, terminated, _, _ = env.step(action)
        rows.append((point, action, after, reward, terminated))
        point = after
    points, actions, after, rewards, ends = map(np.asarray, zip(*rows, strict=True))

    def one(point, action):
        return stepped(task, as_state(point), action)

    _, ours, our_rewards, our_ends = jax.jit(jax.vmap(one))(points, actions.astype(np.float32))
    np.testing.assert_allclose(ours, after, rtol=1e-6, atol=3e-7)
    np.testing.assert_allclose(our_rewards, rewards, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(our_ends, ends)
    return ends.sum()


def car(point) -> CarState:
    return CarState(*jnp.asarray(point, jnp.float32))


def pole(point) -> CartPoleState:
    return CartPoleState(*jnp.asarray(point, jnp.float32))


def test_mountain_car_is_gymnasiums():
    ends = compare("MountainCar-v0", MountainCar(), car, random_cars, lambda rng: rng.integers(3))
    assert ends > 20


def test_mountain_car_continuous_is_gymnasiums():
    def action(rng):
        return rng.uniform(-1, 1, 1).astype(np.float32)

    ends = compare("MountainCarContinuous-v0", MountainCarContinuous(), car, random_cars, action)
    assert ends > 20


def test_cart_pole_is_gymnasiums():
    ends = compare("CartPole-v1", CartPole(), pole, random_poles, lambda rng: rng.integers(2))
    assert ends > 20


def test_sparse_mountain_car_moves_like_the_continuous_one_and_pays_at_the_goal_only():
    rng = np.random.default_rng(1)
    points = np.stack([random_cars(rng) for _ in range(1000)])
    actions = rng.uniform(-1.5, 1.5, (1000, 1)).astype(np.float32)

    def both(point, action):
        state = car(point)
        return [stepped(task, state, action) for task in (MountainCarContinuous(), SPARSE)]

    theirs, ours = jax.jit(jax.vmap(both))(points, actions)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(ours[3], theirs[3])
    np.testing.assert_array_equal(ours[2], ours[3].astype(np.float32))
    assert 0 < ours[2].sum() < 1000


def test_power_scales_the_push():
    state, action = car(np.array([-0.5, 0.0])), jnp.ones(1)
    coasting = stepped(SPARSE, state, jnp.zeros(1))[0].velocity
    for power in (0.0015, 0.0008):
        pushed = stepped(MountainCarSparse(power=power), state, action)[0].velocity
        assert float(pushed - coasting) == pytest.approx(power, rel=1e-4)


def test_actions_outside_the_box_are_clipped_before_they_are_paid_for():
    state = car(np.array([-0.5, 0.0]))
    wild = stepped(MountainCarContinuous(), state, jnp.full(1, 7.0))
    full = stepped(MountainCarContinuous(), state, jnp.ones(1))
    assert float(wild[2]) == float(full[2]) == pytest.approx(-0.1)
    assert wild[0].velocity == full[0].velocity


def energy(state: np.ndarray) -> float:
    """Return a cart-pole's energy (J), with rllab's masses, from the motion of its two bodies."""
    _, v, angle, omega = state
    pole_vx = v + 0.5 * omega * np.cos(angle)
    pole_vy = -0.5 * omega * np.sin(angle)
    inertia = 0.1 * (1.0**2 + 0.1**2) / 12
    moving = 0.5 * 1.0 * v**2 + 0.5 * 0.1 * (pole_vx**2 + pole_vy**2) + 0.5 * inertia * omega**2
    return moving + 0.1 * 10.0 * 0.5 * np.cos(angle)


def test_swing_up_keeps_energy_and_momentum_without_a_push():
    task = CartPoleSwingUpSparse()
    state = pole(np.array([0.0, 0.3, 2.0, 3.0]))

    @jax.jit
    def coast(state):
        def one(state, _):
            state, _, _ = task.step(state, jax.random.key(0), jnp.zeros(1))
            return state, task.observe(state)

        return jax.lax.scan(one, state, None, 200)[1]

    path = np.asarray(coast(state), np.float64)
    energies = [energy(point) for point in path]
    assert np.ptp(path[:, 2]) > 1.0  # it does swing
    assert np.ptp(energies) < 1e-4
    momentum = 1.1 * path[:, 1] + 0.1 * 0.5 * path[:, 3] * np.cos(path[:, 2])
    assert np.ptp(momentum) < 1e-4


def test_swing_up_pays_and_ends_as_the_original():
    task = CartPoleSwingUpSparse()
    still = jnp.zeros(1)
    cases = [  # x (m), angle (rad) -> pay, end
        (0.0, 0.0, 1.0, False),
        (0.0, 2 * np.pi, 1.0, False),
        (0.0, 0.62, 1.0, False),
        (0.0, 0.66, 0.0, False),
        (0.0, np.pi, 0.0, False),
        (2.99, 0.0, 1.0, False),
        (3.01, 0.0, 0.0, True),
        (-3.01, 0.0, 0.0, True),
    ]
    points = np.array([[x, 0.0, angle, 0.0] for x, angle, _, _ in cases], np.float32)
    one = jax.jit(jax.vmap(lambda point: stepped(task, pole(point), still)))
    _, _, reward, terminated = one(points)
    np.testing.assert_array_equal(reward, [pay for _, _, pay, _ in cases])
    np.testing.assert_array_equal(terminated, [end for _, _, _, end in cases])


def test_swing_up_starts_as_the_original():
    draw = jax.vmap(CartPoleSwingUpSparse().reset)
    starts = jax.jit(lambda key: draw(jax.random.split(key, 2000)))(jax.random.key(0))
    for values, middle, half in (
        (starts.x, 0, 1), (starts.v, 0, 2), (starts.angle, np.pi, 1), (starts.omega, 0, 3)
    ):  # fmt: skip
        centred = np.asarray(values) - middle
        assert -half <= centred.min() < -0.98 * half
        assert 0.98 * half < centred.max() <= half
        assert abs(centred.mean()) < 0.06 * half


def test_a_full_push_is_ten_newton():
    state = pole(np.zeros(4))
    pushed = stepped(CartPoleSwingUpSparse(), state, jnp.ones(1))[0]
    # upright and at rest: M ẍ + m l θ̈ = F and (I + m l²) θ̈ = −m l ẍ
    inertia, ml = 0.1 * 1.01 / 12, 0.05
    x_ddot = 10.0 / (1.1 - ml**2 / (inertia + ml * 0.5))
    assert float(pushed.v) == pytest.approx(0.05 * x_ddot, rel=0.01)

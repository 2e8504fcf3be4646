"""MPO's weights, the dual of their temperature, and multipliers, against slow float64 sums."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from explorax.ops import mpo

EPS = 0.1
solve = jax.jit(mpo.solve_temperature, static_argnames=("bound", "floor"))
weigh = jax.jit(mpo.log_weights)
distance = jax.jit(mpo.kl_from_prior)
dual = jax.jit(jax.value_and_grad(mpo.temperature_dual), static_argnums=2)


def action_values(seed=0, states=32, samples=20, scale=1.0):
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(size=(states, 1)))  # some states matter more than others
    return (scale * spread * rng.normal(size=(states, samples))).astype(np.float32)


def priors(seed=1, states=32, samples=20):
    return np.random.default_rng(seed).dirichlet(np.ones(samples), states).astype(np.float32)


def slow_weights(q, eta, prior):
    weights = np.zeros(q.shape)
    for s in range(len(q)):
        best = max(q[s].tolist())
        raw = [p * np.exp((each - best) / eta) for p, each in zip(prior[s], q[s], strict=True)]
        weights[s] = np.array(raw) / sum(raw)
    return weights


def slow_kl(q, eta, prior):
    weights = slow_weights(q, eta, prior)
    logs = np.log(np.where(weights > 0, weights, 1.0) / prior)
    return (np.where(weights > 0, weights * logs, 0.0)).sum(1).mean()


def slow_dual(eta, q, eps, prior):
    q, best = q.astype(np.float64), q.max(1).astype(np.float64)
    inside = (prior * np.exp((q - best[:, None]) / eta)).sum(1)
    return eta * eps + (best + eta * np.log(inside)).mean()


def uniform(q):
    return np.full(q.shape, 1.0 / q.shape[1])


@pytest.mark.parametrize("enumerated", [False, True])
@pytest.mark.parametrize("eta", [0.05, 0.7, 30.0])
def test_dual_weights_and_gradient_equal_slow_sums_and_finite_differences(eta, enumerated):
    q = action_values()
    prior = priors().astype(np.float64) if enumerated else uniform(q)
    log_prior = jnp.asarray(np.log(prior), jnp.float32) if enumerated else None
    value, slope = dual(jnp.float32(eta), q, EPS, log_prior)
    assert value == pytest.approx(slow_dual(eta, q, EPS, prior), rel=2e-6, abs=2e-6)
    step = 1e-4 * eta
    higher, lower = (slow_dual(eta + sign * step, q, EPS, prior) for sign in (1, -1))
    assert slope == pytest.approx((higher - lower) / (2 * step), abs=3e-6)
    assert slope == pytest.approx(EPS - slow_kl(q, eta, prior), abs=3e-6)
    log_weights = weigh(q, jnp.float32(eta), log_prior)
    np.testing.assert_allclose(np.exp(log_weights), slow_weights(q, eta, prior), atol=1e-6)
    assert distance(log_weights, log_prior).mean() == pytest.approx(
        slow_kl(q, eta, prior), abs=2e-6
    )


def test_gradient_reaches_the_raw_number_and_nothing_else():
    q, raw = action_values(), jnp.float32(0.3)

    def of_raw(raw, q):
        return mpo.temperature_dual(mpo.positive(raw), q, EPS)

    to_raw, to_q = jax.jit(jax.grad(of_raw, argnums=(0, 1)))(raw, q)
    eta = float(mpo.positive(raw))
    step = 1e-4
    higher, lower = (slow_dual(eta + sign * step, q, EPS, uniform(q)) for sign in (1, -1))
    assert to_raw == pytest.approx((higher - lower) / (2 * step) / (1 + np.exp(-0.3)), abs=3e-6)
    assert (to_q == 0).all()


def test_dual_is_convex():
    q = jnp.asarray(action_values(3))
    etas = jnp.geomspace(1e-3, 1e3, 121)
    slope = jax.jit(jax.vmap(jax.grad(lambda eta: mpo.temperature_dual(eta, q, EPS))))(etas)
    assert (np.diff(slope) > -2e-6).all() and slope[0] < 0 < slope[-1]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
def test_kl_is_the_bound_at_the_solution(eps, scale):
    q = action_values(4, scale=scale)
    eta = solve(q, bound=eps)
    assert slow_kl(q, float(eta), uniform(q)) == pytest.approx(eps, rel=3e-5)
    assert distance(weigh(q, eta)).mean() == pytest.approx(eps, rel=3e-5)
    least = scipy.optimize.minimize_scalar(
        lambda log_eta: slow_dual(np.exp(log_eta), q, eps, uniform(q)) / scale,
        bounds=(np.log(scale) - 5, np.log(scale) + 8),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert eta == pytest.approx(np.exp(least.x), rel=1e-4)


@pytest.mark.parametrize("gap", [1e-2, 1e-3])
def test_the_solution_is_found_beyond_a_plateau(gap):
    """Two actions nearly as good, the others not: from η = 0.1 down to the gap the KL hardly moves
    from log 10, and a Newton step from there goes anywhere."""
    q = 0.05 * action_values(6)
    q[:, :2] = 1.0, 1.0 + gap
    eta = solve(q, bound=2.5)
    assert slow_kl(q, float(eta), uniform(q)) == pytest.approx(2.5, rel=3e-5)
    assert eta < gap


def test_kl_is_the_bound_for_enumerated_actions():
    q, prior = action_values(5), priors(6)
    eta = solve(q, EPS, jnp.log(prior))
    assert slow_kl(q, float(eta), prior.astype(np.float64)) == pytest.approx(EPS, rel=3e-5)


def test_equal_samples_count_like_one_action_with_their_mass():
    q = action_values(7, samples=3)
    copies = np.repeat(q, [1, 4, 5], axis=1)
    log_prior = jnp.log(jnp.tile(jnp.asarray([[0.1, 0.4, 0.5]]), (len(q), 1)))
    eta = solve(copies, bound=EPS)
    assert solve(q, EPS, log_prior) == pytest.approx(float(eta), rel=1e-5)
    weights = np.exp(weigh(copies, eta))
    joined = np.stack([weights[:, 0], weights[:, 1:5].sum(1), weights[:, 5:].sum(1)], axis=1)
    np.testing.assert_allclose(np.exp(weigh(q, eta, log_prior)), joined, atol=1e-6)


def test_a_constant_per_state_changes_neither_temperature_nor_weights():
    q = action_values(8)
    constant = np.random.default_rng(9).integers(-64, 64, (len(q), 1)).astype(np.float32)
    # multiples of 2^-12 and whole numbers, so that the sum of both is exact
    q = np.round(q * 4096) / 4096
    shifted = q + constant
    assert solve(shifted, bound=EPS) == solve(q, bound=EPS)
    eta = jnp.float32(0.4)
    np.testing.assert_array_equal(weigh(shifted, eta), weigh(q, eta))
    (moved, moved_slope), (value, slope) = dual(eta, shifted, EPS), dual(eta, q, EPS)
    assert moved - value == pytest.approx(constant.mean(), abs=1e-5)
    assert moved_slope == pytest.approx(float(slope), abs=1e-6)


@pytest.mark.parametrize("eps", [np.log(20), 5.0])
def test_a_bound_of_log_n_or_more_gives_the_floor_and_the_best_action(eps):
    q = action_values(10)
    floor = 1e-3
    eta = solve(q, bound=float(eps), floor=floor)
    assert eta == pytest.approx(floor)
    slope = jax.grad(lambda eta: mpo.temperature_dual(eta, jnp.asarray(q), float(eps)))
    slopes = jax.jit(jax.vmap(slope))(jnp.geomspace(floor, 100.0, 20))
    assert (slopes > -2e-6).all()  # g rises everywhere: no interior minimum
    weights = np.exp(weigh(q, eta))
    np.testing.assert_allclose(weights.max(1), 1.0, atol=1e-2)
    np.testing.assert_array_equal(weights.argmax(1), q.argmax(1))
    # just below, there is one
    below = float(np.log(20)) - 0.05
    eta = solve(q, bound=below)
    assert slow_kl(q, float(eta), uniform(q)) == pytest.approx(below, rel=3e-5)


def test_equal_values_give_equal_weights():
    q = np.repeat(action_values(11)[:, :1], 20, axis=1)
    eta = solve(q, bound=EPS)
    assert eta == pytest.approx(1e-6)
    np.testing.assert_allclose(weigh(q, eta), -np.log(20), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e25])
def test_values_of_any_size_stay_finite(scale):
    q = jnp.asarray(action_values(12, scale=scale))
    eta = solve(q, bound=EPS)
    assert np.isfinite(eta) and eta >= 1e-6
    if scale == 1e25:
        assert distance(weigh(q, eta)).mean() == pytest.approx(EPS, rel=3e-5)
    for temperature in (eta, jnp.float32(1e-6), mpo.positive(jnp.float32(1e30))):
        value, slope = dual(temperature, q, EPS)
        assert np.isfinite(value) and np.isfinite(slope)
        np.testing.assert_allclose(np.exp(weigh(q, temperature)).sum(1), 1.0, rtol=1e-5)


def test_a_value_that_is_no_number_is_not_hidden():
    q = action_values(13)
    q[3, 2] = np.nan
    assert np.isnan(solve(q, bound=EPS))


def test_solving_for_many_at_once_and_inside_a_gradient():
    many = np.stack([action_values(seed) for seed in range(3)])
    together = jax.jit(jax.vmap(lambda q: mpo.solve_temperature(q, EPS)))(many)
    np.testing.assert_allclose(together, [solve(q, bound=EPS) for q in many], rtol=1e-5)
    slope = jax.jit(jax.grad(lambda q: mpo.solve_temperature(q, EPS)))(many[0])
    assert (slope == 0).all()


def test_gradient_steps_find_the_same_temperature():
    q = jnp.asarray(action_values(14))
    optimizer = optax.adam(0.05)

    def step(carry, _):
        raw, state = carry
        slope = jax.grad(lambda raw: mpo.temperature_dual(mpo.positive(raw), q, EPS))(raw)
        update, state = optimizer.update(slope, state)
        return (mpo.held(raw + update), state), None

    start = mpo.raw_of(10.0)
    (raw, _), _ = jax.jit(lambda s: jax.lax.scan(step, s, None, 1000))(
        (start, optimizer.init(start))
    )
    assert mpo.positive(raw) == pytest.approx(float(solve(q, bound=EPS)), rel=1e-3)


def test_positive_numbers_and_back():
    for value in (1e-6, 1e-3, 0.5, 10.0, 1e3, 1e20):
        assert mpo.positive(mpo.raw_of(value)) == pytest.approx(
            value, rel=2e-2 if value < 1e-5 else 1e-5
        )
    raw = jnp.asarray([-1e30, -100.0, 0.0, 100.0, 1e30])
    numbers = mpo.positive(raw)
    assert np.isfinite(numbers).all() and (numbers > 0).all()
    np.testing.assert_array_equal(mpo.held(raw)[:4], [-18.0, -18.0, 0.0, 100.0])
    assert mpo.raw_of(0.0) == -18.0  # what cannot be reached is as low as it gets
    assert jax.grad(mpo.positive)(mpo.held(jnp.float32(-50))) > 1e-8


def test_constraint_has_the_gradients_of_both_sides():
    raw, kl = jnp.asarray([-1.0, 0.5, 3.0]), jnp.asarray([0.0, 0.2, 0.1])
    to_raw, to_kl = jax.grad(mpo.constraint, argnums=(0, 1))(raw, kl, EPS)
    np.testing.assert_allclose(to_kl, np.log1p(np.exp(raw)), rtol=1e-5)
    np.testing.assert_allclose(to_raw, (EPS - kl) / (1 + np.exp(-np.asarray(raw))), atol=1e-7)


def test_descent_on_a_constraint_ends_on_it():
    """max x s.t. x²/2 <= ε has x = √(2ε) and the multiplier 1/x."""

    def loss(both):
        x, raw = both
        return -x + mpo.constraint(raw, 0.5 * x * x, EPS)

    def step(both, _):
        slope = jax.grad(loss)(both)
        return jax.tree.map(lambda each, by: each - 0.02 * by, both, slope), None

    start = jnp.float32(0.0), mpo.raw_of(1.0)
    (x, raw), _ = jax.jit(lambda s: jax.lax.scan(step, s, None, 8000))(start)
    assert x == pytest.approx(np.sqrt(2 * EPS), rel=1e-3)
    assert mpo.positive(raw) == pytest.approx(1 / np.sqrt(2 * EPS), rel=1e-3)

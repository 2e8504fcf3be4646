"""Particles: the kernel by automatic differentiation, and where they come to rest."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from scipy.special import logsumexp

from explorax.ops import svgd

BANDWIDTHS = [svgd.paper_bandwidth, svgd.release_bandwidth]


def particles(seed=0, states=3, fixed=7, updated=5, dims=2):
    key_fixed, key_updated = jax.random.split(jax.random.key(seed))
    a = jax.random.normal(key_fixed, (states, fixed, dims))
    return a, jax.random.normal(key_updated, (states, updated, dims))


def slow_distances(fixed, updated):
    pairs = [[a - b for b in np.asarray(updated)] for a in np.asarray(fixed)]
    return np.sqrt([[float(apart @ apart) for apart in row] for row in pairs])


def test_bandwidths_equal_their_definitions_in_each_state():
    fixed, updated = particles()
    paper = jax.jit(svgd.paper_bandwidth)(fixed, updated)
    release = jax.jit(svgd.release_bandwidth)(fixed, updated)
    for s in range(len(fixed)):
        distances = slow_distances(fixed[s], updated[s])
        assert paper[s] == pytest.approx(np.median(distances) / (2 * np.log(6)), rel=1e-5)
        assert release[s] == pytest.approx(np.median(distances**2) / np.log(7), rel=1e-5)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_bandwidth_has_a_floor_and_no_gradient(bandwidth):
    fixed, updated = particles(1)
    same = jnp.zeros_like(fixed)
    np.testing.assert_allclose(jax.jit(bandwidth)(same, same), svgd.BANDWIDTH_FLOOR)
    slope = jax.jit(jax.grad(lambda a: bandwidth(a, updated).sum()))(fixed)
    assert (slope == 0).all()
    one = jnp.zeros((1, 2))
    assert (
        jax.jit(bandwidth)(one, one + 1) > 0.5
    )  # one particle, no axis of states: a number, not 1/log 1


def test_kernel_and_its_gradient():
    fixed, updated = particles(2)
    h = jnp.asarray([0.5, 1.0, 2.0])
    value, gradient = jax.jit(svgd.kernel)(fixed, updated, h)

    def between(a, b, h):
        return jnp.exp(-jnp.sum((a - b) ** 2) / h)

    over_pairs = jax.vmap(jax.vmap(jax.value_and_grad(between), (None, 0, None)), (0, None, None))
    want_value, want_gradient = jax.jit(jax.vmap(over_pairs))(fixed, updated, h)
    np.testing.assert_allclose(value, want_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-5, atol=1e-7)


def test_direction_equals_a_slow_loop_and_carries_no_gradient():
    fixed, updated = particles(3)
    slope = jax.random.normal(jax.random.key(4), fixed.shape)
    h, alpha = jnp.asarray([0.5, 1.0, 2.0]), 0.7
    got = jax.jit(svgd.stein_direction)(fixed, updated, slope, h, alpha)
    want = np.zeros(updated.shape)
    for s, j in np.ndindex(*updated.shape[:2]):
        for i in range(fixed.shape[1]):
            apart = np.float64(fixed[s, i]) - updated[s, j]
            k = np.exp(-apart @ apart / h[s])
            want[s, j] += (k * slope[s, i] + alpha * k * -2 * apart / h[s]) / fixed.shape[1]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    back = jax.jit(jax.grad(lambda a: svgd.stein_direction(fixed, a, slope, h, alpha).sum()))(
        updated
    )
    assert (back == 0).all()


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_one_particle_climbs_the_gradient(bandwidth):
    a = jnp.asarray([[[0.3, -0.8]]])
    slope = jnp.asarray([[[1.5, 2.5]]])
    h = jax.jit(bandwidth)(a, a)
    np.testing.assert_array_equal(svgd.stein_direction(a, a, slope, h, 10.0), slope)


def test_a_particle_at_rest_is_pushed_away_from_its_neighbour():
    fixed, updated = jnp.asarray([[[0.0, 0.0]]]), jnp.asarray([[[0.5, 0.0]]])
    push = svgd.stein_direction(fixed, updated, jnp.zeros((1, 1, 2)), jnp.ones(1), 1.0)
    assert push[0, 0, 0] > 0.5 and push[0, 0, 1] == 0


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("steps",))
def settle(slope, bandwidth, start, alpha, rate, steps):
    """Return particles [S, K, d] after `steps` steps, each particle fixed and updated in one."""

    def one(a, _):
        direction = svgd.stein_direction(a, a, slope(a), bandwidth(a, a), alpha)
        return a + rate * direction, None

    return jax.lax.scan(one, start, None, length=steps)[0]


SPREAD = 0.4


def bowl(a):
    """Return ∇Q of Q = −‖a‖²/(2 s²)."""
    return -a / SPREAD**2


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_many_particles_match_mean_and_variance_of_a_gaussian(bandwidth, alpha):
    """Two states at once, which start to either side; the density is ∝ exp(Q/α): variance α s²."""
    start = jnp.linspace(-1, 1, 40)[None, :, None] + jnp.asarray([0.5, -2.0])[:, None, None]
    a = np.asarray(settle(bowl, bandwidth, start, alpha, SPREAD**2, steps=600))
    np.testing.assert_allclose(a.mean(1), 0.0, atol=2e-3)
    # a few particles cover less than the whole: 5 to 8% less variance at 40, 3 to 4% at 100
    assert (a.var(1) > 0.9 * alpha * SPREAD**2).all()
    assert (a.var(1) < 1.0 * alpha * SPREAD**2).all()


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_more_particles_come_closer_to_the_variance(bandwidth):
    lacking = []
    for count in (5, 15, 45):
        start = jnp.linspace(-1, 1, count)[None, :, None]
        a = np.asarray(settle(bowl, bandwidth, start, 1.0, SPREAD**2, steps=400))
        lacking.append(1 - a.var() / SPREAD**2)
    assert lacking[0] > 2 * lacking[1] > 4 * lacking[2] > 0


MODE = 0.5
GRID = np.linspace(-4, 4, 8001)
CELL = GRID[1] - GRID[0]


def log_normal(x, mean, deviation):
    return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))


def two_modes(left, width):
    """Return log(left · N(−0.5, width²) + (1 − left) · N(0.5, width²)) on GRID, in float64."""
    bumps = log_normal(GRID[None], np.array([[-MODE], [MODE]]), width)
    return np.asarray(logsumexp(bumps + np.log([[left], [1 - left]]), axis=0))


def uphill(left, width, a):
    """Return ∇Q, Q the logarithm of that density."""
    share = jax.nn.sigmoid(jnp.log(left / (1 - left)) - 2 * MODE * a / width**2)
    return -(a + (2 * share - 1) * MODE) / width**2


def earth_moved(quantiles, log_density):
    """Return the distance of Wasserstein between equally weighted points and a density on GRID."""
    below = np.cumsum(np.exp(log_density)) * CELL
    under = np.searchsorted(np.sort(quantiles), GRID, side="right") / len(quantiles)
    return np.abs(below - under).sum() * CELL


def best_gaussian(log_density, width):
    """Return (mean, deviation, KL) of the N that is least in KL[N ‖ density], of four starts."""

    def kl(parameters):
        log_n = log_normal(GRID, parameters[0], np.exp(parameters[1]))
        return (np.exp(log_n) * (log_n - log_density)).sum() * CELL

    starts = [(-MODE, np.log(width)), (MODE, np.log(width)), (0.0, -0.5), (0.0, -3.0)]
    fits = [scipy.optimize.minimize(kl, start, method="Nelder-Mead") for start in starts]
    fit = min(fits, key=lambda fit: fit.fun)
    return fit.x[0], np.exp(fit.x[1]), float(fit.fun)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
@pytest.mark.parametrize("left", [0.5, 0.7])
def test_particles_hold_two_modes_with_their_masses(bandwidth, left):
    """Wherever they start: all over, all at one mode, all at the other."""
    width = 0.25
    starts = [jnp.linspace(*ends, 40) for ends in ((-1, 1), (-0.7, -0.3), (0.3, 0.7))]
    slope, start = partial(uphill, left, width), jnp.stack(starts)[..., None]
    for a in np.asarray(settle(slope, bandwidth, start, 1.0, width**2, steps=1000))[..., 0]:
        assert (a < 0).mean() == pytest.approx(left, abs=0.03)
        assert earth_moved(a, two_modes(left, width)) < 0.03


def test_particles_from_all_over_hold_two_modes_far_apart():
    width = 0.1
    start = jnp.linspace(-1, 1, 40)[None, :, None]
    slope = partial(uphill, 0.5, width)
    a = settle(slope, svgd.release_bandwidth, start, 1.0, width**2, steps=1000)
    a = np.asarray(a)[0, :, 0]
    assert (a < 0).sum() == 20
    assert earth_moved(a, two_modes(0.5, width)) < 0.03


@pytest.mark.parametrize(("left", "width"), [(0.5, 0.25), (0.7, 0.25), (0.5, 0.1)])
def test_a_gaussian_cannot_hold_two_modes(left, width):
    """It climbs E[Q] + entropy, which is −KL[N ‖ exp Q], and the best it can be is far away."""
    density = two_modes(left, width)
    mean, deviation, kl = best_gaussian(density, width)
    best = scipy.stats.norm(mean, deviation)
    assert earth_moved(best.ppf((np.arange(2000) + 0.5) / 2000), density) > 0.1
    if width == 0.1:  # it gives one mode up
        assert kl == pytest.approx(np.log(2), abs=1e-3)
        assert best.cdf(0) < 1e-4 or best.sf(0) < 1e-4
    else:  # it stands astride, and acts where no mode is
        valley = CELL * float(np.sum(np.exp(density) * (np.abs(GRID) < 0.1)))
        assert kl > 0.2 and best.cdf(0.1) - best.cdf(-0.1) > 3 * valley

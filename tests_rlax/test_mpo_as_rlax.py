"""MPO's E-step, dual of the temperature, M-step and constraints against rlax's.

rlax takes one temperature and descends on the dual; here it is solved for each batch. So the duals
are compared as functions, and the solution as the place where rlax's has no slope. Not compared:
weights of enumerated actions (rlax has samples alone) and full covariances (its Gaussians are
diagonal).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax  # pyright: ignore[reportMissingImports]  (another environment's)

from explorax.ops import mpo
from explorax.ops.distributions import Gaussian

STATES, SAMPLES, ACTIONS, BOUND = 8, 20, 3, 0.1
AS_IT_IS = jnp.asarray  # of multipliers, which are positive already
CLOSE: dict[str, Any] = dict(rtol=2e-5, atol=1e-5)


@functools.cache
def drawn() -> Any:
    """Return Q [B, N], actions [B, N, A], and the old and the new policy of each state."""
    draw = np.random.default_rng(0)
    q = 3.0 * draw.normal(size=(STATES, SAMPLES)) + draw.normal(size=(STATES, 1))
    old, new = (
        Gaussian(
            jnp.asarray(draw.normal(size=(STATES, ACTIONS)), jnp.float32),
            jnp.asarray(0.4 * draw.normal(size=(STATES, ACTIONS)) - 0.5, jnp.float32),
        )
        for _ in range(2)
    )
    noise = draw.normal(size=(STATES, SAMPLES, ACTIONS)).astype(np.float32)
    actions = old.mean[:, None] + jnp.exp(old.log_std)[:, None] * noise
    return jnp.asarray(q, jnp.float32), actions, old, new


def of_rlax(q, temperature):
    """Return (the dual of each state [B], weights [B, N])."""
    penalty = rlax.LagrangePenalty(alpha=jnp.float32(temperature), epsilon=BOUND)
    dual, weights, _ = rlax.mpo_compute_weights_and_temperature_loss(
        q, penalty, AS_IT_IS, sample_axis=1
    )
    return dual, weights


@pytest.mark.parametrize("temperature", [0.3, 1.0, 20.0])
def test_weights_and_the_dual_of_the_temperature_are_those_of_rlax(temperature):
    q = drawn()[0]
    dual, weights = of_rlax(q, temperature)
    np.testing.assert_allclose(jnp.exp(mpo.log_weights(q, temperature)), weights, **CLOSE)
    ours, slope = jax.value_and_grad(mpo.temperature_dual)(jnp.float32(temperature), q, BOUND)
    np.testing.assert_allclose(ours, dual.mean(), **CLOSE)
    theirs = jax.grad(lambda each: of_rlax(q, each)[0].mean())(jnp.float32(temperature))
    np.testing.assert_allclose(slope, theirs, rtol=1e-4, atol=1e-5)


def test_the_temperature_that_is_solved_for_is_where_the_dual_of_rlax_is_least():
    q = drawn()[0]
    found = mpo.solve_temperature(q, BOUND)
    slope = jax.grad(lambda each: of_rlax(q, each)[0].mean())
    np.testing.assert_allclose(slope(found), 0.0, atol=1e-4 * BOUND)
    assert slope(0.9 * found) < -1e-3 < 1e-3 < slope(1.1 * found)


def test_kullback_leibler_divergences_are_those_of_rlax():
    _, _, old, new = drawn()
    std, other = jnp.exp(old.log_std), jnp.exp(new.log_std)

    def theirs(mean, deviation):
        with pytest.warns(PendingDeprecationWarning):
            return rlax.multivariate_normal_kl_divergence(old.mean, std, mean, deviation)

    moved, reshaped = mpo.decoupled_kl(old, new)
    np.testing.assert_allclose(moved, theirs(new.mean, std), **CLOSE)
    np.testing.assert_allclose(reshaped, theirs(old.mean, other), **CLOSE)
    np.testing.assert_allclose(old.kl(new), theirs(new.mean, other), **CLOSE)


@pytest.mark.parametrize("per_dimension", [False, True])
def test_loss_of_the_m_step_and_its_gradients_are_those_of_rlax(per_dimension):
    """Of the policy's mean and deviation, and of both multipliers; the temperature is given."""
    q, actions, old, new = drawn()
    temperature, bounds = jnp.float32(1.5), (0.01, 0.002)
    shape = (ACTIONS,) if per_dimension else ()
    raws = tuple(jnp.full(shape, mpo.raw_of(value)) for value in (2.0, 30.0))

    def ours(new, raws):
        weights = jnp.exp(mpo.log_weights(q, temperature))
        gain = mpo.decoupled_log_likelihood(old, new, actions, weights)
        kls = (each.mean(0) for each in mpo.decoupled_kl(old, new, per_dimension))
        added = map(mpo.constraint, raws, kls, bounds)
        return -gain + sum(added)

    def theirs(new, raws):
        moved, reshaped = mpo.decoupled(old, new)
        kls = mpo.decoupled_kl(old, new, per_dimension)
        constraints = [
            (kl, rlax.LagrangePenalty(mpo.positive(raw), bound, per_dimension))
            for kl, raw, bound in zip(kls, raws, bounds, strict=True)
        ]
        total = 0.0
        for part, held in ((moved, constraints), (reshaped, [])):
            each = jax.tree.map(lambda leaf: leaf[:, None], part)
            loss, told = rlax.mpo_loss(
                each.log_prob(actions),
                q,
                rlax.LagrangePenalty(temperature, BOUND),
                held or [(jnp.zeros(STATES), rlax.LagrangePenalty(jnp.float32(0), 0.0))],
                AS_IT_IS,
                sample_axis=1,
            )
            total = total + (loss - told.temperature_loss).mean()
        return total

    (value, gradient), (wanted, gradient_of_rlax) = (
        jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(new, raws) for loss in (ours, theirs)
    )
    # what stands for a constraint in ours, α ε, is theirs too: α KL + α (ε − KL)
    np.testing.assert_allclose(value, wanted, rtol=1e-4)
    for one, other in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(gradient_of_rlax), strict=True
    ):
        assert jnp.abs(one).max() > 1e-4
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

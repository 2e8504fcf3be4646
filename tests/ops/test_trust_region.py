"""Conjugate gradient, Fisher products and the line search, each against what it must equal."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from explorax.nets.mlp import MLP
from explorax.ops.distributions import Categorical, Gaussian
from explorax.ops.trust_region import conjugate_gradient, fisher_product, line_search, natural_step


def positive_definite(seed, size=12):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size)).astype(np.float32)
    return jnp.asarray(root @ root.T + 0.5 * np.eye(size, dtype=np.float32)), jnp.asarray(
        rng.normal(size=size).astype(np.float32)
    )


def test_conjugate_gradient_solves():
    matrix, target = positive_definite(0)
    x, residual = jax.jit(lambda b: conjugate_gradient(lambda v: matrix @ v, b, 60))(target)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, target), rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(residual, target - matrix @ x, atol=1e-3)


def test_conjugate_gradient_needs_one_step_per_eigenvalue():
    matrix = jnp.diag(jnp.array([2.0, 2.0, 5.0, 5.0, 5.0]))
    x, _ = conjugate_gradient(lambda v: matrix @ v, jnp.arange(1.0, 6.0), 2)
    np.testing.assert_allclose(x, jnp.arange(1.0, 6.0) / jnp.diag(matrix), rtol=1e-5)


def test_conjugate_gradient_stops_before_it_divides_by_nothing():
    x, residual = jax.jit(lambda b: conjugate_gradient(lambda v: 3.0 * v, b, 50))(jnp.ones(4))
    np.testing.assert_allclose(x, 1.0 / 3.0, rtol=1e-6)
    x, residual = jax.jit(lambda b: conjugate_gradient(lambda v: v, b, 50))(jnp.zeros(4))
    np.testing.assert_array_equal(x, 0.0)
    np.testing.assert_array_equal(residual, 0.0)


def policy(discrete):
    rows = jnp.asarray(np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32))
    net = MLP((6,), 2, "tanh")
    params = {"net": net.init(jax.random.key(0), rows), "log_std": jnp.array([-0.3, 0.2])}
    flat, unravel = ravel_pytree(params)

    def distribution(parameters):
        tree = unravel(parameters)
        out, _ = net.run(tree["net"], rows)
        assert isinstance(out, jax.Array)
        if discrete:
            return Categorical(out)
        return Gaussian(out, jnp.broadcast_to(tree["log_std"][None, None], out.shape))

    return distribution, flat


@pytest.mark.parametrize("discrete", [False, True])
def test_fisher_product_is_the_hessian_of_the_mean_kl(discrete):
    distribution, flat = policy(discrete)

    def mean_kl(parameters):
        return distribution(flat).kl(distribution(parameters)).mean()

    hessian = jax.jit(jax.hessian(mean_kl))(flat)
    vectors = jnp.asarray(np.random.default_rng(2).normal(size=(3, flat.size)).astype(np.float32))
    product = fisher_product(distribution, flat, 0.01)
    got = jax.jit(jax.vmap(product))(vectors)
    np.testing.assert_allclose(got, vectors @ hessian.T + 0.01 * vectors, rtol=1e-3, atol=1e-4)


def test_natural_step_spends_the_kl_of_the_quadratic_model():
    matrix, gradient = positive_definite(3)
    step = natural_step(lambda v: matrix @ v, gradient, 0.02, 60)
    np.testing.assert_allclose(0.5 * step @ matrix @ step, 0.02, rtol=1e-3)
    want = np.linalg.solve(matrix, gradient)
    cosine = step @ want / np.linalg.norm(step) / np.linalg.norm(want)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-4)
    np.testing.assert_array_equal(natural_step(lambda v: matrix @ v, 0.0 * gradient, 0.02, 5), 0.0)


OLD = jnp.array([0.1, 1.0 / 3.0, -7e-5])
STEP = jnp.array([1.0, 0.0, 0.0])


def search(evaluate, step=STEP, candidates=6):
    run = partial(line_search, evaluate, max_kl=0.3, factor=0.5, candidates=candidates)
    return jax.jit(run)(OLD, step)


def test_line_search_takes_the_first_candidate_inside_the_region():
    found = search(lambda p: (p[0] - OLD[0], p[0] - OLD[0]))  # lengths 1, 0.5, 0.25: KL <= 0.3
    assert found.accepted and found.tried == 3
    np.testing.assert_allclose(found.parameters, OLD + 0.25 * STEP, rtol=1e-6)
    np.testing.assert_allclose([found.kl, found.improvement], 0.25, rtol=1e-5)


def test_line_search_takes_no_candidate_that_does_not_improve():
    found = search(lambda p: (0.15 - (p[0] - OLD[0]), jnp.float32(0)))
    assert found.accepted and found.tried == 4


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda p: (jnp.float32(1), jnp.float32(0.31)),
        lambda p: (jnp.float32(0), jnp.float32(0)),
        lambda p: (jnp.float32(-1), jnp.float32(0)),
        lambda p: (jnp.float32(jnp.nan), jnp.float32(0)),
        lambda p: (jnp.float32(1), jnp.float32(jnp.nan)),
    ],
)
def test_line_search_that_fails_restores_every_bit(evaluate):
    found = search(evaluate)
    assert not found.accepted and found.tried == 6
    assert np.asarray(found.parameters).tobytes() == np.asarray(OLD).tobytes()
    assert found.kl == 0.0 and found.improvement == 0.0


def test_a_step_of_nan_or_zero_changes_nothing():
    for step, tried in ((0.0 * STEP, 0), (jnp.nan * STEP, 6)):
        found = search(lambda p: (p.sum(), p.sum() * 0.0), step)
        assert not found.accepted and found.tried == tried
        assert np.asarray(found.parameters).tobytes() == np.asarray(OLD).tobytes()


def test_line_searches_side_by_side_do_not_disturb_each_other():
    limits = jnp.array([2.0, 0.6, 0.0, 0.1])

    def one(limit):
        def evaluate(p):
            return p[0] - OLD[0], jnp.where(p[0] - OLD[0] <= limit, 0.0, 1.0)

        return line_search(evaluate, OLD, STEP, 0.3, 0.5, 6)

    together = jax.jit(jax.vmap(one))(limits)
    np.testing.assert_array_equal(together.tried, [1, 2, 6, 5])
    np.testing.assert_array_equal(together.accepted, [True, True, False, True])
    lengths = np.array([1.0, 0.5, 0.0, 0.0625])
    np.testing.assert_allclose(together.parameters[:, 0], OLD[0] + lengths, rtol=1e-6)
    assert np.asarray(together.parameters[2]).tobytes() == np.asarray(OLD).tobytes()

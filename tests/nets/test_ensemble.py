"""Ensembles: each model is an MLP of its own, and their spread is NumPy's."""

import jax
import numpy as np

from explorax.nets import ensemble
from explorax.nets.mlp import MLP

MODELS = ensemble.Ensemble(3, (5, 4), 2, "silu")


def test_each_model_runs_as_the_mlp_that_it_is():
    params = jax.jit(lambda key: MODELS.init(key, 6))(jax.random.key(0))
    assert MODELS.inputs(params) == 6
    x = jax.random.normal(jax.random.key(1), (3, 7, 6))
    same, apart = jax.jit(MODELS.run)(params, x[0]), jax.jit(MODELS.run_apart)(params, x)
    alone = MLP((5, 4), 2, "silu")
    for k in range(3):
        one = jax.tree.map(lambda leaf, k=k: leaf[k], params)
        np.testing.assert_allclose(same[k], alone.run(one, x[0])[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(apart[k], alone.run(one, x[k])[0], rtol=1e-5, atol=1e-6)
    assert (np.asarray(same[0]) != np.asarray(same[1])).all()  # drawn from keys of their own


def test_a_linear_ensemble_has_inputs_too():
    linear = ensemble.Ensemble(2, (), 3)
    assert linear.inputs(jax.jit(lambda key: linear.init(key, 4))(jax.random.key(0))) == 4


def test_mean_and_variance_are_the_populations():
    outputs = np.random.default_rng(0).normal(3.0, 2.0, (5, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(jax.jit(ensemble.mean)(outputs), outputs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(ensemble.variance)(outputs), outputs.var(0), rtol=1e-4)

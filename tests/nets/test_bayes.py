"""The Bayesian network against closed forms, finite differences and one gradient per row."""

import itertools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.nets import bayes


def network_and_posterior(hidden=(5, 4), features=3, activation="relu", inputs=4, seed=0):
    network = bayes.BayesianMLP(hidden, features, activation)
    params = bayes.initialise(network, jax.random.key(seed), inputs)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    leaves = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return network, jax.tree.unflatten(tree, leaves)


def gain_by_one_gradient_per_row(network, params, x, y, noise, likelihood_std, step_size):
    """½ λ² ∇ℓᵀ H⁻¹ ∇ℓ with respect to (μ, ρ), each row's gradient taken by itself."""

    def one(x, y, noise):
        def loss(params):
            outputs, _ = network.apply({"params": params}, x[None], noise)
            return bayes.negative_log_likelihood(outputs, y[None], likelihood_std).sum()

        gradient = jax.grad(loss)(params)
        total = 0.0
        for name, layer in params.items():
            std = jax.nn.softplus(layer["rho"])
            hessian_rho = 2 * jnp.square(jax.nn.sigmoid(layer["rho"]) / std)
            total += jnp.sum(jnp.square(gradient[name]["mean"] * std))
            total += jnp.sum(jnp.square(gradient[name]["rho"]) / hessian_rho)
        return 0.5 * step_size**2 * total

    rows = x.shape[0]
    per_row = tuple(
        jnp.broadcast_to(e, (e.shape[0], rows, e.shape[2])).swapaxes(0, 1)[:, :, None]
        for e in noise
    )
    return jax.vmap(one)(x, y, per_row)


@pytest.mark.parametrize(
    ("samples", "activation", "hidden", "shared"),
    [
        *itertools.product((1, 10), ("relu", "tanh"), ((6, 5),), (True, False)),
        (1, "relu", (), False),
        (10, "tanh", (), True),
        (3, "tanh", (4, 5, 6), False),
        (1, "tanh", (3,) * 11, False),  # layer_10 sorts before layer_2
    ],
)
def test_closed_form_gain_equals_one_gradient_per_row(samples, activation, hidden, shared):
    network, params = network_and_posterior(hidden, 3, activation)
    keys = jax.random.split(jax.random.key(5), 3)
    x, y = jax.random.normal(keys[0], (70, 4)), jax.random.normal(keys[1], (70, 3))
    noise = network.draw_noise(keys[2], samples, 1 if shared else 70)
    gain = jax.jit(bayes.information_gain, static_argnums=0, static_argnames="rows_at_once")
    arguments = (network, params, x, y, noise)
    fast = gain(*arguments, likelihood_std=0.7, step_size=0.1)
    in_blocks = gain(*arguments, likelihood_std=0.7, step_size=0.1, rows_at_once=16)
    slow = jax.jit(gain_by_one_gradient_per_row, static_argnums=0)(
        network, params, x, y, noise, 0.7, 0.1
    )
    np.testing.assert_allclose(fast, slow, rtol=1e-5)
    np.testing.assert_allclose(in_blocks, slow, rtol=1e-5)


def test_hessian_of_the_kl_is_diagonal_with_the_curvature_that_the_gain_uses():
    _, params = network_and_posterior((2,), 1, inputs=1)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def kl(other):
        return bayes.kl_divergence(unravel(other), params)

    np.testing.assert_allclose(jax.jit(jax.grad(kl))(flat), 0.0, atol=1e-6)
    hessian = jax.jit(jax.hessian(kl))(flat)
    expected = {
        name: {
            "mean": 1 / jnp.square(jax.nn.softplus(layer["rho"])),
            "rho": 2 * jnp.square(jax.nn.sigmoid(layer["rho"]) / jax.nn.softplus(layer["rho"])),
        }
        for name, layer in params.items()
    }
    np.testing.assert_allclose(
        hessian, jnp.diag(jax.flatten_util.ravel_pytree(expected)[0]), rtol=2e-5, atol=1e-5
    )


def test_weights_that_are_certain_gain_nothing_and_keep_gradients_finite():
    network, params = network_and_posterior((4,), 2)
    for layer in params.values():
        layer["rho"] = jnp.full_like(layer["rho"], -200.0)  # σ = 0 in float32
    x, y = jnp.ones((3, 4)), jnp.zeros((3, 2))
    noise = network.draw_noise(jax.random.key(0), 1, 1)
    gain = bayes.information_gain(network, params, x, y, noise, likelihood_std=1.0, step_size=0.1)
    np.testing.assert_allclose(gain, 0.0, atol=1e-25)

    def fit(params):
        return jnp.square(network.run(params, x, noise)[0] - y[None]).sum()

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.grad(fit)(params)))


def test_softplus_inverse_is_the_inverse_and_does_not_overflow():
    for std in (1e-4, 0.5, 30.0, 1000.0):
        np.testing.assert_allclose(np.logaddexp(0.0, bayes.softplus_inverse(std)), std, rtol=1e-9)


def test_kl_is_zero_at_home_and_equals_numerical_integration_away():
    _, p = network_and_posterior(seed=1)
    _, q = network_and_posterior(seed=2)
    assert abs(float(bayes.kl_divergence(p, p))) < 1e-5
    grid = np.linspace(-30, 30, 200_001)

    def normal(mean, std):
        return np.exp(-0.5 * ((grid - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))

    expected = 0.0
    for name in p:
        for m1, r1, m2, r2 in zip(
            *(np.asarray(d[name][f], float).ravel() for d in (p, q) for f in ("mean", "rho")),
            strict=True,
        ):
            s1, s2 = np.log1p(np.exp(r1)), np.log1p(np.exp(r2))
            log_ratio = -0.5 * ((grid - m1) / s1) ** 2 + 0.5 * ((grid - m2) / s2) ** 2
            expected += np.trapezoid(normal(m1, s1) * (log_ratio + np.log(s2 / s1)), grid)
    np.testing.assert_allclose(bayes.kl_divergence(p, q), expected, rtol=1e-4)


def test_kl_to_prior_is_the_kl_to_a_posterior_at_the_prior():
    _, params = network_and_posterior()
    rho = bayes.softplus_inverse(0.5)
    prior = {
        name: {"mean": jnp.zeros_like(v["mean"]), "rho": jnp.full_like(v["rho"], rho)}
        for name, v in params.items()
    }
    np.testing.assert_allclose(
        bayes.kl_to_prior(params, 0.5), bayes.kl_divergence(params, prior), rtol=1e-6
    )


def test_local_reparameterisation_has_the_moments_of_sampled_weights():
    network, params = network_and_posterior((), 2)
    x = jax.random.normal(jax.random.key(3), (1, 4))
    noise = network.draw_noise(jax.random.key(4), 200_000, 1)
    outputs = jax.jit(lambda noise: network.apply({"params": params}, x, noise)[0])(noise)[:, 0]
    rng = np.random.default_rng(0)
    layer = params["layer_0"]
    mean, std = np.asarray(layer["mean"]), np.asarray(jax.nn.softplus(layer["rho"]))
    weights = mean + std * rng.standard_normal((200_000, *mean.shape))
    sampled = np.einsum("i,kij->kj", np.append(np.asarray(x[0]), 1.0), weights)
    np.testing.assert_allclose(outputs.mean(0), sampled.mean(0), atol=0.02)
    np.testing.assert_allclose(outputs.std(0), sampled.std(0), rtol=0.01)


def test_negative_log_likelihood_is_minus_the_log_density():
    from scipy.stats import norm

    outputs = jnp.asarray([[[0.1, -0.4]], [[1.0, 0.3]]])
    targets = jnp.asarray([[0.5, 0.2]])
    expected = -norm.logpdf(np.asarray(targets), np.asarray(outputs), 0.8).sum(-1).mean(0)
    np.testing.assert_allclose(
        bayes.negative_log_likelihood(outputs, targets, 0.8), expected, rtol=1e-6
    )


def test_linear_network_fitted_by_the_elbo_is_the_mean_field_posterior():
    """One linear layer without correlations between inputs: the mean-field posterior is exact,
    1/σ² = 1/σ_p² + Σ x²/σ_L², and so is its mean, that of Bayesian linear regression."""
    import optax

    rows, prior_std, likelihood_std = 64, 0.5, 0.4
    signs = np.sign(np.asarray(jax.random.normal(jax.random.key(0), (rows // 2,))))
    x = np.zeros((rows, 2), np.float32)  # two orthogonal inputs, each orthogonal to the bias
    x[: rows // 2, 0] = np.tile([1.0, -1.0], rows // 4)
    x[rows // 2 :, 1] = np.tile([2.0, -2.0], rows // 4)
    y = (0.7 * x[:, :1] - 0.3 * x[:, 1:] + 0.1).astype(np.float32)
    y[: rows // 2, 0] += 0.1 * signs
    network = bayes.BayesianMLP((), 1, std=0.5)
    params = bayes.initialise(network, jax.random.key(1), 2)
    optimizer = optax.adam(optax.exponential_decay(0.03, 1000, 0.3))

    def loss(params, key):
        return bayes.negative_elbo(
            network,
            params,
            jnp.asarray(x),
            jnp.asarray(y),
            network.draw_noise(key, 8, rows),
            likelihood_std=likelihood_std,
            prior_std=prior_std,
            batches=1.0,
        )

    def step(carry, key):
        params, state = carry
        change, state = optimizer.update(jax.grad(loss)(params, key), state)
        return (optax.apply_updates(params, change), state), None

    keys = jax.random.split(jax.random.key(2), 4000)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(
        (params, optimizer.init(params))
    )
    design = np.concatenate([x, np.ones((rows, 1), np.float32)], 1)
    precision = design.T @ design / likelihood_std**2 + np.eye(3) / prior_std**2
    mean = np.linalg.solve(precision, design.T @ y / likelihood_std**2)
    np.testing.assert_allclose(params["layer_0"]["mean"], mean, atol=0.01)
    std = jax.nn.softplus(params["layer_0"]["rho"])[:, 0]
    np.testing.assert_allclose(std, 1 / np.sqrt(np.diag(precision)), rtol=0.05)


def test_gain_ranks_inputs_as_the_exact_gain_of_bayesian_linear_regression_does():
    """E_y of the gain against ½ log(1 + xᵀSx/σ_L²), the entropy that one observation removes."""
    likelihood_std = 0.5
    network, params = network_and_posterior((), 1, inputs=3, seed=7)
    layer = params["layer_0"]
    covariance = np.diag(np.square(np.asarray(jax.nn.softplus(layer["rho"])))[:, 0])
    x = jax.random.normal(jax.random.key(1), (60, 3)) * jnp.linspace(0.2, 2, 60)[:, None]
    design = np.concatenate([np.asarray(x), np.ones((60, 1))], 1)
    variance = np.einsum("bi,ij,bj->b", design, covariance, design)
    exact = 0.5 * np.log1p(variance / likelihood_std**2)

    def gain(key):
        key_y, key_noise = jax.random.split(key)
        located = network.mean_output(params, x)
        predictive = jnp.asarray(np.sqrt(variance + likelihood_std**2), jnp.float32)[:, None]
        y = located + predictive * jax.random.normal(key_y, (60, 1))
        noise = network.draw_noise(key_noise, 1, 60)
        return bayes.information_gain(
            network, params, x, y, noise, likelihood_std=likelihood_std, step_size=1.0
        )

    mean_gain = jax.jit(lambda keys: jax.vmap(gain)(keys).mean(0))(
        jax.random.split(jax.random.key(2), 4000)
    )
    from scipy.stats import spearmanr

    assert np.asarray(spearmanr(mean_gain, exact))[0] > 0.98

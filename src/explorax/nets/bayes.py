"""Bayesian networks with fully factorised Gaussian weights, and what they gain from one datum.

q(θ) = ∏ N(θᵢ; μᵢ, σᵢ²) with σ = softplus(ρ) (Blundell et al. 2015, arXiv 1505.05424), sampled by
local reparameterisation (Kingma et al. 2015, arXiv 1506.02557): the noise is on outputs, not on
weights. Axes: K noise samples, B rows, I inputs, J outputs of a layer, D outputs of the
network.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from explorax.core.protocols import Key
from explorax.core.pytree import pytree
from explorax.nets.mlp import ACTIVATIONS

FLOOR = 1e-30  # of the variance of a pre-activation

Params: TypeAlias = Any  # {"layer_0": Posterior-shaped dict, ...}
Noise: TypeAlias = tuple[jax.Array, ...]  # per layer [K, B, J], or [K, 1, J] shared by all rows


@pytree
class LayerTrace:
    """What one layer saw and made of it."""

    inputs: Any  # [B, I] in the first layer, [K, B, I] behind it
    variance: Any  # of the pre-activation, [B, J] or [K, B, J]
    output: Any  # the pre-activation itself, [K, B, J]


def softplus_inverse(value: float) -> float:
    """Return ρ with softplus(ρ) = value."""
    return value + math.log(-math.expm1(-value))  # expm1(value) itself overflows from 710 on


class BayesianDense(nn.Module):
    """Variational dense layer, bias Bayesian too (the last row of `mean` and `rho`)."""

    features: int
    std: float  # σ at the start
    mean_std: float | None  # deviation of μ at the start; None: 1/√I

    @nn.compact
    def __call__(self, x: jax.Array, noise: jax.Array) -> LayerTrace:
        inputs = x.shape[-1]
        mean_std = inputs**-0.5 if self.mean_std is None else self.mean_std
        shape = (inputs + 1, self.features)
        mean = self.param("mean", nn.initializers.normal(mean_std), shape)
        rho = self.param("rho", nn.initializers.constant(softplus_inverse(self.std)), shape)
        squared = jnp.square(jax.nn.softplus(rho))
        located = jnp.dot(x, mean[:-1]) + _like(mean[-1], x)
        # The floor changes no variance that float32 can tell from 0, where √ has no slope.
        variance = jnp.dot(jnp.square(x), squared[:-1]) + _like(squared[-1] + FLOOR, x)
        spread = jnp.sqrt(variance)
        if located.ndim < noise.ndim:  # the first layer's rows are the same for all K samples
            located, spread = located[None], spread[None]
        return LayerTrace(x, variance, located + spread * noise)


def _like(row: jax.Array, x: jax.Array) -> jax.Array:
    return row.reshape((1,) * (x.ndim - 1) + row.shape)


class BayesianMLP(nn.Module):
    """Multilayer perceptron of `BayesianDense`; the last layer is linear."""

    hidden: tuple[int, ...]
    features: int
    activation: str = "relu"
    std: float = 0.5
    mean_std: float | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Outputs J of each layer: the shapes of the noise."""
        return (*self.hidden, self.features)

    @nn.compact
    def __call__(
        self, x: Float[Array, "B I"], noise: Noise
    ) -> tuple[Float[Array, "K B D"], tuple[LayerTrace, ...]]:
        """Return (outputs, a trace per layer)."""
        traces: list[LayerTrace] = []
        act = ACTIVATIONS[self.activation]
        for index, width in enumerate(self.widths):
            layer = BayesianDense(width, self.std, self.mean_std, name=f"layer_{index}")
            traces.append(layer(act(x) if index else x, noise[index]))
            x = traces[-1].output
        return x, tuple(traces)

    def run(
        self, params: Params, x: Float[Array, "B I"], noise: Noise
    ) -> tuple[Float[Array, "K B D"], tuple[LayerTrace, ...]]:
        """Return what `__call__` does, with `params` as the posterior."""
        return cast(Any, self.apply({"params": params}, x, noise))

    def draw_noise(self, key: Key, samples: int, rows: int) -> Noise:
        """Return standard normal noise; `rows` = 1 shares it between all rows of a batch."""
        keys = jax.random.split(key, len(self.widths))
        return tuple(
            jax.random.normal(key, (samples, rows, width))
            for key, width in zip(keys, self.widths, strict=True)
        )

    def mean_output(self, params: Params, x: Float[Array, "B I"]) -> Float[Array, "B D"]:
        """Return the output at the posterior's mean."""
        silent = tuple(jnp.zeros((1, 1, width)) for width in self.widths)
        return self.run(params, x, silent)[0][0]


def initialise(model: BayesianMLP, key: Key, inputs: int) -> Params:
    """Return a posterior: means drawn, deviations at `model.std`."""
    noise = model.draw_noise(key, 1, 1)
    return model.init(key, jnp.zeros((1, inputs)), noise)["params"]


def standard_deviations(params: Params) -> Params:
    """Return σ of every weight: a dict of layers, each [I + 1, J]."""
    return {name: jax.nn.softplus(layer["rho"]) for name, layer in params.items()}


def kl_divergence(p: Params, q: Params) -> Float[Array, ""]:
    """Return KL[p‖q] of two posteriors.

    Σ log(σ_q/σ_p) + (σ_p² + (μ_p − μ_q)²) / (2σ_q²) − ½: zero at p = q (VIME's Eq. 13).
    """

    def layer(name: str) -> jax.Array:
        std_p, std_q = jax.nn.softplus(p[name]["rho"]), jax.nn.softplus(q[name]["rho"])
        shift = p[name]["mean"] - q[name]["mean"]
        ratio = jnp.square(std_p / std_q)
        return 0.5 * jnp.sum(ratio + jnp.square(shift / std_q) - 1.0 - jnp.log(ratio))

    return sum((layer(name) for name in p), jnp.float32(0))


def kl_to_prior(params: Params, prior_std: float) -> Float[Array, ""]:
    """Return KL[q‖N(0, prior_std²)]."""
    rho = softplus_inverse(prior_std)
    prior = {
        name: {
            "mean": jnp.zeros_like(layer["mean"]),
            "rho": jnp.full_like(layer["rho"], rho),
        }
        for name, layer in params.items()
    }
    return kl_divergence(params, prior)


def negative_log_likelihood(
    outputs: Float[Array, "K B D"], targets: Float[Array, "B D"], std: Any
) -> Float[Array, " B"]:
    """Return −(1/K) Σ_k log N(target; output_k, std²) of each row, in nats.

    `std` is one number, or [B, D]: a deviation of its own for each target.
    """
    dims, each = targets.shape[-1], jnp.ndim(std) > 0
    error = jnp.square((outputs - targets[None]) / (std[None] if each else std)).sum(-1).mean(0)
    log_std = jnp.log(std).sum(-1) if each else dims * jnp.log(std)
    return 0.5 * error + log_std + dims * 0.5 * jnp.log(2 * jnp.pi)


def negative_elbo(
    model: BayesianMLP,
    params: Params,
    x: Float[Array, "B I"],
    y: Float[Array, "B D"],
    noise: Noise,
    *,
    likelihood_std: Any,
    prior_std: float,
    batches: Any,
    weights: Any = 1.0,
) -> Float[Array, ""]:
    """Return KL[q‖prior] / batches − E_q Σ_rows weight · log p(y|x, θ), weights [B] or 1.

    With `batches` = data / B this is an unbiased estimate of B/data times the negative ELBO; the
    authors of VIME fix it at 5 whatever the data.
    """
    outputs, _ = model.run(params, x, noise)
    fit = (weights * negative_log_likelihood(outputs, y, likelihood_std)).sum()
    return kl_to_prior(params, prior_std) / batches + fit


def information_gain(
    model: BayesianMLP,
    params: Params,
    x: Float[Array, "B I"],
    y: Float[Array, "B D"],
    noise: Noise,
    *,
    likelihood_std: Any,
    step_size: Any,
    rows_at_once: int | None = None,
) -> Float[Array, " B"]:
    """Return ½ λ² ∇ℓᵀ H⁻¹ ∇ℓ of each row: VIME's Eq. 16 with H = ∇² KL[q_φ'‖q_φ] at φ' = φ.

    ℓ = −E_q log p(y|x, θ) of that row alone, λ = `step_size`, in nats; `likelihood_std` is one
    number or [B, D], and no weight of the posterior's. H is diagonal, 1/σ² for a
    mean and 2/σ² for a deviation, so the gain is ½ λ² Σ σ² (g_μ² + g_σ²/2), and for K = 1 the
    gradient g of a row is never formed: with δ = ∂ℓ/∂a of the pre-activations a = xM + √v ε,
    v = x²S², from one backward pass over the layers for all rows at once,

        gain = ½ λ² Σ_layers Σ_j δ_j² ( v_j + ε_j² (x⁴S⁴)_j / (2 v_j) ).

    With K > 1 samples the gradient is averaged before it is squared. In the first layer x and v are
    the same for all samples and the form above holds with Σ_k δ_k and Σ_k δ_k ε_k. Behind it the
    samples' outer products are summed and contracted.

    Rows go through `rows_at_once` at a time (None: 8192, with K > 1: 64). Memory is
    O(B · inputs + rows_at_once · K · width), and rows_at_once · weights with K > 1.
    """
    # By name: JAX sorts the keys of a dict, and "layer_10" comes before "layer_2".
    layers = [params[f"layer_{index}"] for index in range(len(model.widths))]
    squared = [jnp.square(jax.nn.softplus(layer["rho"])) for layer in layers]
    samples, count = noise[0].shape[0], x.shape[0]
    std_of_rows = (likelihood_std,) if jnp.ndim(likelihood_std) > 0 else ()

    def block(rows: tuple[jax.Array, ...]) -> jax.Array:
        x, y, *rest = rows
        std, own = (rest[0], rest[1:]) if std_of_rows else (likelihood_std, rest)
        eps = tuple(jnp.swapaxes(leaf, 0, 1) for leaf in own) or noise
        outputs, traces = model.run(params, x, eps)
        loss = jax.grad(lambda out: negative_log_likelihood(out, y, std).sum())
        delta, total = loss(outputs), jnp.zeros(x.shape[0])
        for index in reversed(range(len(layers))):
            at = (delta, eps[index], traces[index], squared[index])
            total += _layer_gain(*at)
            if index > 0:
                _, back = jax.vjp(ACTIVATIONS[model.activation], traces[index - 1].output)
                (delta,) = back(_through(*at, layers[index]["mean"]))
        return 0.5 * step_size**2 * total

    own = () if noise[0].shape[1] == 1 else tuple(jnp.swapaxes(leaf, 0, 1) for leaf in noise)
    size = min(rows_at_once or (8192 if samples == 1 else 64), count)
    return _in_blocks(block, (x, y, *std_of_rows, *own), size)


def _in_blocks(
    function: Callable[[tuple[jax.Array, ...]], jax.Array], rows: tuple[jax.Array, ...], size: int
) -> jax.Array:
    """Return `function` of rows [N, ...], called on `size` of them at a time, one after another."""
    count = rows[0].shape[0]
    if size >= count:
        return function(rows)
    whole = count - count % size
    head = tuple(leaf[:whole].reshape(-1, size, *leaf.shape[1:]) for leaf in rows)
    done = jax.lax.map(function, head).reshape(-1)
    if whole == count:
        return done
    return jnp.concatenate([done, function(tuple(leaf[whole:] for leaf in rows))])


def _through(
    delta: Float[Array, "K B J"],
    eps: Float[Array, "K _ J"],
    trace: LayerTrace,
    squared: jax.Array,
    mean: jax.Array,
) -> Float[Array, "K B I"]:
    """Return ∂ℓ/∂x = δ Mᵀ + x ∘ (δ ε/√v) S²ᵀ of a layer's inputs x behind the first layer."""
    pull = delta * eps / jnp.sqrt(trace.variance)
    return jnp.dot(delta, mean[:-1].T) + trace.inputs * jnp.dot(pull, squared[:-1].T)


def _layer_gain(
    delta: Float[Array, "K B J"], eps: Float[Array, "K _ J"], trace: LayerTrace, squared: jax.Array
) -> Float[Array, " B"]:
    """Return Σ σ² (g_μ² + g_σ²/2) of one layer for each row; `squared` is σ² [I + 1, J]."""
    fourth = jnp.square(squared)
    if trace.inputs.ndim == 3 and delta.shape[0] > 1:
        x, pull = trace.inputs, delta * eps / jnp.sqrt(trace.variance)
        gradient = jnp.einsum("kbi,kbj->bij", x, delta)
        mean_part = jnp.einsum("bij,ij->b", jnp.square(gradient), squared[:-1])
        gradient = jnp.einsum("kbi,kbj->bij", jnp.square(x), pull)
        std_part = jnp.einsum("bij,ij->b", jnp.square(gradient), fourth[:-1])
        bias = jnp.square(delta.sum(0)) @ squared[-1] + 0.5 * jnp.square(pull.sum(0)) @ fourth[-1]
        return mean_part + 0.5 * std_part + bias
    inputs = trace.inputs.reshape(trace.inputs.shape[-2:])
    variance = trace.variance.reshape(trace.variance.shape[-2:])
    x4_s4 = jnp.dot(jnp.square(jnp.square(inputs)), fourth[:-1]) + fourth[-1][None]
    mean_part = jnp.square(delta.sum(0)) * variance
    std_part = jnp.square((delta * eps).sum(0)) * x4_s4 / (2 * variance)
    return (mean_part + std_part).sum(-1)

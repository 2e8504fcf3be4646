"""A trust-region step: conjugate gradient, Fisher products, backtracking line search.

Parameters are flat vectors [P] (`jax.flatten_util.ravel_pytree`). Schulman et al. 2015, Trust
Region Policy Optimization, arXiv 1502.05477, section 6 and appendix C.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from explorax.core.pytree import pytree
from explorax.ops.distributions import Distribution

Product: TypeAlias = Callable[[jax.Array], jax.Array]  # v [P] -> matrix · v [P]


def conjugate_gradient(
    product: Product, target: Float[Array, " P"], iterations: int, tolerance: float = 1e-5
) -> tuple[Float[Array, " P"], Float[Array, " P"]]:
    """Return (x, r) with matrix · x ≈ target and the residual r = target − matrix · x.

    Takes at most `iterations` products with the symmetric positive definite matrix, fewer once
    ‖r‖ <= tolerance ‖target‖: in float32 further steps would only add noise.
    """
    enough = tolerance * tolerance * jnp.dot(target, target)

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        step, _, _, _, rr = carry
        return (step < iterations) & (rr > enough)

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, x, r, p, rr = carry
        image = product(p)
        rate = rr / jnp.dot(p, image)
        x, r = x + rate * p, r - rate * image
        rr_next = jnp.dot(r, r)
        return step + 1, x, r, r + (rr_next / rr) * p, rr_next

    start = (jnp.int32(0), jnp.zeros_like(target), target, target, jnp.dot(target, target))
    _, x, r, _, _ = jax.lax.while_loop(unfinished, one, start)
    return x, r


def fisher_product(
    distribution: Callable[[jax.Array], Distribution],
    parameters: Float[Array, " P"],
    damping: float,
) -> Product:
    """Return v -> (F + damping I) v, F the mean Fisher matrix of the rows of the distribution.

    F = 1/N Σ_rows Jᵀ M J, the Hessian of the mean KL at `parameters`; J is the Jacobian of the
    distribution's own parameters and M their Fisher matrix in closed form. The network is
    linearised here, once, so that a product costs one forward and one backward sweep through
    stored activations and evaluates no nonlinearity.
    """
    at, push = jax.linearize(distribution, parameters)
    pull = jax.linear_transpose(push, parameters)
    rows = at.entropy().size

    def product(vector: jax.Array) -> jax.Array:
        (image,) = pull(at.fisher(push(vector)))
        return image / rows + damping * vector

    return product


def natural_step(
    product: Product, gradient: Float[Array, " P"], max_kl: float, iterations: int
) -> Float[Array, " P"]:
    """Return the ascent step β x with F x ≈ gradient and β = sqrt(2 max_kl / xᵀ F x).

    The quadratic model of the KL then equals `max_kl`. A gradient of 0 gives a step of 0.
    """
    x, residual = conjugate_gradient(product, gradient, iterations)
    curvature = jnp.dot(x, gradient - residual)
    possible = curvature > 0.0
    return (
        jnp.where(possible, jnp.sqrt(2.0 * max_kl / jnp.where(possible, curvature, 1.0)), 0.0) * x
    )


@pytree
class LineSearch:
    """What a line search found."""

    parameters: Any  # [P]; the old ones, bit for bit, where nothing was accepted
    accepted: Any  # bool []
    tried: Any  # int32 [], candidates evaluated
    improvement: Any  # float32 [], of the surrogate; 0 where nothing was accepted
    kl: Any  # float32 [], mean; 0 where nothing was accepted


def line_search(
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    parameters: Float[Array, " P"],
    step: Float[Array, " P"],
    max_kl: float,
    factor: float,
    candidates: int,
) -> LineSearch:
    """Return the first of parameters + factor^k step, k = 0, 1, ..., that improves within max_kl.

    `evaluate` returns (improvement of the surrogate, mean KL). A candidate is accepted when the
    improvement is above 0 and the KL at most `max_kl`; NaN in either refuses it. A step of 0 is
    not tried. A `while_loop`: over many seeds at once it costs as many evaluations as the slowest
    seed needs, which is one or two nearly always, and never all candidates for all.
    """

    def unfinished(carry: tuple[jax.Array, LineSearch]) -> jax.Array:
        return (carry[1].tried < candidates) & ~carry[1].accepted & possible

    def one(carry: tuple[jax.Array, LineSearch]) -> tuple[jax.Array, LineSearch]:
        length, found = carry
        candidate = parameters + length * step
        improvement, kl = evaluate(candidate)
        accept = (improvement > 0.0) & (kl <= max_kl)
        return length * factor, LineSearch(
            parameters=jnp.where(accept, candidate, parameters),
            accepted=accept,
            tried=found.tried + 1,
            improvement=jnp.where(accept, improvement, 0.0),
            kl=jnp.where(accept, kl, 0.0),
        )

    possible = jnp.any(step != 0.0)
    zero = jnp.zeros((), parameters.dtype)
    nothing = LineSearch(parameters, jnp.bool_(False), jnp.int32(0), zero, zero)
    return jax.lax.while_loop(unfinished, one, (jnp.ones_like(zero), nothing))[1]

"""Bayesian linear regression, whose posterior is exact: what a last layer knows and would learn.

The model is y = φᵀw + ε with w ~ N(0, I) and ε ~ N(0, σ²), for one output or for several that
share φ and σ. Rows are given as u = φ/σ and targets as y/σ, so that σ appears nowhere and rows may
have different noise. Then P = (I + Σ uuᵀ)⁻¹ is the covariance of w, and r = uᵀPu the variance of
φᵀw over that of the noise, on which every gain depends.

P is kept as a `root` S with S Sᵀ = P. In float32 P⁻¹ itself loses what was never seen in the
rounding of what was seen a million times; S has half as many orders of magnitude to span.

Matrices side by side, of seeds or outputs, are decomposed one after another (`sequential_vmap`):
JAX's kernel for several of them splits them over the threads of XLA's pool and waits for these on
one of the same threads, so that two such kernels on a machine of two cores wait for ever.
"""

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from explorax.core import blas

BLOCK = 64  # rows that `in_order` takes together


def prior(features: int) -> Float[Array, "F F"]:
    """Return the root of the covariance before anything was seen."""
    return jnp.eye(features)


def unknown(root: Float[Array, "F F"], rows: Float[Array, "N F"]) -> Float[Array, " N"]:
    """Return r = uᵀPu, the variance of φᵀw over that of the noise, for rows u."""
    return jnp.square(rows @ root).sum(-1)


def expected_gain(ratio: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ½ log(1 + r), nats per output: what is learned of w on average over the targets.

    The mutual information of w and y (Lindley 1956, Ann. Math. Statist. 27, for the Gaussian).
    """
    return 0.5 * jnp.log1p(ratio)


def realized_gain(
    ratio: Float[Array, "..."], squared_error: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return KL[after ‖ before] in nats, given (y − ŷ)²/σ²: ½[log(1 + r) + r(e² − 1 − r)/(1 + r)²].

    Its mean over targets as the model expects them, where e² is 1 + r, is `expected_gain`.
    """
    grown = 1.0 + ratio
    return 0.5 * (jnp.log1p(ratio) + ratio * (squared_error - grown) / (grown * grown))


def condition(
    root: Float[Array, "F F"], gram: Float[Array, "F F"], keep: float | jax.Array = 1.0
) -> Float[Array, "F F"]:
    """Return the root after rows with Σ uuᵀ = `gram`.

    With `keep` below 1 the evidence of all rows before counts that much: P⁻¹ becomes
    keep · P⁻¹ + (1 − keep) · I + gram.
    """
    # P⁻¹ = S⁻ᵀS⁻¹, so the new one is S⁻ᵀ(keep · I + (1 − keep) SᵀS + Sᵀ gram S)S⁻¹.
    identity = jnp.eye(root.shape[0])
    inner = keep * identity + (1.0 - keep) * (root.T @ root) + root.T @ gram @ root
    return _times_inverse(root, inner)


def _cholesky(matrix: Float[Array, "F F"]) -> Float[Array, "F F"]:
    blas.use_one_thread()  # when this is traced, which is before JAX loads it
    return jnp.linalg.cholesky(matrix)


@sequential_vmap
def _times_inverse(root: Float[Array, "F F"], inner: Float[Array, "F F"]) -> Float[Array, "F F"]:
    """Return S L⁻ᵀ, a root of S inner⁻¹ Sᵀ, with L Lᵀ = inner."""
    lower = _cholesky(inner)
    return solve_triangular(lower, root.T, lower=True).T


def corrected(
    mean: Float[Array, "F D"],
    root: Float[Array, "F F"],
    rows: Float[Array, "N F"],
    targets: Float[Array, "N D"],
) -> Float[Array, "F D"]:
    """Return E[w] after rows u and targets y/σ, with `root` as it is after them.

    The mean moves by what the targets were off; a sum of u y/σ over all rows times P would magnify
    its rounding.
    """
    return mean + root @ (root.T @ (rows.T @ (targets - rows @ mean)))


def _conditioned_in_order(
    carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Return ((root, mean), (r, (y − ŷ)²/σ²)) of a block of rows and targets, for `in_order`."""
    root, mean = carry
    rows, targets = block
    image = rows @ root
    lower, off = _whitened(image @ image.T, targets - rows @ mean)
    scale = jnp.diagonal(lower)
    mean = mean + root @ (image.T @ _solved(lower, off))
    root = _times_inverse(root, jnp.eye(root.shape[0]) + image.T @ image)
    return (root, mean), (jnp.square(scale) - 1.0, jnp.square(off * scale[:, None]))


@sequential_vmap
def _whitened(covariance: jax.Array, off: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (L, L⁻¹ off) with L Lᵀ = I + covariance."""
    lower = _cholesky(jnp.eye(covariance.shape[0]) + covariance)
    return lower, solve_triangular(lower, off, lower=True)


@sequential_vmap
def _solved(lower: jax.Array, off: jax.Array) -> jax.Array:
    """Return L⁻ᵀ off."""
    return solve_triangular(lower.T, off, lower=False)


def in_order(
    root: Float[Array, "F F"],
    mean: Float[Array, "F D"],
    rows: Float[Array, "N F"],
    targets: Float[Array, "N D"],
) -> tuple[Float[Array, " N"], Float[Array, "N D"], Float[Array, "F F"], Float[Array, "F D"]]:
    """Return (r [N], (y − ŷ)²/σ² [N, D], root, mean), each row given those before it.

    Σ ½ log(1 + r) is the joint gain ½ log det(I + U P Uᵀ), whatever the order (the chain rule of
    information): with L Lᵀ = I + U P Uᵀ, 1 + r_t is L_tt² and the errors are L_tt (L⁻¹(Y − U m))_t.
    Taken BLOCK rows at a time, with the posterior after the blocks before.
    """
    count = rows.shape[0]
    blocks = -(-count // BLOCK)
    spare = blocks * BLOCK - count  # rows of zeros teach nothing

    def blocked(leaf: jax.Array) -> jax.Array:
        return jnp.pad(leaf, ((0, spare), (0, 0))).reshape(blocks, BLOCK, leaf.shape[1])

    (root, mean), (ratio, squared) = jax.lax.scan(
        _conditioned_in_order, (root, mean), (blocked(rows), blocked(targets))
    )
    return (
        ratio.ravel()[:count],
        squared.reshape(blocks * BLOCK, targets.shape[1])[:count],
        root,
        mean,
    )

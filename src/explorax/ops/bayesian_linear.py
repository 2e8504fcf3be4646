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

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from explorax.core import blas

BLOCK = 64  # rows that `in_order` takes together
# JAX rounds the inputs of a product to fewer bits on a GPU, unless it is told not to.
_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def prior(features: int) -> Float[Array, "F F"]:
    """Return the root of the covariance before anything was seen."""
    return jnp.eye(features)


def unknown(root: Float[Array, "F F"], rows: Float[Array, "N F"]) -> Float[Array, " N"]:
    """Return r = uᵀPu, the variance of φᵀw over that of the noise, for rows u."""
    return jnp.square(_product(rows, root)).sum(-1)


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
    root: Float[Array, "F F"],
    rows: Float[Array, "N F"],
    keep: float | jax.Array = 1.0,
    pieces: int = 1,
) -> Float[Array, "F F"]:
    """Return the root after rows u.

    With `keep` below 1 the evidence of all rows before counts that much: P⁻¹ becomes
    keep · P⁻¹ + (1 − keep) · I + Σ uuᵀ.

    Σ uuᵀ is taken of Sᵀu, where what is known is small already, since float32 rounds it by 6e-8 of
    its size, and what was never seen must not be lost in that. Evidence of more than about 1e5 at
    once is taken in `pieces`: each knows a thousand times as much as the one before.
    """
    # P⁻¹ = S⁻ᵀS⁻¹, so the new one is S⁻ᵀ(keep · I + (1 − keep) SᵀS + Sᵀ Σ uuᵀ S)S⁻¹.
    identity, before = jnp.eye(root.shape[0]), 0.0
    for piece in range(pieces):
        share = 1e3 ** (piece + 1 - pieces)
        image = math.sqrt(share - before) * _product(rows, root)
        inner = identity + _product(image.T, image)
        if piece == 0:
            inner = inner + (1.0 - keep) * (_product(root.T, root) - identity)
        root, before = _times_inverse(root, inner), share
    return root


def pieces_of(evidence: float) -> int:
    """Return in how many pieces to take rows with Σ uᵀu of about `evidence` or less."""
    return max(1, math.ceil(math.log10(max(evidence, 1.0) / 1e5) / 3) + 1) if evidence > 1e5 else 1


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
    off = targets - _product(rows, mean)
    return mean + _product(root, _product(root.T, _product(rows.T, off)))


def _conditioned_in_order(
    carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Return ((root, mean), (r, (y − ŷ)²/σ²)) of a block of rows and targets, for `in_order`."""
    root, mean = carry
    rows, targets = block
    image = _product(rows, root)
    lower, off = _whitened(_product(image, image.T), targets - _product(rows, mean))
    scale = jnp.diagonal(lower)
    mean = mean + _product(root, _product(image.T, _solved(lower, off)))
    root = _times_inverse(root, jnp.eye(root.shape[0]) + _product(image.T, image))
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

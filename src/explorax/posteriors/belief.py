"""What is known of the weights of a last layer, for one root of all outputs or one for each."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from explorax.core.errors import Incompatible
from explorax.core.pytree import pytree
from explorax.ops import bayesian_linear as linear
from explorax.ops import counting

MOST_NUMBERS = 2**24  # of all roots together: 64 MiB for each seed


@pytree
class Visits:
    """The posterior of one weight per state, which is how often each was seen."""

    counts: Any  # int32 [F]

    @property
    def features(self) -> int:
        return self.counts.size


@pytree
class Belief:
    """The posterior of weights: see `ops.bayesian_linear`."""

    root: Any  # [F, F], or with noise that differs between outputs [D, F, F]
    mean: Any  # [F, D]

    @property
    def features(self) -> int:
        return self.root.shape[-1]


def prior(features: int, outputs: int, apart: bool) -> Belief:
    """Return what is known before the first row; apart: with a root for each output.

    Raises Incompatible where roots would have more than MOST_NUMBERS numbers.
    """
    numbers = features**2 * (outputs if apart else 1)
    if numbers > MOST_NUMBERS:
        each = f" for each of {outputs} outputs" if apart else ""
        cure = " Or give the noise as a number, and one matrix serves all outputs." if apart else ""
        most = math.isqrt(MOST_NUMBERS // (outputs if apart else 1))
        raise Incompatible(
            f"LastLayer keeps a matrix of features × features{each}, and {features:,} features "
            f"(times the actions, where it is of them) make {numbers:,} numbers, more than "
            f"{MOST_NUMBERS:,}. Give it an encoder with fewer, {most:,} in all, such as "
            f"LastLayer(features=Fourier(features=64)).{cure}"
        )
    root = linear.prior(features)
    if apart:
        root = jnp.broadcast_to(root, (outputs, features, features))
    return Belief(root, jnp.zeros((features, outputs)))


def cells(phi: Float[Array, "N F"]) -> Int[Array, " N"]:
    """Return the place of the 1 in each one-hot row, F where there is none."""
    # one product of the code with its places and with ones, which is faster than an argmax
    places = jnp.stack([jnp.arange(phi.shape[1], dtype=jnp.float32), jnp.ones(phi.shape[1])], 1)
    exactly = jax.lax.Precision.HIGHEST  # a GPU would round places beyond 1,024
    place, some = jnp.moveaxis(jnp.matmul(phi, places, precision=exactly), 1, 0)
    return jnp.where(some > 0, place, float(phi.shape[1])).astype(jnp.int32)


def counted_gain(
    visits: Visits, phi: Float[Array, "N F"], noise: float, in_order: bool
) -> Float[Array, " N"]:
    """Return ½ log(1 + 1/(noise + n)) of one-hot rows, n counting the rows before if `in_order`."""
    at = cells(phi)
    counts = visits.counts.at[at].get(mode="fill", fill_value=0)
    if in_order:
        counts = counts + counting.occurrence(at) - 1
    gain = linear.expected_gain(1.0 / (noise + counts.astype(jnp.float32)))
    return jnp.where(at < visits.features, gain, 0.0)


def counted(visits: Visits, phi: Float[Array, "N F"]) -> Visits:
    """Return the visits with one-hot rows counted."""
    return Visits(visits.counts.at[cells(phi)].add(1, mode="drop"))


def ratios(
    belief: Belief,
    phi: Float[Array, "N F"],
    targets: Float[Array, "N D"],
    std: Any,
    in_order: bool,
) -> tuple[Float[Array, "N D_or_1"], Float[Array, "N D"]]:
    """Return (r, (y − ŷ)²/σ²) with σ = `std`, [] or where roots are apart [N, D]."""

    def one(root: Any, mean: Any, std: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
        u, y = phi / std, targets / std
        if in_order:
            return linear.in_order(root, mean, u, y)[:2]
        return linear.unknown(root, u), jnp.square(y - u @ mean)

    if belief.root.ndim == 2:
        ratio, squared = one(belief.root, belief.mean, std, targets)
        return ratio[:, None], squared
    ratio, squared = jax.vmap(one, in_axes=(0, 1, 1, 1), out_axes=1)(
        belief.root, belief.mean[:, :, None], std[:, :, None], targets[:, :, None]
    )
    return ratio, squared[..., 0]


def conditioned(
    belief: Belief,
    phi: Float[Array, "N F"],
    targets: Float[Array, "N D"],
    std: Any,
    weights: Float[Array, " N"],
    keep: float = 1.0,
    pieces: int = 1,
) -> Belief:
    """Return the belief given rows that count `weights` times; what was known counts `keep`.

    pieces: see `ops.bayesian_linear.condition`.
    """
    often = jnp.sqrt(weights)[:, None]

    def one(root: Any, mean: Any, std: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
        u, y = often * phi / std, often * targets / std
        root = linear.condition(root, u, keep, pieces)
        return root, linear.corrected(mean, root, u, y)

    if belief.root.ndim == 2:
        return Belief(*one(belief.root, belief.mean, std, targets))
    root, mean = jax.vmap(one, in_axes=(0, 1, 1, 1), out_axes=(0, 1))(
        belief.root, belief.mean[:, :, None], std[:, :, None], targets[:, :, None]
    )
    return Belief(root, mean[..., 0])


def known(belief: Visits | Belief) -> tuple[str, Bool[Array, ""] | Float[Array, ""]]:
    """Return (a metric's name, its value): states seen, or F − tr P, the directions known."""
    if isinstance(belief, Visits):
        return "states_seen", (belief.counts > 0).sum().astype(jnp.float32)
    free = jnp.square(belief.root).sum((-2, -1)).mean()
    return "directions_known", belief.features - free

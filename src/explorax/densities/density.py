"""What a density model over observations is, and what it says about one."""

from typing import Any, Protocol

import jax
from jaxtyping import Array, Shaped

from explorax.core.protocols import Key, Spec, State
from explorax.core.pytree import pytree


@pytree
class Recoding:
    """What a model thinks of observations before and after learning from each once, leaves [N].

    ρ is the probability of s under the model, ρ′ that of the same s once the model has seen it one
    more time (the "recoding probability" of Bellemare et al. 2016, arXiv 1606.01868, Sec. 3).
    """

    log_prob: Any  # log ρ(s), nats; −inf for what the model holds impossible
    log_prob_after: Any  # log ρ′(s)
    # The prediction gain log ρ′ − log ρ, and no difference of the two above: of an image they are
    # thousands of nats, and their difference, about 1/count, would drown in float32's rounding.
    gain: Any


class Density(Protocol):
    """A probability of observations that is learnt from one pass over them, in order.

    A frozen dataclass of settings with pure methods. Rows are observations [N, *obs_shape].
    """

    def init(self, key: Key, spec: Spec) -> State:
        """Return the model that has seen nothing.

        Raises Incompatible for observations that it cannot model, with the cure named.
        """
        ...

    def observe(self, state: State, obs: Shaped[Array, "N ..."]) -> tuple[Recoding, State]:
        """Return (recoding, state) after learning from the rows one by one.

        Row i is recoded by the model that has learnt from the rows before it: score and update are
        one pass, since both read the same entries.
        """
        ...

    def recode(self, state: State, obs: Shaped[Array, "N ..."]) -> Recoding:
        """Return what learning from each row alone would do, changing nothing."""
        ...


def recoding(log_prob: jax.Array, gain: jax.Array) -> Recoding:
    """Return the recoding of observations that the model holds possible."""
    return Recoding(log_prob, log_prob + gain, gain)

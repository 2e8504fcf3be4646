"""One network for policy and value: what is seen, what is remembered, and the heads."""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Shaped

from explorax.core.protocols import Key
from explorax.core.pytree import pytree
from explorax.nets.mlp import ACTIVATIONS, dense
from explorax.nets.visual import Images

MEMORIES = ("lstm", "gru")


@pytree
class Said:
    """What the network says of observations, leaves [..., ...]."""

    policy: Any  # [..., A], logits or means
    value: Any  # [..., V], one for each value head
    latent: Any  # [..., H], what the policy's head sees: the memory's output where there is one
    encoded: Any  # [..., F], what is made of the observation alone, before the memory


def empty_memory(kind: str, size: int, num_envs: int) -> Any:
    """Return the memory [E, size] at the start of an episode: zeros, of an LSTM (cell, output)."""
    zeros = jnp.zeros((num_envs, size))
    return (zeros, zeros) if kind == "lstm" else zeros


class Body(nn.Module):
    """Dense layers with an activation after each."""

    hidden: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, x: Float[Array, "N D"]) -> Float[Array, "N F"]:
        for width in self.hidden:
            x = ACTIVATIONS[self.activation](dense(width)(x))
        return x


class ActorCritic(nn.Module):
    """Policy and values of what is seen now and, with a `memory`, of what was seen before.

    With a memory or with images they share one body; else the critic has a body of its own, as the
    two need other features and small ones are cheap. A memory is zero where an episode begins; its
    input is what the body made of the observation, and `last`, such as the last action and reward.

    Weights are Glorot uniform, an LSTM's and a GRU's too: their usual orthogonal ones need a QR
    decomposition (see `nets.torso`). The policy's head begins with a hundredth of that, so that
    the first policy is nearly uniform (Andrychowicz et al. 2020, arXiv 2006.05990, section 3.2),
    and the value's at zero. `begin` draws them, and opens the gate that keeps the memory.
    """

    outputs: int
    values: int
    hidden: tuple[int, ...]
    activation: str
    encoder: str | None  # of images; None: flat observations
    memory: str | None
    memory_size: int

    def setup(self) -> None:
        if self.encoder is not None:
            self.images = Images(self.encoder)
        self.body = Body(self.hidden, self.activation)
        if self.memory is not None:
            cells = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
            glorot = nn.initializers.glorot_uniform()
            self.cell = cells[self.memory](
                self.memory_size, kernel_init=glorot, recurrent_kernel_init=glorot
            )
        elif self.encoder is None:
            self.critic = Body(self.hidden, self.activation)
        self.policy = dense(self.outputs, 0.01)
        self.value = dense(self.values, 0.0)

    def __call__(
        self,
        memory: Any,
        seen: Shaped[Array, "N ..."],
        last: Float[Array, "N L"],
        first: Bool[Array, " N"],
    ) -> tuple[Any, Said]:
        """Return (memory, what is said), the memory being that after `seen`."""
        encoded = latent = self._encoded(seen)
        if self.memory is not None:
            memory = jax.tree.map(lambda leaf: jnp.where(first[:, None], 0.0, leaf), memory)
            memory, latent = self.cell(memory, jnp.concatenate([encoded, last], -1))
        apart = self.memory is None and self.encoder is None
        value = self.value(self.critic(seen) if apart else latent)
        return memory, Said(self.policy(latent), value, latent, encoded)

    def _encoded(self, seen: Shaped[Array, "N ..."]) -> Float[Array, "N F"]:
        return self.body(seen if self.encoder is None else self.images(seen))

    def begin(self, key: Key, seen: Shaped[Array, "1 ..."], last: Float[Array, "1 L"]) -> Any:
        """Return the first weights, by one row of inputs.

        The bias of an LSTM's forget gate is 1, and so is that of a GRU's update gate, so that a
        memory fades slowly at first (Jozefowicz et al. 2015, "An empirical exploration of recurrent
        network architectures", section 2.2).
        """
        memory = () if self.memory is None else empty_memory(self.memory, self.memory_size, 1)
        params = cast(Any, self.init(key, memory, seen, last, jnp.zeros(1, bool)))["params"]
        if self.memory is None:
            return {"params": params}
        gate = {"lstm": "hf", "gru": "iz"}[self.memory]
        opened = {**params["cell"][gate], "bias": jnp.ones(self.memory_size)}
        return {"params": {**params, "cell": {**params["cell"], gate: opened}}}

    def encode(self, params: Any, seen: Shaped[Array, "T N ..."]) -> Float[Array, "T N F"]:
        """Return what is made of observations alone, before the memory."""
        flat = seen.reshape(-1, *seen.shape[2:])
        encoded = cast(Any, self.apply(params, flat, method=self._encoded))
        return encoded.reshape(*seen.shape[:2], -1)

    def run(self, params: Any, memory: Any, seen: Any, last: Any, first: Any) -> tuple[Any, Said]:
        """Return what `__call__` does, with `params` as the weights."""
        return cast(Any, self.apply(params, memory, seen, last, first))

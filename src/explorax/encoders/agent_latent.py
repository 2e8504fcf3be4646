"""The agent's own features of what it has seen."""

import math
from dataclasses import dataclass

import jax.numpy as jnp

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.settings import check_types
from explorax.encoders.encoder import Pairs
from explorax.ops import moments
from explorax.ops.moments import Moments


@dataclass(frozen=True)
class AgentLatent:
    """Gives the agent's own features of what it sees, standardised.

    `of="latent"` is extras["latent"], what the agent acts by: its memory's output, or its last
    hidden layer. `of="encoded"` is extras["encoded"], what it made of the observation alone, before
    the memory: the features of its convolutions.

    z_t is what the agent made of all up to s_t, so z_{t+1} follows from the next step of the same
    episode. An episode's last step and a rollout's last step have no z_{t+1}: they are not `known`,
    which is one step in `rollout_length`. A recurrent agent's latent also says what the observation
    hides; without a memory it says nothing that the observation does not.
    The latents drift as the agent learns, so their moments forget: rows count for about the last
    `horizon`. Not replayable: an old row's latent was another network's.
    """

    of: str = "latent"  # or "encoded"
    horizon: int = 50_000  # env steps that the moments are taken over
    clip: float = 5.0  # in deviations

    def __post_init__(self) -> None:
        check_types(self)
        require(self.of in ("latent", "encoded"), self, "of", "'latent' or 'encoded'")
        require(self.horizon >= 1, self, "horizon", "at least 1")
        require(self.clip > 0, self, "clip", "positive")

    @property
    def replayable(self) -> bool:
        return False

    @property
    def drift(self) -> str:
        return "learns"

    def size(self, spec: Spec) -> int:
        box = spec.latent if self.of == "latent" else spec.encoded
        if box is None:
            able = "A2C, PPO, UNREAL"
            if self.of == "latent":
                able = f"TRPO, REINFORCE, ERWR, MPO, SoftQ, DQN, EnsembleDQN, {able}"
            raise Incompatible(
                f"{self!r} needs an agent that gives a latent, extras[{self.of!r}] of `act`, in "
                f"rollouts of at least two steps, and this one does not. Agents that do: {able}, "
                f"with rollout_length of 2 or more. Or encode the observation: RandomEncoder(), "
                f"InverseEncoder()."
            )
        return math.prod(box.shape)

    def init(self, key: Key, spec: Spec) -> Moments:
        return moments.empty((self.size(spec),))

    def pairs(self, state: Moments, rollout: Rollout) -> Pairs:
        lead = rollout.reward.shape
        latent = rollout.extras[self.of].reshape(*lead, -1)
        before = moments.standardise(state, latent, self.clip)
        going = ~(rollout.terminated | rollout.truncated)
        last = jnp.arange(lead[0])[:, None] == lead[0] - 1
        known = going & ~last
        after = jnp.concatenate([before[1:], before[-1:]])
        return Pairs(before, jnp.where(known[..., None], after, before), known)

    def update(self, state: Moments, key: Key, rollout: Rollout) -> tuple[Moments, Metrics]:
        rows = rollout.reward.size
        latent = rollout.extras[self.of].reshape(rows, -1)
        kept = moments.forget(state, max(0.0, 1.0 - rows / self.horizon))
        return moments.update(kept, latent), {}

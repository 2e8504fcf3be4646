"""Random network distillation (Burda et al. 2018, arXiv 1810.12894)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.encoder import observed_size
from explorax.nets import fitting
from explorax.nets.torso import Torso
from explorax.ops import moments
from explorax.ops.images import is_image


@pytree
class RNDState:
    target: Any  # drawn once
    trained: fitting.Trained  # the predictor
    moments: Any  # of observations


@dataclass(frozen=True)
class RND:
    """Pays the mean over features of (predictor(s') − target(s'))².

    The target is a random network that never changes, the predictor a deeper one that is fitted to
    it on each rollout once it has been scored: what it has seen little of it gets wrong (Burda et
    al. 2018, arXiv 1810.12894, section 2.2). Observations are standardised by the moments of all
    until the last rollout and clipped. The first rollout finds no moments and is paid nothing: it
    stands for the random steps with which the authors start their moments.

    Pays raw errors. What else the authors do is a wrapper's or the agent's work: dividing by the
    running deviation of the forward-filtered return is `RunningStd(RND(), discount=0.99)`; the two
    value heads with two discounts and the return that goes on over the ends of episodes are
    `TRPO(bonus_discount=0.99, bonus_episodic=False)`, and so for the other on-policy agents.

    Deviations from the authors' code: ReLU where their convolutions are leaky; minibatches drawn
    with replacement, where they shuffle.
    """

    features: int = 64  # of target and predictor
    hidden: tuple[int, ...] = (64,)  # of the target; images are convolved first
    predictor_hidden: tuple[int, ...] = (64, 64)  # of the predictor, in the same way
    learning_rate: float = 1e-3  # Adam
    batch_size: int = 32  # rows of a minibatch
    updates_per_step: float = 0.03  # minibatches per env step; at least one per rollout
    update_share: float = 1.0  # of a minibatch's rows, drawn anew, that the predictor learns from
    standardize: bool = True  # observations, by the moments of all so far
    clip: float = 5.0  # of observations, in deviations
    last_frame: bool = False  # look at the last channel of an image only, the newest frame

    def __post_init__(self) -> None:
        check_types(self)
        require(self.features >= 1, self, "features", "at least 1")
        require(all(width >= 1 for width in self.hidden), self, "hidden", "widths of at least 1")
        positive = all(width >= 1 for width in self.predictor_hidden)
        require(positive, self, "predictor_hidden", "widths of at least 1")
        for field in ("learning_rate", "updates_per_step", "clip"):
            require(0 < getattr(self, field) < float("inf"), self, field, "positive and finite")
        require(self.batch_size >= 1, self, "batch_size", "at least 1")
        share = 0 < self.update_share <= 1
        require(share, self, "update_share", "above 0 and at most 1")

    @classmethod
    def paper(cls) -> "RND":
        """Return the settings of the authors' code (openai/random-network-distillation).

        For images: three convolutions and one linear layer of 512 for the target, two layers of 512
        more for the predictor, the newest of the stacked frames alone; Adam 1e-4, 4 epochs of 4
        minibatches over 128 steps of 32 environments. With 128 environments the paper learns from a
        quarter of the rows, `update_share=0.25` of minibatches of 4,096: as many as with 32.
        """
        return cls(
            features=512,
            hidden=(),
            predictor_hidden=(512, 512),
            learning_rate=1e-4,
            batch_size=1024,
            updates_per_step=16 / 4096,
            last_frame=True,
        )

    @property
    def replayable(self) -> bool:
        return True

    def init(self, key: Key, spec: Spec) -> RNDState:
        observed_size(spec)
        shape = spec.obs.shape
        if self.last_frame:
            if not is_image(shape):
                raise Incompatible(
                    f"RND(last_frame=True) needs images [height, width, frames], and these "
                    f"observations have the shape {shape}. Leave last_frame False."
                )
            shape = (*shape[:-1], 1)
        key_target, key_predictor = jax.random.split(key)
        seen = jnp.zeros((1, *shape))
        predictor = self._predictor(shape).init(key_predictor, seen)
        return RNDState(
            target=self._target(shape).init(key_target, seen),
            trained=fitting.start(predictor, self.learning_rate),
            moments=moments.empty(shape),
        )

    def _target(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.hidden, shape)

    def _predictor(self, shape: tuple[int, ...]) -> Torso:
        return Torso(self.features, self.predictor_hidden, shape)

    def score(self, state: RNDState, key: Key, rollout: Rollout) -> tuple[jax.Array, RNDState]:
        return self._paid(state, rollout), state

    def rescore(self, state: RNDState, key: Key, rows: Rollout) -> jax.Array:
        return self._paid(state, rows)

    def _paid(self, state: RNDState, rows: Rollout) -> jax.Array:
        """Return the bonus [...] of a rollout or of rows."""
        error = self._errors(state.target, state.trained.params, state.moments, self._rows(rows))
        known = state.moments.count > 0
        return jnp.where(known, error, 0.0).reshape(rows.reward.shape)

    def _rows(self, rows: Rollout) -> jax.Array:
        """Return s' [N, *shape], raw, of a rollout or of rows."""
        obs = rows.next_obs.reshape(-1, *rows.next_obs.shape[rows.reward.ndim :])
        return obs[..., -1:] if self.last_frame else obs

    def _errors(self, target: Any, params: Any, seen: moments.Moments, obs: jax.Array) -> jax.Array:
        """Return the mean squared errors [N] at raw observations [N, *shape]."""
        shape = obs.shape[1:]
        if self.standardize:
            obs = moments.standardise(seen, obs, self.clip)
        x = obs.astype(jnp.float32)
        wanted = jnp.asarray(self._target(shape).apply(target, x))
        predicted = jnp.asarray(self._predictor(shape).apply(params, x))
        return jnp.square(predicted - wanted).mean(-1)

    def update(self, state: RNDState, key: Key, rollout: Rollout) -> tuple[RNDState, Metrics]:
        obs = self._rows(rollout)
        seen = moments.update(state.moments, obs)

        def loss(params: Any, batch: jax.Array, key: Key) -> jax.Array:
            errors = self._errors(state.target, params, seen, batch)
            if self.update_share == 1:
                return errors.mean()
            kept = jax.random.bernoulli(key, self.update_share, errors.shape).astype(jnp.float32)
            return (kept * errors).sum() / jnp.maximum(kept.sum(), 1.0)

        trained, losses = fitting.fit(
            loss,
            state.trained,
            obs,
            key,
            updates=fitting.count_updates(self.updates_per_step, rollout.reward.size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )
        return replace(state, trained=trained, moments=seen), {"loss": losses.mean()}

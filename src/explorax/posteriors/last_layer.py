"""A Bayesian last layer: the exact posterior of a linear layer on features."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from explorax.core.errors import require
from explorax.core.protocols import Discrete, Key, Metrics, Rollout, Spec
from explorax.core.pytree import pytree, replace
from explorax.core.settings import check_types
from explorax.encoders.encoder import (
    Encoder,
    action_code,
    action_size,
    flat_rows,
    observed_size,
)
from explorax.encoders.fourier import Fourier, FourierState
from explorax.encoders.random_encoder import RandomEncoder, RandomState
from explorax.encoders.raw import Raw
from explorax.ops import bayesian_linear as linear
from explorax.ops import moments, reservoir
from explorax.ops.images import is_image
from explorax.posteriors import belief as beliefs
from explorax.posteriors import noise as noises

OF = ("successor", "state_action")
GAINS = ("expected", "realized")
GIVEN = ("replay", "rollout")
DRIFTS = ("none", "settles", "learns")
ROWS_AT_ONCE = 512  # of the pool that are encoded together
LEAST_NOISE = 1e-4  # variance: below, float32 rounds off what is not known
CLIP = 10.0  # of targets, in standard deviations


@pytree
class Basis:
    """What the layer is linear in, and what it predicts. It stays while the posterior grows."""

    encoder: Any
    length: Any  # float32 [], root mean square of ‖φ‖, which is divided by it
    targets: moments.Moments  # of the successor [D]; D = 0 where nothing is predicted


@pytree
class LastLayerState:
    encoder: Any  # as it learns
    targets: moments.Moments  # as they are measured
    basis: Basis  # both, as they were when the posterior was last made anew
    belief: Any  # Visits or Belief
    noise: Any  # see `posteriors.noise`
    pool: Any  # reservoir of rows to make the posterior anew from; () where it never is
    seen: Any  # float32 [], rows


@dataclass(frozen=True)
class LastLayer:
    """The posterior of y = φᵀw + ε, w ~ N(0, I), ε ~ N(0, noise), which is exact.

    The gain of a row depends on r = φᵀPφ/noise with P the covariance of w given all rows before:

    - gain="expected", ½ log(1 + r), does not look at what happened, so that noise cannot raise it;
    - gain="realized", VIME's KL[after ‖ before], ½[log(1 + r) + r (e² − 1 − r)/(1 + r)²] with e the
      prediction's error over √noise. Its expectation is the expected gain.

    Of several outputs the mean is paid. The expected gain of a row seen n times before is about
    1/(2n), and never more than ½ log(1 + ‖φ‖²/noise); the realized one has no bound. On one-hot
    codes of one kind it is ½ log(1 + 1/(noise + n)), a count; on several codes and on features it
    is a count that generalizes, E3B's ellipse kept for life (arXiv 2210.05805), and in the limit of
    many features RND's error (arXiv 1810.12894).

    With of="successor" φ is of s': new states are paid, and nothing is predicted. With
    "state_action" it is φ(s) times the action, and the layer predicts s'. given="replay" pays all
    rows of a rollout by the posterior before it; "rollout" also by the rows before in the rollout,
    whose gains then add up to the joint one (Cover & Thomas 2006, Theorem 2.5.2).

    `features` None: one-hot codes as they are, `RandomEncoder` for images, else `Fourier`. Where
    features learn or are still being measured, the posterior is over those of some time, and made
    anew from a pool of raw rows, scaled to all rows seen, whenever these have doubled. With a
    `horizon` it is never made anew: old rows fade.
    """

    features: Encoder | None = None  # φ; None: by the observation
    of: str = "successor"  # or "state_action"
    gain: str = "expected"  # or "realized", of="state_action"
    given: str = "replay"  # or "rollout"
    noise: float | str = 1.0  # variance, the weights' being 1; "estimated"; "head" of (s, a)
    power: float = 1.0  # of the gain; 0.5: fades as a confidence bound does
    pool_size: int = 16_384  # rows from which the posterior is made anew
    horizon: int | None = None  # env steps after which old rows have faded to 1/e; None: never

    def __post_init__(self) -> None:
        check_types(self)
        for field, allowed in (("of", OF), ("gain", GAINS), ("given", GIVEN)):
            require(getattr(self, field) in allowed, self, field, f"one of {allowed}")
        predicts = self.of == "state_action"
        told = "'expected' with of='successor', where nothing is predicted"
        require(predicts or self.gain == "expected", self, "gain", told)
        if not isinstance(self.noise, str):
            able = LEAST_NOISE <= self.noise < math.inf
            told = f"a variance of at least {LEAST_NOISE}, 'estimated' or 'head'"
            require(able, self, "noise", told)
        else:
            require(self.noise in noises.KINDS, self, "noise", "a variance, 'estimated' or 'head'")
            told = "a variance with of='successor', where nothing is predicted"
            require(predicts, self, "noise", told)
        require(0 < self.power <= 1, self, "power", "above 0 and at most 1")
        require(self.pool_size >= 1, self, "pool_size", "at least 1")
        require(self.horizon is None or self.horizon >= 1, self, "horizon", "at least 1, or None")
        kept = self.features is None or self.features.replayable or self.horizon is not None
        why = f"with {self.features!r}, whose features of old rows cannot be had again"
        require(kept, self, "horizon", f"a number of env steps, such as 50_000, {why}")
        drift = "none" if self.features is None else self.features.drift
        require(drift in DRIFTS, self, "features", f"an encoder whose drift is one of {DRIFTS}")

    @property
    def replayable(self) -> bool:
        return self.features is None or self.features.replayable

    def init(self, key: Key, spec: Spec) -> LastLayerState:
        encoder, predicts = self._chosen(spec), self.of == "state_action"
        discrete = isinstance(spec.action, Discrete)
        features, outputs = encoder.size(spec), 0
        if predicts:
            features *= action_size(spec) + (0 if discrete else 1)
            outputs = observed_size(spec)
        key_encoder, key_noise = jax.random.split(key)
        began = encoder.init(key_encoder, spec)
        basis = Basis(began, jnp.float32(1), moments.empty((outputs,)))
        codes = encoder == Raw(standardize=False) and len(spec.obs.one_hot or ()) == 1
        fixed = self.gain == "expected" and not self._noise_varies and self.horizon is None
        if codes and fixed and (discrete or not predicts):
            belief: Any = beliefs.Visits(jnp.zeros(features, jnp.int32))
        else:
            belief = beliefs.prior(features, outputs, self._noise_varies)
        pooled = encoder.drift != "none" and self.horizon is None
        inputs = observed_size(spec) + action_size(spec)
        return LastLayerState(
            encoder=began,
            targets=basis.targets,
            basis=basis,
            belief=belief,
            noise=noises.init(self.noise, key_noise, inputs, outputs),
            pool=reservoir.empty(self._row(spec), self.pool_size) if pooled else (),
            seen=jnp.float32(0),
        )

    @property
    def _noise_varies(self) -> bool:
        return isinstance(self.noise, str)

    def _chosen(self, spec: Spec) -> Encoder:
        if self.features is not None:
            return self.features
        if spec.obs.one_hot is not None:
            return Raw(standardize=False)
        return RandomEncoder(features=128) if is_image(spec.obs.shape) else Fourier()

    def _encoder(self, state: Any) -> Encoder:
        """Return what `_chosen` did, told from the encoder's state: only `init` knows the spec."""
        if self.features is not None:
            return self.features
        if isinstance(state, RandomState):
            return RandomEncoder(features=128)
        return Fourier() if isinstance(state, FourierState) else Raw(standardize=False)

    def _row(self, spec: Spec) -> dict[str, Any]:
        obs = jax.ShapeDtypeStruct(spec.obs.shape, jnp.dtype(spec.obs.dtype))
        if self.of == "successor":
            return {"next_obs": obs}
        discrete = isinstance(spec.action, Discrete)
        shape = () if isinstance(spec.action, Discrete) else spec.action.shape
        action = jax.ShapeDtypeStruct(shape, jnp.int32 if discrete else jnp.float32)
        return {"obs": obs, "action": action, "next_obs": obs}

    def information_gain(self, state: LastLayerState, key: Key, rollout: Rollout) -> jax.Array:
        """Return nats to the `power`; 0 before features are measured and where s' is not known."""
        in_order = self.given == "rollout" and rollout.reward.ndim == 2
        phi, known = self._features(state.basis, state.belief.features, rollout)
        if isinstance(state.belief, beliefs.Visits):
            gain = beliefs.counted_gain(state.belief, phi, float(self.noise), in_order)
        else:
            ratio, squared = self._ratios(state, rollout, phi, in_order)
            if self.gain == "expected":
                gain = linear.expected_gain(ratio).mean(-1)
            else:
                gain = linear.realized_gain(ratio, squared).mean(-1)
        gain = jnp.where(known, jnp.maximum(gain, 0.0) ** self.power, 0.0)
        if self._drift(state) != "none":
            gain = jnp.where(state.seen > 0, gain, 0.0)
        return gain.reshape(rollout.reward.shape)

    def _ratios(
        self, state: LastLayerState, rows: Rollout, phi: Any, in_order: bool
    ) -> tuple[jax.Array, jax.Array]:
        targets, std = self._targets(state.basis, rows), self._std(state, rows)
        return beliefs.ratios(state.belief, phi, targets, std, in_order)

    def _std(self, state: LastLayerState, rows: Rollout) -> jax.Array:
        outputs = state.targets.mean.shape[0]
        return noises.std(self.noise, state.noise, _inputs(state.noise, rows), outputs)

    def _targets(self, basis: Basis, rows: Rollout) -> Float[Array, "N D"]:
        """Return s' in standard deviations, of codes as it is; nothing where none is predicted."""
        count = rows.reward.size
        if self.of == "successor":
            return jnp.zeros((count, 0))
        after = rows.next_obs.reshape(count, -1).astype(jnp.float32)
        return moments.standardise(basis.targets, after, CLIP)

    def _features(
        self, basis: Basis, size: int, rows: Rollout
    ) -> tuple[Float[Array, "N F"], jax.Array]:
        """Return (φ, whether the successor is known [N]) of a rollout or of rows; size: F."""
        count = rows.reward.size
        pairs = jax.lax.stop_gradient(self._encoder(basis.encoder).pairs(basis.encoder, rows))
        seen = pairs.after if self.of == "successor" else pairs.before
        phi, known = seen.reshape(count, -1).astype(jnp.float32), pairs.known.reshape(count)
        phi = phi / basis.length
        if self.of == "state_action":
            code = _action(rows, size // phi.shape[1])
            phi = (phi[:, None, :] * code[:, :, None]).reshape(count, -1)
        return jnp.where(known[:, None], phi, 0.0), known

    def update(
        self, state: LastLayerState, key: Key, rollout: Rollout
    ) -> tuple[LastLayerState, Metrics]:
        key_encoder, key_pool, key_noise = jax.random.split(key, 3)
        encoder = self._encoder(state.encoder)
        learned, metrics = encoder.update(state.encoder, key_encoder, rollout)
        targets, rows = state.targets, rollout.reward.size
        if targets.mean.size and self._drift(state) != "none":
            targets = moments.update(targets, rollout.next_obs.reshape(rows, -1))
        noise = self._noise_learned(state, key_noise, rollout)
        pool = state.pool
        if not isinstance(pool, tuple):
            flat = flat_rows(rollout)
            pool = reservoir.add(pool, key_pool, {name: getattr(flat, name) for name in pool.rows})
        after = replace(
            state, encoder=learned, targets=targets, noise=noise, pool=pool, seen=state.seen + rows
        )
        if not isinstance(pool, tuple):
            after = self._grown_or_renewed(after, rollout, state.seen)
        else:
            if self.horizon is not None:  # the basis moves with each rollout, and old rows fade
                after = replace(after, basis=self._moved(after, rollout, state.seen))
            after = self._grown(after, rollout)
        return after, {**metrics, **dict([beliefs.known(after.belief)])}

    def _moved(self, state: LastLayerState, rollout: Rollout, before: jax.Array) -> Basis:
        """Return the basis as the encoder is now; `before`: rows that it was measured by."""
        basis = Basis(state.encoder, jnp.float32(1), state.targets)
        phi, known = self._features(basis, state.belief.features, rollout)
        squared = jnp.square(phi).sum() / jnp.maximum(known.astype(jnp.float32).sum(), 1.0)
        share = jnp.where(before > 0, 1.0 - self._kept(rollout), 1.0)
        length = jnp.square(state.basis.length) * (1.0 - share) + squared * share
        return replace(basis, length=jnp.sqrt(jnp.maximum(length, 1e-12)))

    def _kept(self, rollout: Rollout) -> float:
        """Return how much the evidence of rows before a rollout counts after it."""
        return 1.0 if self.horizon is None else math.exp(-rollout.reward.size / self.horizon)

    def _grown(self, state: LastLayerState, rollout: Rollout) -> LastLayerState:
        """Return the state with the rollout known."""
        phi, _ = self._features(state.basis, state.belief.features, rollout)
        if isinstance(state.belief, beliefs.Visits):
            return replace(state, belief=beliefs.counted(state.belief, phi))
        ones, keep = jnp.ones(phi.shape[0]), self._kept(rollout)
        pieces = linear.pieces_of(phi.shape[0] / self._least_noise)
        return replace(state, belief=self._given(state, rollout, phi, ones, keep, pieces))

    @property
    def _least_noise(self) -> float:
        return noises.SMALLEST**2 if isinstance(self.noise, str) else self.noise

    def _given(
        self,
        state: LastLayerState,
        rows: Rollout,
        phi: Any,
        weights: Any,
        keep: float,
        pieces: int,
    ) -> beliefs.Belief:
        targets, std = self._targets(state.basis, rows), self._std(state, rows)
        return beliefs.conditioned(state.belief, phi, targets, std, weights, keep, pieces)

    def _grown_or_renewed(
        self, state: LastLayerState, rollout: Rollout, before: jax.Array
    ) -> LastLayerState:
        """Return the state with the rollout known, made anew from the pool if it is time.

        It is when rows have doubled, until the pool is full, and beyond where features learn.
        """
        doubled = jnp.floor(jnp.log2(state.seen)) > jnp.floor(jnp.log2(jnp.maximum(before, 1.0)))
        if self._drift(state) == "settles":
            doubled &= state.seen <= self.pool_size

        def choose(due: jax.Array, state: LastLayerState, rollout: Rollout) -> LastLayerState:
            return jax.lax.cond(due, self._renewed, self._grown, state, rollout)

        # Under vmap both branches would be computed, in each update.
        due, rollout = doubled | (before == 0), replace(rollout, extras=(), carry=())
        return sequential_vmap(choose)(due, state, rollout)

    def _renewed(self, state: LastLayerState, rollout: Rollout) -> LastLayerState:
        """Return the state with a posterior over the features as they are now."""
        pool = state.pool
        rows = _rollout_of(pool.rows)
        basis = Basis(state.encoder, jnp.float32(1), state.targets)
        weights = reservoir.weights(pool)
        # in parts: of images, all at once would be gigabytes
        phi, _ = jax.lax.map(
            lambda row: self._features(basis, state.belief.features, row),
            jax.tree.map(lambda leaf: leaf[:, None], rows),
            batch_size=min(ROWS_AT_ONCE, weights.shape[0]),
        )
        phi = phi.reshape(weights.shape[0], -1)
        # of the encoder's own features: those times an action are as long, on average or at most
        squared = (weights * jnp.square(phi).sum(-1)).sum() / jnp.maximum(weights.sum(), 1.0)
        basis = replace(basis, length=jnp.sqrt(jnp.maximum(squared, 1e-12)))
        began = beliefs.prior(phi.shape[1], state.targets.mean.shape[0], self._noise_varies)
        state = replace(state, basis=basis, belief=began)
        # all the evidence there is comes at once, of up to a billion rows
        pieces = linear.pieces_of(1e9 / self._least_noise)
        given = self._given(state, rows, phi / basis.length, weights, 1.0, pieces)
        return replace(state, belief=given)

    def _noise_learned(self, state: LastLayerState, key: Key, rollout: Rollout) -> Any:
        if not isinstance(self.noise, str):
            return state.noise
        rows = replace(rollout, carry=())
        phi, known = self._features(state.basis, state.belief.features, rows)
        ratio, squared = self._ratios(state, rows, phi, False)
        variance = jnp.square(self._std(state, rows))
        known = jnp.where(state.seen > 0, known.astype(jnp.float32), 0.0)
        return noises.learn(
            self.noise,
            state.noise,
            key,
            _inputs(state.noise, rows),
            squared * variance / (1.0 + ratio),
            known,
        )

    def _drift(self, state: LastLayerState) -> str:
        return self._encoder(state.encoder).drift


def _action(rows: Rollout, width: int) -> Float[Array, "N A"]:
    """Return what features of the state are multiplied by: one-hot, or 1 and the action."""
    count, lead = rows.reward.size, rows.reward.ndim
    action = rows.action.reshape(count, *rows.action.shape[lead:])
    if jnp.issubdtype(action.dtype, jnp.integer):
        return action_code(action, (count,), width)
    return jnp.concatenate([jnp.ones((count, 1)), action_code(action, (count,), width - 1)], -1)


def _inputs(noise: Any, rows: Rollout) -> Float[Array, "N I"]:
    """Return (s, a), raw, for a head; nothing for noise that does not depend on them."""
    count, lead = rows.reward.size, rows.reward.ndim
    if not isinstance(noise, noises.Head):
        return jnp.zeros((count, 0))
    obs = rows.obs.reshape(count, -1).astype(jnp.float32)
    action = rows.action.reshape(count, *rows.action.shape[lead:])
    width = noise.moments.mean.shape[0] - obs.shape[1]
    return jnp.concatenate([obs, action_code(action, (count,), width)], -1)


def _rollout_of(rows: dict[str, jax.Array]) -> Rollout:
    """Return pooled rows [M, ...] as a rollout's; what they lack nobody looks at."""
    after = rows["next_obs"]
    nothing = jnp.zeros(after.shape[0])
    return Rollout(
        obs=rows.get("obs", after),
        action=rows.get("action", nothing),
        reward=nothing,
        next_obs=after,
        terminated=nothing > 0,
        truncated=nothing > 0,
        first=nothing > 0,
        bonus=nothing,
        extras=(),
    )

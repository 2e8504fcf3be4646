"""What every bonus keeps, whoever wrote it. A new name in the catalogue must add a case here."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import explorax.bonuses
from explorax.bonuses import (
    E3B,
    ICM,
    NGU,
    RE3,
    RIDE,
    RND,
    VIME,
    Clip,
    Count,
    Decay,
    Disagreement,
    Episodic,
    HashCount,
    MaxInfo,
    MedianRatio,
    NoBonus,
    PredictionError,
    Product,
    PseudoCount,
    ReturnShare,
    RunningMean,
    RunningStd,
    Scale,
    Sum,
    Surprise,
)
from explorax.bonuses.combine import may_be_negative
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.densities import CTS, Empirical, Factored
from explorax.encoders import Fourier, InverseEncoder, RandomEncoder
from explorax.posteriors import LastLayer

MODEL: dict[str, Any] = dict(
    hidden=(8,),
    min_pool_size=32,
    pool_size=256,
    updates_per_step=1.0,
    learning_rate=1e-2,
    elbo_scale="dataset",
    likelihood_std=0.5,
    batch_size=16,
)
VIME_SMALL = VIME(**MODEL)
FITTED: dict[str, Any] = dict(learning_rate=1e-2, batch_size=16, updates_per_step=1.0)
CASES = {
    "VIME": VIME_SMALL,
    "VIME, gradient steps": VIME(**MODEL, method="gradient_steps", gain_steps=2),
    "VIME, samples": VIME(**MODEL, samples=3, shared_noise=False, activation="tanh"),
    "PredictionError": PredictionError(**MODEL),
    "NoBonus": NoBonus(),
    "Scale": Scale(VIME_SMALL, 0.5),
    "Clip": Clip(VIME_SMALL, 0.0, 1e-3),
    "Sum": Sum((VIME_SMALL, PredictionError(**MODEL))),
    "Product": Product((VIME_SMALL, PredictionError(**MODEL))),
    "Decay": Decay(VIME_SMALL, env_steps=10_000, end=0.5),
    "MedianRatio": MedianRatio(VIME_SMALL),
    "RunningMean": RunningMean(VIME_SMALL),
    "RunningStd": RunningStd(VIME_SMALL),
    "ReturnShare": ReturnShare(VIME_SMALL),
    "VIME, last layer": VIME(model=LastLayer(features=Fourier(features=32, interactions=(0,)))),
    "VIME, last layer of dynamics": VIME(
        model=LastLayer(Fourier(16, (0,)), of="state_action", gain="realized", noise="estimated")
    ),
    "RunningStd, centred": RunningStd(VIME_SMALL, discount=0.0, center=True),
    "VIME, noise head": VIME(**MODEL, noise_head=True),
    "VIME, encoder": VIME(**MODEL, latent=RandomEncoder(8)),
    "RND": RND(8, (8,), (16,), **FITTED, update_share=0.5),
    "ICM": ICM(8, (8,), **FITTED),
    "Disagreement": Disagreement(RandomEncoder(8), hidden=(8,), **FITTED),
    "Disagreement, learning encoder": Disagreement(
        InverseEncoder(8, learning_rate=1e-2), hidden=(8,), **FITTED, bootstrap=False
    ),
    "MaxInfo": MaxInfo(hidden=(8,), **FITTED, noise_std=0.3),
    "Surprise": Surprise(hidden=(8,), **FITTED),
    "Surprise, trust region": Surprise(
        hidden=(8,), optimizer="trust_region", batch_size=64, predict_std=False, max_kl=0.05
    ),
    "VIME, learning encoder": VIME(**MODEL, latent=InverseEncoder(8, learning_rate=1e-2)),
    "E3B": E3B(InverseEncoder(8, learning_rate=1e-2)),
    "E3B, random features": E3B(RandomEncoder(8), ridge=1.0),
    "NGU": NGU(InverseEncoder(8, clip=100.0), RND(8, (8,), (16,), clip=100.0)),
    "NGU, small memory": NGU(InverseEncoder(8, clip=100.0), RND(8, clip=100.0), k=3, capacity=50),
    "RIDE": RIDE(8, (8,), clip=100.0),
    "RIDE, kernel": RIDE(8, (8,), clip=100.0, count="kernel"),
    "RE3": RE3(RandomEncoder(8, clip=100.0)),
    "Episodic": Episodic(VIME_SMALL),
    "Episodic, hash": Episodic(VIME_SMALL, bits=12),
    "Count": Count(),
    "Count, state and action": Count(of="state_action", power=1.0),
    "HashCount": HashCount(bits=12),
    "PseudoCount": PseudoCount(Factored(levels=2)),
    "PseudoCount, empirical": PseudoCount(Empirical()),
    "PseudoCount, trees": PseudoCount(CTS(levels=3)),
}
SPECS = {
    "discrete": Spec(Box((3,)), Discrete(3), 2),
    "continuous": Spec(Box((3,)), Box((2,)), 2),
    "grid": Spec(Box((2, 2)), Discrete(2), 2),
    "codes": Spec(Box((40,), 0.0, 1.0, one_hot=(40,)), Discrete(2), 2),
}
# These count while they score, so that a later price differs from the one that was paid.
COUNTING = ("Count", "Count, state and action", "HashCount", "PseudoCount, empirical")
# These pay by what was counted before a row, so that no price stays the same.
PAY_BEFORE = ("PseudoCount", "PseudoCount, empirical", "PseudoCount, trees")
STEPS = 20


def experience(spec, seed, centre=0.0):
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (STEPS, spec.num_envs)
    obs = centre + 0.5 * jax.random.normal(keys[0], (*shape, *spec.obs.shape))
    if isinstance(spec.action, Discrete):
        action = jax.random.randint(keys[1], shape, 0, spec.action.n)
    else:
        action = jax.random.normal(keys[1], (*shape, *spec.action.shape))
    zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
    next_obs = 0.9 * obs + 0.1
    if spec.obs.one_hot is not None:
        places = (10 + jnp.round(3 * each[..., 0]).astype(jnp.int32) for each in (obs, next_obs))
        obs, next_obs = (jax.nn.one_hot(place, 40) for place in places)
    return Rollout(obs, action, zeros, next_obs, no, no, no, zeros)


class Counted:
    """A jitted method that counts its compilations."""

    def __init__(self, method):
        self.count = 0

        def traced(*arguments):
            self.count += 1
            return method(*arguments)

        self.call = jax.jit(traced)


LOOK_AT_THE_SPACE = (  # which the wrappers do not
    "VIME",
    "PredictionError",
    "NoBonus",
    "RND",
    "ICM",
    "Disagreement",
    "MaxInfo",
    "Surprise",
    "E3B",
    "NGU",
    "RIDE",
    "RE3",
)
# Clipped as by default, all of the second rollout's observations would be one to those that compare
# features with each other: hence clip=100 above. These cannot rise as much all the same:
LESS_STEEP = (
    "VIME, gradient steps",  # Adam's steps have one length whatever the gradient's
    "RIDE",  # which pays for the change from s to s'
    "RE3",  # which pays the logarithm of a distance, and the novel ones are near each other
    "PseudoCount, trees",  # to which values above the bounds are as white as the bound itself
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, "codes" if name in COUNTING else "grid" if "trees" in name else "discrete")
        for name in CASES
    ]
    + [(name, kind) for name in LOOK_AT_THE_SPACE for kind in ("continuous", "grid")],
)
def test_contract(name, kind):
    bonus, spec = CASES[name], SPECS[kind]
    hash(bonus)
    state = jax.jit(partial(bonus.init, spec=spec))(jax.random.key(0))
    shape_of = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
    score, update = Counted(bonus.score), Counted(bonus.update)
    metrics = {}
    for index in range(30):
        rollout = experience(spec, index)
        before = [np.array(leaf) for leaf in jax.tree.leaves(state)]
        paid, scored = score.call(state, jax.random.key(index), rollout)
        assert paid.shape == (STEPS, 2) and paid.dtype == jnp.float32
        assert np.isfinite(paid).all()
        assert may_be_negative(bonus) or (np.asarray(paid) >= 0).all()
        again, _ = score.call(state, jax.random.key(index), rollout)
        np.testing.assert_array_equal(paid, again)  # pure
        for leaf, copy in zip(jax.tree.leaves(state), before, strict=True):
            np.testing.assert_array_equal(leaf, copy)
        state, metrics = update.call(scored, jax.random.key(index), rollout)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == shape_of
        assert all(value.shape == () for value in metrics.values())
    assert score.count == update.count == 1  # nothing compiles a second time
    if name == "NoBonus":
        return
    assert metrics and all(np.isfinite(value) for value in metrics.values())

    rollout = experience(spec, 3)
    paid, state = score.call(state, jax.random.key(1), rollout)
    rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)
    if bonus.replayable and name != "Decay":  # its clock has moved on since the score
        rescored = jax.jit(bonus.rescore)(state, jax.random.key(1), rows)
        if name in COUNTING:
            assert (rescored <= paid.ravel() * (1 + 2e-4)).all()
            rescored, paid = rescored[-1:], paid[-1:, -1:]  # nothing was counted after the last row
        if name in PAY_BEFORE:
            assert np.median(rescored) < 1.05 * np.median(paid)
        else:
            np.testing.assert_allclose(rescored, paid.ravel(), rtol=2e-4)
    if name != "Clip":  # which cannot tell them apart when both are above it
        novel, _ = score.call(state, jax.random.key(1), experience(spec, 4, centre=6.0))
        factor = 1.5 if name in LESS_STEEP else 3
        assert np.median(novel) > factor * np.median(paid)


def test_every_bonus_of_the_catalogue_is_held_to_the_contract():
    assert {type(bonus).__name__ for bonus in CASES.values()} == set(explorax.bonuses.__all__)

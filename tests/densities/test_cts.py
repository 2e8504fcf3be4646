"""Context tree switching against recursive trees of dictionaries, in float64."""

import math
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import Incompatible, InvalidSetting
from explorax.core.protocols import Box, Discrete, Spec
from explorax.densities import CTS

KEY = jax.random.key(0)


class Node:
    """A node as Veness et al. write it: counts, and the logarithms of two unnormalised weights."""

    def __init__(self):
        self.counts, self.children = {}, {}
        self.log_stay = self.log_ask = math.log(0.5)

    def child(self, symbol):
        return self.children.setdefault(symbol, Node())

    def estimate(self, symbol, levels, prior):
        return math.log(
            (self.counts.get(symbol, 0) + prior) / (sum(self.counts.values()) + prior * levels)
        )

    def log_prob(self, context, symbol, levels, prior):
        own = self.estimate(symbol, levels, prior)
        if not context:
            return own
        below = self.child(context[0]).log_prob(context[1:], symbol, levels, prior)
        both = np.logaddexp(self.log_stay + own, self.log_ask + below)
        return both - np.logaddexp(self.log_stay, self.log_ask)

    def update(self, context, symbol, levels, prior, switching):
        own = self.estimate(symbol, levels, prior)
        if context:
            below = self.child(context[0]).log_prob(context[1:], symbol, levels, prior)
            self.child(context[0]).update(context[1:], symbol, levels, prior, switching)
            stay, ask = self.log_stay + own, self.log_ask + below
            lost, kept = math.log(switching), math.log(1 - switching)
            self.log_stay = np.logaddexp(kept + stay, lost + ask)
            self.log_ask = np.logaddexp(kept + ask, lost + stay)
        self.counts[symbol] = self.counts.get(symbol, 0) + 1


class SlowCTS:
    """One tree per pixel."""

    def __init__(self, levels, depth, prior):
        self.levels, self.depth, self.prior = levels, depth, prior
        self.trees, self.frames = {}, 0

    def pixels(self, image):
        rows, columns = image.shape

        def at(row, column):
            inside = 0 <= row < rows and 0 <= column < columns
            return int(image[row, column]) if inside else 0

        for r, c in np.ndindex(rows, columns):
            around = (at(r, c - 1), at(r - 1, c), at(r - 1, c - 1), at(r - 1, c + 1))
            tree = self.trees.setdefault((r, c), Node())
            yield tree, around[: self.depth], at(r, c)

    def log_prob(self, image):
        parts = [
            tree.log_prob(around, symbol, self.levels, self.prior)
            for tree, around, symbol in self.pixels(image)
        ]
        return math.fsum(parts)

    def update(self, image):
        self.frames += 1
        for tree, around, symbol in self.pixels(image):
            tree.update(around, symbol, self.levels, self.prior, 1 / (self.frames + 1))


def noise(frames, shape, levels, seed=0):
    return np.random.default_rng(seed).integers(levels, size=(frames, *shape))


def walk(frames, shape, levels):
    """Return a bright dot that walks over a fixed picture, in which rows repeat one another."""
    rng = np.random.default_rng(1)
    images = np.tile(rng.integers(levels, size=(1, 1, shape[1])), (frames, shape[0], 1))
    images[:, : shape[0] // 2] = 0
    row = column = 0
    for image in images:
        row = np.clip(row + rng.integers(-1, 2), 0, shape[0] - 1)
        column = np.clip(column + rng.integers(-1, 2), 0, shape[1] - 1)
        image[row, column] = levels - 1
    return images


def spec_of(shape, high, dtype="float32"):
    return Spec(Box(shape, 0.0, float(high), dtype), Discrete(2), 1)


def trained(density, images, high):
    """Return (recoding of the images in their order, state)."""
    state = jax.jit(partial(density.init, spec=spec_of(images.shape[1:], high)))(KEY)
    return jax.jit(density.observe)(state, jnp.asarray(images, jnp.float32))


def expected(slow, images):
    rows = []
    for image in images:
        before = slow.log_prob(image)
        slow.update(image)
        rows.append((before, slow.log_prob(image)))
    return np.array(rows).T


CASES = {
    "noise": (noise(250, (4, 5), 3), 3, 4, None),
    "walk": (walk(250, (6, 6), 8), 8, 4, None),
    "KT": (walk(200, (6, 6), 4), 4, 4, 0.5),
    "two neighbours": (walk(200, (5, 7), 5), 5, 2, None),
    "no neighbour": (walk(200, (5, 5), 5), 5, 0, None),
    "one row": (noise(200, (1, 9), 2), 2, 4, 1.0),
}


@pytest.mark.parametrize("case", CASES)
def test_as_recursive_trees(case):
    images, levels, depth, prior = CASES[case]
    found, _ = trained(CTS(levels=levels, depth=depth, prior=prior), images, levels)
    before, after = expected(SlowCTS(levels, depth, prior or 1 / levels), images)
    np.testing.assert_allclose(found.log_prob, before, rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(found.log_prob_after, after, rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(found.gain, after - before, rtol=1e-4)
    assert before[-1] > 2 * before[0]  # there was something to learn: no comparison of constants


def test_gains_of_long_streams_keep_their_digits():
    rng = np.random.default_rng(2)
    images = (rng.random((6_000, 1, 2)) < 0.02).astype(int)
    found, _ = trained(CTS(levels=2), images, 2)
    before, after = expected(SlowCTS(2, 4, 0.5), images)
    gain = after - before
    assert np.median(gain) < 2e-5 and np.median(before) > -0.1
    # A difference of two such logarithms in float32 has errors of 4e-9 at the least, 2e-4 of it.
    np.testing.assert_allclose(found.gain[1:], gain[1:], rtol=3e-5)


@pytest.mark.parametrize(("levels", "depth"), [(2, 4), (3, 4), (3, 1)])
def test_probabilities_of_all_images_sum_to_one(levels, depth):
    density = CTS(levels=levels, depth=depth)
    _, state = trained(density, noise(30, (2, 2), levels, seed=3), levels)
    every = np.array(list(product(range(levels), repeat=4)), np.float32).reshape(-1, 2, 2)
    found = jax.jit(density.recode)(state, jnp.asarray(every))
    np.testing.assert_allclose(np.exp(found.log_prob).sum(), 1.0, rtol=1e-5)


def test_recode_is_what_observe_does_and_changes_nothing():
    images, levels = walk(60, (5, 5), 4), 4
    density = CTS(levels=levels)
    _, state = trained(density, images, levels)
    again = jnp.asarray(images[:7], jnp.float32)
    found = jax.jit(density.recode)(state, again)
    observe = jax.jit(density.observe)
    for index, image in enumerate(again):
        live, learnt = observe(state, image[None])
        np.testing.assert_allclose(found.log_prob[index], live.log_prob[0], rtol=1e-6)
        np.testing.assert_allclose(found.gain[index], live.gain[0], rtol=1e-5)
        once_more = jax.jit(density.recode)(learnt, image[None])
        np.testing.assert_allclose(found.log_prob_after[index], once_more.log_prob[0], rtol=1e-5)


def test_it_learns_and_gains_from_what_it_has_seen():
    images = walk(300, (6, 6), 8)
    found, state = trained(CTS(), images, 8)
    assert (np.asarray(found.gain) > 0).all()
    assert np.mean(found.log_prob[-50:]) > np.mean(found.log_prob[:3]) + 20
    surprise = jax.jit(CTS().recode)(state, jnp.asarray(noise(5, (6, 6), 8), jnp.float32))
    assert np.max(surprise.log_prob) < np.min(found.log_prob[-50:]) - 20


def test_seeds_side_by_side_are_as_each_alone():
    streams = np.stack([walk(40, (5, 5), 4), noise(40, (5, 5), 4)])
    density = CTS(levels=4)
    state = density.init(KEY, spec_of((5, 5), 4))
    both, _ = jax.jit(jax.vmap(density.observe, (None, 0)))(state, jnp.asarray(streams, np.float32))
    for index, images in enumerate(streams):
        alone, _ = trained(density, images, 4)
        np.testing.assert_allclose(both.gain[index], alone.gain, rtol=1e-5)


def test_tables_are_written_in_place():
    """A copy of the tables for each frame would be as right, and 500 times as slow."""
    density = CTS(depth=3)
    spec = spec_of((42, 42), 255, "uint8")
    state = jax.eval_shape(partial(density.init, spec=spec), KEY)
    images = jax.ShapeDtypeStruct((16, 42, 42), jnp.uint8)
    program = jax.jit(density.observe, donate_argnums=0).lower(state, images).compile()
    analysis = program.memory_analysis()
    assert analysis is not None
    tables = sum(leaf.size * 4 for leaf in jax.tree.leaves(state))
    assert tables > 30e6 and analysis.temp_size_in_bytes < 0.1 * tables


def test_what_is_no_image_is_refused():
    with pytest.raises(Incompatible, match=r"CTS models images.*Factored\(\) takes any shape"):
        CTS().init(KEY, Spec(Box((3,)), Discrete(2), 1))
    with pytest.raises(Incompatible, match=r"no finite range.*Spec\.obs"):
        CTS().init(KEY, Spec(Box((5, 5), -math.inf, math.inf), Discrete(2), 1))


def test_absurd_tables_are_refused_before_they_are_made():
    with pytest.raises(Incompatible, match=r"1\.4 GiB.*Lower `depth`"):
        CTS(size=None).init(KEY, spec_of((100, 100), 255, "uint8"))
    CTS().init(KEY, spec_of((13, 13), 255, "uint8"))


@pytest.mark.parametrize("setting", [{"depth": 5}, {"levels": 1}, {"prior": 0.0}, {"size": (0, 3)}])
def test_settings_that_mean_nothing_are_refused(setting):
    with pytest.raises(InvalidSetting, match=next(iter(setting))):
        CTS(**setting)

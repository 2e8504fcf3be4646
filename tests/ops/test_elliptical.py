"""The elliptical bonus, against matrices inverted in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.ops import elliptical

ENVS, FEATURES = 3, 6
jitted = jax.jit(elliptical.episodic, static_argnums=4)


def start(envs=ENVS, features=FEATURES, ridge=0.1):
    return jnp.broadcast_to(elliptical.fresh(features, ridge)[None], (envs, features, features))


def slow(opening, visited, first, ridge, matrices):
    """The bonus step by step, environment by environment, by np.linalg.inv."""
    bonus = np.zeros(first.shape)
    for t, e in np.ndindex(first.shape):
        if first[t, e]:
            matrices[e] = ridge * np.eye(opening.shape[-1]) + np.outer(opening[t, e], opening[t, e])
        bonus[t, e] = visited[t, e] @ np.linalg.inv(matrices[e]) @ visited[t, e]
        matrices[e] = matrices[e] + np.outer(visited[t, e], visited[t, e])
    return bonus


@pytest.mark.parametrize("ridge", [0.1, 3.0])
def test_the_bonus_is_that_of_inverted_matrices_through_resets_and_rollouts(ridge):
    rng, root = np.random.default_rng(0), start(ridge=ridge)
    matrices = {e: ridge * np.eye(FEATURES) for e in range(ENVS)}
    for _ in range(3):
        opening, visited = rng.normal(size=(2, 40, ENVS, FEATURES))
        first = rng.random((40, ENVS)) < 0.08  # at different times in different environments
        first[0, 0] = True
        expected = slow(opening, visited, first, ridge, matrices)
        floats = (jnp.asarray(rows, jnp.float32) for rows in (opening, visited))
        bonus, root = jitted(root, *floats, jnp.asarray(first), ridge)
        np.testing.assert_allclose(bonus, expected, rtol=1e-4)
    inverses = np.asarray(root) @ np.swapaxes(root, 1, 2)
    for e, matrix in matrices.items():
        np.testing.assert_allclose(inverses[e] @ matrix, np.eye(FEATURES), atol=1e-4)


def test_the_logarithms_of_one_plus_the_bonus_add_up_to_that_of_the_determinant():
    visited = jax.random.normal(jax.random.key(0), (500, ENVS, FEATURES))
    nothing = jnp.zeros((500, ENVS), bool)
    bonus, _ = jitted(start(), visited, visited, nothing, 0.1)
    for e in range(ENVS):
        rows = np.asarray(visited[:, e], np.float64)
        _, expected = np.linalg.slogdet(np.eye(FEATURES) + rows.T @ rows / 0.1)
        np.testing.assert_allclose(np.log1p(np.asarray(bonus[:, e], np.float64)).sum(), expected)


def features_of_length(length, steps, features):
    """Features in a plane that no axis is in, and now and then one at a right angle to it."""
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(features, features)))[0][:3]
    angle = rng.uniform(0, 2 * np.pi, steps)
    weights = np.stack([np.cos(angle), np.sin(angle), np.zeros(steps)], 1)
    weights[::997] = [0.0, 0.0, 1.0]
    return (length * weights @ axes).astype(np.float32)


def by_sherman_morrison(visited, ridge):
    """The same in float32, with C⁻¹ itself."""
    inverse, paid = (np.eye(visited.shape[-1]) / ridge).astype(np.float32), []
    for feature in visited:
        image = inverse @ feature
        paid.append(feature @ image)
        image = image / np.sqrt(1 + paid[-1])
        inverse = inverse - np.outer(image, image)
    return np.asarray(paid)


def test_over_long_episodes_float32_is_enough():
    """5,000 steps of features of length 100: the eigenvalues of C go from 0.1 to 2.5e7."""
    visited = features_of_length(100.0, 5000, 8)
    bonus, _ = jitted(
        start(1, 8), visited[:, None], visited[:, None], jnp.zeros((5000, 1), bool), 0.1
    )
    matrix, expected = 0.1 * np.eye(8), []
    for feature in visited.astype(np.float64):
        expected.append(feature @ np.linalg.solve(matrix, feature))
        matrix += np.outer(feature, feature)
    np.testing.assert_allclose(bonus[:, 0], expected, rtol=3e-2)
    with np.errstate(all="ignore"):
        naive = by_sherman_morrison(visited, 0.1)
    assert not np.allclose(naive, expected, rtol=10.0)  # what the root is there to prevent


@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_with_one_hot_features_it_is_one_over_the_visits_before_and_the_ridge(ridge):
    rng, places = np.random.default_rng(3), 5
    at = rng.integers(0, places, (2000, ENVS))
    visited = jax.nn.one_hot(at, places)
    nothing = jnp.zeros(at.shape, bool)
    run = jax.jit(partial(elliptical.episodic, ridge=ridge))
    bonus, _ = run(start(features=places, ridge=ridge), visited, visited, nothing)
    same = at[None] == at[:, None]  # [T, T before, E]
    before = np.asarray([same[t, :t].sum(0) for t in range(len(at))])
    np.testing.assert_allclose(bonus, 1 / (before + ridge), rtol=5e-5)


def test_a_row_of_zeros_is_paid_nothing_and_leaves_no_trace():
    visited = jax.random.normal(jax.random.key(0), (20, 1, 4)).at[7].set(0.0)
    nothing = jnp.zeros((20, 1), bool)
    bonus, root = jitted(start(1, 4), visited, visited, nothing, 0.1)
    kept = jnp.concatenate([visited[:7], visited[8:]])
    without, same = jitted(start(1, 4), kept, kept, nothing[1:], 0.1)
    assert bonus[7, 0] == 0
    np.testing.assert_allclose(np.delete(bonus, 7, 0), without, rtol=1e-6)
    np.testing.assert_allclose(root, same, atol=1e-6)

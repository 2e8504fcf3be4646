"""Deep sea against bsuite's rules written apart, and the chain against its arithmetic."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import InvalidSetting
from explorax.envs import Chain, DeepSea


class Oracle:
    """bsuite's deep sea, deterministic, as its paper and code describe it: one cell at a time."""

    def __init__(self, size: int, mapping_seed: int, randomize_actions: bool = True) -> None:
        self.size = size
        rng = np.random.RandomState(mapping_seed)
        self.mapping = (
            rng.binomial(1, 0.5, [size, size]) if randomize_actions else np.ones([size, size])
        )
        self.row = self.column = 0

    def observe(self) -> np.ndarray:
        grid = np.zeros((self.size, self.size), np.float32)
        if self.row < self.size:
            grid[self.row, self.column] = 1
        return grid

    def step(self, action: int) -> tuple[float, bool]:
        reward = 0.0
        if action == self.mapping[self.row, self.column]:
            if self.column == self.size - 1:
                reward += 1.0
            self.column = min(self.column + 1, self.size - 1)
            reward -= 0.01 / self.size
        else:
            self.column = max(self.column - 1, 0)
        self.row += 1
        return reward, self.row == self.size


def roll(task, key, actions):
    """Return (observations [T], rewards [T], terminated [T]) of one episode."""

    def one(state, inputs):
        action, key = inputs
        state, reward, terminated = task.step(state, key, action)
        return state, (task.observe(state), reward, terminated)

    keys = jax.random.split(key, len(actions))
    return jax.lax.scan(one, task.reset(key), (actions, keys))[1]


@pytest.mark.parametrize("randomize", [True, False])
@pytest.mark.parametrize("size", [2, 7, 10])
def test_deep_sea_is_bsuites(size, randomize):
    task = DeepSea(size, mapping_seed=3, randomize_actions=randomize)
    play = jax.jit(lambda actions: roll(task, jax.random.key(0), actions))
    rng = np.random.default_rng(0)
    first = task.observe(task.reset(jax.random.key(0)))
    np.testing.assert_array_equal(first, Oracle(size, 3).observe())
    for episode in range(30):
        oracle = Oracle(size, 3, randomize)
        greedy = episode % 2 == 0  # half of the episodes go mostly right, to reach the far corner
        actions, expected = [], []
        for _ in range(size):
            right = int(oracle.mapping[oracle.row, oracle.column])
            go_right = rng.random() < (0.95 if greedy else 0.5)
            actions.append(right if go_right else 1 - right)
            reward, end = oracle.step(actions[-1])
            expected.append((oracle.observe(), reward, end))
        observations, rewards, ends = play(jnp.asarray(actions))
        np.testing.assert_array_equal(observations, np.stack([row[0] for row in expected]))
        np.testing.assert_allclose(rewards, [row[1] for row in expected], rtol=1e-6)
        np.testing.assert_array_equal(ends, [row[2] for row in expected])


def test_just_one_of_all_action_sequences_finds_the_treasure():
    size = 8
    task = DeepSea(size)
    sequences = jnp.asarray(list(itertools.product([0, 1], repeat=size)))  # 2⁸, all
    play = jax.jit(jax.vmap(lambda actions: roll(task, jax.random.key(0), actions)[1].sum()))
    returns = np.asarray(play(sequences))
    # so a uniform policy finds it with probability 2⁻⁸
    assert (returns > 0.5).sum() == 1
    assert returns.max() == pytest.approx(0.99)
    assert (returns >= task.success_return).sum() == 1
    best = sequences[returns.argmax()]
    assert 0 < int(best.sum()) < size  # a constant action cannot cheat


def test_mapping_seed_changes_the_mapping():
    actions = jnp.asarray(np.random.default_rng(0).integers(0, 2, 20))
    first, again, other = (
        np.asarray(
            jax.jit(roll, static_argnums=0)(DeepSea(20, seed), jax.random.key(0), actions)[0]
        )
        for seed in (42, 42, 43)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_windy_deep_sea_fails_to_the_right_and_is_noisy_at_the_ends():
    size = 5
    task = DeepSea(size, randomize_actions=False, deterministic=False)
    play = jax.vmap(lambda key: roll(task, key, jnp.ones(size, jnp.int32)))
    many = jax.jit(lambda key: play(jax.random.split(key, 4000)))
    observations, rewards, _ = many(jax.random.key(0))
    columns = np.asarray(observations)[:, 0].sum(1).argmax(-1)  # after the first step
    assert np.mean(columns == 1) == pytest.approx(1 - 1 / size, abs=0.025)
    before = np.asarray(observations)[:, -2].sum(1).argmax(-1)  # the column in the last row
    last = np.asarray(rewards)[:, -1] + 0.01 / size
    assert last[before == size - 1].mean() == pytest.approx(1.0, abs=0.1)
    assert last[before == size - 1].std() == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(last[(before > 0) & (before < size - 1)], 0.0, atol=1e-6)
    assert task.success_return is None


def test_deep_sea_maps_points_to_cells():
    task = DeepSea(6)
    obs = task.observe(task.place(jnp.array([2.0, 4.0])))
    np.testing.assert_array_equal(task.view.project(obs), [2.0, 4.0])
    assert float(obs[4, 2]) == 1.0


def test_chain_pays_eleven_for_going_right_and_little_for_staying_left():
    task = Chain(10)
    play = jax.jit(lambda actions: roll(task, jax.random.key(0), actions))
    observations, rewards, ends = play(jnp.ones(task.max_episode_steps, jnp.int32))
    assert task.max_episode_steps == 19
    assert float(rewards.sum()) == pytest.approx(11.0)
    assert not ends.any()
    np.testing.assert_array_equal(
        np.asarray(observations)[:, 0].argmax(-1), np.minimum(np.arange(2, 21), 9)
    )
    _, rewards, _ = play(jnp.zeros(task.max_episode_steps, jnp.int32))
    assert float(rewards.sum()) == pytest.approx(0.018)  # one step to the end, then 18 loops


def test_staying_left_never_counts_as_success():
    with pytest.raises(InvalidSetting, match=r"length must be in 3 \.\. 900"):
        Chain(901)
    longest = Chain(900)
    assert 0.001 * longest.max_episode_steps < longest.success_return
    assert replace(longest, length=3).max_episode_steps == 12

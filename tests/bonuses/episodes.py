"""Rollouts whose episodes end at different times in different environments, and go on from one
rollout to the next; and slow loops over them."""

import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Discrete, Rollout, Spec

ENVS = 2


def spec_of(size, one_hot=False, envs=ENVS):
    box = Box((size,), -np.inf, np.inf, one_hot=(size,) if one_hot else None)
    return Spec(box, Discrete(3), envs)


def rollout_of(before, after, first, ended):
    """A rollout of observations [T, E, D]; what ends is truncated."""
    zeros = jnp.zeros(first.shape)
    return Rollout(
        jnp.asarray(before, jnp.float32),
        jnp.zeros(first.shape, jnp.int32),
        zeros,
        jnp.asarray(after, jnp.float32),
        jnp.zeros(first.shape, bool),
        jnp.asarray(ended),
        jnp.asarray(first),
        zeros,
    )


def rollouts(count, steps, draw, seed=0, ends=0.1, envs=ENVS):
    """`count` rollouts in a row; `draw(rng)` gives an observation [D]."""
    rng = np.random.default_rng(seed)
    now, ended = np.stack([draw(rng) for _ in range(envs)]), np.ones(envs, bool)
    for _ in range(count):
        rows = []
        for _ in range(steps):
            first, before = ended, now
            after = np.stack([draw(rng) for _ in range(envs)])
            ended = rng.random(envs) < ends
            fresh = np.stack([draw(rng) for _ in range(envs)])
            now = np.where(ended[:, None], fresh, after)
            rows.append((before, after, first, ended))
        yield rollout_of(*(np.stack(column) for column in zip(*rows, strict=True)))


def normal(size, scale=1.0):
    return lambda rng: scale * rng.normal(size=size).astype(np.float32)


def place(size):
    return lambda rng: np.eye(size, dtype=np.float32)[rng.integers(size)]


class Memories:
    """What the episode under way has shown in each environment, kept as lists."""

    def __init__(self, capacity=10**9, envs=ENVS):
        self.capacity, self.shown = capacity, [[] for _ in range(envs)]

    def steps(self, rollout):
        """Yield (t, e, observations so far, the successor) in time order."""
        leaves = (rollout.obs, rollout.next_obs, rollout.first)
        before, after, first = (np.asarray(leaf) for leaf in leaves)
        for t, e in np.ndindex(first.shape):
            if first[t, e]:
                self.shown[e] = []
            self.shown[e].append(before[t, e].astype(np.float64))
            yield t, e, np.stack(self.shown[e][-self.capacity :]), after[t, e].astype(np.float64)

    def visits(self, rollout):
        """N [T, E] of successors, this visit included."""
        counts = np.zeros(rollout.first.shape)
        for t, e, shown, after in self.steps(rollout):
            counts[t, e] = 1 + (shown == after).all(1).sum()
        return counts


class SlowKernel:
    """NGU's Algorithm 1 over features as they are, with one d_m² for all environments."""

    def __init__(self, k, capacity=10**9, epsilon=1e-3, cluster_distance=0.008, constant=1e-3):
        self.memories, self.k = Memories(capacity), k
        self.epsilon, self.xi, self.c = epsilon, cluster_distance, constant
        self.total, self.count = 0.0, 0

    def forget(self, keep):
        self.total, self.count = self.total * keep, self.count * keep

    def novelty(self, rollout):
        """1/s [T, E]."""
        found = np.empty(rollout.first.shape, object)
        for t, e, shown, after in self.memories.steps(rollout):
            found[t, e] = np.sort(np.square(shown - after).sum(1))[: self.k]
        paid = np.zeros(rollout.first.shape)
        for t, row in enumerate(found):
            self.total += sum(squared.sum() for squared in row)
            self.count += sum(len(squared) for squared in row)
            mean = self.total / self.count
            for e, squared in enumerate(row):
                far = np.maximum(squared / mean - self.xi, 0.0)
                similarity = np.sqrt((self.epsilon / (far + self.epsilon)).sum()) + self.c
                paid[t, e] = 0.0 if similarity > 8.0 else 1 / similarity
        return paid

"""A row of coins, one of them the best: exploration and nothing else."""

from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import require
from explorax.core.protocols import Box, Discrete, Key
from explorax.core.pytree import pytree
from explorax.core.settings import check_types


@pytree
class BanditState:
    arm: jax.Array  # int32 [], the one pulled; −1 before the pull
    paid: jax.Array  # bool []


@lru_cache
def _probabilities(arms: int, best: float, gap: float, instance_seed: int) -> tuple[float, ...]:
    if instance_seed == 0:
        return (best - gap,) * (arms - 1) + (best,)
    drawn = np.random.RandomState(instance_seed).uniform(size=arms)
    return tuple(float(p) for p in drawn)


@dataclass(frozen=True)
class BernoulliBandit:
    """Pull one of K arms: arm a pays 1 with probability p_a, else 0. One pull is an episode.

    The task of Lai & Robbins 1985 and Auer et al. 2002: what is best must be found by trying, and
    every try of another arm costs p* − p_a (`ops.bandits.regret`). The last arm is the best one,
    so that whoever takes the first of equal arms gains nothing by it. Each pull ends the episode,
    so the value of an arm is its mean reward under any discount, and the mean return is the reward
    per pull. The observation is always the same, [1, 1].
    """

    arms: int
    best: float = 0.6  # p*, of the last arm
    gap: float = 0.1  # p* − p_a of all others
    instance_seed: int = 0  # 0: `best` and `gap`; any other number draws all p_a from U(0, 1)

    obs = Box((1, 1), low=0.0, high=1.0, one_hot=(1,))
    max_episode_steps = 1
    success_return = None  # chance decides what one pull returns
    view = None

    def __post_init__(self) -> None:
        check_types(self)
        require(self.arms >= 2, self, "arms", "at least 2")
        require(0 < self.best <= 1, self, "best", "a probability above 0")
        require(0 < self.gap <= self.best, self, "gap", f"above 0 and at most best={self.best!r}")
        require(0 <= self.instance_seed < 2**32, self, "instance_seed", "in 0 .. 2³² − 1")

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The p_a."""
        return _probabilities(self.arms, self.best, self.gap, self.instance_seed)

    @property
    def action(self) -> Discrete:
        return Discrete(self.arms)

    def reset(self, key: Key) -> BanditState:
        return BanditState(jnp.int32(-1), jnp.bool_(False))

    def observe(self, state: BanditState) -> jax.Array:
        return jnp.ones((1, 1))

    def step(
        self, state: BanditState, key: Key, action: jax.Array
    ) -> tuple[BanditState, jax.Array, jax.Array]:
        chance = jnp.asarray(self.probabilities, jnp.float32)[action]
        paid = jax.random.bernoulli(key, chance)
        after = BanditState(action.astype(jnp.int32), paid)
        return after, paid.astype(jnp.float32), jnp.bool_(True)

    def draw(self, state: BanditState) -> np.ndarray:
        from explorax.envs.drawing import draw_columns

        pulled = int(state.arm) if state.arm >= 0 else None
        return draw_columns(self.probabilities, pulled, bool(state.paid))

    def place(self, point: jax.Array) -> BanditState:
        arm = jnp.clip(jnp.floor(point[0]), -1, self.arms - 1)
        return BanditState(arm.astype(jnp.int32), jnp.bool_(False))

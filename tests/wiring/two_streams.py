"""A world and a bonus that pay amounts of two streams: the same programs, whoever pays which.

What is paid is part of the state and not of the settings, so that one compiled program serves for
reward with bonus, for their sum, and for the streams exchanged: nothing can be rounded otherwise.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from explorax import loop
from explorax.core.protocols import Box, Discrete, Spec
from explorax.core.pytree import pytree, replace
from explorax.envs.task import Batched

TERMINAL = 2.5  # how far from the middle an episode ends


@pytree
class WalkState:
    x: Any  # float32 [], where it is
    moved: Any  # float32 [], how far the last step went


@dataclass(frozen=True)
class Walk:
    """Left and right with some noise: ends far from the middle, or after six steps.

    `codes`: observations are one-hot, of the four parts of the line, as a table needs them.
    """

    continuous: bool = False
    codes: bool = False

    max_episode_steps = 6
    success_return = None
    view = None

    @property
    def obs(self) -> Box:
        return Box((1, 4), 0.0, 1.0, one_hot=(4,)) if self.codes else Box((2,), -4.0, 4.0)

    @property
    def action(self) -> Discrete | Box:
        return Box((1,)) if self.continuous else Discrete(2)

    def reset(self, key: Any) -> WalkState:
        return WalkState(jax.random.uniform(key, (), minval=-1.0), jnp.float32(0))

    def observe(self, state: WalkState) -> jax.Array:
        if self.codes:
            part = jnp.digitize(state.x, jnp.asarray([-1.0, 0.0, 1.0]))
            return (jnp.arange(4) == part)[None].astype(jnp.float32)
        return jnp.stack([state.x, state.moved])

    def place(self, point: jax.Array) -> WalkState:
        return WalkState(point[0], jnp.float32(0))

    def draw(self, state: WalkState) -> Any:
        raise NotImplementedError

    def step(self, state: WalkState, key: Any, action: jax.Array) -> Any:
        way = (
            jnp.clip(action[0], -1.0, 1.0) if self.continuous else jnp.where(action > 0, 1.0, -1.0)
        )
        moved = 0.75 * way + 0.25 * jax.random.normal(key)
        x = jnp.clip(state.x + moved, -4.0, 4.0)
        return WalkState(x, moved), jnp.float32(0), jnp.abs(x) > TERMINAL


def streams(obs: jax.Array, like: jax.Array) -> jax.Array:
    """Return two numbers above 0 [*like.shape, 2] of each observation [*like.shape, ...].

    Above 0, so that the sign of their sum, which reward prediction learns to tell, is that of each.
    """
    flat = obs.reshape(*like.shape, -1)
    return jnp.stack([1.5 + 0.25 * flat[..., 0], 0.5 + jnp.abs(flat[..., -1])], axis=-1)


def paid(amounts: jax.Array, obs: jax.Array, like: jax.Array) -> jax.Array:
    """Return the sum of `amounts` [2] of both streams [*like.shape].

    Amounts are 0 and powers of 2, so that each product is exact and only the sum is rounded.
    """
    each = streams(obs, like)
    return amounts[0] * each[..., 0] + amounts[1] * each[..., 1]


@pytree
class PayingState:
    walk: Any
    amounts: Any  # float32 [2]


@dataclass(frozen=True)
class Paying:
    """The walk that pays amounts of both streams."""

    walk: Batched
    traceable: bool = True

    @property
    def spec(self) -> Spec:
        return self.walk.spec

    def reset(self, key: Any) -> Any:
        walk, obs = self.walk.reset(key)
        return PayingState(walk, jnp.zeros(2)), obs

    @partial(jax.jit, static_argnums=0)
    def step(self, state: PayingState, key: Any, action: Any) -> Any:
        walk, out = self.walk.step(state.walk, key, action)
        reward = paid(state.amounts, out.next_obs, out.reward)
        return replace(state, walk=walk), replace(out, reward=reward)

    def draw(self, state: Any, index: int = 0) -> Any:
        raise NotImplementedError


@pytree
class Amounts:
    live: Any  # float32 [2], of `score`
    again: Any  # float32 [2], of `rescore`; NaN: old rows keep what they were paid


@dataclass(frozen=True)
class PaysStreams:
    """The bonus that pays amounts of both streams: new rows one, old rows another."""

    replayable = True

    def init(self, key: Any, spec: Spec) -> Amounts:
        return Amounts(jnp.zeros(2), jnp.zeros(2))

    def score(self, state: Amounts, key: Any, rollout: Any) -> Any:
        return paid(state.live, rollout.next_obs, rollout.reward), state

    def update(self, state: Amounts, key: Any, rollout: Any) -> Any:
        return state, {}

    def rescore(self, state: Amounts, key: Any, rows: Any) -> Any:
        again = paid(state.again, rows.next_obs, rows.reward)
        return jnp.where(jnp.isnan(state.again).any(), rows.bonus, again)


@dataclass(frozen=True)
class Pay:
    """Who pays how much of the two streams."""

    reward: tuple[float, float]
    live: tuple[float, float] = (0.0, 0.0)  # the bonus of new rows
    again: tuple[float, float] = (math.nan, math.nan)  # of replayed rows; NaN: the same

    def given_to(self, training: loop.Training) -> loop.Training:
        bonus = Amounts(jnp.asarray(self.live), jnp.asarray(self.again))
        env = replace(training.actor.env, amounts=jnp.asarray(self.reward))
        return replace(
            training,
            learner=replace(training.learner, bonus=bonus),
            actor=replace(training.actor, env=env),
        )


@dataclass(frozen=True)
class Passing:
    """An agent that hands everything on to another."""

    agent: Any

    @property
    def rollout_length(self) -> int:
        return self.agent.rollout_length

    def init(self, key: Any, spec: Any) -> Any:
        return self.agent.init(key, spec)

    def carry(self, spec: Any) -> Any:
        return self.agent.carry(spec)

    def act(self, state: Any, carry: Any, key: Any, percept: Any, *, greedy: bool = False) -> Any:
        return self.agent.act(state, carry, key, percept, greedy=greedy)

    def learn(self, state: Any, key: Any, rollout: Any, rescore: Any) -> Any:
        return self.agent.learn(state, key, rollout, rescore)


@lru_cache(maxsize=2)  # each holds tens of megabytes
def programs(env: Any, agent: Any, iterations: int) -> tuple[Any, Any]:
    """Return (start, chunk on the device), compiled."""
    bonus = PaysStreams()
    start = jax.jit(partial(loop.start, env, agent, bonus))
    return start, jax.jit(partial(loop.chunk_on_device, env, agent, bonus, iterations))


def numbers(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their paths, keys of random numbers as numbers."""

    def plain(leaf: Any) -> Any:
        random = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if random else leaf

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): plain(leaf) for path, leaf in leaves}


def setting(part: Any, name: str) -> Any:
    """Return the value of a setting of an agent or of a part of it; None where nobody has it."""
    if hasattr(part, name):
        return getattr(part, name)
    inner = (getattr(part, each.name) for each in dataclasses.fields(part))
    return next((setting(each, name) for each in inner if dataclasses.is_dataclass(each)), None)


def has(part: Any, name: str) -> bool:
    """Return whether an agent, or a part of it, has a setting of that name."""
    inner = (getattr(part, each.name) for each in dataclasses.fields(part))
    return name in {each.name for each in dataclasses.fields(part)} or any(
        has(each, name) for each in inner if dataclasses.is_dataclass(each)
    )


def changed(part: Any, **settings: Any) -> Any:
    """Return the agent with these settings, wherever in it they are."""
    own = {each.name for each in dataclasses.fields(part)}
    if settings.keys() <= own:
        return dataclasses.replace(part, **settings)
    for name in own:
        inner = getattr(part, name)
        if dataclasses.is_dataclass(inner) and all(has(inner, each) for each in settings):
            return dataclasses.replace(part, **{name: changed(inner, **settings)})
    raise LookupError(f"{part} has no settings {[*settings]}")

"""A walk to step by hand, and bonuses in closed form, for the tests of the adapters."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

LENGTH, LIMIT = 6, 9
KINDS = ("discrete", "box", "dict", "tuple", "image")


class Walk(gymnasium.Env):
    """Places 0 .. 5; action 1 goes right, 0 left; the last place ends the task, 9 steps the time.

    It begins at 0, 1 or 2. `shown` is how a place is observed.
    """

    def __init__(self, shown: str = "discrete", extra: bool = False) -> None:
        self.shown, self.extra = shown, extra
        number, flag = spaces.Discrete(LENGTH), spaces.Box(0.0, 1.0, (2,))
        self.observation_space: Any = {
            "discrete": number,
            "box": spaces.Box(0.0, float(LENGTH), (1,)),
            "dict": spaces.Dict({"place": number, "left": flag}),
            "tuple": spaces.Tuple((flag, number)),
            "image": spaces.Box(0, 255, (8, 8, 1), np.uint8),
        }[shown]
        self.action_space = spaces.Discrete(2)
        self.place, self.steps = 0, 0

    def seen(self) -> Any:
        flag = np.array([self.place / 8, 1.0], np.float32)
        if self.shown == "box":
            return np.array([self.place], np.float32)
        if self.shown == "dict":
            return {"place": self.place, "left": flag}
        if self.shown == "tuple":
            return (flag, self.place)
        if self.shown == "image":
            return np.full((8, 8, 1), self.place, np.uint8)
        return self.place

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = int(self.np_random.integers(3)), 0
        return self.seen(), {}

    def step(self, action):
        self.place = max(self.place + (1 if action == 1 else -1), 0)
        self.steps += 1
        arrived, late = self.place == LENGTH - 1, self.steps == LIMIT
        reward = float(arrived) + (paid(self.place) if self.extra else 0.0)
        return self.seen(), reward, arrived, late, {"steps": self.steps}


def paid(place):
    """Return what `PaysPlace` pays, exact in every kind of float."""
    return (place / 4) ** 2


def vector(envs, mode="SAME_STEP", **settings):
    """Return `envs` walks side by side."""
    makers = [partial(Walk, **settings)] * envs
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode[mode])


def step_of(env, actions):
    """Return what `env.step` does, resetting by hand where that is the mode."""
    out = env.step(actions)
    done = out[2] | out[3]
    if env.unwrapped.autoreset_mode is AutoresetMode.DISABLED and done.any():
        env.reset(options={"reset_mask": done})
    return out


def place_of(obs, like):
    """Return the places [*like.shape] that one-hot codes or numbers [*like.shape, ...] show."""
    flat = obs.reshape(*like.shape, -1)
    if flat.shape[-1] not in (LENGTH, LENGTH + 2):
        return flat[..., 0].astype(jnp.float32)
    return jnp.argmax(flat[..., -LENGTH:], -1).astype(jnp.float32)  # the code stands last


@dataclass(frozen=True)
class PaysPlace:
    """Pays (s' / 4)², the same at any time, and remembers all that it was taught."""

    replayable = True

    def init(self, key, spec):
        return {
            name: jnp.float32(0)
            for name in ("rows", "obs", "next_obs", "reward", "bonus", "terminated", "truncated")
        } | {"first": jnp.float32(0), "updates": jnp.float32(0), "scored": jnp.float32(0)}

    def score(self, state, key, rollout):
        scored = state["scored"] + rollout.reward.size
        return jnp.square(place_of(rollout.next_obs, rollout.reward) / 4), {
            **state,
            "scored": scored,
        }

    def update(self, state, key, rollout):
        told = {
            "rows": jnp.ones_like(rollout.reward),
            "obs": place_of(rollout.obs, rollout.reward),
            "next_obs": place_of(rollout.next_obs, rollout.reward),
            "updates": jnp.ones(()),
        }
        for name in ("reward", "bonus", "terminated", "truncated", "first"):
            told[name] = getattr(rollout, name).astype(jnp.float32)
        after = {**state, **{name: state[name] + told[name].sum() for name in told}}
        return after, after

    def rescore(self, state, key, rows):
        return jnp.square(place_of(rows.next_obs, rows.reward) / 4)


@dataclass(frozen=True)
class PaysUpdates:
    """Pays how often it has learned."""

    replayable = False

    def init(self, key, spec):
        return jnp.float32(0)

    def score(self, state, key, rollout):
        return jnp.full(rollout.reward.shape, state), state

    def update(self, state, key, rollout):
        return state + 1, {"rows": jnp.float32(rollout.reward.size)}

    def rescore(self, state, key, rows):
        return rows.bonus


@dataclass(frozen=True)
class PaysNoise:
    """Pays noise times a noise that it drew when it last learned."""

    replayable = False

    def init(self, key, spec):
        return jax.random.normal(key)

    def score(self, state, key, rollout):
        return state * jax.random.uniform(key, rollout.reward.shape), state

    def update(self, state, key, rollout):
        return jax.random.uniform(key), {"drawn": state}

    def rescore(self, state, key, rows):
        return rows.bonus


@dataclass(frozen=True)
class PaysOne:
    """Pays 1."""

    replayable = True

    def init(self, key, spec):
        return ()

    def score(self, state, key, rollout):
        return jnp.ones_like(rollout.reward), state

    def update(self, state, key, rollout):
        return state, {}

    def rescore(self, state, key, rows):
        return jnp.ones_like(rows.reward)


def by_hand(envs, mode, steps, actions, seed):
    """Return what happens to `envs` walks that are stepped one by one.

    A list, for each step and environment, of None where the step only resets, else (begins, place,
    successor, reward, terminated, truncated).
    """
    walks, told = [Walk() for _ in range(envs)], []
    places = [walk.reset(seed=seed + index)[0] for index, walk in enumerate(walks)]
    begins, over = [True] * envs, [False] * envs
    for t in range(steps):
        row: list[Any] = []
        for index, walk in enumerate(walks):
            if over[index]:
                places[index], begins[index], over[index] = walk.reset()[0], True, False
                row.append(None)
                continue
            after, reward, terminated, truncated, _ = walk.step(actions[t][index])
            truncated = truncated and not terminated
            row.append((begins[index], places[index], after, reward, terminated, truncated))
            places[index], begins[index] = after, False
            if terminated or truncated:
                over[index] = mode == "NEXT_STEP"
                if not over[index]:
                    places[index], begins[index] = walk.reset()[0], True
        told.append(row)
    return told


def told_of(facts, at_once):
    """Return what PaysPlace says when it has learned from `facts` by hand, so many at once."""
    learned = facts[: len(facts) // at_once * at_once]
    begins, before, after, reward, arrived, late = (
        np.array(column, float) for column in zip(*learned, strict=True)
    )
    return {
        "rows": len(learned),
        "updates": len(learned) / at_once,
        "obs": before.sum(),
        "next_obs": after.sum(),
        "reward": reward.sum(),
        "bonus": sum(paid(place) for place in after),
        "terminated": arrived.sum(),
        "truncated": late.sum(),
        "first": begins.sum(),
    }

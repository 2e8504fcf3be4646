"""A task, a bonus and an agent that keep their protocols, for tests to break."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Box, Discrete, View


@dataclass(frozen=True)
class Ring:
    """Walks on a circle of a given radius: position (cos, sin), and how many steps were taken."""

    action = Discrete(2)
    max_episode_steps = 10
    success_return = None
    obs = Box((3,), low=(-1.0, -1.0, 0.0), high=(1.0, 1.0, 10.0))
    view = View(
        ("angle (rad)", "steps"),
        (-np.pi, 0.0),
        (np.pi, 10.0),
        bins=(8, 10),
        dims=((0, 1), 2),
        periodic=(True, False),
    )

    def reset(self, key):
        return {"angle": jax.random.uniform(key), "steps": jnp.float32(0)}

    def observe(self, state):
        angle = state["angle"]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), state["steps"]])

    def step(self, state, key, action):
        turn = jnp.where(action == 1, 0.3, -0.3)
        after = {"angle": state["angle"] + turn, "steps": state["steps"] + 1.0}
        return after, jnp.float32(0), jnp.bool_(False)

    def draw(self, state):
        return np.zeros((8, 8, 3), np.uint8)

    def place(self, point):
        return {"angle": point[0], "steps": point[1]}


@dataclass(frozen=True)
class Line:
    """Pays by a linear model's error, |s' − s W|, and fits it: the simplest bonus that learns."""

    rate: float = 0.1
    replayable = True

    def init(self, key, spec):
        size = int(np.prod(spec.obs.shape))
        return {"weights": jnp.zeros((size, size)), "seen": jnp.float32(0)}

    def error(self, weights, rows):
        before, after = (
            each.reshape(rows.reward.size, -1).astype(jnp.float32)
            for each in (rows.obs, rows.next_obs)
        )
        return jnp.square(after - before @ weights).mean(-1).reshape(rows.reward.shape)

    def fitted(self, weights, rollout):
        slope = jax.grad(lambda weights: self.error(weights, rollout).mean())(weights)
        return weights - self.rate * slope

    def score(self, state, key, rollout):
        seen = state["seen"] + rollout.reward.size
        return self.error(state["weights"], rollout), {**state, "seen": seen}

    def update(self, state, key, rollout):
        after = {**state, "weights": self.fitted(state["weights"], rollout)}
        return after, {"seen": state["seen"]}

    def rescore(self, state, key, rows):
        return self.error(state["weights"], rows)


@dataclass(frozen=True)
class Drawer:
    """Acts by the same probabilities everywhere, and remembers how long."""

    rollout_length: int = 4

    def init(self, key, spec):
        if not isinstance(spec.action, Discrete):
            from explorax.core.errors import Incompatible

            raise Incompatible("Drawer acts in Discrete alone.")
        return {"logits": jnp.zeros(spec.action.n)}

    def carry(self, spec):
        return jnp.zeros((spec.num_envs, 1))

    def act(self, state, carry, key, percept, *, greedy=False):
        lead = percept.reward.shape
        action = jax.random.categorical(key, state["logits"], shape=lead).astype(jnp.int32)
        return action, carry + 1.0, {"steps": carry[:, 0]}

    def learn(self, state, key, rollout, rescore):
        return state, {"reward": rollout.reward.mean()}

"""The smallest task, agent and bonus with everything a run must carry along."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import BadEnvironmentData
from explorax.core.protocols import Box, Discrete, Percept, Rollout, Spec, Step, View
from explorax.core.pytree import pytree, replace


@dataclass(frozen=True)
class Walk:
    """A walk on [-1, 1]² by quarter steps; 1 at the right edge, where it ends."""

    max_episode_steps: int | None = 12
    success_return: float | None = 1.0

    @property
    def obs(self) -> Box:
        return Box((2,))

    @property
    def action(self) -> Discrete:
        return Discrete(4)

    @property
    def view(self) -> View:
        return View(("x (m)", "y (m)"), (-1.0, -1.0), (1.0, 1.0), bins=(4, 3))

    def reset(self, key: Any) -> jax.Array:
        return jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5)

    def observe(self, state: Any) -> jax.Array:
        return state

    def step(self, state: Any, key: Any, action: Any) -> Any:
        moves = jnp.asarray([[0.25, 0.0], [-0.25, 0.0], [0.0, 0.25], [0.0, -0.25]])
        after = jnp.clip(state + moves[action], -1.0, 1.0)
        won = after[0] >= 1.0
        return after, won.astype(jnp.float32), won

    def draw(self, state: Any) -> np.ndarray:
        frame = np.full((30, 40, 3), 255, np.uint8)
        x, y = ((np.asarray(state) + 1) / 2 * [36, 26]).astype(int)
        frame[y : y + 4, x : x + 4] = [0, 90, 180]
        return frame

    def place(self, point: jax.Array) -> jax.Array:
        return point


@pytree
class Policy:
    weights: Any
    rows: Any  # a memory of the last rewards, so that the state is more than parameters
    noise: Any  # a typed key, which a checkpoint must carry too
    nothing: Any  # an array without elements, likewise


@dataclass(frozen=True)
class Wanderer:
    """A linear softmax policy that climbs reward + bonus, badly but not trivially."""

    rate: float = 0.05
    rollout_length: int = 5

    hands_on = ("weights",)

    def init(self, key: Any, spec: Spec) -> Policy:
        assert isinstance(spec.action, Discrete)
        key_weights, noise = jax.random.split(key)
        weights = 0.1 * jax.random.normal(key_weights, (*spec.obs.shape, spec.action.n))
        return Policy(weights, jnp.zeros(8), noise, jnp.zeros((0, 3)))

    def carry(self, spec: Spec) -> Any:
        return ()

    def act(
        self, state: Policy, carry: Any, key: Any, percept: Percept, *, greedy: bool = False
    ) -> Any:
        logits = percept.obs @ state.weights
        action = jnp.argmax(logits, -1) if greedy else jax.random.categorical(key, logits)
        return action.astype(jnp.int32), carry, {}

    def learn(self, state: Policy, key: Any, rollout: Rollout, rescore: Any) -> Any:
        paid = rollout.reward + rollout.bonus

        def gain(weights: jax.Array) -> jax.Array:
            log_prob = jax.nn.log_softmax(rollout.obs @ weights)
            chosen = jnp.take_along_axis(log_prob, rollout.action[..., None], -1)[..., 0]
            return (chosen * paid).mean()

        noise = jax.random.fold_in(state.noise, 1)
        step = jax.grad(gain)(state.weights) + 0.01 * jax.random.normal(noise, state.weights.shape)
        rows = jnp.roll(state.rows, 1).at[0].set(rollout.reward.mean())
        weights = state.weights + self.rate * step
        return replace(state, weights=weights, rows=rows, noise=noise), {
            "norm": jnp.sqrt((weights**2).sum())
        }


@dataclass(frozen=True)
class Novelty:
    """Pays the squared distance to the mean of what was seen."""

    scale: float = 0.1

    @property
    def replayable(self) -> bool:
        return True

    def init(self, key: Any, spec: Spec) -> Any:
        return jnp.zeros(spec.obs.shape)

    def score(self, state: Any, key: Any, rollout: Rollout) -> Any:
        return self.rescore(state, key, rollout), state

    def update(self, state: Any, key: Any, rollout: Rollout) -> Any:
        mean = 0.9 * state + 0.1 * rollout.next_obs.mean((0, 1))
        return mean, {"mean_x": mean[0]}

    def rescore(self, state: Any, key: Any, rows: Rollout) -> jax.Array:
        mean = state.reshape((1,) * (rows.next_obs.ndim - 1) + state.shape)
        return self.scale * ((rows.next_obs - mean) ** 2).sum(-1)


@dataclass(frozen=True)
class Burst:
    """Pays infinity in the iteration `at`, counted from 0, and only then."""

    at: int

    @property
    def replayable(self) -> bool:
        return False

    def init(self, key: Any, spec: Spec) -> Any:
        return jnp.int32(0)

    def score(self, state: Any, key: Any, rollout: Rollout) -> Any:
        return jnp.full_like(rollout.reward, jnp.where(state == self.at, jnp.inf, 0.1)), state

    def update(self, state: Any, key: Any, rollout: Rollout) -> Any:
        return state + 1, {"updates": state.astype(jnp.float32)}

    def rescore(self, state: Any, key: Any, rows: Rollout) -> jax.Array:
        return rows.bonus


@dataclass(frozen=True)
class Stumbler(Wanderer):
    """Says nothing in its warm-up; in the iteration `at` its numbers stop being numbers.

    `what`: "loss", NaN with the weights; "weights", which the loss does not show; "metric", an
    infinite loss that the weights do not show.
    """

    at: int = -1
    what: str = "loss"
    warmup: int = 3  # iterations

    def learn(self, state: Policy, key: Any, rollout: Rollout, rescore: Any) -> Any:
        iteration = state.rows[-1]  # counted where the memory of rewards would be
        state, metrics = super().learn(state, key, rollout, rescore)
        rows = state.rows.at[-1].set(iteration + 1)
        now = iteration == self.at
        weights = jnp.where(now & (self.what != "metric"), jnp.nan, state.weights)
        loss = {"loss": jnp.nan, "weights": 0.5, "metric": jnp.inf}[self.what]
        told = {"actor": metrics["norm"], "loss": jnp.where(now, loss, 0.5)}
        told = {n: jnp.where(iteration < self.warmup, jnp.nan, v) for n, v in told.items()}
        return replace(state, weights=weights, rows=rows), told


@dataclass(frozen=True)
class HostWalk:
    """Walk stepped from Python, its state hidden from JAX; breaks after `breaks_at` steps."""

    num_envs: int
    breaks_at: int | None = None

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        task = Walk()
        return Spec(task.obs, task.action, self.num_envs, 12, 1.0, task.view)

    def reset(self, key: Any) -> Any:
        seed = int(jax.random.randint(key, (), 0, 2**30))
        generator = np.random.default_rng(seed)
        place = generator.uniform(-0.5, 0.5, (self.num_envs, 2)).astype(np.float32)
        live = {"generator": generator, "place": place, "steps": np.zeros(self.num_envs, int)}
        return live, jnp.asarray(place)

    def step(self, state: Any, key: Any, action: Any) -> Any:
        moves = np.array([[0.25, 0], [-0.25, 0], [0, 0.25], [0, -0.25]], np.float32)
        after = np.clip(state["place"] + moves[action], -1, 1)
        state["steps"] += 1
        state["total"] = state.get("total", 0) + 1
        if self.breaks_at is not None and state["total"] > self.breaks_at:
            raise BadEnvironmentData("HostWalk: reward is NaN.")
        won = after[:, 0] >= 1
        over = ~won & (state["steps"] >= 12)
        fresh = state["generator"].uniform(-0.5, 0.5, after.shape).astype(np.float32)
        state["place"] = np.where((won | over)[:, None], fresh, after)
        state["steps"] = np.where(won | over, 0, state["steps"])
        return state, Step(
            obs=jnp.asarray(state["place"]),
            next_obs=jnp.asarray(after),
            reward=jnp.asarray(won, jnp.float32),
            terminated=jnp.asarray(won),
            truncated=jnp.asarray(over),
        )

    def draw(self, state: Any, index: int = 0) -> np.ndarray:
        return Walk().draw(state["place"][index])


@dataclass(frozen=True)
class PlainWalk(HostWalk):
    """HostWalk seen as three numbers, without a view."""

    @property
    def spec(self) -> Spec:
        return replace(super().spec, obs=Box((3,)), view=None)

    def reset(self, key: Any) -> Any:
        state, obs = super().reset(key)
        return state, _three(obs)

    def step(self, state: Any, key: Any, action: Any) -> Any:
        state, out = super().step(state, key, action)
        return state, replace(out, obs=_three(out.obs), next_obs=_three(out.next_obs))


def _three(obs: jax.Array) -> jax.Array:
    return jnp.concatenate([obs, obs[:, :1] - obs[:, 1:]], axis=1)

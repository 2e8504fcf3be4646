"""A task is one environment written in JAX; `Batched` puts E of them side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from explorax.core.errors import require
from explorax.core.leaves import is_key
from explorax.core.protocols import Box, Discrete, Key, Spec, State, Step, View
from explorax.core.pytree import pytree


class Task(Protocol):
    """One environment, without batch axis, time limit or reset of its own.

    A frozen dataclass whose fields are its settings; `reset`, `observe` and `step` are pure and can
    be traced.

    Optional, for the picture of paths that a run ends with (`run.paths`) where there are a view and
    two continuous actions: `field(position [..., 2]) -> [...]`, what the reward says of places of
    the view, NaN where nobody can be, makes the picture. `looks_at`, a tuple of places, says where
    the actions are looked at; `goals`, a tuple of places, what is marked as one;
    `goals_reached(obs [N, ...])` how many of them episodes that ended there found.

    Optional: `costly = True` where `reset` or `observe` take long, as drawing mazes and frames do:
    they run for new episodes only in steps in which one begins. `where(state) -> [2]` is the point
    of the view, and is needed where that is hidden.
    """

    @property
    def obs(self) -> Box: ...
    @property
    def action(self) -> Discrete | Box: ...
    @property
    def max_episode_steps(self) -> int | None: ...
    @property
    def success_return(self) -> float | None: ...
    @property
    def view(self) -> View | None: ...

    def reset(self, key: Key) -> State: ...
    def observe(self, state: State) -> jax.Array: ...
    def step(self, state: State, key: Key, action: Any) -> tuple[State, jax.Array, jax.Array]:
        """Return (state, reward [], terminated [])."""
        ...

    def draw(self, state: State) -> np.ndarray:
        """Return an RGB frame, uint8 [H, W, 3]. Plain NumPy and pillow, not traced."""
        ...

    def place(self, point: jax.Array) -> State:
        """Return a state at `point` [2] of the view, the other coordinates at rest."""
        ...


# What a task can do without: pictures, and maps of the bonus.
OPTIONAL = ("draw", "place")


@pytree
class BatchState:
    task: Any  # leaves [E, ...]
    steps: jax.Array  # int32 [E], steps taken in this episode


def when_any(change: Callable[..., Any], done: jax.Array, keys: jax.Array, same: Any) -> Any:
    """Return `change(done, keys, same)`, leaves [E, ...], or `same` where none of `done` [E] holds.

    Under vmap, E times the number of seeds are asked together: a condition of each seed's own would
    become a choice between two results, both of them computed.
    """

    @custom_vmap
    def run(done: Any, keys: Any, same: Any) -> Any:
        return jax.lax.cond(done.any(), change, lambda done, keys, same: same, done, keys, same)

    @run.def_vmap
    def side_by_side(seeds: int, is_batched: Any, *arguments: Any) -> Any:
        def merge(leaf: jax.Array, has_seeds: bool) -> jax.Array:
            if not has_seeds:
                leaf = jnp.broadcast_to(leaf, (seeds, *leaf.shape))
            return leaf.reshape(seeds * leaf.shape[1], *leaf.shape[2:])

        merged = run(*jax.tree.map(merge, arguments, tuple(is_batched)))
        changed = jax.tree.map(
            lambda leaf: leaf.reshape(seeds, leaf.shape[0] // seeds, *leaf.shape[1:]), merged
        )
        return changed, jax.tree.map(lambda leaf: True, changed)

    return run(done, keys, same)


@dataclass(frozen=True)
class Batched:
    """E copies of a task that reset themselves in the step that ends an episode."""

    task: Task
    num_envs: int

    def __post_init__(self) -> None:
        require(self.num_envs >= 1, self, "num_envs", "at least 1")

    @property
    def traceable(self) -> bool:
        return True

    @property
    def spec(self) -> Spec:
        task = self.task
        return Spec(
            obs=task.obs,
            action=task.action,
            num_envs=self.num_envs,
            max_episode_steps=task.max_episode_steps,
            success_return=task.success_return,
            view=task.view,
        )

    def reset(self, key: Key) -> tuple[BatchState, jax.Array]:
        state = jax.vmap(self.task.reset)(jax.random.split(key, self.num_envs))
        obs = jax.vmap(self.task.observe)(state)
        return BatchState(state, jnp.zeros(self.num_envs, jnp.int32)), obs

    def step(self, state: BatchState, key: Key, action: Any) -> tuple[BatchState, Step]:
        # keys that a task does not draw from cost nothing: the compiler drops them
        key_step, key_reset = jax.random.split(key)
        after, reward, terminated = jax.vmap(self.task.step)(
            state.task, jax.random.split(key_step, self.num_envs), action
        )
        next_obs = jax.vmap(self.task.observe)(after)
        steps = state.steps + 1
        limit = self.task.max_episode_steps
        out_of_time = steps >= limit if limit is not None else jnp.zeros_like(terminated)
        truncated = out_of_time & ~terminated
        done = terminated | truncated

        keys, same = jax.random.split(key_reset, self.num_envs), (after, next_obs)
        costly = getattr(self.task, "costly", False)
        task_state, obs = (
            when_any(self._begun_anew, done, keys, same)
            if costly
            else self._begun_anew(done, keys, same)
        )
        return BatchState(task_state, jnp.where(done, 0, steps)), Step(
            obs=obs,
            next_obs=next_obs,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            place=self._places(after),
        )

    def _begun_anew(self, done: jax.Array, keys: jax.Array, same: Any) -> Any:
        """Return (state, obs) [E, ...]: new ones where `done`, else the same."""
        fresh = jax.vmap(self.task.reset)(keys)

        def where_done(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(done.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(where_done, (fresh, jax.vmap(self.task.observe)(fresh)), same)

    def _places(self, state: State) -> Any:
        """Return where the environments are on the view, float32 [E, 2], if it is hidden."""
        task: Any = self.task
        hidden = task.view is not None and task.view.hidden
        return jax.vmap(task.where)(state) if hidden else ()

    def draw(self, state: BatchState, index: int = 0) -> np.ndarray:

        def one(leaf: Any) -> Any:
            return leaf[index] if is_key(leaf) else np.asarray(leaf[index])

        return self.task.draw(jax.tree.map(one, state.task))

"""A noisy television: a part of what is seen that changes at random, whenever one wants."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Box, Discrete, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types
from explorax.envs.task import Task


@pytree
class TelevisionState:
    """The world, and the picture beside it."""

    task: Any
    picture: jax.Array  # int32 [], the number of one of the pictures; or float32 [channels]


@dataclass(frozen=True)
class NoisyTV:
    """Any task with a television beside it, which an action switches to another random picture.

    What a bonus must not fall for: the next picture cannot be predicted and means nothing (Burda et
    al., arXiv 1808.04355). Named by a setting of any task, as in deep_sea/30(noisy_tv=32).

    Where observations are one-hot codes, they become flat: the task's codes, then a one-hot code of
    the picture, one of `channels`. Where they are vectors, `channels` numbers in [−1, 1] follow.
    Discrete actions: one more, the last, draws a new picture (uniformly; it may be the old one).
    The world stands still then and pays nothing; time runs on, also towards the time limit, and
    where every action has a cost, the least of these is due. Continuous actions: one more
    dimension; above 0 a new picture is drawn in this step, and the world goes on as always.
    Otherwise the picture stays, also in the observation that ends an episode; a new episode begins
    with a new one.
    """

    task: Task
    channels: int = 32  # pictures there are, or numbers that make a picture where vectors are seen

    def __post_init__(self) -> None:
        check_types(self)
        if isinstance(self.task, NoisyTV):
            raise Incompatible(f"{self.task!r} has a television: one is enough. Set its channels.")
        seen, name = self.task.obs, type(self.task).__name__
        if seen.one_hot is None and (len(seen.shape) != 1 or seen.dtype != "float32"):
            raise Incompatible(
                f"NoisyTV adds a picture to one-hot codes and vectors, and {name} shows arrays of "
                f"shape {seen.shape} of {seen.dtype}. Flatten them, or leave out the television."
            )
        action = self.task.action
        if isinstance(action, Box) and len(action.shape) != 1:
            raise Incompatible(
                f"NoisyTV adds a dimension to vectors of actions, and {name} takes {action}. "
                "Flatten them, or leave out the television."
            )
        least = 1 if seen.one_hot is None else 2
        wanted = f"at least {least}" + (", since observations are one-hot" if least == 2 else "")
        require(self.channels >= least, self, "channels", wanted)

    @property
    def obs(self) -> Box:
        seen, extra = self.task.obs, self.channels
        length = int(np.prod(seen.shape))
        if seen.one_hot is not None:
            return Box((length + extra,), 0.0, 1.0, seen.dtype, (*seen.one_hot, extra))
        low, high = (np.broadcast_to(bound, (length,)).tolist() for bound in (seen.low, seen.high))
        return Box((length + extra,), (*low, *[-1.0] * extra), (*high, *[1.0] * extra))

    @property
    def action(self) -> Discrete | Box:
        action = self.task.action
        if isinstance(action, Discrete):
            return Discrete(action.n + 1)
        return Box((action.shape[0] + 1,))

    @property
    def max_episode_steps(self) -> int | None:
        return self.task.max_episode_steps

    @property
    def success_return(self) -> float | None:
        return self.task.success_return

    @property
    def view(self) -> View | None:
        return self.task.view  # of the first entries of an observation, which are the task's

    def where(self, state: TelevisionState) -> jax.Array:
        """Return the task's point of its view, which must be a hidden one."""
        task: Any = self.task
        return task.where(state.task)

    @property
    def costly(self) -> bool:
        return getattr(self.task, "costly", False)

    def _new_picture(self, key: Key) -> jax.Array:
        if self.task.obs.one_hot is not None:
            return jax.random.randint(key, (), 0, self.channels, jnp.int32)
        return jax.random.uniform(key, (self.channels,), minval=-1.0, maxval=1.0)

    def reset(self, key: Key) -> TelevisionState:
        key_task, key_picture = jax.random.split(key)
        return TelevisionState(self.task.reset(key_task), self._new_picture(key_picture))

    def observe(self, state: TelevisionState) -> jax.Array:
        seen = self.task.observe(state.task).reshape(-1)
        picture = state.picture
        if self.task.obs.one_hot is not None:
            picture = (jnp.arange(self.channels) == picture).astype(seen.dtype)
        return jnp.concatenate([seen, picture])

    def step(
        self, state: TelevisionState, key: Key, action: jax.Array
    ) -> tuple[TelevisionState, jax.Array, jax.Array]:
        key_task, key_picture = jax.random.split(key)
        actions = self.task.action
        if isinstance(actions, Discrete):
            switched = action == actions.n
            in_world = jnp.minimum(action, actions.n - 1)
            after, reward, terminated = self.task.step(state.task, key_task, in_world)
            after = jax.tree.map(lambda new, old: jnp.where(switched, old, new), after, state.task)
            reward = jnp.where(switched, self._cost_of_time(state.task, key_task), reward)
            terminated = terminated & ~switched
        else:
            switched = action[-1] > 0
            after, reward, terminated = self.task.step(state.task, key_task, action[:-1])
        picture = jnp.where(switched, self._new_picture(key_picture), state.picture)
        return TelevisionState(after, picture), reward, terminated

    def _cost_of_time(self, state: Any, key: Key) -> jax.Array:
        """Return min(0, maxₐ r(s, a)), float32 []: what cannot be had cheaper than by watching."""
        actions = self.task.action
        assert isinstance(actions, Discrete)
        every = jnp.arange(actions.n, dtype=jnp.int32)
        rewards = jax.vmap(lambda action: self.task.step(state, key, action)[1])(every)
        return jnp.minimum(rewards.max(), 0.0)

    def draw(self, state: TelevisionState) -> np.ndarray:
        from explorax.envs.drawing_maze import draw_television

        picture = np.asarray(state.picture)
        return draw_television(self.task.draw(state.task), picture)

    def place(self, point: jax.Array) -> TelevisionState:
        """Return the task's state at `point` beside the first picture, or a grey one."""
        one_hot = self.task.obs.one_hot is not None
        picture = jnp.int32(0) if one_hot else jnp.zeros(self.channels)
        return TelevisionState(self.task.place(point), picture)

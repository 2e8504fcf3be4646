"""The nouns of the library: Spec, Step, Rollout, Env, Bonus, Agent.

Everything else implements or drives one of them. Settings are frozen dataclasses with pure methods;
everything that changes is a pytree, passed in and returned. Protocols are structural: nothing here
is inherited from.

Axes: T steps, E environments side by side, N unordered rows. A rollout's leaves are [T, E, ...].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from explorax.core.pytree import pytree

Key: TypeAlias = jax.Array  # a typed PRNG key, `jax.random.key(0)`
State: TypeAlias = Any  # a pytree of the part's own making
# Scalars for people to look at; NaN means that there is nothing to say, and infinity that something
# has gone wrong: it stops the run.
Metrics: TypeAlias = dict[str, jax.Array]


@dataclass(frozen=True)
class Discrete:
    """Actions 0 .. n-1, int32."""

    n: int


@dataclass(frozen=True)
class Box:
    """Arrays of one shape with bounds, which may be infinite.

    Continuous *actions* are always bounded by [-1, 1] per dimension: an environment scales them to
    its own units and clips what lies outside, so that an agent's initial deviation of 1 means the
    same everywhere.

    `one_hot` says that there are finitely many observations: flattened, each is a row of one-hot
    codes of these sizes, one after the other, such as (100, 2) for a place and a key in the hand.
    A code of nothing but zeros is a value of its own (`ops.finite` numbers them).

    Images are [height, width, channels], uint8 from 0 to 255 until a network sees them. Of a
    `stack` of frames the channels are the last so many, each with as many, the newest last; a
    replay then keeps each frame once.
    """

    shape: tuple[int, ...]
    low: float | tuple[float, ...] = -1.0
    high: float | tuple[float, ...] = 1.0
    dtype: str = "float32"
    one_hot: tuple[int, ...] | None = None
    stack: int = 1


@dataclass(frozen=True)
class View:
    """Two dimensions of a state that are worth drawing a map of.

    Either two entries of a flat observation (`dims`; a pair stands for the angle whose cosine and
    sine are these entries), or the place of the 1 in a one-hot code of `grid` = (rows, columns)
    cells, which is the observation or its first entries; x is the column and y the row. Where
    observations do not say where one is, the view is `hidden`, and each step tells its `place`.
    """

    labels: tuple[str, str]  # with units: "position (m)"
    low: tuple[float, float]
    high: tuple[float, float]
    bins: tuple[int, int] = (48, 48)
    dims: tuple[int | tuple[int, int], int | tuple[int, int]] = (0, 1)
    periodic: tuple[bool, bool] = (False, False)  # angles, wrapped into [low, high)
    grid: tuple[int, int] | None = None
    hidden: bool = False  # Step.place tells the point, which no observation shows
    rooms: tuple[int, int] | None = None  # parts of the map along x and y; visited ones are counted

    def project(self, obs: jax.Array) -> jax.Array:
        """Return the points [..., 2] of the map at which observations [..., *obs_shape] lie.

        Raises ValueError where the view is hidden.
        """
        if self.hidden:
            raise ValueError("this view is hidden: observations do not say where they were made")
        if self.grid is not None:
            rows, columns = self.grid
            if obs.shape[-2:] == self.grid:
                obs = obs.reshape(*obs.shape[:-2], rows * columns)
            place = jnp.argmax(obs[..., : rows * columns], axis=-1)
            return jnp.stack([place % columns, place // columns], axis=-1).astype(jnp.float32)

        def entry(dim: int | tuple[int, int]) -> jax.Array:
            if isinstance(dim, int):
                return obs[..., dim]
            cosine, sine = dim
            return jnp.arctan2(obs[..., sine], obs[..., cosine])

        point = jnp.stack([entry(dim) for dim in self.dims], axis=-1)
        low, high, periodic = (
            jnp.broadcast_to(jnp.asarray(pair), point.shape)
            for pair in (self.low, self.high, self.periodic)
        )
        return jnp.where(periodic, jnp.mod(point - low, high - low) + low, point)

    def cell(self, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the indices (x, y) [...] of the map's cells; outliers fall into edge cells."""
        return self.cell_at(self.project(obs))

    def cell_at(self, point: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the indices (x, y) [...] of the cells of points [..., 2], as `cell` does."""

        def along(axis: int) -> jax.Array:
            low, high, bins = self.low[axis], self.high[axis], self.bins[axis]
            share = (point[..., axis] - low) / (high - low)
            return jnp.clip(jnp.floor(share * bins), 0, bins - 1).astype(jnp.int32)

        return along(0), along(1)


@dataclass(frozen=True)
class Spec:
    """What an agent or a bonus may know of an environment before it starts."""

    obs: Box
    action: Discrete | Box
    num_envs: int
    max_episode_steps: int | None = None
    success_return: float | None = None  # an episode that returns at least this much succeeded
    view: View | None = None
    # Of extras["latent"], what the agent made of all that it saw, and of extras["encoded"], what it
    # made of the observation alone; the loop sets them for a bonus.
    latent: Box | None = None
    encoded: Box | None = None


@pytree
class Step:
    """What one step of E environments gives."""

    obs: Shaped[Array, "E ..."]  # what the agent sees next; already reset where an episode ended
    next_obs: Shaped[Array, "E ..."]  # the TRUE successor; equals obs unless the episode ended
    reward: Float[Array, " E"]
    terminated: Bool[Array, " E"]  # the task ended: nothing follows, so do not bootstrap
    truncated: Bool[Array, " E"]  # time ran out: the value of next_obs still counts
    place: Any = ()  # float32 [E, 2], where next_obs was made, if the view is hidden
    true_reward: Any = ()  # [E], which returns are made of, where the agent is paid another

    @property
    def counted(self) -> Any:
        """What the returns that are reported are made of, [E]."""
        return self.reward if isinstance(self.true_reward, tuple) else self.true_reward


@pytree
class Percept:
    """What an agent perceives when it must act."""

    obs: Shaped[Array, "E ..."]
    reward: Float[Array, " E"]  # of the step before; 0 where an episode begins
    first: Bool[Array, " E"]  # obs opens an episode


@pytree
class Rollout:
    """Experience: time-major leaves [T, E, ...], or [N, ...] where rows are passed on singly."""

    obs: Any
    action: Any
    reward: Any  # extrinsic, always
    next_obs: Any  # the TRUE successor, also where an episode ends
    terminated: Any
    truncated: Any
    first: Any
    bonus: Any  # a second reward stream, zero until scored; never folded into reward
    extras: Any = ()  # what Agent.act returned besides the action: log_prob, value, latent, ...
    carry: Any = ()  # the actor's memory at t = 0, leaves [E, ...]
    place: Any = ()  # as in Step; for the maps alone, so nobody who learns is handed it
    true_reward: Any = ()  # as in Step; for the tally alone


class Env(Protocol):
    """E environments side by side, which reset themselves in the step that ends an episode."""

    @property
    def spec(self) -> Spec: ...

    @property
    def traceable(self) -> bool:
        """Whether reset and step may be called under jit and scan."""
        ...

    def reset(self, key: Key) -> tuple[State, Any]:
        """Return (state, obs [E, ...])."""
        ...

    def step(self, state: State, key: Key, action: Any) -> tuple[State, Step]: ...

    def draw(self, state: State, index: int = 0) -> np.ndarray:
        """Return an RGB frame, uint8 [H, W, 3], of environment `index`."""
        ...


class Bonus(Protocol):
    """An intrinsic reward.

    Optional: `may_be_negative = True` where it may pay less than 0. Normalisers that divide by what
    is usual refuse it then.
    """

    @property
    def replayable(self) -> bool:
        """Whether an old row may be scored again, out of order."""
        ...

    def init(self, key: Key, spec: Spec) -> State: ...

    def score(self, state: State, key: Key, rollout: Rollout) -> tuple[jax.Array, State]:
        """Return (bonus [T, E], state) for the live stream, in time order.

        Never takes a gradient step; the state may change only in what it counts and averages.
        """
        ...

    def update(self, state: State, key: Key, rollout: Rollout) -> tuple[State, Metrics]:
        """Return (state, metrics) after learning from the rollout that was just scored."""
        ...

    def rescore(self, state: State, key: Key, rows: Rollout) -> jax.Array:
        """Return the bonus [N] of replayed rows [N, ...], changing nothing.

        A bonus that is not replayable returns `rows.bonus`, the score that the rows got when live.
        """
        ...


Rescore: TypeAlias = Callable[[Key, Rollout], jax.Array]


class Agent(Protocol):
    """A learning algorithm.

    Optional: `hands_on`, a tuple of names of fields of its state ("params", or "critic.params" for
    a field of a field), says what another run of the same class may start from (`init_from`):
    networks, targets, moments, tables, multipliers; not what belongs to the old task, such as the
    replay, counters of steps and optimisers' moments. Without it the agent refuses to be handed on.
    """

    @property
    def rollout_length(self) -> int:
        """T, the steps of each environment between two calls of learn."""
        ...

    def init(self, key: Key, spec: Spec) -> State:
        """Return parameters, optimiser state, targets, replay and dual variables.

        Raises Incompatible when the agent cannot act in `spec`.
        """
        ...

    def carry(self, spec: Spec) -> Any:
        """Return the actor's memory at the start: () without memory, else leaves [E, ...]."""
        ...

    def act(
        self, state: State, carry: Any, key: Key, percept: Percept, *, greedy: bool = False
    ) -> tuple[Any, Any, Any]:
        """Return (action [E, ...], carry, extras)."""
        ...

    def learn(
        self, state: State, key: Key, rollout: Rollout, rescore: Rescore
    ) -> tuple[State, Metrics]:
        """Return (state, metrics). The agent mixes the two streams of reward itself."""
        ...

"""Four goals around a point: as good as each other, so that a policy should find all of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from explorax.core.errors import require
from explorax.core.protocols import Box, Key, View
from explorax.core.pytree import pytree
from explorax.core.settings import check_types

GOALS = ((5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0))
GOAL_RADIUS, LIMIT, START_STD, ACTION_COST, GOAL_PAY = 1.0, 7.0, 0.1, 30.0, 10.0
HILL_HEIGHT, HILL_WIDTH = 25.0, 1.0
NO_GOAL = -1
STEPS = {"release": 30, "paper": 20}


def _squares(position: jax.Array) -> jax.Array:
    """Return the squared distances [..., 4] of `position` [..., 2] from the goals."""
    away = position[..., None, :] - jnp.asarray(GOALS).reshape(*(1,) * (position.ndim - 1), 4, 2)
    return jnp.square(away).sum(-1)


def goal_at(position: Float[Array, "*rest 2"]) -> Int[Array, "*rest"]:
    """Return the number, 0 to 3, of the goal nearer than 1 to `position`, or NO_GOAL = −1."""
    squares = _squares(position)
    return jnp.where(squares.min(-1) < GOAL_RADIUS**2, squares.argmin(-1), NO_GOAL).astype(
        jnp.int32
    )


def goals_reached(position: Float[Array, "*rest 2"]) -> Int[Array, ""]:
    """Return at how many of the four goals any of the positions [..., 2] lies.

    The measure of soft Q-learning's release is this of the last positions [10, 2] of ten episodes.
    Of whole paths [T, N, 2] it also counts goals that were passed. Ten episodes that choose evenly
    and always arrive find all four with probability 0.78 and three or more with 0.994.
    """
    numbers = jnp.arange(len(GOALS), dtype=jnp.int32)
    return (goal_at(position).reshape(-1, 1) == numbers[None]).any(0).sum(dtype=jnp.int32)


@pytree
class MultiGoalState:
    position: jax.Array  # float32 [2]


@dataclass(frozen=True)
class MultiGoal:
    """Move a point to any of four goals, all equally good: what a policy of one mode cannot show.

    Soft Q-learning's didactic task (arXiv 1702.08165, section 5.1): s' = clip(s + a, ±7), goals at
    (±5, 0) and (0, ±5). `goals_reached` counts how many of them a set of episodes found.

    `reward` chooses between the two that there are. "release", the released code's: the start is
    N(0, 0.1²) and the reward −30 ‖a‖² − min_g ‖s' − g‖², plus 10 where s' is nearer than 1 to a
    goal, which ends the episode; 30 steps. "paper", as its text has it: the start is 0 and the
    reward that of the place left behind, a mixture of Gaussians at the goals,
    25 Σ_g exp(−½ ‖s − g‖²); no cost of actions and no end but after 20 steps.

    Deviations: the paper says neither how high nor how wide its Gaussians are. Here a deviation is
    the radius of a goal, and a goal is worth 25 more than the start, as in the release, so that one
    temperature (10 there) means about the same for both.
    """

    reward: str = "release"  # or "paper"

    obs = Box((2,), low=-LIMIT, high=LIMIT)
    action = Box((2,))
    success_return = None
    goals = GOALS
    looks_at = ((0.0, 0.0), (2.5, 0.0), (2.0, 2.0))  # four ways, one way, between two ways
    view = View(labels=("x", "y"), low=(-LIMIT, -LIMIT), high=(LIMIT, LIMIT))

    def __post_init__(self) -> None:
        check_types(self)
        require(self.reward in STEPS, self, "reward", f"one of {tuple(STEPS)}")

    @property
    def max_episode_steps(self) -> int:
        return STEPS[self.reward]

    def field(self, position: Float[Array, "*rest 2"]) -> Float[Array, "*rest"]:
        """Return what the reward says of a place alone: the map to draw paths on."""
        squares = _squares(position)
        if self.reward == "release":
            return -squares.min(-1)
        return HILL_HEIGHT * jnp.exp(-0.5 * squares / HILL_WIDTH**2).sum(-1)

    def reset(self, key: Key) -> MultiGoalState:
        if self.reward == "paper":
            return MultiGoalState(jnp.zeros(2))
        return MultiGoalState(START_STD * jax.random.normal(key, (2,)))

    def observe(self, state: MultiGoalState) -> jax.Array:
        return state.position

    def step(
        self, state: MultiGoalState, key: Key, action: jax.Array
    ) -> tuple[MultiGoalState, jax.Array, jax.Array]:
        push = jnp.clip(action, -1.0, 1.0)
        after = jnp.clip(state.position + push, -LIMIT, LIMIT)
        if self.reward == "paper":
            return MultiGoalState(after), self.field(state.position), jnp.bool_(False)
        arrived = goal_at(after) != NO_GOAL
        cost = ACTION_COST * jnp.square(push).sum()
        pay = self.field(after) - cost + jnp.where(arrived, GOAL_PAY, 0.0)
        return MultiGoalState(after), pay, arrived

    def goals_reached(self, obs: Float[Array, "N 2"]) -> Int[Array, ""]:
        """Return at how many of the four goals episodes that ended at `obs` did so."""
        return goals_reached(obs)

    def draw(self, state: MultiGoalState) -> np.ndarray:
        from explorax.envs.drawing_control import draw_goals

        x, y = np.asarray(state.position)
        reached = int(goal_at(jnp.asarray(state.position)))
        return draw_goals((float(x), float(y)), GOALS, GOAL_RADIUS, LIMIT, reached)

    def place(self, point: jax.Array) -> MultiGoalState:
        return MultiGoalState(point)

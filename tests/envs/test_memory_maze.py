"""Random mazes and the memory maze against rules written apart, one cell at a time in Python."""

import dataclasses
import re
from fractions import Fraction
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import REINFORCE
from explorax.bonuses import NoBonus
from explorax.core.errors import InvalidSetting
from explorax.envs import MemoryMaze
from explorax.envs.random_maze import another_room, draw_walls, nearest_free_cell, rooms
from explorax.envs.task import Batched

NORTH_EAST_SOUTH_WEST = [(-1, 0), (0, 1), (1, 0), (0, -1)]


def reached(walls: np.ndarray, start: tuple[int, int]) -> set[tuple[int, int]]:
    """Return the free cells that a flood from `start` fills."""
    found, waiting = {start}, [start]
    while waiting:
        row, column = waiting.pop()
        for down, right in NORTH_EAST_SOUTH_WEST:
            there = (row + down, column + right)
            if not walls[there] and there not in found:
                found.add(there)
                waiting.append(there)
    return found


@pytest.mark.parametrize(("size", "loops"), [(5, 0.0), (9, 0.0), (9, 0.3), (7, 1.0)])
def test_every_cell_of_every_maze_can_be_reached(size, loops):
    draw = jax.jit(jax.vmap(lambda key: draw_walls(key, size, loops)))
    mazes = np.asarray(draw(jax.random.split(jax.random.key(0), 200)))
    side = size // 2
    passages = []
    for walls in mazes:
        assert walls[[0, -1]].all() and walls[:, [0, -1]].all()  # walls around
        assert not walls[1::2, 1::2].any() and walls[::2, ::2].all()  # rooms, and posts between
        assert len(reached(walls, (1, 1))) == (~walls).sum()
        passages.append((~walls).sum() - side**2)
    tree, all_walls = side**2 - 1, 2 * side * (side - 1)
    opened = (np.array(passages) - tree) / (all_walls - tree)
    if loops in (0.0, 1.0):
        assert (opened == loops).all()
    else:  # 200 mazes of 9 walls that are left
        assert opened.mean() == pytest.approx(loops, abs=0.05)
    several = {walls.tobytes() for walls in mazes}
    assert len(several) == 1 if loops == 1 else len(several) > (3 if size == 5 else 150)


def test_small_trees_are_all_as_likely():
    """Four rooms in a square have four trees: each leaves out one passage."""
    draw = jax.jit(jax.vmap(lambda key: draw_walls(key, 5, 0.0)))
    mazes = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)))
    _, counts = np.unique(mazes.reshape(4000, -1), axis=0, return_counts=True)
    assert len(counts) == 4
    np.testing.assert_allclose(counts / 4000, 0.25, atol=0.03)


def test_another_room_is_any_but_one():
    draw = jax.jit(jax.vmap(lambda share: another_room(share, 7, jnp.int32(7 * 3 + 3))))
    shares = jax.random.uniform(jax.random.key(0), (8000,))
    cells, counts = np.unique(draw(shares), return_counts=True)
    assert rooms(7).tolist() == [8, 10, 12, 22, 24, 26, 36, 38, 40]
    assert cells.tolist() == [8, 10, 12, 22, 26, 36, 38, 40]
    np.testing.assert_allclose(counts / 8000, 1 / 8, atol=0.02)


def test_the_nearest_free_cell():
    walls = np.asarray(draw_walls(jax.random.key(4), 7, 0.0))
    free = np.argwhere(~walls)
    find = jax.jit(nearest_free_cell)
    for row, column in product(range(7), repeat=2):
        squares = ((free - [row, column]) ** 2).sum(1)
        best = free[squares.argmin()]
        found = int(find(jnp.asarray(walls), jnp.array([column + 0.7, row + 0.2])))
        assert divmod(found, 7) == tuple(best)


def crosses(way: tuple[int, int], cell: tuple[int, int]) -> bool:
    """Return whether the straight line from (0, 0) to `way` passes through the inside of `cell`."""
    enters, leaves = Fraction(0), Fraction(1)
    for along, middle in zip(way, cell, strict=True):
        low, high = middle - Fraction(1, 2), middle + Fraction(1, 2)
        if along == 0:
            if not low < 0 < high:
                return False
            continue
        first, last = sorted((low / along, high / along))
        enters, leaves = max(enters, first), min(leaves, last)
    return enters < leaves


def picture(task, state) -> np.ndarray:
    """Return the observation, made from a turned map and exact lines of sight."""
    view, size = task.sight, task.size
    kinds = np.where(np.asarray(state.walls), 1, 0)
    kinds[divmod(int(state.goal), size)] = 2
    for apple, left in zip(np.asarray(state.apples), np.asarray(state.left), strict=True):
        if left:
            kinds[divmod(int(apple), size)] = 3
    here = np.zeros_like(kinds)
    here[divmod(int(state.cell), size)] = 1
    kinds, here = (
        np.pad(each, view, constant_values=fill) for each, fill in ((kinds, 1), (here, 0))
    )
    turns = int(state.heading)  # quarter turns to the left bring what lies ahead to the top
    kinds, here = np.rot90(kinds, turns), np.rot90(here, turns)
    (row, column), *_ = np.argwhere(here)
    top, left = row - (view - 2), column - view // 2
    crop = kinds[top : top + view, left : left + view]
    seen = np.zeros((view, view, task.obs.shape[-1]), np.float32)
    for cell in product(range(view), repeat=2):
        way = cell[0] - (view - 2), cell[1] - view // 2
        between = [
            other
            for other in product(range(view), repeat=2)
            if other != cell and crop[other] == 1
            if crosses(way, (other[0] - (view - 2), other[1] - view // 2))
        ]
        if not between:
            seen[(*cell, crop[cell])] = 1.0
    return seen


@pytest.mark.parametrize("task", [MemoryMaze(9, apples=3), MemoryMaze(7, sight=7)], ids=repr)
def test_the_walker_sees_a_turned_piece_of_the_map(task):
    reset, observe = jax.jit(task.reset), jax.jit(task.observe)
    headings = set()
    for seed in range(24):
        state = reset(jax.random.key(seed))
        free = np.flatnonzero(~np.asarray(state.walls))
        cell = jnp.int32(np.random.RandomState(seed).choice(free))
        state = dataclasses.replace(state, cell=cell, left=state.left & (seed % 3 > 0))
        np.testing.assert_array_equal(observe(state), picture(task, state))
        headings.add(int(state.heading))
    assert headings == {0, 1, 2, 3}


def test_steps_are_those_of_the_rules():
    task = MemoryMaze(7, apples=4, loops=0.5)
    reset, step = jax.jit(task.reset), jax.jit(task.step)
    rng, goals, apples = np.random.RandomState(0), 0, 0
    state = reset(jax.random.key(0))
    walls, goal = np.asarray(state.walls), divmod(int(state.goal), 7)
    eaten: set[tuple[int, int]] = set()
    lying = {divmod(int(cell), 7) for cell in state.apples}
    assert len(lying | {goal}) == 5
    trail = {divmod(int(state.cell), 7)}
    for t in range(700):
        cell, heading = divmod(int(state.cell), 7), int(state.heading)
        action = int(rng.choice(3, p=[0.2, 0.2, 0.6]))
        heading = (heading + {0: 3, 1: 1, 2: 0}[action]) % 4
        if action == 2:
            down, right = NORTH_EAST_SOUTH_WEST[heading]
            if not walls[cell[0] + down, cell[1] + right]:
                cell = cell[0] + down, cell[1] + right
        state, reward, terminated = step(state, jax.random.key(t), jnp.int32(action))
        assert not terminated
        trail.add(cell)
        if cell == goal:
            assert float(reward) == 1.0
            goals, eaten = goals + 1, set()
            new = divmod(int(state.cell), 7)
            assert new != goal and new[0] % 2 == new[1] % 2 == 1
            trail = {new}
        else:
            fresh = cell in lying - eaten
            assert float(reward) == pytest.approx(0.1 * fresh)
            apples, eaten = apples + fresh, eaten | ({cell} & lying)
            assert (divmod(int(state.cell), 7), int(state.heading)) == (cell, heading)
        left = {divmod(int(c), 7) for c in np.asarray(state.apples)[np.asarray(state.left)]}
        assert left == lying - eaten
        assert {divmod(int(c), 7) for c in np.flatnonzero(state.trail)} == trail
        np.testing.assert_array_equal(state.walls, walls)
        assert divmod(int(state.goal), 7) == goal
    assert goals >= 2 and apples >= 5


def test_a_seed_fixes_the_maze_and_nothing_else():
    def starts(task):
        return jax.jit(jax.vmap(task.reset))(jax.random.split(jax.random.key(0), 200))

    fixed, again = starts(MemoryMaze(9, maze_seed=5)), starts(MemoryMaze(9, maze_seed=5))
    jax.tree.map(np.testing.assert_array_equal, fixed, again)
    for name in ("walls", "goal", "apples"):
        value = np.asarray(getattr(fixed, name))
        assert (value == value[:1]).all()
    np.testing.assert_array_equal(fixed.walls[0], MemoryMaze(9, maze_seed=5).walls)
    assert len(np.unique(fixed.cell)) == 15
    assert set(np.unique(fixed.heading)) == {0, 1, 2, 3}
    assert (MemoryMaze(9, maze_seed=6).walls != fixed.walls[0]).any()
    free = starts(MemoryMaze(9))
    assert len({np.asarray(walls).tobytes() for walls in free.walls}) > 150
    assert len(np.unique(free.goal)) == 16
    assert (np.asarray(free.cell) != np.asarray(free.goal)).all()


class NotCostly(MemoryMaze):
    costly = False


def test_new_mazes_are_drawn_only_where_an_episode_ends_for_all_seeds_at_once():
    """The same numbers as with a maze drawn in every step, and a condition that vmap leaves one."""
    lazy, eager = (
        Batched(kind(5, apples=1, max_episode_steps=3), 2) for kind in (MemoryMaze, NotCostly)
    )

    def run(env, key):
        state, first = env.reset(key)

        def one(state, t):
            return env.step(state, jax.random.fold_in(key, t), jnp.array([2, 1], jnp.int32))

        state, out = jax.lax.scan(one, state, jnp.arange(7))
        return state, first, out

    keys = jax.random.split(jax.random.key(3), 4)
    both = [jax.jit(jax.vmap(partial(run, env)))(keys) for env in (lazy, eager)]
    jax.tree.map(np.testing.assert_array_equal, *both)
    alone = jax.jit(partial(run, lazy))(keys[2])
    jax.tree.map(lambda one, many: np.testing.assert_array_equal(one, many[2]), alone, both[0])
    done = np.asarray(both[0][2].truncated)
    assert done.any(-1).sum() == 8 and not done.all()
    text = str(jax.make_jaxpr(jax.vmap(partial(run, lazy)))(keys))
    assert "cond[" in text and "select_n" in text
    assert "cond[" not in str(jax.make_jaxpr(jax.vmap(partial(run, eager)))(keys))


def test_the_map_counts_where_the_walker_was_although_nobody_sees_it():
    task = MemoryMaze(7, maze_seed=2, max_episode_steps=20)
    env, agent = Batched(task, 4), REINFORCE(rollout_length=25, hidden=(8,))

    @jax.jit
    def train(key):
        training = loop.start(env, agent, NoBonus(), key)
        return loop.chunk_on_device(env, agent, NoBonus(), 2, training)[0]

    visits = np.asarray(train(jax.random.key(0)).tally.visits)  # [x, y]
    assert visits.sum() == 2 * 25 * 4
    assert not visits.T[task.walls].any()
    assert (visits > 0).sum() > 6
    with pytest.raises(ValueError, match="hidden"):
        env.spec.view.project(jnp.zeros((4, *task.obs.shape)))  # pyright: ignore


def test_the_picture_shows_what_is_seen_beside_the_map():
    task = MemoryMaze(7, maze_seed=3, apples=2)
    state = jax.tree.map(np.asarray, jax.jit(task.reset)(jax.random.key(0)))
    frame = task.draw(state)
    turned = task.draw(dataclasses.replace(state, heading=(state.heading + 1) % 4))
    assert (frame[:, :260] != turned[:, :260]).any() and (frame[:, 268:] != turned[:, 268:]).any()
    moved = task.draw(dataclasses.replace(state, trail=~state.trail))
    np.testing.assert_array_equal(frame[:, :260], moved[:, :260])
    assert (frame[:, 268:] != moved[:, 268:]).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 3}, "size must be odd and in 5 .. 63"),
        ({"size": 8}, "size must be odd"),
        ({"size": 9, "sight": 6}, "sight must be one of (5, 7)"),
        ({"size": 5, "apples": 4}, "apples must be in 0 .. 3"),
        ({"size": 9, "loops": 1.5}, "loops must be between 0 and 1"),
        ({"size": 9, "maze_seed": -1}, "maze_seed must be in 0"),
        ({"size": 9, "max_episode_steps": 0}, "max_episode_steps must be at least 1"),
    ],
)
def test_wrong_settings_say_what_is_possible(settings, words):
    with pytest.raises(InvalidSetting, match=re.escape(words)):
        MemoryMaze(**settings)

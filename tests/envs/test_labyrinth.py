"""The labyrinth against slow loops: rays that march, bodies that creep, frames by hand."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.core.errors import InvalidSetting
from explorax.envs import Labyrinth, raycasting
from explorax.envs.labyrinth import (
    ASIDE,
    BACKWARD,
    BODY,
    FORWARD,
    LOOK_LEFT,
    LOOK_RIGHT,
    STRAFE_LEFT,
    STRAFE_RIGHT,
    TRAIL,
    WALK,
    slide,
)
from explorax.envs.random_maze import draw_walls

EAST, SOUTH, WEST, NORTH = (np.float32(turn * np.pi / 2) for turn in range(4))


def maze(seed: int, size: int = 9, loops: float = 0.2) -> np.ndarray:
    return np.asarray(draw_walls(jax.random.key(seed), size, loops))


def free_place(walls: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return a random place (x, y) where a body fits."""
    row, column = rng.permutation(np.argwhere(~walls))[0]
    inside = rng.uniform(BODY + 0.01, 1 - BODY - 0.01, 2)
    return np.array([column + inside[0], row + inside[1]], np.float32)


def marched(walls: np.ndarray, place: np.ndarray, ray: np.ndarray, step: float = 2e-4):
    """Return (depth, cell) where a point that walks along `ray` first is in a wall."""
    depth, at = 0.0, place.astype(float)
    while not walls[int(at[1]), int(at[0])]:
        depth += step
        at = place + depth * ray
    return depth, (int(at[1]), int(at[0]))


def test_rays_end_where_marching_points_do():
    cast = jax.jit(raycasting.cast)
    rng, same = np.random.RandomState(0), 0
    for seed in range(12):
        walls = maze(seed)
        place, heading = free_place(walls, rng), np.float32(rng.uniform(0, 2 * np.pi))
        ray = np.asarray(raycasting.rays(jnp.asarray(heading), 42))
        hits = cast(jnp.asarray(walls), jnp.asarray(place), jnp.asarray(ray))
        for column in (0, 9, 20, 33, 41):
            depth, cell = marched(walls, place, ray[column])
            assert float(hits.depth[column]) == pytest.approx(depth, abs=1e-3)
            same += cell == (int(hits.row[column]), int(hits.column[column]))
            end = place + float(hits.depth[column]) * ray[column]
            across = end[1] if hits.upright[column] else end[0]
            assert float(hits.along[column]) == pytest.approx(across % 1, abs=1e-3)
            onto = end[0] if hits.upright[column] else end[1]
            assert abs(onto - round(float(onto))) < 1e-3
    assert same >= 59  # of 60: a ray that grazes a corner may be in either cell


def test_rays_fan_out_from_left_to_right():
    ray = np.asarray(raycasting.rays(jnp.asarray(SOUTH), 84))
    np.testing.assert_allclose(ray[:, 1], 1.0, atol=1e-6)  # depth counts along the heading
    assert ray[0, 0] > 0 > ray[-1, 0]  # who faces south has the east to the left
    half = np.tan(np.deg2rad(85) / 2)
    np.testing.assert_allclose(ray[:, 0], half * (1 - (2 * np.arange(84) + 1) / 84), atol=1e-5)


def test_a_body_ends_where_one_does_that_creeps():
    """Each axis in turn, in 500 steps, until the square of the body would overlap a wall."""

    def overlaps(walls, place):
        low, high = np.floor(place - BODY).astype(int), np.floor(place + BODY).astype(int)
        return walls[low[1] : high[1] + 1, low[0] : high[0] + 1].any()

    move_of = jax.jit(slide)
    rng, stopped = np.random.RandomState(1), 0
    for seed in range(30):
        walls = maze(seed % 5)
        place = free_place(walls, rng)
        for _ in range(10):
            move = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
            creeping = place.astype(float)
            for axis in (0, 1):
                for _ in range(500):
                    ahead = creeping.copy()
                    ahead[axis] += move[axis] / 500
                    if overlaps(walls, ahead):
                        stopped += 1
                        break
                    creeping = ahead
            place = np.array(move_of(jnp.asarray(walls), jnp.asarray(place), jnp.asarray(move)))
            np.testing.assert_allclose(place, creeping, atol=3e-3)
            assert not overlaps(walls, place)
    assert stopped > 50


def test_nobody_enters_walls_in_thousands_of_steps():
    task = Labyrinth(7, loops=0.5)
    ways = jnp.array([*range(6), FORWARD, FORWARD])  # more often forward than back

    @jax.jit
    def walk(key):
        state = task.reset(key)

        def one(state, t):
            key_step, key_action = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.choice(key_action, ways)
            state = task.step(state, key_step, action)[0]
            return state, state.place

        return state.walls, jax.lax.scan(one, state, jnp.arange(1000))[1]

    walls, places = jax.vmap(walk)(jax.random.split(jax.random.key(0), 16))
    for maze_walls, path in zip(np.asarray(walls), np.asarray(places), strict=True):
        for corner in ([-1, -1], [-1, 1], [1, -1], [1, 1]):
            cells = np.floor(path + BODY * np.array(corner)).astype(int)
            assert not maze_walls[cells[:, 1], cells[:, 0]].any()
    visited = sum(len(np.unique(np.floor(path), axis=0)) for path in np.asarray(places))
    assert visited > 150  # of about 19 cells in each of 16 mazes


def hall(**things):
    """Return (task, state) in an empty hall of 7×7 cells, in its middle, facing east.

    Apples and goal are inside the walls, where nobody sees them, unless told otherwise.
    """
    task = Labyrinth(7, apples=2)
    state = jax.jit(task.reset)(jax.random.key(0))
    walls = np.ones((7, 7), bool)
    walls[1:-1, 1:-1] = False
    start = {
        "walls": jnp.asarray(walls),
        "goal": jnp.int32(0),
        "apples": jnp.zeros(2, jnp.int32),
        "place": jnp.array([3.5, 3.5]),
        "heading": jnp.asarray(EAST),
    }
    return task, dataclasses.replace(state, **start | things)


def test_actions_look_walk_and_strafe():
    task, state = hall()
    step = jax.jit(task.step)
    expected = {
        FORWARD: (WALK, 0.0), BACKWARD: (-WALK, 0.0), STRAFE_RIGHT: (0.0, ASIDE),
        STRAFE_LEFT: (0.0, -ASIDE), LOOK_LEFT: (0.0, 0.0), LOOK_RIGHT: (0.0, 0.0),
    }  # fmt: skip
    for action, move in expected.items():
        after, reward, terminated = step(state, jax.random.key(0), jnp.int32(action))
        np.testing.assert_allclose(np.asarray(after.place) - 3.5, move, atol=1e-6)
        turned = {LOOK_LEFT: 337.5, LOOK_RIGHT: 22.5}.get(action, 0.0)
        assert float(np.rad2deg(after.heading)) == pytest.approx(turned, abs=1e-3)
        assert float(reward) == 0 and not terminated
        assert after.trail.shape == (TRAIL, 2)
        np.testing.assert_array_equal(after.trail[-1], after.place)
        np.testing.assert_array_equal(after.trail[:-1], state.trail[1:])
    south = dataclasses.replace(state, heading=jnp.asarray(SOUTH))
    after = step(south, jax.random.key(0), jnp.int32(FORWARD))[0]
    np.testing.assert_allclose(after.place, [3.5, 3.5 + WALK], atol=1e-6)


@pytest.mark.parametrize(("apples", "wanted"), [(3, 10.0), (9, 10.0), (12, 13.0)])
def test_apples_alone_are_no_success(apples, wanted):
    assert Labyrinth(9, apples=apples).success_return == wanted > apples


def test_apples_pay_once_and_the_goal_brings_them_back():
    task, state = hall(apples=jnp.array([3 * 7 + 4, 4 * 7 + 1], jnp.int32), goal=jnp.int32(26))
    step, rewards, before = jax.jit(task.step), [], state
    there_and_back = [FORWARD, FORWARD, BACKWARD, BACKWARD, FORWARD, FORWARD]
    for t, action in enumerate(there_and_back + [FORWARD] * 4):
        before = state
        state, reward, _ = step(state, jax.random.key(t), jnp.int32(action))
        rewards.append(float(reward))
        if t < 9:
            assert np.asarray(state.left).tolist() == [t < 1, True]
    assert rewards == [0, 1, 0, 0, 0, 0, 0, 0, 0, 10]
    # the goal: a new start in another room, everything else as it was, all apples back
    assert np.asarray(state.left).all() and not np.asarray(before.left).all()
    np.testing.assert_array_equal(state.walls, before.walls)
    assert int(state.goal) == int(before.goal) == 26
    assert (np.asarray(state.place) % 1 == 0.5).all()
    assert (np.asarray(state.trail) == np.asarray(state.place)).all()


def test_starts_are_in_every_room_but_the_goals():
    task = Labyrinth(7)

    @jax.jit
    def arrive(key):
        state = task.reset(key)
        at_goal = dataclasses.replace(state, place=task._middle(state.goal))
        after, reward, _ = task.step(at_goal, key, jnp.int32(LOOK_LEFT))
        return state.goal, after.place, after.heading, reward

    goals, places, headings, rewards = map(
        np.asarray, jax.vmap(arrive)(jax.random.split(jax.random.key(1), 2000))
    )
    assert (rewards >= 10).all()
    assert not (np.float32(np.stack([goals % 7, goals // 7], 1)) + 0.5 == places).all(1).any()
    for goal in np.unique(goals):
        assert len(np.unique(places[goals == goal], axis=0)) == 8
    counts, _ = np.histogram(headings, 8, (0, 2 * np.pi))
    np.testing.assert_allclose(counts / 2000, 1 / 8, atol=0.04)


def near(frame: np.ndarray, colour: tuple[float, ...]) -> np.ndarray:
    """Return which pixels are of `colour`, at whatever brightness and give or take 5°, bool."""
    wanted = np.asarray(colour) / np.linalg.norm(colour)
    length = np.maximum(np.linalg.norm(frame.astype(float), axis=-1), 1.0)
    return (frame @ wanted) / length > np.cos(np.deg2rad(5))


def test_frames_show_walls_floor_and_ceiling_where_geometry_puts_them():
    task, state = hall()
    frame = np.asarray(jax.jit(task.observe)(state))
    assert frame.shape == (42, 42, 3) and frame.dtype == np.uint8
    # the wall is 2.5 cells ahead: a height of 1 makes 42 / (2 · 2.5 · tan 42.5°) = 9.2 pixels
    middle = frame[:, 21].astype(int)
    ceiling = np.flatnonzero(near(middle, raycasting.CEILING))
    half = 42 / (4 * 2.5 * np.tan(np.deg2rad(42.5)))
    assert ceiling.tolist() == list(range(int(21 - half + 0.5)))
    assert (np.diff(middle[ceiling][::3].sum(1)) < 0).all()  # it darkens towards the horizon
    floor = middle[np.arange(42) > 21 + half]
    assert (floor[:, 0] > floor[:, 2]).all()
    # from nearby, the wall fills the frame
    close = dataclasses.replace(state, place=jnp.array([5.7, 3.5]))
    filled = np.asarray(jax.jit(task.observe)(close))
    assert not near(filled, raycasting.CEILING).any()


def test_things_are_seen_in_front_of_walls_and_not_behind():
    observe = None
    for kind, colour in (("apples", raycasting.APPLE), ("goal", raycasting.PILLAR)):
        cell = 3 * 7 + 5  # two cells ahead
        there = {"apples": jnp.array([cell, cell], jnp.int32), "goal": jnp.int32(cell)}
        task, state = hall(**{kind: there[kind]})
        observe = observe or jax.jit(task.observe)
        plain = np.asarray(observe(hall()[1]))
        frame = np.asarray(observe(state))
        rows, columns = np.nonzero((frame != plain).any(-1))
        assert near(frame[rows, columns][None], colour).any()
        # in the middle across, and as wide as 2 · radius / 2 cells of a frame of 2 tan 42.5°
        radius = raycasting.APPLE_RADIUS if kind == "apples" else raycasting.PILLAR_RADIUS
        width = radius * 42 / (2 * np.tan(np.deg2rad(42.5)))
        assert columns.min() + columns.max() == 41
        assert abs(columns.max() - columns.min() + 1 - width) < 1.5
        # the foot of a pillar is half a cell below the eye, an apple's middle 0.2
        per_cell = 42 / (2 * 2 * np.tan(np.deg2rad(42.5)))
        low = {"apples": 0.2 + raycasting.APPLE_RADIUS, "goal": 0.5}[kind]
        assert abs(rows.max() + 1 - (21 + low * per_cell)) < 1.5
        # whoever looks away, or has a wall in between, does not see it
        away = dataclasses.replace(state, heading=jnp.asarray(WEST))
        np.testing.assert_array_equal(
            observe(away), observe(dataclasses.replace(hall()[1], heading=jnp.asarray(WEST)))
        )
        wall = state.walls.at[3, 4].set(True)
        np.testing.assert_array_equal(
            observe(dataclasses.replace(state, walls=wall)),
            observe(dataclasses.replace(hall()[1], walls=wall)),
        )
    task, state = hall(apples=jnp.array([3 * 7 + 5, 4 * 7 + 1], jnp.int32))
    gone = dataclasses.replace(state, left=jnp.array([False, True]))
    assert observe is not None
    np.testing.assert_array_equal(observe(gone), observe(hall()[1]))


def test_the_static_labyrinth_is_the_same_each_time_but_for_the_start():
    def starts(task):
        return jax.jit(jax.vmap(task.reset))(jax.random.split(jax.random.key(0), 100))

    fixed = starts(Labyrinth(9, maze_seed=4))
    for name in ("walls", "goal", "apples"):
        value = np.asarray(getattr(fixed, name))
        assert (value == value[:1]).all()
    np.testing.assert_array_equal(fixed.walls[0], Labyrinth(9, maze_seed=4).walls)
    assert len(np.unique(fixed.place, axis=0)) == 15
    assert (Labyrinth(9, maze_seed=5).walls != fixed.walls[0]).any()
    free = starts(Labyrinth(9))
    assert len({np.asarray(walls).tobytes() for walls in free.walls}) > 90
    things = np.concatenate([np.asarray(free.apples), np.asarray(free.goal)[:, None]], axis=1)
    assert all(len(set(row)) == 4 for row in things.tolist())


def test_the_picture_shows_frame_map_path_and_walker():
    task, state = hall(apples=jnp.array([9, 10], jnp.int32), goal=jnp.int32(11))
    state = dataclasses.replace(
        state, trail=jnp.linspace(1.5, 3.5, TRAIL)[:, None] * jnp.ones((1, 2))
    )
    drawn = task.draw(jax.tree.map(np.asarray, state))
    assert drawn.shape == (268, 528, 3)
    shown = drawn[8:260, 8:260][3::6, 3::6]
    np.testing.assert_array_equal(shown, jax.jit(task.observe)(state))
    for change in (
        {"heading": jnp.asarray(SOUTH)},
        {"trail": jnp.full((TRAIL, 2), 3.5)},
        {"left": jnp.array([True, False])},
        {"goal": jnp.int32(8)},
    ):
        other = task.draw(jax.tree.map(np.asarray, dataclasses.replace(state, **change)))
        assert (other[:, 268:] != drawn[:, 268:]).any(), change


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 3}, "size must be odd and in 5 .. 31"),
        ({"size": 10}, "size must be odd"),
        ({"size": 33}, "size must be odd and in 5 .. 31"),
        ({"size": 9, "pixels": 35}, "pixels must be in 36 .. 256"),
        ({"size": 5, "apples": 4}, "apples must be in 0 .. 3"),
        ({"size": 9, "loops": -0.1}, "loops must be between 0 and 1"),
        ({"size": 9, "maze_seed": -1}, "maze_seed must be in 0"),
        ({"size": 9, "max_episode_steps": 0}, "max_episode_steps must be at least 1"),
    ],
)
def test_wrong_settings_say_what_is_possible(settings, words):
    with pytest.raises(InvalidSetting, match=re.escape(words)):
        Labyrinth(**settings)

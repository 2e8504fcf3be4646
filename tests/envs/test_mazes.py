"""Four rooms and key-and-door against rules written apart, one cell at a time in plain Python."""

import re
from collections import deque
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax.envs import FourRooms, KeyDoor
from explorax.envs.four_rooms import RoomsState
from explorax.envs.key_door import KeyDoorState
from explorax.envs.maze import nearest_free
from explorax.ops.finite import state_index

MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}  # up, down, left, right
# The four rooms as rectangles (first and last row, first and last column), and the hallways.
ROOMS = [(1, 5, 1, 5), (1, 6, 7, 11), (7, 11, 1, 5), (8, 11, 7, 11)]
HALLWAYS = [(3, 6), (6, 2), (7, 9), (10, 6)]


class Rooms:
    """Four rooms. A state is a cell (row, column)."""

    start, goal = (1, 1), (11, 11)

    def __init__(self):
        self.free = {*HALLWAYS}
        for top, bottom, left, right in ROOMS:
            self.free |= set(product(range(top, bottom + 1), range(left, right + 1)))

    def step(self, cell, action):
        there = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
        return there if there in self.free else cell

    def ended(self, cell):
        return cell == self.goal


class Doors:
    """Key and door. A state is a cell, whether the key is held, and whether the door is open."""

    def __init__(self, size, wall, door, start, key, goal):
        self.size, self.wall, self.door, self.key, self.goal = size, wall, door, key, goal
        self.start = (start, False, False)

    def step(self, state, action):
        cell, held, is_open = state
        row, column = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
        if not (0 <= row < self.size and 0 <= column < self.size):
            return state
        if column == self.wall and (row, column) != self.door:
            return state
        if (row, column) == self.door and not is_open:
            return cell, held, held
        return (row, column), held or (row, column) == self.key, is_open

    def ended(self, state):
        return state[0] == self.goal


def described(size):
    """Return the world that the docstring of KeyDoor describes."""
    middle, last = size // 2, size - 1
    return Doors(size, middle, (0, middle), (0, 0), (last, 0), (last, last))


def drawn(task):
    layout = task.layout
    return Doors(
        task.size, layout.wall_column, layout.door, layout.start, layout.key, layout.goal
    )  # fmt: skip


def explored(oracle):
    """Return {state: (steps from the start, last action, state before)}, breadth first."""
    found: dict[Any, Any] = {oracle.start: (0, None, None)}
    queue = deque(found)
    while queue:
        state = queue.popleft()
        if oracle.ended(state):
            continue
        for action in MOVES:
            there = oracle.step(state, action)
            if there not in found:
                found[there] = (found[state][0] + 1, action, state)
                queue.append(there)
    return found


def shortest(oracle):
    """Return the actions of a shortest way to the goal."""
    found = explored(oracle)
    state = min((state for state in found if oracle.ended(state)), key=lambda state: found[state])
    actions = []
    while found[state][2] is not None:
        actions.append(found[state][1])
        state = found[state][2]
    return actions[::-1]


def chance(oracle, steps):
    """Return the exact probability that `steps` uniformly random actions reach the goal."""
    states = list(explored(oracle))
    number = {state: index for index, state in enumerate(states)}
    moves = np.zeros((len(states), len(states)))
    for state in states:
        for action in MOVES:
            there = state if oracle.ended(state) else oracle.step(state, action)
            moves[number[state], number[there]] += 0.25
    ended = np.array([oracle.ended(state) for state in states])
    return np.linalg.matrix_power(moves, steps)[0] @ ended


def state_of(task, state):
    """Return the task's own form of a state of its oracle."""
    if isinstance(task, FourRooms):
        return RoomsState(jnp.int32(13 * state[0] + state[1]))
    (row, column), held, is_open = state
    cell = jnp.int32(task.size * row + column)
    return KeyDoorState(cell, jnp.bool_(held), jnp.bool_(is_open))


def stacked(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


WORLDS = [
    (FourRooms(), Rooms()),
    *((KeyDoor(size), described(size)) for size in (4, 5, 6)),
    *((task, drawn(task)) for task in (KeyDoor(7, layout_seed=3), KeyDoor(4, layout_seed=1))),
]
IDS = ["four_rooms", "key_door/4", "key_door/5", "key_door/6", "drawn/7", "drawn/4"]


@pytest.mark.parametrize(("task", "oracle"), WORLDS, ids=IDS)
def test_every_move_from_every_state_is_the_oracles(task, oracle):
    states = [state for state in explored(oracle) if not oracle.ended(state)]
    pairs = list(product(states, MOVES))
    before = stacked([state_of(task, state) for state, _ in pairs])
    actions = jnp.asarray([action for _, action in pairs])
    keys = jax.random.split(jax.random.key(0), len(pairs))
    after, reward, terminated = jax.jit(jax.vmap(task.step))(before, keys, actions)
    expected = [oracle.step(*pair) for pair in pairs]
    jax.tree.map(
        np.testing.assert_array_equal, after, stacked([state_of(task, each) for each in expected])
    )
    ended = [oracle.ended(each) for each in expected]
    assert 0 < sum(ended) < len(ended)
    np.testing.assert_array_equal(terminated, ended)
    np.testing.assert_array_equal(reward, np.array(ended, np.float32))


@pytest.mark.parametrize(("task", "oracle"), WORLDS, ids=IDS)
def test_every_state_is_seen_as_one_hot_codes_of_its_own(task, oracle):
    states = list(explored(oracle))
    obs = jax.jit(jax.vmap(task.observe))(stacked([state_of(task, state) for state in states]))
    flat = np.asarray(obs).reshape(len(states), -1)
    assert set(np.unique(flat)) == {0.0, 1.0}
    begin = 0
    for size in task.obs.one_hot:
        np.testing.assert_array_equal(flat[:, begin : begin + size].sum(1), 1)
        begin += size
    assert begin == flat.shape[1]
    numbers = np.asarray(jax.jit(lambda obs: state_index(task.obs, obs))(obs))
    assert len(set(numbers.tolist())) == len(states)
    cells = [state if isinstance(task, FourRooms) else state[0] for state in states]
    np.testing.assert_array_equal(task.view.project(obs), [(column, row) for row, column in cells])
    assert not any(task.walls[cell] for cell in cells)


@pytest.mark.parametrize(("task", "oracle"), WORLDS, ids=IDS)
def test_shortest_way_pays_one_at_its_end(task, oracle):
    actions = shortest(oracle)
    reset, step = jax.jit(task.reset), jax.jit(task.step)
    for seed in range(3):  # the start is always the same
        state, rewards, ends = reset(jax.random.key(seed)), [], []
        jax.tree.map(np.testing.assert_array_equal, state, state_of(task, oracle.start))
        for action in actions:
            state, reward, end = step(state, jax.random.key(seed), jnp.int32(action))
            rewards.append(float(reward))
            ends.append(bool(end))
        assert rewards == [0.0] * (len(actions) - 1) + [1.0]
        assert ends == [False] * (len(actions) - 1) + [True]
    assert len(actions) <= task.max_episode_steps


def test_four_rooms_are_as_in_the_paper():
    free = ~FourRooms().walls
    assert free.sum() == 104
    assert {tuple(cell) for cell in np.argwhere(free).tolist()} == Rooms().free
    assert len(shortest(Rooms())) == 20


@pytest.mark.parametrize("size", [4, 6, 8])
def test_shortest_way_through_the_door_is_as_long_as_said(size):
    task, actions = KeyDoor(size), shortest(described(size))
    # to the key and back up, along the top, one more for the lock, and down
    assert len(actions) == 4 * size - 3
    if size > 4:
        assert f"{len(actions)} " in str(task.__doc__)


def test_random_actions_seldom_arrive_as_the_docstrings_say():
    said = {"four_rooms": 100_000 * chance(Rooms(), FourRooms().max_episode_steps)}
    for size in (6, 8):
        expected = chance(described(size), KeyDoor(size).max_episode_steps)
        said[f"key_door/{size}"] = 100_000 * expected
    text = str(FourRooms.__doc__)
    rooms = re.search(r"(\d+) are expected;\s+with 100 steps it would be (\d+)", text)
    doors = re.search(r"(\d+) and (\d+) are expected", str(KeyDoor.__doc__))
    assert rooms and doors
    assert int(rooms[1]) == round(said["four_rooms"])
    assert int(rooms[2]) == round(100_000 * chance(Rooms(), 100))
    assert int(doors[1]) == pytest.approx(said["key_door/6"], abs=0.6)
    assert int(doors[2]) == round(said["key_door/8"])


def test_moves_slip_in_the_other_directions_alike():
    task, action = FourRooms(slip=1 / 3), 3
    middle = RoomsState(jnp.int32(13 * 3 + 3))
    many = jax.jit(jax.vmap(lambda key: task.step(middle, key, jnp.int32(action))[0].cell))
    cells = np.asarray(many(jax.random.split(jax.random.key(0), 20_000)))
    shares = {
        direction: np.mean(cells == 13 * (3 + down) + 3 + right)
        for direction, (down, right) in MOVES.items()
    }
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares.pop(action) == pytest.approx(2 / 3, abs=0.015)
    assert list(shares.values()) == pytest.approx([1 / 9] * 3, abs=0.01)


def test_drawn_layouts_are_worlds_that_can_be_solved():
    seen = set()
    for size, seed in product((4, 6, 9), range(60)):
        task = KeyDoor(size, layout_seed=seed)
        layout = task.layout
        assert 2 <= layout.wall_column <= size - 2
        assert layout.door[1] == layout.wall_column
        assert max(layout.start[1], layout.key[1]) < layout.wall_column < layout.goal[1]
        assert layout.start != layout.key
        assert shortest(drawn(task))
        assert task.walls.sum() == size - 1
        seen.add((size, layout))
    assert len(seen) > 150
    assert KeyDoor(6, layout_seed=2).layout == KeyDoor(6, layout_seed=2).layout


def test_who_is_placed_in_a_wall_stands_in_the_free_cell_nearest_to_it():
    for task in (FourRooms(), KeyDoor(5)):
        walls = task.walls
        rows, columns = walls.shape
        table = nearest_free(walls)
        for row, column in product(range(rows), range(columns)):
            there = divmod(int(table[row * columns + column]), columns)
            squares = (there[0] - row) ** 2 + (there[1] - column) ** 2
            free = np.argwhere(~walls)
            assert squares == np.square(free - [row, column]).sum(1).min()


def test_who_is_placed_behind_the_door_has_opened_it():
    task = KeyDoor(6)
    place = jax.jit(task.place)
    for column, row, key, opened in [(1, 1, 0, 0), (0, 5, 1, 0), (3, 0, 1, 1), (5, 2, 1, 1)]:
        state = place(jnp.array([column + 0.5, row + 0.5], jnp.float32))
        assert (bool(state.has_key), bool(state.door_open)) == (bool(key), bool(opened))


def test_pictures_show_the_key_the_door_and_who_holds_what():
    task = KeyDoor(6)

    def frame(*state):
        return task.draw(jax.tree.map(np.asarray, state_of(task, state)))

    apart = [frame((1, 1), False, False), frame((1, 1), True, False), frame((1, 1), True, True)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (apart[one] != apart[other]).any()

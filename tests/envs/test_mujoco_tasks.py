"""The papers' tasks in MuJoCo: bodies, rewards, ends and sensors, beside slow loops."""

import math
from typing import Any

import numpy as np
import pytest
from playing import simulation, uniform

from explorax.envs.mujoco_simulation import Simulation
from explorax.envs.mujoco_tasks import (
    AntMaze,
    Quadruped,
    SwimmerGather,
    SwimmerUndirected,
    Walker2d,
    maze,
    swimmer_gather,
)
from explorax.envs.mujoco_tasks.model import imported
from explorax.envs.mujoco_tasks.task import HORIZON, MuJoCoTask

mujoco = imported()


def alone(worlds: Simulation, row: int, action: Any = 0.0) -> Any:
    """Return an MjData of its own with one world in it, all worked out."""
    data = mujoco.MjData(worlds.model)
    now = worlds.moment()
    data.qpos[:], data.qvel[:] = now.qpos[row], now.qvel[row]
    data.ctrl[:] = worlds.high * action
    mujoco.mj_forward(worlds.model, data)
    mujoco.mj_rnePostConstraint(worlds.model, data)
    return data


def centre(model: Any, data: Any) -> np.ndarray:
    return np.average(data.xipos[1:], axis=0, weights=model.body_mass[1:])


def drift(worlds: Simulation, row: int) -> np.ndarray:
    """Return the velocity of the centre of mass by central differences."""
    data, places = alone(worlds, row), []
    for span in (1e-6, -1e-6):
        other = mujoco.MjData(worlds.model)
        other.qpos[:] = data.qpos
        mujoco.mj_integratePos(worlds.model, other.qpos, data.qvel, span)
        mujoco.mj_kinematics(worlds.model, other)
        places.append(centre(worlds.model, other))
    return (places[0] - places[1]) / 2e-6


def test_the_walkers_body_is_rllabs() -> None:
    model = simulation(Walker2d(), 1).model
    assert (model.opt.timestep, model.opt.integrator) == (0.005, mujoco.mjtIntegrator.mjINT_EULER)
    assert model.actuator_gear[:, 0].tolist() == [150, 100, 100, 150, 100, 100]
    assert model.actuator_ctrlrange.tolist() == [[-1, 1]] * 6
    friction = {model.geom(geom).name: model.geom_friction[geom, 0] for geom in range(model.ngeom)}
    assert (friction["foot_geom"], friction["foot_left_geom"], friction["leg_geom"]) == (
        0.9,
        1.9,
        0.9,
    )


def test_the_walker_is_paid_for_speed_or_beyond_a_metre() -> None:
    dense, sparse = simulation(Walker2d(), 2), simulation(Walker2d(sparse=True), 2)
    for worlds in (dense, sparse):
        worlds.state[:, 1] = [0.0, 1.5]  # x
    paid = np.zeros(2)
    for action in uniform(15, 2, 6):
        reward, ends = dense.advance(action)
        paid, ends_too = sparse.advance(action)
        for row in range(2):
            speed = drift(dense, row)[0]
            cost = 0.5 * 1e-2 * sum(float(each) ** 2 for each in action[row])
            assert reward[row] == pytest.approx(speed - cost, abs=1e-6)
            data = alone(sparse, row)
            assert paid[row] == float(centre(sparse.model, data)[0] > 1.0)
            by_hand = [*data.qpos, *data.qvel, *centre(sparse.model, data)]
            np.testing.assert_allclose(sparse.observe()[row], by_hand, atol=1e-12)
            height, pitch = data.qpos[1], data.qpos[2]
            assert ends[row] == ends_too[row] == (not (0.8 < height < 2.0 and -1 < pitch < 1))
    assert paid.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("height", "pitch", "over"),
    [(1.25, 0.0, False), (0.7, 0.0, True), (2.1, 0.0, True), (1.25, 1.1, True), (1.25, -1.1, True)],
)
def test_the_walker_ends_where_it_falls(height: float, pitch: float, over: bool) -> None:
    worlds = simulation(Walker2d(), 1)
    worlds.state[0, 2:4] = height, pitch
    _, terminated = worlds.advance(np.zeros((1, 6)))
    assert terminated.tolist() == [over]


def test_the_swimmers_body_is_rllabs() -> None:
    model = simulation(SwimmerGather(), 1).model
    assert (model.opt.timestep, model.opt.integrator) == (0.001, mujoco.mjtIntegrator.mjINT_EULER)
    assert (model.opt.density, model.opt.viscosity) == (4000, 0.1)
    assert model.actuator_ctrlrange.tolist() == [[-50, 50]] * 2
    assert model.actuator_gear[:, 0].tolist() == [1, 1]
    assert not model.dof_armature.any()
    assert not (model.geom_contype | model.geom_conaffinity)[1:4].any()
    assert SwimmerGather().frame_skip * model.opt.timestep == pytest.approx(0.05)


def test_the_undirected_swimmer_is_paid_for_speed_and_beyond_the_finish() -> None:
    worlds = simulation(SwimmerUndirected(), 2)
    assert not worlds.moment().qpos.any() and not worlds.moment().qvel.any()  # always from rest
    worlds.state[1, 1] = 1.6
    reward = np.zeros(2)
    for action in uniform(10, 2, 2):
        reward, terminated = worlds.advance(action)
        for row in range(2):
            speed = math.hypot(*drift(worlds, row)[:2])
            x = centre(worlds.model, alone(worlds, row))[0]
            by_hand = speed - 0.005 * (action[row, 0] ** 2 + action[row, 1] ** 2) + (x > 1.5)
            assert reward[row] == pytest.approx(by_hand, abs=1e-6)
        assert not terminated.any()
    assert reward[1] > 0.9


def readings(com: np.ndarray, heading: float, objects: np.ndarray) -> list[float]:
    """The two sensors by a loop over bins and objects."""
    told = []
    for kind in (objects[:8], objects[8:]):
        for number in range(10):
            right = -math.pi / 2 + number * math.pi / 10
            near = [0.0]
            for x, y, left in kind:
                distance = math.dist((x, y), com[:2])
                angle = math.atan2(y - com[1], x - com[0]) - heading
                angle = math.atan2(math.sin(angle), math.cos(angle))
                if left and distance <= 6.0 and right <= angle < right + math.pi / 10:
                    near.append(1.0 - distance / 6.0)
            told.append(max(near))
    return told


def test_the_gatherers_sensors_beside_a_loop() -> None:
    rng = np.random.default_rng(0)
    com = rng.uniform(-6, 6, (200, 3))
    heading = rng.uniform(-10, 10, 200)
    objects = np.concatenate(
        [rng.uniform(-6, 6, (200, 16, 2)), rng.integers(0, 2, (200, 16, 1))], axis=2
    )
    told = swimmer_gather.sense(com, heading, objects)
    assert told.shape == (200, 20) and 0.05 < (told > 0).mean() < 0.5
    for row in range(200):
        by_hand = readings(com[row], heading[row], objects[row])
        np.testing.assert_allclose(told[row], by_hand, atol=1e-12)


def test_the_gatherers_sensor_looks_ahead_from_right_to_left() -> None:
    objects = np.zeros((1, 16, 3))
    objects[0, 0] = 3.0, -0.1, 1.0  # an apple ahead, a little to the right
    objects[0, 8] = 0.1, 2.0, 1.0  # a bomb at the left
    objects[0, 9] = -2.0, 0.0, 1.0  # one behind
    told = swimmer_gather.sense(np.zeros((1, 3)), np.zeros(1), objects)[0]
    assert np.flatnonzero(told).tolist() == [4, 19]
    np.testing.assert_allclose(told[[4, 19]], [0.5, 1 - 2 / 6], atol=1e-3)


def test_the_gatherers_objects_lie_where_rllab_puts_them() -> None:
    worlds = simulation(SwimmerGather(), 300)
    places = worlds.memory[:, :, :2]
    assert set(places.ravel().tolist()) == {-6.0, -4.0, -2.0, 0.0, 2.0, 4.0}
    assert worlds.memory[:, :, 2].all()
    assert (np.hypot(places[..., 0], places[..., 1]) >= 2.0).all()
    assert all(len({tuple(place) for place in row.tolist()}) == 16 for row in places)
    counts = np.unique(places.reshape(-1, 2), axis=0, return_counts=True)[1]
    assert len(counts) == 35
    np.testing.assert_allclose(counts / 300, 16 / 35, atol=0.1)  # all cells alike


def test_the_gatherer_takes_apples_and_bombs_and_is_done_when_none_is_left() -> None:
    worlds = simulation(SwimmerGather(), 3)
    worlds.memory[:, :, :2] = 6.0
    worlds.memory[:, 0, :2] = [0.5, 0.5]  # an apple and two bombs within reach, one apple not
    worlds.memory[:, 8:10, :2] = [-0.9, 0.0]
    worlds.memory[:, 1, :2] = [1.2, 0.0]
    worlds.memory[1, 8:10, 2] = 0.0  # no bombs in the second world
    worlds.memory[2, 1:, 2] = 0.0  # nothing but the apple in the third
    reward, terminated = worlds.advance(np.zeros((3, 2)))
    assert reward.tolist() == [-1.0, 1.0, 1.0]
    assert terminated.tolist() == [False, False, True]
    assert worlds.memory[0, :, 2].sum() == 13
    reward, _ = worlds.advance(np.zeros((3, 2)))  # nothing is taken twice
    assert reward.tolist() == [0.0, 0.0, 0.0]


def test_the_gatherer_observes_itself_and_its_sensors() -> None:
    worlds = simulation(SwimmerGather(), 2)
    for action in uniform(10, 2, 2):
        worlds.advance(action)
    for row in range(2):
        data = alone(worlds, row)
        com = centre(worlds.model, data)
        told = readings(com, data.qpos[2], worlds.memory[row])
        by_hand = [*data.qpos, *data.qvel, *com, *told]
        np.testing.assert_allclose(worlds.observe()[row], by_hand, atol=1e-12)
    assert worlds.observe().shape == (2, 33)


def test_a_new_episode_has_new_objects_and_leaves_the_others_alone() -> None:
    worlds = simulation(SwimmerGather(), 3)
    before = worlds.memory.copy()
    worlds.reset(np.array([1]))
    np.testing.assert_array_equal(worlds.memory[[0, 2]], before[[0, 2]])
    assert (worlds.memory[1] != before[1]).any()


def test_the_ants_body_is_rllabs_and_its_observation_beside_the_simulators() -> None:
    worlds = simulation(Quadruped(), 2)
    model = worlds.model
    assert (model.opt.timestep, model.opt.integrator) == (0.02, mujoco.mjtIntegrator.mjINT_RK4)
    assert model.actuator_ctrlrange.tolist() == [[-150, 150]] * 8
    np.testing.assert_allclose(worlds.moment().qpos[:, 2], 0.55, atol=0.05)
    touched = 0
    for action in uniform(40, 2, 8):
        reward, terminated = worlds.advance(action)
        for row in range(2):
            data = alone(worlds, row, action[row])
            forces = np.clip(data.cfrc_ext, -1, 1).ravel()
            com = centre(model, data)
            by_hand = [*data.qpos, *data.qvel, *forces, *data.xmat[1], *com]
            np.testing.assert_allclose(worlds.observe()[row], by_hand, atol=1e-8)
            speed = math.hypot(*drift(worlds, row)[:2])
            effort = 0.5e-3 * sum(each**2 for each in action[row].tolist())
            impact = 0.5e-4 * sum(each**2 for each in forces.tolist())
            assert reward[row] == pytest.approx(speed - effort - impact + 0.05, abs=1e-5)
            touched += forces.any()
        assert not terminated.any()
    assert worlds.observe().shape == (2, 125) and touched > 10


def test_the_quadruped_ends_where_it_turns_over_or_jumps() -> None:
    worlds = simulation(Quadruped(), 4)
    worlds.state[1, 4:8] = 0.0, 1.0, 0.0, 0.0  # upside down
    worlds.state[2, 3] = 1.2  # m high
    worlds.state[3, 4:8] = math.cos(0.6), math.sin(0.6), 0.0, 0.0  # leans by 1.2 rad
    _, terminated = worlds.advance(np.zeros((4, 8)))
    assert terminated.tolist() == [False, True, True, False]


def test_the_quadruped_in_the_maze_is_paid_for_being_near_the_goal() -> None:
    worlds = simulation(Quadruped(world="maze"), 2)
    worlds.state[1, 1:3] = 0.0, 8.0  # at the goal
    reward, _ = worlds.advance(np.zeros((2, 8)))
    for row in range(2):
        data = alone(worlds, row)
        distance = math.dist(centre(worlds.model, data)[:2], (0.0, 8.0))
        impact = 0.5e-4 * np.square(np.clip(data.cfrc_ext, -1, 1)).sum()
        by_hand = math.exp(-0.1 * distance**2) - impact + 0.05
        assert reward[row] == pytest.approx(by_hand, abs=1e-6)
    assert reward[1] > 0.9 > 0.1 > reward[0]


@pytest.mark.parametrize(
    ("task", "blocked", "free"),
    [
        (AntMaze(), (0, -1), (1, 0)),
        (Quadruped(world="maze"), (-1, 0), (1, 0)),
        (Quadruped(world="narrow_hallway"), (0, 1), (1, 0)),
        (Quadruped(world="wide_hallway"), (0, -1), (-1, 0)),
    ],
)
def test_walls_stop_an_ant(task: MuJoCoTask, blocked: Any, free: Any) -> None:
    worlds = simulation(task, 2)
    speed = worlds.model.nq + 1
    for _ in range(100):  # pushed in either direction, with two metres a second
        worlds.state[:, speed : speed + 2] = 2.0 * np.array([blocked, free])
        worlds.state[:, 3] = 0.6
        worlds.advance(np.zeros((2, 8)))
    gone = worlds.moment().qpos[:, :2]
    assert gone[0] @ np.array(blocked) < 3.9 and gone[1] @ np.array(free) > 3.5


def march(point: Any, angle: float, boxes: list[list[float]]) -> float:
    """Return how far a ray goes until it is in a box, by steps of a millimetre."""
    for step in range(12_000):
        x, y = (point[0] + step * 1e-3 * math.cos(angle), point[1] + step * 1e-3 * math.sin(angle))
        if any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes):
            return step * 1e-3
    return math.inf


def test_the_rays_of_the_maze_beside_a_march() -> None:
    walls, goals = (maze.squares(maze.U_MAZE, mark, 3.0) for mark in "#G")
    assert len(walls) == 18 and goals.tolist() == [[-1.5, 4.5, 1.5, 7.5]]
    points = np.array([[0.0, 0.0], [5.5, 1.0], [4.0, 5.9], [2.0, 6.5]])
    heading = np.array([0.3, 1.5, 3.0, -3.0])
    told = maze.sense(points, heading, walls, goals)
    for row, point in enumerate(points):
        for ray in range(20):
            angle = heading[row] - math.pi / 2 + (ray + 0.5) * math.pi / 20
            to_wall = march(point, angle, walls.tolist())
            to_goal = march(point, angle, goals.tolist())
            near = max(0.0, (10.0 - min(to_wall, to_goal)) / 10.0)
            expected = (near, 0.0) if to_wall <= to_goal else (0.0, near)
            np.testing.assert_allclose(told[row, [ray, 20 + ray]], expected, atol=2e-3)
    assert (told[0, 20:] == 0).all() and (told[3, 20:] > 0).any()  # seen around the corner alone


def test_a_ray_from_within_a_box_tells_the_way_out_and_along_an_edge_it_is_none() -> None:
    box = np.array([[0.0, 0.0, 2.0, 2.0]])
    ways = np.array([[[1.0, 0.0], [0.0, -1.0]]])
    np.testing.assert_allclose(maze.hits(np.array([[0.5, 0.5]]), ways, box)[0, :, 0], [1.5, 0.5])
    assert maze.hits(np.array([[-1.0, 3.0]]), ways, box)[0, :, 0].tolist() == [np.inf, np.inf]
    assert np.isfinite(maze.hits(np.array([[-1.0, 1.0]]), ways, box))[0, :, 0].tolist() == [1, 0]


def test_the_ant_is_paid_in_the_last_square_and_falls_for_nothing() -> None:
    worlds = simulation(AntMaze(), 4)
    worlds.state[1, 1:3] = 1.0, 5.0
    worlds.state[2, 1:3] = 2.0, 6.0  # beside it
    worlds.state[3, 3] = 1.2  # m high
    reward, terminated = worlds.advance(np.zeros((4, 8)))
    assert reward.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert terminated.tolist() == [False, True, False, True]
    assert worlds.observe().shape == (4, 165)


def test_all_have_the_papers_horizon() -> None:
    worlds = simulation(Walker2d(), 1)
    worlds.steps[:] = HORIZON - 2
    worlds.advance(np.zeros((1, 6)))
    assert HORIZON == 500 and not worlds.ended.any()
    worlds.advance(np.zeros((1, 6)))
    assert worlds.ended.all()

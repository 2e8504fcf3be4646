"""The papers' tasks in MuJoCo, one file each; `mujoco_vector` steps many of them at once."""

from explorax.envs.mujoco_tasks.ant_maze import AntMaze
from explorax.envs.mujoco_tasks.half_cheetah import HalfCheetahSparse
from explorax.envs.mujoco_tasks.quadruped import Quadruped
from explorax.envs.mujoco_tasks.swimmer import SwimmerUndirected
from explorax.envs.mujoco_tasks.swimmer_gather import SwimmerGather
from explorax.envs.mujoco_tasks.walker2d import Walker2d

__all__ = [
    "AntMaze",
    "HalfCheetahSparse",
    "Quadruped",
    "SwimmerGather",
    "SwimmerUndirected",
    "Walker2d",
]

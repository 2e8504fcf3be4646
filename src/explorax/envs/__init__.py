"""The tasks written in JAX, one file each. `suite.make` turns a name into an environment."""

from explorax.envs.bernoulli_bandit import BernoulliBandit
from explorax.envs.cart_pole import CartPole
from explorax.envs.cart_pole_swing_up import CartPoleSwingUp
from explorax.envs.cart_pole_swing_up_sparse import CartPoleSwingUpSparse
from explorax.envs.chain import Chain
from explorax.envs.deep_sea import DeepSea
from explorax.envs.double_pendulum_sparse import DoublePendulumSparse
from explorax.envs.four_rooms import FourRooms
from explorax.envs.key_door import KeyDoor
from explorax.envs.labyrinth import Labyrinth
from explorax.envs.memory_maze import MemoryMaze
from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_continuous import MountainCarContinuous
from explorax.envs.mountain_car_sparse import MountainCarSparse
from explorax.envs.mover import Mover
from explorax.envs.multi_goal import MultiGoal
from explorax.envs.noisy_tv import NoisyTV
from explorax.envs.pendulum_swing_up import PendulumSwingUp
from explorax.envs.point_mass import PointMass
from explorax.envs.probes import (
    ProbeAction,
    ProbeBoth,
    ProbeConstant,
    ProbeDelay,
    ProbeObservation,
    ProbeRecall,
)
from explorax.envs.reacher import Reacher

__all__ = [
    "BernoulliBandit",
    "CartPole",
    "CartPoleSwingUp",
    "CartPoleSwingUpSparse",
    "Chain",
    "DeepSea",
    "DoublePendulumSparse",
    "FourRooms",
    "KeyDoor",
    "Labyrinth",
    "MemoryMaze",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarSparse",
    "Mover",
    "MultiGoal",
    "NoisyTV",
    "PendulumSwingUp",
    "PointMass",
    "ProbeAction",
    "ProbeBoth",
    "ProbeConstant",
    "ProbeDelay",
    "ProbeObservation",
    "ProbeRecall",
    "Reacher",
]

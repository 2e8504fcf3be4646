"""The tasks written in JAX, one file each. `suite.make` turns a name into an environment."""

from explorax.envs.cart_pole import CartPole
from explorax.envs.cart_pole_swing_up_sparse import CartPoleSwingUpSparse
from explorax.envs.chain import Chain
from explorax.envs.deep_sea import DeepSea
from explorax.envs.double_pendulum_sparse import DoublePendulumSparse
from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_continuous import MountainCarContinuous
from explorax.envs.mountain_car_sparse import MountainCarSparse
from explorax.envs.probes import (
    ProbeAction,
    ProbeBoth,
    ProbeConstant,
    ProbeDelay,
    ProbeObservation,
)

__all__ = [
    "CartPole",
    "CartPoleSwingUpSparse",
    "Chain",
    "DeepSea",
    "DoublePendulumSparse",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarSparse",
    "ProbeAction",
    "ProbeBoth",
    "ProbeConstant",
    "ProbeDelay",
    "ProbeObservation",
]

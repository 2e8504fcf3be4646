"""The tasks written in JAX, one file each. `suite.make` turns a name into an environment."""

from explorax.envs.mountain_car import MountainCar
from explorax.envs.mountain_car_continuous import MountainCarContinuous
from explorax.envs.mountain_car_sparse import MountainCarSparse

__all__ = [
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarSparse",
]

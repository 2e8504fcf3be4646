"""How values become actions."""

from explorax.behaviors.boltzmann import Boltzmann
from explorax.behaviors.epsilon_greedy import EpsilonGreedy
from explorax.behaviors.greedy import Greedy

__all__ = ["Boltzmann", "EpsilonGreedy", "Greedy"]

"""How values become actions."""

from explorax.behaviors.boltzmann import Boltzmann
from explorax.behaviors.epsilon_greedy import EpsilonGreedy
from explorax.behaviors.greedy import Greedy
from explorax.behaviors.ucb import UCB, UCB1

__all__ = ["UCB", "UCB1", "Boltzmann", "EpsilonGreedy", "Greedy"]

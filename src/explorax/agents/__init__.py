"""Learning algorithms, one file each. `__all__` is the catalogue."""

from explorax.agents.dqn import DQN
from explorax.agents.erwr import ERWR
from explorax.agents.mpo import MPO
from explorax.agents.reinforce import REINFORCE
from explorax.agents.tabular_q import TabularQ
from explorax.agents.trpo import TRPO

__all__ = ["DQN", "ERWR", "MPO", "REINFORCE", "TRPO", "TabularQ"]

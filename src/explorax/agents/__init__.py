"""Learning algorithms, one file each. `__all__` is the catalogue."""

from explorax.agents.a2c import A2C
from explorax.agents.dqn import DQN
from explorax.agents.ensemble_dqn import EnsembleDQN
from explorax.agents.erwr import ERWR
from explorax.agents.mpo import MPO
from explorax.agents.ppo import PPO
from explorax.agents.reinforce import REINFORCE
from explorax.agents.soft_q import SoftQ
from explorax.agents.tabular_q import TabularQ
from explorax.agents.trpo import TRPO
from explorax.agents.unreal import UNREAL

__all__ = [
    "A2C",
    "DQN",
    "ERWR",
    "MPO",
    "PPO",
    "REINFORCE",
    "TRPO",
    "UNREAL",
    "EnsembleDQN",
    "SoftQ",
    "TabularQ",
]

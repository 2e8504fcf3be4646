"""What a bonus measures novelty in: features of observations. `__all__` is the catalogue."""

from explorax.encoders.agent_latent import AgentLatent
from explorax.encoders.dynamics_encoder import DynamicsEncoder
from explorax.encoders.fourier import Fourier
from explorax.encoders.inverse_encoder import InverseEncoder
from explorax.encoders.random_encoder import RandomEncoder
from explorax.encoders.raw import Raw

__all__ = ["AgentLatent", "DynamicsEncoder", "Fourier", "InverseEncoder", "RandomEncoder", "Raw"]

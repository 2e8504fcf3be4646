"""Intrinsic rewards, one file each, and what combines them. `__all__` is the catalogue."""

from explorax.bonuses.combine import Clip, Decay, NoBonus, Scale, Sum
from explorax.bonuses.normalize import MedianRatio, RunningMean
from explorax.bonuses.prediction_error import PredictionError
from explorax.bonuses.vime import VIME

__all__ = [
    "VIME",
    "Clip",
    "Decay",
    "MedianRatio",
    "NoBonus",
    "PredictionError",
    "RunningMean",
    "Scale",
    "Sum",
]

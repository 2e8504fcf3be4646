"""Intrinsic rewards, one file each, and what combines them. `__all__` is the catalogue."""

from explorax.bonuses.combine import Clip, Decay, NoBonus, Scale
from explorax.bonuses.normalize import MedianRatio, RunningMean
from explorax.bonuses.prediction_error import PredictionError
from explorax.bonuses.running_std import RunningStd
from explorax.bonuses.several import Product, Sum
from explorax.bonuses.vime import VIME

__all__ = [
    "VIME",
    "Clip",
    "Decay",
    "MedianRatio",
    "NoBonus",
    "PredictionError",
    "Product",
    "RunningMean",
    "RunningStd",
    "Scale",
    "Sum",
]

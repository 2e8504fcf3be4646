"""Intrinsic rewards, one file each, and what combines them. `__all__` is the catalogue."""

from explorax.bonuses.combine import Clip, Decay, NoBonus, Scale
from explorax.bonuses.count import Count
from explorax.bonuses.disagreement import Disagreement
from explorax.bonuses.e3b import E3B
from explorax.bonuses.episodic import Episodic
from explorax.bonuses.hash_count import HashCount
from explorax.bonuses.icm import ICM
from explorax.bonuses.max_info import MaxInfo
from explorax.bonuses.ngu import NGU
from explorax.bonuses.normalize import MedianRatio, RunningMean
from explorax.bonuses.prediction_error import PredictionError
from explorax.bonuses.pseudo_count import PseudoCount
from explorax.bonuses.re3 import RE3
from explorax.bonuses.return_share import ReturnShare
from explorax.bonuses.ride import RIDE
from explorax.bonuses.rnd import RND
from explorax.bonuses.running_std import RunningStd
from explorax.bonuses.several import Product, Sum
from explorax.bonuses.surprise import Surprise
from explorax.bonuses.vime import VIME

__all__ = [
    "E3B",
    "ICM",
    "NGU",
    "RE3",
    "RIDE",
    "RND",
    "VIME",
    "Clip",
    "Count",
    "Decay",
    "Disagreement",
    "Episodic",
    "HashCount",
    "MaxInfo",
    "MedianRatio",
    "NoBonus",
    "PredictionError",
    "Product",
    "PseudoCount",
    "ReturnShare",
    "RunningMean",
    "RunningStd",
    "Scale",
    "Sum",
    "Surprise",
]

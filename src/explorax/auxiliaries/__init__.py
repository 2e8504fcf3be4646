"""Auxiliary losses that teach an agent's network more than its return does, one file each."""

from explorax.auxiliaries.feature_control import FeatureControl
from explorax.auxiliaries.pixel_control import PixelControl
from explorax.auxiliaries.reward_prediction import RewardPrediction
from explorax.auxiliaries.value_replay import ValueReplay

__all__ = ["FeatureControl", "PixelControl", "RewardPrediction", "ValueReplay"]

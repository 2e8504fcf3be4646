"""Short constructor text reads back as the same settings."""

import pytest

from explorax import agents, behaviors, bonuses
from explorax.presets import __all__ as PRESETS
from explorax.presets import preset
from explorax.run.brief import brief
from explorax.run.expressions import parse


def test_defaults_are_left_out() -> None:
    scaled = bonuses.Scale(bonuses.MedianRatio(bonuses.VIME()), 1e-4)
    assert brief(scaled) == "Scale(MedianRatio(VIME()), 0.0001)"
    assert brief(bonuses.VIME(hidden=(8,))) == "VIME(hidden=(8,))"
    both = bonuses.Sum((bonuses.NoBonus(), scaled))
    assert brief(both) == "Sum((NoBonus(), Scale(MedianRatio(VIME()), 0.0001)))"
    assert brief(bonuses.Sum((scaled,))).endswith(",))")


@pytest.mark.parametrize(
    "value",
    [
        agents.TRPO(max_kl=0.02, hidden=(8, 8)),
        agents.DQN(behavior=behaviors.Boltzmann()),
        bonuses.VIME.paper(),
        bonuses.Clip(bonuses.VIME(elbo_scale="dataset"), -1.0, float("inf")),
        bonuses.Sum((bonuses.Decay(bonuses.VIME(), 1000), bonuses.NoBonus())),
        *(part for name in PRESETS for each in preset(name) for part in (each.agent, each.bonus)),
    ],
)
def test_it_reads_back_as_the_same(value: object) -> None:
    assert parse(brief(value)) == value

"""`ex.check` lets through all that is explorax's own: one of each kind here, the rest when slow."""

import pytest
from test_agent_contract import AGENTS, NEEDS_CODES
from test_bonus_contract import CASES, COUNTING, SPECS

import explorax as ex
from explorax.envs import suite

# What each does that a careless check would take for a fault: prices made of gradients, states that
# average them, memories, numbers drawn in `rescore`, tables, wrappers with clocks.
QUICK = (
    "MedianRatio",
    "E3B, random features",
    "RE3",
    "Count",
    "Episodic, hash",
    "Surprise, trust region",
    "PseudoCount",
    "A2C, LSTM",
    "TabularQ",
    "cart_pole",
    "deep_sea/N",
    "reacher",
    "probe_recall/N",
)


def quick_first(names):
    slow = pytest.mark.slow
    return [name if name in QUICK else pytest.param(name, marks=slow) for name in names]


@pytest.mark.parametrize("name", quick_first(CASES))
def test_bonuses(name):
    kind = "codes" if name in COUNTING else "grid" if "trees" in name else "discrete"
    ex.check(CASES[name], SPECS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_bonuses_in_worlds_of_every_kind(name):
    ex.check(CASES[name])


@pytest.mark.parametrize("name", quick_first(AGENTS))
def test_agents(name):
    ex.check(AGENTS[name], SPECS["codes" if name in NEEDS_CODES else "discrete"])


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_agents_in_worlds_of_every_kind(name):
    ex.check(AGENTS[name])


@pytest.mark.parametrize("name", quick_first(suite.catalogue()))
def test_tasks(name):
    ex.check(suite.make(name.replace("/N", "/7"), 2))


@pytest.mark.slow
def test_a_television():
    ex.check(suite.make("four_rooms(noisy_tv=4)", 2))
    ex.check(suite.make("mountain_car(noisy_tv=4)", 2))


def test_names_are_those_of_parts():
    assert set(QUICK) <= {*CASES, *AGENTS, *suite.catalogue()}

"""Defaults fit each other: what needs no argument runs in our tasks, or says why it cannot."""

from functools import partial

import jax
import pytest

import explorax as ex
from explorax import agents, bonuses
from explorax.core.errors import Incompatible
from explorax.densities import CTS, Empirical, Factored
from explorax.densities.choice import density_for, density_of
from explorax.envs import suite
from explorax.run.compare import DEFAULT_NUM_ENVS

# What is refused for a reason of principle, and what is then said.
CODES = "no place in one|has a table of at most"  # tables are for one-hot codes, not too many
PRINCIPLES = {
    "Count": CODES,
    "TabularQ": f"{CODES}|chooses among discrete actions",
    "DQN": "chooses among discrete actions",
    "EnsembleDQN": "chooses among discrete actions",
    "UNREAL": "PixelControl.*(needs images|divides images into cells)",
}
WRAPPERS = {"Clip", "Decay", "Episodic", "MedianRatio", "Product", "ReturnShare", "RunningMean"}
WRAPPERS |= {"RunningStd", "Scale", "Sum"}  # which must be told what they wrap
PARTS = {
    **{name: getattr(agents, name)() for name in agents.__all__},
    **{name: getattr(bonuses, name)() for name in bonuses.__all__ if name not in WRAPPERS},
    "PPO, LSTM": ex.PPO(memory="lstm"),
    "PPO, GRU": ex.PPO(memory="gru"),
    "A2C, LSTM": ex.A2C(memory="lstm"),
}


def worlds():
    """Return the specs of our own tasks, one for each kind of observation and action."""
    found = {}
    for name in suite.catalogue():
        spec = suite.make(name.replace("/N", "/7"), DEFAULT_NUM_ENVS).spec
        found.setdefault((spec.obs, spec.action), spec)
    return list(found.values())


@pytest.mark.parametrize("name", PARTS)
def test_defaults_run_in_our_tasks_or_are_refused_for_a_reason(name):
    accepted = 0
    for spec in worlds():
        try:
            jax.eval_shape(partial(PARTS[name].init, spec=spec), jax.random.key(0))
            accepted += 1
        except Incompatible as error:
            assert name in PRINCIPLES
            with pytest.raises(Incompatible, match=PRINCIPLES[name]):
                raise error from None
    assert accepted


@pytest.mark.parametrize(
    ("world", "density"),
    [
        ("four_rooms", Empirical()),
        ("deep_sea/7", Empirical()),
        ("labyrinth/7", CTS()),
        ("memory_maze/7", Factored()),  # codes, too many for a table
        ("cart_pole", Factored()),
    ],
)
def test_pseudo_counts_choose_a_density_by_what_is_observed(world, density):
    spec = suite.make(world, 2).spec
    assert density_for(spec.obs) == density
    state = jax.eval_shape(partial(ex.PseudoCount().init, spec=spec), jax.random.key(0))
    assert density_of(state.density) == density
    chosen = jax.eval_shape(partial(ex.PseudoCount(density).init, spec=spec), jax.random.key(0))
    assert jax.tree.structure(chosen) == jax.tree.structure(state)


@pytest.mark.parametrize(("envs", "parts"), [(10, 2), (8, 4), (7, 1), (4, 4), (3, 3), (1, 1)])
def test_sequences_are_shared_by_as_many_minibatches_as_divide_them(envs, parts):
    assert ex.PPO(memory="lstm")._parts(envs) == parts


def test_minibatches_that_are_set_are_kept():
    assert ex.PPO()._parts(1280) == 4  # 128 steps of ten environments
    assert ex.PPO(minibatches=32)._parts(1280) == 32
    assert ex.PPO(memory="lstm", minibatches=1)._parts(10) == 1

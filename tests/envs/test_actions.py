"""What an environment of Gymnasium's gets of our agents' actions, of every kind of space."""

import gymnasium
import numpy as np
import pytest
from action_cases import CASES, OWN, WHOLE, Acts, box
from gymnasium import spaces
from playing import play

from explorax.core.errors import BadEnvironmentData, Incompatible
from explorax.envs.gymnasium import GymnasiumVector


@pytest.fixture
def acting(request):
    """Return a function that makes a vector of Acts with a space of actions."""
    made = []

    def make(space, num_envs):
        test = "".join(each if each.isalnum() else "-" for each in request.node.name)
        made.append(f"{test}{len(made)}-v0")  # never the same twice: specs are remembered by id
        gymnasium.register(made[-1], Acts, kwargs={"space": space})  # pyright: ignore
        return GymnasiumVector(made[-1], num_envs)

    yield make
    for id in made:
        del gymnasium.registry[id]


def got(env, actions):
    """Return what each environment got in one step."""
    state, _, _ = play(env, [actions])
    (share,) = state.vector.shares
    return [world.unwrapped.got[-1] for world in share.worlds.values()]


@pytest.mark.parametrize("name", OWN)
def test_an_agents_actions_reach_the_environment_as_it_has_them(acting, name):
    case = CASES[name]
    for mine, wanted in zip(got(acting(case.space, 3), case.agent), case.sent, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(mine, wanted)
        assert case.space.contains(mine)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OWN])
def test_actions_that_our_agents_cannot_choose_are_refused(acting, name):
    with pytest.raises(Incompatible, match="must be Discrete, or a Box with finite bounds"):
        _ = acting(CASES[name].space, 1).spec


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize("low", [-2, 3])
def test_every_whole_number_is_due_as_often(acting, dtype, low):
    if low < 0 and dtype.startswith("u"):
        low += 2
    even = np.linspace(-1, 1, 51)[:-1, None] + 0.02
    given = np.array(got(acting(box(low, low + 4, dtype, (1,)), 50), even))
    assert given.dtype == dtype
    numbers, times = np.unique(given, return_counts=True)
    np.testing.assert_array_equal(numbers, np.arange(low, low + 5))
    np.testing.assert_array_equal(times, 10)


@pytest.mark.parametrize("code", [-1, 3])
def test_a_code_that_the_environment_does_not_have_is_refused(acting, code):
    words = f"environment 1: the agent's action is {code} and must be in 0 .. 2"
    with pytest.raises(BadEnvironmentData, match=words):
        got(acting(spaces.Discrete(3, start=5), 2), [0, code])

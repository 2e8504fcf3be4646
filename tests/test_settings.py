"""Values that no field can take are refused with a message; NumPy's scalars become Python's.

In a process of their own: in this one each signature is checked, so wrong types never arrive.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from explorax.core.errors import InvalidSetting
from explorax.core.settings import check_types

WHOLE, TUPLE = "must be a whole number", "must be a tuple of whole numbers, such as "
RUN = "RunConfig('cart_pole', ex.TRPO(), ex.NoBonus(), "
REFUSED = {
    "ex.UNREAL(base=ex.PPO())": "UNREAL(base=PPO(...)): base must be an A2C.",
    "ex.EnsembleDQN(base=ex.MPO())": "EnsembleDQN(base=MPO(...)): base must be a DQN.",
    "ex.VIME(pool_size=1e4 + 0.5)": f"VIME(pool_size=10000.5): pool_size {WHOLE}",
    "ex.VIME(batch_size=2.5)": f"batch_size {WHOLE}",
    "ex.VIME(batch_size=True)": f"batch_size {WHOLE}",
    "ex.DQN(replay_capacity=5e-3)": f"replay_capacity {WHOLE}",
    "ex.MedianRatio(ex.NoBonus(), 2.5)": f"window {WHOLE}",
    "ex.VIME(hidden=(32.5,))": f"hidden {TUPLE}",
    "ex.VIME(hidden=32)": f"hidden {TUPLE}",
    "ex.VIME(learn_likelihood='no')": "learn_likelihood must be True or False",
    "ex.VIME(elbo_scale=None)": "elbo_scale must be a text or a number",
    "ex.VIME(updates_per_step=float('inf'))": "positive and finite",
    "ex.Scale(ex.VIME(), 'a')": "Scale(factor='a'): factor must be a number",
    "ex.Scale(3, 1e-4)": "Scale(bonus=3): bonus must be a bonus; int has no",
    "ex.Scale(ex.TRPO(), 1e-4)": "Scale(bonus=TRPO(...)): bonus must be a bonus; TRPO has no",
    "ex.Scale(ex.VIME, 1e-4)": "a bonus and not a class: write VIME(...)",
    "ex.Sum((ex.NoBonus(), 3))": "must be a tuple of Bonus objects",
    "ex.DQN(behavior=3)": "behavior must be a behavior; int has no",
    "ex.E3B(encoder=3)": "E3B(encoder=3): encoder must be an encoder; int has no",
    "ex.VIME(latent=3)": "latent must be an encoder; int has no",
    "ex.PseudoCount(density=ex.CTS)": "a density and not a class: write CTS(...)",
    "ex.NGU(k=2.5)": f"k {WHOLE}",
    "ex.DeepSea(2.5)": f"size {WHOLE}",
    "RunConfig('cart_pole', ex.TRPO(), ex.VIME, 9000)": "not a class: write VIME(...)",
    "RunConfig('cart_pole', ex.TRPO(), 3, 9000)": "bonus must be a bonus such as VIME",
    f"{RUN}9000.5)": f"env_steps {WHOLE}",
    f"{RUN}9000, seeds=3 * 10**9)": "seeds=3000000000: seeds must be at most",
}
SAME = {
    "ex.Scale(ex.VIME(hidden=[np.int64(8)], samples=np.int32(2)), np.float64(1e-4))": (
        "ex.Scale(ex.VIME(hidden=(8,), samples=2), 1e-4)"
    ),
    "ex.Scale(ex.NoBonus(), jnp.float32(0.5))": "ex.Scale(ex.NoBonus(), 0.5)",
    f"{RUN}np.int64(9000), seeds=np.int64(3))": f"{RUN}9000, seeds=3)",
    f"{RUN}9e3)": f"{RUN}9000)",
    "ex.VIME(hidden=(3.2e1,), pool_size=1e4)": "ex.VIME(hidden=(32,), pool_size=10000)",
}
SCRIPT = """
import json, sys
import jax.numpy as jnp
import numpy as np
import explorax as ex
from explorax.core.errors import InvalidSetting
from explorax.run.config import RunConfig

def of(text):
    try:
        return repr(eval(text))
    except InvalidSetting as error:
        return f"InvalidSetting: {error}"

print(json.dumps({text: of(text) for text in json.load(sys.stdin)}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    texts = [*REFUSED, *SAME, *SAME.values()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("text", REFUSED)
def test_values_of_the_wrong_kind_are_refused(said, text):
    assert said[text].startswith("InvalidSetting: ")
    assert REFUSED[text] in said[text]


@pytest.mark.parametrize("text", SAME)
def test_scalars_of_numpy_lists_and_whole_floats_are_kept_as_pythons(said, text):
    assert not said[text].startswith("InvalidSetting")
    assert said[text] == said[SAME[text]]


@dataclass(frozen=True)
class Pair:
    """Settings whose tuple has entries of two types."""

    both: tuple[int, float]


def test_a_tuple_of_several_types_holds_each_in_its_place() -> None:
    pair = Pair((2, 2.5))
    check_types(pair)
    assert pair.both == (2, 2.5)
    for both, said in (((2, 2.5, 3), "a tuple of 2 entries"), ((2.5, 2), "must be a whole number")):
        with pytest.raises(InvalidSetting, match=said):
            check_types(unchecked(both))


def unchecked(both: Any) -> Pair:
    pair = object.__new__(Pair)  # past the type checker that tests run under
    object.__setattr__(pair, "both", both)
    return pair

"""`ex.bind`: what another loop hands to a bonus is held to the spec while it is traced."""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_bonus_contract import CASES, COUNTING, SPECS, STEPS, experience

import explorax as ex
from explorax.bonuses import VIME, Count, NoBonus, RunningStd
from explorax.core.errors import Incompatible
from explorax.core.protocols import Box, Discrete, Spec
from explorax.encoders import AgentLatent

KEY = jax.random.key(0)
KINDS = [
    (name, "codes" if name in COUNTING else "grid" if "trees" in name else "discrete")
    for name in CASES
]


def flat(leaf):
    return leaf.reshape(-1, *leaf.shape[2:])


def program(function, *arguments):
    """Return what is compiled of `function`, without addresses of Python's objects."""
    return re.sub(r"0x[0-9a-f]+", "", str(jax.make_jaxpr(function)(*arguments)))


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_bound_functions_are_the_same_programs(name, kind):
    bonus, spec = CASES[name], SPECS[kind]
    bound, rollout = ex.bind(bonus, spec), experience(spec, 0)
    rows = jax.tree.map(flat, rollout)
    state = jax.eval_shape(partial(bonus.init, spec=spec), KEY)
    assert program(bound.init, KEY) == program(partial(bonus.init, spec=spec), KEY)
    for ours, theirs, given in (
        (bound.score, bonus.score, rollout),
        (bound.update, bonus.update, rollout),
        (bound.rescore, bonus.rescore, rows),
    ):
        assert program(ours, state, KEY, given) == program(theirs, state, KEY, given)


def test_bound_functions_pay_the_same_to_the_byte():
    bonus, spec, rollout = RunningStd(Count()), SPECS["codes"], experience(SPECS["codes"], 0)
    bound = ex.bind(bonus, spec)
    state = jax.jit(bound.init)(KEY)
    for ours, theirs in ((bound.score, bonus.score), (bound.update, bonus.update)):
        got, wanted = (jax.jit(each)(state, KEY, rollout) for each in (ours, theirs))
        for one, other in zip(*map(jax.tree.leaves, (got, wanted)), strict=True):
            np.testing.assert_array_equal(one, other)


def wrong(spec, rollout):
    """Give, by what is wrong, a rollout and what is said of it."""
    float_flags = rollout.terminated.astype(jnp.float32)
    discrete = isinstance(spec.action, Discrete)
    yield jax.tree.map(flat, rollout), r"reward as float32 \[40\].*time order.*reshape\(-1, 2"
    swapped = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), rollout)
    yield swapped, r"reward as float32 \[2, 20\].*E = num_envs = 2.*swapaxes"
    yield replace(rollout, reward=rollout.reward.astype(int)), "reward as int32.*float32"
    yield replace(rollout, obs=rollout.obs[..., None]), r"\.obs as float32.*as many numbers"
    next_obs = jnp.swapaxes(rollout.next_obs, 0, 1)
    yield replace(rollout, next_obs=next_obs), r"\.next_obs as float32 \[2, 20.*swapaxes"
    yield replace(rollout, obs=rollout.obs.astype(jnp.uint8)), r"\.obs as uint8.*spec\.obs"
    for flag in ("terminated", "truncated", "first"):
        yield replace(rollout, **{flag: float_flags}), rf"{flag} as float32.*astype\(bool\)"
    yield replace(rollout, first=()), r"first as \(\).*bool \[20, 2\]"
    if discrete:
        codes = jax.nn.one_hot(rollout.action, spec.action.n)
        yield replace(rollout, action=codes), r"action as float32 \[20, 2, .*argmax"
        action = rollout.action.astype(jnp.float32)
        yield replace(rollout, action=action), r"action as float32 \[20, 2\].*whole numbers 0 \.\. "
        yield replace(rollout, action=rollout.action[..., None]), "one number 0"
    else:
        numbers = jnp.zeros(rollout.reward.shape, jnp.int32)
        yield replace(rollout, action=numbers), r"action as int32.*float32 \[20, 2, 2\]"
        numbers = rollout.action.astype(int)
        yield replace(rollout, action=numbers), "numbers from -1 to 1; numbered actions are Disc"


@pytest.mark.parametrize(("name", "kind"), [*KINDS, ("VIME", "continuous")])
def test_wrong_rollouts_are_refused_while_they_are_traced(name, kind):
    bonus, spec = CASES[name], SPECS[kind]
    bound, rollout = ex.bind(bonus, spec), experience(spec, 0)
    state = jax.eval_shape(bound.init, KEY)
    for given, said in wrong(spec, rollout):
        for method in ("score", "update"):
            with pytest.raises(Incompatible, match=said) as caught:
                jax.eval_shape(getattr(bound, method), state, KEY, given)
            text = str(caught.value)
            assert text.startswith(f"{type(bonus).__name__}.{method} was given rollout.")
            assert "wanted" in text and "\n" not in text
    with pytest.raises(Incompatible, match=r"rescore was given rows.reward as float32 \[20, 2\]"):
        jax.eval_shape(bound.rescore, state, KEY, rollout)


def test_what_numpy_has_by_default_is_what_jax_makes_of_it():
    """int64 actions and float64 rewards become int32 and float32 on the way into JAX."""
    spec, rollout = SPECS["codes"], experience(SPECS["codes"], 0)
    wide = jax.tree.map(
        lambda leaf: np.asarray(leaf, {"f": np.float64, "i": np.int64}.get(leaf.dtype.kind)),
        rollout,
    )
    bound = ex.bind(Count(), spec)
    paid, _ = jax.jit(bound.score)(bound.init(KEY), KEY, wide)
    assert paid.dtype == jnp.float32


def test_a_bonus_is_not_needed_before_the_score():
    spec, rollout = SPECS["discrete"], experience(SPECS["discrete"], 0)
    bound, unpaid = ex.bind(NoBonus(), spec), replace(rollout, bonus=())
    assert bound.score((), KEY, unpaid)[0].shape == (STEPS, 2)
    with pytest.raises(Incompatible, match=r"update was given rollout.bonus as \(\)"):
        bound.update((), KEY, unpaid)


def test_latents_that_the_spec_tells_of_must_be_there():
    spec = Spec(Box((3,)), Discrete(3), 2, latent=Box((4,)))
    bound = ex.bind(VIME(latent=AgentLatent(), hidden=(4,), pool_size=64, min_pool_size=1), spec)
    state, rollout = jax.eval_shape(bound.init, KEY), experience(spec, 0)
    latent = jnp.zeros((STEPS, 2, 4))
    good = replace(rollout, extras={"latent": latent})
    assert jax.eval_shape(bound.score, state, KEY, good)[0].shape == (STEPS, 2)
    with pytest.raises(
        Incompatible, match=r"without extras\['latent'\], where float32 \[20, 2, 4\]"
    ):
        jax.eval_shape(bound.score, state, KEY, rollout)
    for extras in ({"latent": latent[..., 0]}, {"latent": latent.astype(int)}):
        with pytest.raises(Incompatible, match=r"extras\['latent'\] as .*float32 \[20, 2, 4\]"):
            jax.eval_shape(bound.update, state, KEY, replace(rollout, extras=extras))

"""TRPO's own part: the trust region, the settings, and the seeds side by side."""

from dataclasses import replace as with_settings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorax import loop
from explorax.agents import on_policy
from explorax.agents.trpo import TRPO
from explorax.bonuses.combine import NoBonus
from explorax.core.errors import InvalidSetting
from explorax.core.pytree import replace
from explorax.envs.probes import ProbeBoth
from explorax.envs.task import Batched

AGENT = TRPO(rollout_length=32, hidden=(8,), value_hidden=(8,))


@partial(jax.jit, static_argnums=0)
def iterations(agent, key):
    """Return 12 iterations' (state before, state after, rollout, metrics), stacked."""
    env = Batched(ProbeBoth(continuous=True), 4)
    start = loop.start(env, agent, NoBonus(), key)

    def one(training, _):
        actor, rollout = loop.collect_on_device(env, agent, training.learner, training.actor)
        learner, rollout, metrics = loop.improve(agent, NoBonus(), training.learner, rollout)
        record = (training.learner.agent, learner.agent, rollout, metrics)
        return replace(training, learner=learner, actor=actor), record

    return jax.lax.scan(one, start, None, 12)[1]


def log_probs_and_kl(agent, old, new, rollout):
    seen = on_policy.features(agent, old, rollout.obs)
    before = on_policy.distribution(agent, old.policy, seen)
    after = on_policy.distribution(agent, new.policy, seen)
    ratio = jnp.exp(after.log_prob(rollout.action) - before.log_prob(rollout.action))
    advantage = on_policy.prepare(agent, old, rollout).advantage
    entropy = after.entropy().mean() - before.entropy().mean()
    rise = (ratio * advantage).mean() - advantage.mean() + agent.entropy_coef * entropy
    return before.kl(after).mean(), rise


@pytest.mark.parametrize(("max_kl", "entropy_coef"), [(0.003, 0.0), (0.05, 0.0), (0.05, 0.5)])
def test_no_update_leaves_the_trust_region_and_each_improves(max_kl, entropy_coef):
    agent = with_settings(AGENT, max_kl=max_kl, entropy_coef=entropy_coef)
    old, new, rollout, metrics = iterations(agent, jax.random.key(0))
    kl, rise = jax.jit(jax.vmap(partial(log_probs_and_kl, agent)))(old, new, rollout)
    assert np.all(kl <= max_kl * 1.001)
    assert np.mean(kl) > 0.3 * max_kl  # the region is used, too
    np.testing.assert_allclose(kl, metrics["agent/kl"], rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(rise, metrics["agent/surrogate_improvement"], rtol=0.05, atol=1e-5)
    accepted = metrics["agent/line_search_failed"] == 0.0
    assert np.all(rise[accepted] > 0.0) and accepted.mean() > 0.5


def learned(agent, state, rollout):
    learn = jax.jit(partial(agent.learn, rescore=lambda key, rows: rows.bonus))
    return learn(state, jax.random.key(1), rollout)


def test_a_line_search_that_fails_leaves_the_policy_bit_for_bit():
    _, states, rollouts, _ = iterations(AGENT, jax.random.key(1))
    state, rollout = jax.tree.map(lambda leaf: leaf[-1], (states, rollouts))
    # Damping so small that the full step overshoots, and one candidate only.
    agent = with_settings(AGENT, max_kl=3.0, backtrack_steps=1, cg_iterations=1)
    after, metrics = learned(agent, state, rollout)
    assert metrics["line_search_failed"] == 1.0 and metrics["kl"] == 0.0
    for old, new in zip(jax.tree.leaves(state.policy), jax.tree.leaves(after.policy), strict=True):
        assert np.asarray(old).tobytes() == np.asarray(new).tobytes()
    assert after.obs_moments.count > state.obs_moments.count  # the rest learns on


def test_fisher_products_of_every_row_or_of_some_give_nearly_one_step():
    _, states, rollouts, _ = iterations(AGENT, jax.random.key(2))
    state, rollout = jax.tree.map(lambda leaf: leaf[3], (states, rollouts))
    steps = []
    for subsample in (1, 2):
        after, metrics = learned(with_settings(AGENT, cg_subsample=subsample), state, rollout)
        assert metrics["line_search_failed"] == 0.0
        steps.append(
            np.concatenate(
                [
                    np.ravel(new - old)
                    for old, new in zip(
                        jax.tree.leaves(state.policy), jax.tree.leaves(after.policy), strict=True
                    )
                ]
            )
        )
    one, two = steps
    assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.9
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_kl", 0.0),
        ("cg_iterations", 0),
        ("cg_damping", -1.0),
        ("cg_subsample", 0),
        ("backtrack_factor", 1.0),
        ("backtrack_steps", 0),
    ],
)
def test_impossible_settings_are_named(field, value):
    with pytest.raises(InvalidSetting, match=rf"TRPO\({field}="):
        TRPO(**{field: value})


def test_settings_are_their_own_record():
    agent = TRPO(hidden=(64, 32), max_kl=0.02)
    assert eval(repr(agent)) == agent and hash(eval(repr(agent))) == hash(agent)

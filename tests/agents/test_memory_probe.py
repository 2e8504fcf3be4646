"""The probe ladder of memory: recall the first observation after 1, 5 and 20 steps."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from explorax import loop
from explorax.agents import A2C, PPO, UNREAL
from explorax.auxiliaries import RewardPrediction, ValueReplay
from explorax.bonuses import NoBonus
from explorax.envs import ProbeRecall
from explorax.envs.task import Batched

SEEDS = 8
# Rollouts of three of the longest episodes: gradients do not flow back over a rollout's start.
PLAIN = A2C(
    rollout_length=63, hidden=(16,), memory_size=16, learning_rate=1e-2, normalize_advantages=True
)
LSTM = dataclasses.replace(PLAIN, memory="lstm")
CLIPPED = PPO(
    rollout_length=63, hidden=(16,), memory_size=16, learning_rate=3e-3, minibatches=2, epochs=4
)
RECURRENT = {
    "A2C, LSTM": LSTM,
    "A2C, GRU": dataclasses.replace(PLAIN, memory="gru"),
    "PPO, LSTM": dataclasses.replace(CLIPPED, memory="lstm"),
    "UNREAL": UNREAL(
        dataclasses.replace(LSTM, sees_last=True, learning_rate=5e-3),
        (RewardPrediction(), ValueReplay()),
        replay_capacity=3200,
    ),
}


def last_returns(agent, delay):
    """Return the seeds' mean returns in the last 20 of 140 rollouts of 16 environments, sorted."""
    env = Batched(ProbeRecall(delay), 16)
    start = jax.jit(jax.vmap(partial(loop.start, env, agent, NoBonus())))
    chunk = jax.jit(jax.vmap(partial(loop.chunk_on_device, env, agent, NoBonus(), 20)))
    training = start(jax.random.split(jax.random.key(0), SEEDS))
    for _ in range(6):
        training, _ = chunk(training)
    return np.sort(chunk(training)[1]["return_mean"])


# Which seeds find it out in so few steps depends on how a machine rounds: from half of them to all.
# By chance an episode returns 0, and the mean of a thousand of them never 0.9.


@pytest.mark.parametrize("delay", [1, 5, 20])
def test_an_lstm_recalls(delay):
    assert last_returns(LSTM, delay)[-2] > 0.9


@pytest.mark.parametrize("name", [name for name in RECURRENT if name != "A2C, LSTM"])
def test_every_agent_with_a_memory_recalls_after_20_steps(name):
    assert last_returns(RECURRENT[name], 20)[-2] > 0.9


@pytest.mark.parametrize("agent", [PLAIN, CLIPPED], ids=["A2C", "PPO"])
@pytest.mark.parametrize("delay", [1, 5, 20])
def test_without_a_memory_none_does(agent, delay):
    assert np.abs(last_returns(agent, delay)).max() < 0.2

"""Worlds that are seen in part, or through pixels: memories, auxiliary losses, bonuses."""

from dataclasses import replace
from typing import Any

from explorax.agents import A2C, DQN, PPO, UNREAL
from explorax.agents.unreal import BASE
from explorax.auxiliaries import FeatureControl, PixelControl, RewardPrediction, ValueReplay
from explorax.behaviors import EpsilonGreedy
from explorax.bonuses import (
    ICM,
    RND,
    VIME,
    HashCount,
    MedianRatio,
    NoBonus,
    PseudoCount,
    RunningStd,
    Scale,
)
from explorax.core.protocols import Agent, Bonus
from explorax.densities import CTS
from explorax.encoders import AgentLatent
from explorax.presets.experiment import Experiment
from explorax.presets.papers import information_gain

MAZE = "memory_maze/9"
RECURRENT = A2C(memory="lstm", sees_last=True, learning_rate=2e-3)


def _bonuses(eta: float, pool_size: int) -> tuple[Bonus, ...]:
    """Return none, VIME on what is seen and on what the agent made of it, RND and ICM."""
    return (
        NoBonus(),
        information_gain(eta, pool_size),
        Scale(MedianRatio(VIME(pool_size=pool_size, latent=AgentLatent())), eta),
        Scale(RunningStd(RND()), 10 * eta),
        Scale(RunningStd(ICM()), 10 * eta),
    )


def key_door() -> tuple[Experiment, ...]:
    """A key, a door and a goal behind it, of which chance finds nothing: PPO with five bonuses."""
    return tuple(
        Experiment("key_door/8", PPO(), bonus, 150_000, 8, 16) for bonus in _bonuses(1e-3, 20_000)
    )


def auxiliary_losses() -> tuple[Experiment, ...]:
    """A maze seen in part: an LSTM alone, with each auxiliary loss, and with UNREAL's three."""
    shared: dict[str, Any] = dict(base=RECURRENT, windows=32, replay_capacity=64_000)
    pixels = PixelControl(cell=1)
    losses = pixels, FeatureControl(), RewardPrediction(), ValueReplay()
    agents: tuple[Agent, ...] = (
        replace(RECURRENT, memory=None, sees_last=False),
        RECURRENT,
        *(UNREAL(**shared, auxiliaries=(loss,)) for loss in losses),
        UNREAL(**shared, auxiliaries=(pixels, RewardPrediction(), ValueReplay())),
    )
    return tuple(Experiment(MAZE, agent, NoBonus(), 1_000_000, 8, 64) for agent in agents)


def hidden_state() -> tuple[Experiment, ...]:
    """A maze seen in part: bonuses on what is seen, and on what the agent remembers of it."""
    paid = _bonuses(1e-3, 20_000)
    return tuple(Experiment(MAZE, RECURRENT, bonus, 500_000, 8, 64) for bonus in paid)


def labyrinth() -> tuple[Experiment, ...]:
    """A maze in first person, in pixels: an LSTM alone, UNREAL, each of its losses, and bonuses."""
    losses = PixelControl(), FeatureControl(), RewardPrediction(), ValueReplay()
    agents: tuple[Agent, ...] = (
        UNREAL(windows=64),
        *(UNREAL(windows=64, auxiliaries=(loss,)) for loss in losses),
    )
    return (
        *(Experiment("labyrinth/9", BASE, b, 300_000, 3, 64) for b in _bonuses(1e-3, 10_000)),
        *(Experiment("labyrinth/9", agent, NoBonus(), 300_000, 3, 64) for agent in agents),
    )


def doorkey() -> tuple[Experiment, ...]:
    """MiniGrid's DoorKey of 8×8 cells: PPO with VIME, RND and counts of hashes."""
    agent = PPO(hidden=(128,), rollout_length=128)
    paid = (
        NoBonus(),
        information_gain(1e-3, 20_000),
        Scale(RunningStd(RND()), 1e-2),
        Scale(HashCount(), 1e-2),
    )
    return tuple(
        Experiment("minigrid:DoorKey-8x8-v0", agent, bonus, 200_000, 3, 8) for bonus in paid
    )


def montezuma() -> tuple[Experiment, ...]:
    """Montezuma's Revenge: PPO with RND as its paper has it, DQN with pseudo-counts of a CTS model.

    Few steps: it shows that the parts run together, and is far below what the papers trained.
    """
    game = "ale:MontezumaRevenge-v5(clip_reward=True)"
    ppo = PPO(
        hidden=(256,),
        discount=0.999,
        bonus_discount=0.99,
        bonus_episodic=False,
        learning_rate=1e-4,
        entropy_coef=1e-3,
    )
    dqn = DQN(
        hidden=(512,),
        learning_rate=1e-4,
        behavior=EpsilonGreedy(decay_env_steps=15_000),
        warmup_env_steps=2_000,
    )
    return (
        Experiment(game, ppo, NoBonus(), 25_000, 1, 8),
        Experiment(game, ppo, Scale(RunningStd(RND.paper()), 0.5), 25_000, 1, 8),
        Experiment(game, dqn, NoBonus(), 25_000, 1, 8),
        Experiment(game, dqn, PseudoCount(CTS()), 25_000, 1, 8),
    )

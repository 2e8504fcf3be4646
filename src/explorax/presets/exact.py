"""The exact information gain: what each part of it is worth, and whether it harms."""

from dataclasses import replace

from explorax.agents import TRPO
from explorax.agents.unreal import BASE
from explorax.bonuses import RND, VIME, NoBonus, Surprise
from explorax.core.protocols import Agent, Bonus
from explorax.encoders import DynamicsEncoder, Fourier, InverseEncoder
from explorax.posteriors import LastLayer
from explorax.presets.comparison import DEFAULT, WORLDS, watched
from explorax.presets.experiment import Experiment
from explorax.presets.mujoco import CHEETAH, CHEETAH_PPO
from explorax.presets.partial import MAZE, RECURRENT

_SHARES = (0.01, 0.03, 0.3, 1.0)  # beside the default's 0.1
_PREDICTS = LastLayer(of="state_action", noise="estimated")


def _with(model: LastLayer) -> Bonus:
    return replace(DEFAULT, bonus=VIME(model=model))


def information_gain_ablation() -> tuple[Experiment, ...]:
    """The exact information gain with one thing changed at a time, in mazes and on mountain car.

    In this order: none; the default; without the mean taken off; VIME's network sized by the same
    rule; of (s, a), the expected gain and the realized one; conditioned on the rollout's prefix;
    its square root; features of a dynamics model, renewed from the pool or with old rows that
    fade, and of an inverse model; features of all dimensions at once; four other shares; and two
    other bonuses sized by the same rule.
    """
    variants = (
        NoBonus(),
        DEFAULT,
        replace(DEFAULT, center=None),
        replace(DEFAULT, bonus=VIME(pool_size=10_000)),
        _with(_PREDICTS),
        _with(replace(_PREDICTS, gain="realized")),
        _with(LastLayer(given="rollout")),
        _with(LastLayer(power=0.5)),
        _with(LastLayer(DynamicsEncoder())),
        _with(LastLayer(DynamicsEncoder(), horizon=50_000)),
        _with(LastLayer(InverseEncoder())),
        _with(LastLayer(Fourier(interactions=(0,)))),
        *(replace(DEFAULT, share=share) for share in _SHARES),
        replace(DEFAULT, bonus=Surprise(pool_size=10_000)),
        replace(DEFAULT, bonus=RND()),
    )
    agent = TRPO(rollout_length=100)
    mazes, car = [world[:2] for world in WORLDS[1:3]], WORLDS[3][:2]
    worlds = ((watched(name), steps) for name, steps in (*mazes, car))
    return tuple(
        Experiment(world, agent, bonus, env_steps)
        for world, env_steps in (*worlds, car)
        for bonus in variants
    )


def no_harm() -> tuple[Experiment, ...]:
    """The exact information gain where nothing needs exploring, or where memory or pixels do.

    Tasks that pay every step, a maze seen in part, the half-cheetah that PPO solves without a
    bonus, and a maze in first person. Needs the extra `mujoco`.
    """
    steps = TRPO(rollout_length=100)
    tasks: tuple[tuple[str, Agent, int, int, int], ...] = (
        ("cart_pole", steps, 100_000, 20, 10),
        ("mountain_car", steps, 100_000, 20, 10),
        (MAZE, RECURRENT, 500_000, 20, 64),
        (CHEETAH, CHEETAH_PPO, 400_000, 5, 8),
        ("labyrinth/7", BASE, 200_000, 8, 64),
    )
    return tuple(
        Experiment(env, agent, bonus, env_steps, seeds, num_envs)
        for env, agent, env_steps, seeds, num_envs in tasks
        for bonus in (NoBonus(), DEFAULT)
    )

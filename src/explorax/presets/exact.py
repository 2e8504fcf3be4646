"""The exact information gain: what each part of it is worth, and whether it does harm."""

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
from explorax.presets.papers import sparse_tasks
from explorax.presets.partial import MAZE, RECURRENT

_SHARES = (0.01, 0.03, 0.3, 1.0)  # beside the default's 0.1
_PREDICTS = LastLayer(of="state_action")


def _with(model: LastLayer) -> Bonus:
    return replace(DEFAULT, bonus=VIME(model=model))


def information_gain_ablation() -> tuple[Experiment, ...]:
    """What each part of the exact information gain is worth, in a maze and on mountain car.

    In this order: no bonus; the default; without subtracting the mean; VIME's network scaled by the
    same rule; features of (s, a) with the expected gain and with the realized one; conditioned on
    the rollout's prefix; the square root of the gain; features of a dynamics model, renewed from
    the pool or with exponential forgetting, and of an inverse model; Fourier features of all
    dimensions at once; four other shares, the best of which is a scale tuned to the environment;
    and two other bonuses scaled by the same rule.
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
    maze, car = WORLDS[2], WORLDS[3]
    worlds = ((watched(maze[0]), maze[1]), car[:2], (watched(car[0]), car[1]))
    return tuple(
        Experiment(world, agent, bonus, env_steps)
        for world, env_steps in worlds
        for bonus in variants
    )


def information_gain_sparse() -> tuple[Experiment, ...]:
    """The exact information gain on the sparse tasks of VIME's paper, beside no bonus.

    The tasks and agents of the preset `sparse_tasks`, without the swing-up that a term for entropy
    solves alone.
    """
    tasks = dict.fromkeys(
        (each.env, each.agent, each.env_steps)
        for each in sparse_tasks()
        if getattr(each.agent, "entropy_coef", 0.0) == 0
    )
    return tuple(
        Experiment(env, agent, bonus, env_steps, seeds=20)
        for env, agent, env_steps in tasks
        for bonus in (NoBonus(), DEFAULT)
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
        (MAZE, RECURRENT, 500_000, 10, 64),
        (CHEETAH, replace(CHEETAH_PPO, decay_env_steps=300_000), 300_000, 5, 8),
        ("labyrinth/7", BASE, 120_000, 8, 64),
    )
    return tuple(
        Experiment(env, agent, bonus, env_steps, seeds, num_envs)
        for env, agent, env_steps, seeds, num_envs in tasks
        for bonus in (NoBonus(), DEFAULT)
    )

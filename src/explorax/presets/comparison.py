"""Every intrinsic reward with one agent on one set of worlds, with and without a television."""

from explorax.agents import TRPO
from explorax.bonuses import (
    E3B,
    ICM,
    NGU,
    RE3,
    RIDE,
    RND,
    VIME,
    Count,
    Disagreement,
    HashCount,
    MaxInfo,
    NoBonus,
    PredictionError,
    PseudoCount,
    ReturnShare,
    RunningStd,
    Scale,
    Surprise,
)
from explorax.core.protocols import Bonus
from explorax.densities import Factored
from explorax.posteriors import LastLayer
from explorax.presets.experiment import Experiment

DEFAULT = ReturnShare(VIME(model=LastLayer()))  # the one that is recommended
ETA = 0.1  # of a bonus in units of its own returns' deviation, where the goal pays 1
# (world, env steps of each seed, whether observations are one-hot codes)
WORLDS = (
    ("deep_sea/30", 100_000, True),
    ("four_rooms", 150_000, True),
    ("key_door/6", 150_000, True),
    ("mountain_car_sparse(power=0.0008)", 60_000, False),
)


def compared(codes: bool) -> tuple[Bonus, ...]:
    """Return the bonuses, at their defaults where nothing is said.

    The pools of transitions are short: a row of deep_sea/30 is 1,802 numbers. Where observations
    are no `codes` none comes twice, and what counts equal ones is left out.
    """
    pool = 10_000
    return (
        VIME(pool_size=pool),
        VIME(pool_size=pool, noise_head=True, likelihood_std=1.0),
        PredictionError(pool_size=pool),
        *((Count(), RIDE()) if codes else ()),
        HashCount(),
        PseudoCount(density=Factored()),
        RND(),
        ICM(),
        Disagreement(),
        Surprise(pool_size=pool),
        MaxInfo(pool_size=pool),
        NGU(),
        RIDE(count="kernel"),
        RE3(),
        E3B(),
    )


def bonuses() -> tuple[Experiment, ...]:
    """Every bonus with TRPO on four sparse worlds, each also with a noisy television.

    Each bonus is divided by the deviation of its own discounted returns and paid at the same scale,
    0.1, so that none is tuned to a world. `Count` and RIDE's exact counts need one-hot codes and
    sit out mountain car. The rollouts are short, 100 steps of 10 environments, so that a bonus is
    learnt from soon.
    """
    agent = TRPO(rollout_length=100)
    return tuple(
        Experiment(watched(world) if television else world, agent, bonus, env_steps)
        for world, env_steps, codes in WORLDS
        for television in (False, True)
        for bonus in (NoBonus(), *(Scale(RunningStd(bonus), ETA) for bonus in compared(codes)))
    )


def information_gain() -> tuple[Experiment, ...]:
    """The exact information gain beside VIME's network and the best of all bonuses, 20 seeds.

    The worlds and the agent of the preset `bonuses`. The exact gain is sized by what the task pays
    (`ReturnShare`), with the same settings in every world. VIME's network and Surprise, ICM and
    RND, which stood best there, are paid as there; in deep_sea/30, which none of them solves, they
    sit out.
    """
    agent = TRPO(rollout_length=100)
    others = (Surprise(pool_size=10_000), VIME(pool_size=10_000), ICM(), RND())
    paid = tuple(Scale(RunningStd(each), ETA) for each in others)
    worlds = (*WORLDS[1:], WORLDS[0])
    return tuple(
        Experiment(watched(world) if television else world, agent, bonus, env_steps, seeds=20)
        for bonus in (NoBonus(), DEFAULT, *paid)
        for world, env_steps, _ in worlds
        for television in (False, True)
        if bonus not in paid or not world.startswith("deep_sea")
    )


def watched(world: str) -> str:
    """Return the name of the world with a television: a code of 32 pictures, or one number."""
    if world.endswith(")"):
        return world[:-1] + ", noisy_tv=1)"
    return world + "(noisy_tv=32)"

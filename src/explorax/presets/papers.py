"""Experiments by name. The first line of each docstring is what `explorax list presets` shows."""

from explorax.agents import DQN, ERWR, REINFORCE, TRPO
from explorax.bonuses import VIME, MedianRatio, NoBonus, PredictionError, Scale
from explorax.core.protocols import Bonus
from explorax.presets.experiment import Experiment

# Where the episode's extrinsic return is 1 to 500, a normalised bonus of about 1 per step must stay
# well below it: the sparse experiments of arXiv 1605.09674 use eta = 1e-4 to 1e-3.
SPARSE_ETA = 1e-4
ETAS = (1e-4, 3e-4, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)


def information_gain(eta: float) -> Bonus:
    """Return VIME's bonus, divided by the median of the last iterations, times `eta`."""
    return Scale(MedianRatio(VIME()), eta)


def prediction_error(eta: float) -> Bonus:
    """Return the baseline of arXiv 1605.09674: the model's squared error, normalised alike."""
    return Scale(MedianRatio(PredictionError()), eta)


def demo() -> tuple[Experiment, ...]:
    """Mountain car: DQN and TRPO, each without a bonus and with VIME."""
    return tuple(
        Experiment("mountain_car", agent, bonus, env_steps)
        for agent, eta, env_steps in ((DQN(), 0.1, 50_000), (TRPO(), 0.1, 200_000))
        for bonus in (NoBonus(), information_gain(eta))
    )


def sparse_tasks() -> tuple[Experiment, ...]:
    """The sparse tasks of VIME's paper: TRPO with no bonus, prediction error and VIME."""
    tasks = (
        ("mountain_car_sparse(power=0.0015)", 250_000),
        ("mountain_car_sparse(power=0.0008)", 250_000),
        ("cart_pole_swing_up_sparse", 2_500_000),
        ("double_pendulum_sparse", 2_500_000),
    )
    return tuple(
        Experiment(env, TRPO(), bonus, env_steps, seeds=20)
        for env, env_steps in tasks
        for bonus in (NoBonus(), prediction_error(SPARSE_ETA), information_gain(SPARSE_ETA))
    )


def eta_sweep() -> tuple[Experiment, ...]:
    """How much bonus is too much: dense mountain car, TRPO, REINFORCE and ERWR, eta 0 to 10."""
    bonuses = (NoBonus(), *(information_gain(eta) for eta in ETAS))
    return tuple(
        Experiment("mountain_car", agent, bonus, 500_000)
        for agent in (TRPO(), REINFORCE(), ERWR())
        for bonus in bonuses
    )


def deep_sea() -> tuple[Experiment, ...]:
    """Deep sea of 10 and 20 rows: TRPO with no bonus, prediction error and VIME."""
    return tuple(
        Experiment(f"deep_sea/{size}", TRPO(), bonus, env_steps, seeds=20)
        for size, env_steps in ((10, 250_000), (20, 1_000_000))
        for bonus in (NoBonus(), prediction_error(1e-2), information_gain(1e-2))
    )


def dqn_mountain_car() -> tuple[Experiment, ...]:
    """DQN on mountain car for 100,000 steps: no bonus, prediction error and VIME."""
    return tuple(
        Experiment("mountain_car", DQN(), bonus, 100_000, seeds=20)
        for bonus in (NoBonus(), prediction_error(0.1), information_gain(0.1))
    )

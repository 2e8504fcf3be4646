"""Experiments by name. The first line of each docstring is what `explorax list presets` shows."""

from dataclasses import replace

from explorax.agents import DQN, ERWR, REINFORCE, TRPO, EnsembleDQN
from explorax.behaviors import Greedy
from explorax.bonuses import VIME, Clip, Count, Decay, MedianRatio, NoBonus, PredictionError, Scale
from explorax.core.protocols import Bonus
from explorax.presets.experiment import Experiment

# Where the episode's extrinsic return is 1 to 500, a normalised bonus of about 1 per step must stay
# well below it: the sparse experiments of arXiv 1605.09674 use eta = 1e-4 to 1e-3.
SPARSE_ETA = 1e-4
ETAS = (1e-4, 3e-4, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)  # those of its sweep


def information_gain(eta: float, pool_size: int = 100_000) -> Bonus:
    """Return VIME's bonus, divided by the median of the last iterations, times `eta`."""
    return Scale(MedianRatio(VIME(pool_size=pool_size)), eta)


def prediction_error(eta: float) -> Bonus:
    """Return the baseline of arXiv 1605.09674: the model's squared error, normalised alike."""
    return Scale(MedianRatio(PredictionError()), eta)


def demo() -> tuple[Experiment, ...]:
    """Mountain car: DQN and TRPO, each without a bonus and with VIME.

    DQN on the classic task, −1 per step until the goal; TRPO on the sparse one with a weak engine,
    +1 at the goal and nothing before. DQN's bonus has faded after two thirds of the run.
    """
    dqn = Decay(information_gain(0.3), 40_000)
    weak = "mountain_car_sparse(power=0.0008)"
    return (
        Experiment("mountain_car", DQN(), NoBonus(), 60_000),
        Experiment("mountain_car", DQN(), dqn, 60_000),
        Experiment(weak, TRPO(), NoBonus(), 250_000),
        Experiment(weak, TRPO(), information_gain(SPARSE_ETA), 250_000),
    )


def sparse_tasks() -> tuple[Experiment, ...]:
    """The sparse tasks of VIME's paper: TRPO with no bonus, prediction error and VIME.

    The cart-pole three times. As the authors ran it: a raw angle, and a policy that begins with a
    deviation of a tenth of the force limit, since their actions are newtons and their deviation is
    1 N. Then so that balancing can be learnt, with the angle as cosine and sine: with a deviation
    of 0.3, at which noise alone seldom finds the reward; and with the full one and a term for
    entropy, which keeps it up. There also with VIME clipped at 10 medians, since its few largest
    payments outgrow the reward. The double pendulum's torque is so weak that noise finds no reward.
    """
    tasks = (
        ("mountain_car_sparse(power=0.0015)", TRPO(), SPARSE_ETA, 250_000),
        ("mountain_car_sparse(power=0.0008)", TRPO(), SPARSE_ETA, 250_000),
        ("cart_pole_swing_up_sparse", TRPO(init_std=0.1), 1e-3, 2_500_000),
        ("double_pendulum_sparse(torque=2.0)", TRPO(), 1e-3, 500_000),
    )
    balancing = "cart_pole_swing_up_sparse(angle='cos_sin')"
    timid = TRPO(init_std=0.3, gae_lambda=0.98)
    lively = TRPO(gae_lambda=0.98, entropy_coef=0.03)
    paid = (NoBonus(), prediction_error(1e-3), information_gain(1e-3))
    clipped = Scale(Clip(MedianRatio(VIME()), 0.0, 10.0), 1e-3)
    return (
        *(
            Experiment(env, agent, bonus, env_steps, seeds=20)
            for env, agent, eta, env_steps in tasks
            for bonus in (NoBonus(), prediction_error(eta), information_gain(eta))
        ),
        *(Experiment(balancing, timid, bonus, 2_500_000, seeds=20) for bonus in paid),
        *(Experiment(balancing, lively, bonus, 2_500_000, seeds=20) for bonus in (*paid, clipped)),
    )


def eta_sweep() -> tuple[Experiment, ...]:
    """How much bonus is too much: dense mountain car, TRPO, REINFORCE and ERWR, eta 0 to 10."""
    bonuses = (NoBonus(), *(information_gain(eta) for eta in ETAS))
    return tuple(
        Experiment("mountain_car", agent, bonus, 200_000)
        for agent in (TRPO(), REINFORCE(), ERWR())
        for bonus in bonuses
    )


def deep_sea() -> tuple[Experiment, ...]:
    """Deep sea of 20 rows: TRPO with no bonus, prediction error and VIME.

    A transition is 802 numbers here, so the pools are small: 100,000 rows for each of 20 seeds are
    6 GB, and writing them is most of the time.
    """
    pools = PredictionError(pool_size=10_000), VIME(pool_size=10_000)
    paid = [Scale(MedianRatio(bonus), 1e-2) for bonus in pools]
    return tuple(
        Experiment("deep_sea/20", TRPO(), bonus, 400_000, seeds=20) for bonus in (NoBonus(), *paid)
    )


def deep_exploration() -> tuple[Experiment, ...]:
    """Deep sea of 30 rows: DQN, DQN with optimism and EnsembleDQN, without a bonus and with counts.

    Values are linear in the one-hot code of the cell, so that what is learned of one says nothing
    of another. 150,000 env steps are 5,000 episodes, half of bsuite's.
    """
    dqn = DQN(
        behavior=Greedy(),
        hidden=(),
        normalize_obs=False,
        n_steps=1,
        batch_size=64,
        rollout_length=4,
        updates_per_learn=5,
        replay_capacity=20_000,
        learning_rate=0.01,
        polyak_rate=0.1,
    )
    counts = Count(0.02, of="state_action")
    # A network that is shown a code of 900 cells has outputs of a deviation of 0.05 at first.
    often = replace(dqn, updates_per_learn=10)
    ensemble = EnsembleDQN(often, prior_scale=20.0, mask_prob=1.0)
    return tuple(
        Experiment("deep_sea/30", agent, bonus, 150_000, seeds=10)
        for agent in (dqn, replace(dqn, optimism=1.0), ensemble)
        for bonus in (NoBonus(), counts)
    )


def dqn_mountain_car() -> tuple[Experiment, ...]:
    """DQN on mountain car for 100,000 steps: no bonus, prediction error and VIME."""
    return tuple(
        Experiment("mountain_car", DQN(), bonus, 100_000, seeds=20)
        for bonus in (NoBonus(), prediction_error(0.3), information_gain(0.3))
    )

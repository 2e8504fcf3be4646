"""The papers' sparse tasks in MuJoCo: with the information gain, and without."""

from explorax.agents import PPO, TRPO
from explorax.bonuses import NoBonus
from explorax.presets.experiment import Experiment
from explorax.presets.papers import SPARSE_ETA, information_gain

CHEETAH = "mujoco:HalfCheetahSparse"
# The policy of VIME's locomotion tasks, and rollouts of 5,000 env steps with ten environments.
_TRPO = TRPO(hidden=(64, 32), gae_lambda=0.97)
# vime-pytorch's: 2,048 env steps, here of eight environments.
CHEETAH_PPO = PPO(
    rollout_length=256,
    epochs=10,
    minibatches=32,
    entropy_coef=0.0,
    learning_rate=3e-4,
    decay_env_steps=1_000_000,
)


def mujoco_sparse() -> tuple[Experiment, ...]:
    """The half-cheetah that is paid beyond five metres: TRPO and PPO, with and without VIME.

    A million env steps. TRPO has VIME's networks and its η = 1e-3 for this task, PPO the settings
    and the η = 1e-4 of vime-pytorch, which published five seeds of it. Needs the extra `mujoco`.
    """
    return (
        *(
            Experiment(CHEETAH, _TRPO, bonus, 1_000_000, 5, 10)
            for bonus in (NoBonus(), information_gain(1e-3))
        ),
        *(
            Experiment(CHEETAH, CHEETAH_PPO, bonus, 1_000_000, 5, 8)
            for bonus in (NoBonus(), information_gain(SPARSE_ETA))
        ),
    )


def mujoco_walker2d() -> tuple[Experiment, ...]:
    """The walker in MuJoCo, paid for speed or beyond a metre: TRPO, with and without VIME.

    The dense task of VIME's paper (Fig. 3), for which its authors tried η from 1e-5 to 1e-1: 1e-2
    here, and 1e-3 where the reward is sparse. Needs the extra `mujoco`.
    """
    return tuple(
        Experiment(env, _TRPO, bonus, 1_000_000, 3, 10)
        for env, eta in (("mujoco:Walker2d", 1e-2), ("mujoco:Walker2d(sparse=True)", 1e-3))
        for bonus in (NoBonus(), information_gain(eta))
    )


def swimmer_gather() -> tuple[Experiment, ...]:
    """The swimmer in MuJoCo that gathers apples: TRPO, with and without VIME.

    Rollouts of 10,000 env steps where VIME's authors had 50,000, and a hundredth of their five
    hundred million env steps; η = 1e-4 as theirs. Needs the extra `mujoco`.
    """
    return tuple(
        Experiment("mujoco:SwimmerGather", _TRPO, bonus, 5_000_000, 2, 20)
        for bonus in (NoBonus(), information_gain(SPARSE_ETA, pool_size=1_000_000))
    )

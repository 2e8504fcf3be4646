"""MPO and soft Q-learning where they can be compared: goals to choose from, control, ablations."""

from dataclasses import replace
from typing import Any

from explorax.agents import MPO, TRPO, SoftQ
from explorax.bonuses import RND, NoBonus, RunningStd, Scale
from explorax.core.protocols import Agent
from explorax.presets.experiment import Experiment
from explorax.presets.papers import information_gain

# One gradient step for two env steps, smaller networks than the paper's and faster steps: what
# learns within 100,000 env steps.
_QUICK: dict[str, Any] = dict(
    hidden=(128, 128),
    batch_size=128,
    action_samples=10,
    max_kl_mean=0.01,
    learning_rate=1e-3,
    updates_per_learn=64,
    bonus_at="collection",
)
_SWING_UP = "cart_pole_swing_up"
_SPARSE = "cart_pole_swing_up(sparse=True)"
# What a core can do in minutes; the pendulum pays near the top alone, and takes longer to find it.
_CONTROL = {
    "pendulum_swing_up": 100_000,
    _SWING_UP: 60_000,
    _SPARSE: 60_000,
    "reacher": 60_000,
    "point_mass": 60_000,
}


def multi_goal() -> tuple[Experiment, ...]:
    """Four goals, all as good: soft Q-learning, and two agents whose policy has one mode.

    With the released code's reward and temperature (rewards times 0.1 there), and with the paper's.
    """
    agents: tuple[Agent, ...] = (
        SoftQ(temperature=10.0),
        MPO(**{**_QUICK, "hidden": (64, 64), "updates_per_learn": 16}),
        TRPO(rollout_length=100),
    )
    return tuple(
        Experiment(env, agent, NoBonus(), 40_000, num_envs=8)
        for env in ("multi_goal", "multi_goal(reward='paper')")
        for agent in agents
    )


def pretraining() -> tuple[Experiment, ...]:
    """Soft Q-learning that has learnt to move in any direction, and then must through a maze.

    Against one that starts there from scratch, both with a temperature that goes down the same line
    of its logarithm, as in the fine-tuning of arXiv 1702.08165, appendix D.
    """
    mover: dict[str, Any] = dict(
        hidden=(64, 64), temperature=0.1, learning_rate=1e-3, sampler_learning_rate=1e-3
    )
    undirected = Experiment("mover", SoftQ(**mover), NoBonus(), 60_000, num_envs=8)
    cooling = SoftQ(**mover, end_temperature=1e-3, decay_env_steps=25_000)
    scratch = Experiment("mover(world='maze')", cooling, NoBonus(), 50_000, num_envs=8)
    return (scratch, replace(scratch, init_from=undirected), undirected)


def mpo_control() -> tuple[Experiment, ...]:
    """MPO on five control tasks that pay 0 to 1 per step; the sparse cart-pole with bonuses too.

    The cart-pole that pays only near the top is where a bonus should show: there also with
    VIME and with RND, scored when a step is taken.
    """
    agent = MPO(**_QUICK)
    bonuses = information_gain(0.01, pool_size=50_000), Scale(RunningStd(RND()), 0.01)
    return (
        *(Experiment(env, agent, NoBonus(), steps, 3, 8) for env, steps in _CONTROL.items()),
        *(Experiment(_SPARSE, agent, bonus, _CONTROL[_SPARSE], 3, 8) for bonus in bonuses),
    )


def mpo_dm_control() -> tuple[Experiment, ...]:
    """MPO on four tasks of dm_control itself, for as many env steps as the published scores have.

    One gradient step for eight env steps, as those had; smaller networks and batches. The cart-pole
    that pays only near the top also with VIME and with RND. Needs the extra `dm_control`.
    """
    agent = MPO(**{**_QUICK, "updates_per_learn": 16})
    sparse, *others = (
        "dm_control:cartpole-swingup_sparse",
        "dm_control:walker-walk",
        "dm_control:cheetah-run",
        "dm_control:hopper-stand",
    )
    bonuses = NoBonus(), information_gain(0.01, pool_size=50_000), Scale(RunningStd(RND()), 0.01)
    return (
        *(Experiment(sparse, agent, bonus, 500_000, 3, 8) for bonus in bonuses),
        *(Experiment(env, agent, NoBonus(), 500_000, 3, 8) for env in others),
    )


def mpo_discrete() -> tuple[Experiment, ...]:
    """MPO with discrete actions, with and without VIME: the cart-pole, and a sea of 20 rows."""
    agent = MPO(**{**_QUICK, "updates_per_learn": 16, "max_kl_policy": 0.01})
    return tuple(
        Experiment(env, agent, bonus, env_steps, 3, 8)
        for env, env_steps, pool in (("cart_pole", 60_000, 50_000), ("deep_sea/20", 60_000, 10_000))
        for bonus in (NoBonus(), information_gain(0.01, pool_size=pool))
    )


def mpo_ablation() -> tuple[Experiment, ...]:
    """What each part of MPO is worth on the cart-pole's swing-up, each changed alone.

    The parametric form has half the bound on the mean, as it needs a stricter one; the joint bound
    replaces those of the mean and of the covariance, so that the covariance may go further.
    """
    changed: tuple[dict[str, Any], ...] = (
        {},
        {"variant": "parametric", "max_kl_mean": 0.005},
        {"evaluation": "n_step"},
        {"kl": "joint", "max_kl_policy": 0.01},
    )
    return tuple(
        Experiment(_SWING_UP, MPO(**{**_QUICK, **each}), NoBonus(), _CONTROL[_SWING_UP], 3, 8)
        for each in changed
    )

"""Stable-Baselines3's DQN with a bonus of explorax, on a large frozen lake.

    pip install torch stable-baselines3
    python examples/sb3_dqn.py

The replay keeps each reward with the bonus that was paid when the step was new. A bonus that wears
off with visits is then still large in old rows, so a small replay serves better than a large one.
"""

import argparse

import torch  # pyright: ignore[reportMissingImports]
from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
    make_vec_env,
)

import explorax as ex
from explorax.adapters.stable_baselines3 import IntrinsicReward
from explorax.core.protocols import Bonus

torch.set_num_threads(1)
# 16 by 16 without holes: 30 steps from the start to the goal, which pays 1 where nothing else pays
LAKE = ["S" + 15 * "F", *14 * [16 * "F"], 15 * "F" + "G"]


def goals(bonus: Bonus, steps: int) -> tuple[int, int]:
    """Return how many episodes reached the goal while DQN was trained, and of how many."""
    # make_vec_env puts Monitor on each environment, under the bonus: its returns are the lake's.
    settings = {"desc": LAKE, "is_slippery": False}
    lakes = make_vec_env("FrozenLake8x8-v1", 8, seed=0, env_kwargs=settings)
    env = IntrinsicReward(lakes, bonus)
    model = DQN(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        learning_starts=200,
        buffer_size=2000,
        batch_size=64,
        train_freq=1,
        gradient_steps=2,
        target_update_interval=200,
        gamma=0.98,
        exploration_initial_eps=0.05,
        seed=0,
        device="cpu",
    )
    model.learn(steps)
    returns = [each for monitor in env.env_method("get_episode_rewards") for each in monitor]
    return sum(each > 0 for each in returns), len(returns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8_000, help="of all environments together")
    steps = parser.parse_args().steps
    for bonus in (ex.NoBonus(), ex.Count(beta=0.1)):
        reached, episodes = goals(bonus, steps)
        print(f"{bonus!r}: the goal was reached in {reached} of {episodes} episodes")

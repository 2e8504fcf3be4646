"""Stable-Baselines3's PPO with a bonus of explorax, on Gymnasium's frozen lake.

    pip install torch stable-baselines3
    python examples/sb3_ppo.py

The lake of 8 by 8 pays 1 at the far corner and nothing elsewhere, and its holes end the episode:
PPO alone has nothing to learn from until it stumbles on the goal.
"""

import argparse

import torch  # pyright: ignore[reportMissingImports]
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
    make_vec_env,
)

import explorax as ex
from explorax.adapters.stable_baselines3 import IntrinsicReward
from explorax.core.protocols import Bonus

torch.set_num_threads(1)


def goals(bonus: Bonus, steps: int) -> tuple[int, int]:
    """Return how many episodes reached the goal while PPO was trained, and of how many."""
    # make_vec_env puts Monitor on each environment, under the bonus: its returns are the lake's.
    lakes = make_vec_env("FrozenLake8x8-v1", 8, seed=0, env_kwargs={"is_slippery": False})
    env = IntrinsicReward(lakes, bonus)
    settings = dict(n_steps=64, batch_size=128, gamma=0.98, ent_coef=0.01, seed=0, device="cpu")
    PPO("MlpPolicy", env, **settings).learn(steps)
    returns = [each for monitor in env.env_method("get_episode_rewards") for each in monitor]
    return sum(each > 0 for each in returns), len(returns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30_000, help="of all environments together")
    steps = parser.parse_args().steps
    for bonus in (ex.NoBonus(), ex.Count(beta=0.1)):
        reached, episodes = goals(bonus, steps)
        print(f"{bonus!r}: the goal was reached in {reached} of {episodes} episodes")

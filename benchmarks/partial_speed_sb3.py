"""The other side of partial_speed.py: PPO of Stable-Baselines3 on CartPole-v1, its own defaults."""

import json
import time

import torch  # pyright: ignore[reportMissingImports]  (another environment's)
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]  (as above)
from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
    make_vec_env,
)

torch.set_num_threads(1)
agent = PPO("MlpPolicy", make_vec_env("CartPole-v1", n_envs=4), device="cpu")
agent.learn(8192)
begun = time.perf_counter()
agent.learn(16384)
print(json.dumps(agent.num_timesteps / (time.perf_counter() - begun)))

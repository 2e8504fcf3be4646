"""A PPO of one's own in PyTorch, in the style of CleanRL, with a bonus of explorax.

    pip install torch
    python examples/cleanrl_style.py

What differs from a loop without a bonus is one line: the vector is wrapped. On Gymnasium's frozen
lake, 8 by 8, which pays 1 at the far corner and nothing elsewhere.
"""

import argparse

import gymnasium
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from gymnasium.vector import AutoresetMode
from torch import nn  # pyright: ignore[reportMissingImports]

import explorax as ex
from explorax.adapters.gymnasium import IntrinsicReward
from explorax.core.protocols import Bonus

ENVS, STEPS, PLACES, ACTIONS = 8, 64, 64, 4
DISCOUNT, TRACE, CLIP, ENTROPY, EPOCHS, MINIBATCH = 0.98, 0.95, 0.2, 0.01, 4, 128
torch.set_num_threads(1)


class Networks(nn.Module):
    """A policy and a value, each of one hidden layer, of the number of a place."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(PLACES, 64), nn.Tanh(), nn.Linear(64, ACTIONS))
        self.value = nn.Sequential(nn.Linear(PLACES, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, places):
        x = nn.functional.one_hot(places, PLACES).float()
        return torch.distributions.Categorical(logits=self.policy(x)), self.value(x)[..., 0]


def advantages(rewards, values, next_values, ended, done):
    """Return advantages [T, E]; `ended` stops bootstrapping, `done` also cuts at time limits."""
    found, later = torch.zeros_like(rewards), torch.zeros(ENVS)
    for t in reversed(range(STEPS)):
        error = rewards[t] + DISCOUNT * next_values[t] * (1 - ended[t]) - values[t]
        later = error + DISCOUNT * TRACE * (1 - done[t]) * later
        found[t] = later
    return found


def train(bonus: Bonus, steps: int) -> tuple[int, int]:
    """Return how many episodes reached the goal, and of how many."""
    torch.manual_seed(0)
    envs = gymnasium.make_vec(
        "FrozenLake8x8-v1",
        ENVS,
        "sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        is_slippery=False,
    )
    envs = IntrinsicReward(envs, bonus)  # the line that differs
    networks = Networks()
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-3, eps=1e-5)
    place, _ = envs.reset(seed=0)
    reached, episodes = 0, 0
    for _ in range(max(steps // (ENVS * STEPS), 1)):
        rows = []
        for _ in range(STEPS):
            with torch.no_grad():
                choice, _ = networks(torch.as_tensor(place))
                action = choice.sample()
            seen, reward, terminated, truncated, info = envs.step(action.numpy())
            done, after = terminated | truncated, seen.copy()
            for index in np.flatnonzero(done):
                after[index] = info["final_obs"][index]
            rows.append((place, action, choice.log_prob(action), reward, after, terminated, done))
            reached += int(info["extrinsic_reward"].sum())
            episodes += int(done.sum())
            place = seen
        batch = [
            torch.stack([torch.as_tensor(each) for each in column])
            for column in zip(*rows, strict=True)
        ]
        learn(networks, optimizer, *batch)
    envs.close()
    return reached, episodes


def learn(networks, optimizer, place, action, old, reward, after, terminated, done) -> None:
    """Take PPO's gradient steps on a rollout [T, E]."""
    with torch.no_grad():
        value, next_value = networks(place)[1], networks(after)[1]
        gain = advantages(reward.float(), value, next_value, terminated.float(), done.float())
    target = gain + value
    flat = [each.reshape(-1) for each in (place, action, old, gain, target)]
    for _ in range(EPOCHS):
        for rows in torch.randperm(ENVS * STEPS).split(MINIBATCH):
            place, action, old, gain, target = (each[rows] for each in flat)
            choice, value = networks(place)
            ratio = (choice.log_prob(action) - old).exp()
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            clipped = torch.minimum(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain)
            loss = -clipped.mean() - ENTROPY * choice.entropy().mean()
            loss = loss + 0.5 * (value - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(networks.parameters(), 0.5)
            optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30_000, help="of all environments together")
    steps = parser.parse_args().steps
    for bonus in (ex.NoBonus(), ex.Count(beta=0.1)):
        reached, episodes = train(bonus, steps)
        print(f"{bonus!r}: the goal was reached in {reached} of {episodes} episodes")

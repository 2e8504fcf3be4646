"""Env steps/s of training with a memory, what UNREAL adds to it, and PPO beside another's.

`make bench-partial` installs Stable-Baselines3 into an environment of its own and runs this.
"""

import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

from explorax import loop
from explorax.agents import A2C, PPO, UNREAL
from explorax.agents.unreal import BASE
from explorax.auxiliaries import PixelControl, RewardPrediction, ValueReplay
from explorax.bonuses import NoBonus
from explorax.envs import suite

HERE = Path(__file__).parent
SB3 = HERE.parent / ".venv-sb3" / "bin" / "python"
ROUNDS = 5
LSTM = A2C(memory="lstm", sees_last=True)
SMALL = UNREAL(
    LSTM,
    (PixelControl(cell=1), RewardPrediction(), ValueReplay()),
    replay_capacity=64_000,
    windows=64,
)
# Name: (environment, side by side, agent, seeds in one program, env steps of a round).
OURS: dict[str, tuple[str, int, Any, int, int]] = {
    "A2C, no memory": ("memory_maze/9", 64, A2C(), 1, 100_000),
    "A2C, LSTM": ("memory_maze/9", 64, LSTM, 1, 50_000),
    "A2C, GRU": ("memory_maze/9", 64, A2C(memory="gru", sees_last=True), 1, 50_000),
    "UNREAL": ("memory_maze/9", 64, SMALL, 1, 25_000),
    "A2C, LSTM of 256, pixels": ("labyrinth/9", 64, BASE, 1, 2_600),
    "UNREAL, pixels": ("labyrinth/9", 64, UNREAL(windows=64), 1, 2_600),
    "PPO, 10 seeds": ("cart_pole", 8, PPO(), 10, 100_000),
    "PPO, 4 environments": ("cart_pole", 4, PPO(), 1, 50_000),
    "PPO, 64 environments": ("cart_pole", 64, PPO(), 1, 100_000),
}
NOTES = """
Medians of {rounds} rounds, in each of which everything has its turn, with their range; whole
training, compilation apart, env steps of all seeds. Ratios are taken round by round. Load
{load[0]:.1f} to {load[1]:.1f}.

UNREAL draws as many windows as there are environments, so that gradients flow through twice as many
steps, and three more for each window: {grid:.2f} times the time of its base on the memory maze and
{pixels:.2f} on the labyrinth (at most 2.5 was wanted).

Stable-Baselines3's PPO on CartPole-v1 (4 environments, one thread, its own defaults) made
{sb3:,.0f} env steps/s here; ten seeds of ours in one program are {times:.0f} times as fast (40 was
wanted). PureJaxRL's PPO is said to have made 159,000 with 4 environments and 214,000 with 64 on two
cores; it was not run here."""


class Ours:
    """An agent's whole training, compiled for all seeds, that goes on chunk after chunk."""

    def __init__(self, name: str, envs: int, agent: Any, seeds: int, env_steps: int) -> None:
        env = suite.make(name, envs)
        keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
        self.training = jax.jit(jax.vmap(partial(loop.start, env, agent, NoBonus())))(keys)
        rollout = envs * agent.rollout_length * seeds
        iterations = max(1, env_steps // rollout)
        chunk = jax.vmap(partial(loop.chunk_on_device, env, agent, NoBonus(), iterations))
        self.chunk = jax.jit(chunk, donate_argnums=0).lower(self.training).compile()
        self.env_steps = iterations * rollout
        self.rate()

    def rate(self) -> float:
        """Return env steps/s of one chunk."""
        begun = time.perf_counter()
        self.training, _ = jax.block_until_ready(self.chunk(self.training))
        return self.env_steps / (time.perf_counter() - begun)


def sb3_rate() -> float:
    """Return env steps/s of Stable-Baselines3's PPO, learning included."""
    done = subprocess.run(
        [SB3, HERE / "partial_speed_sb3.py"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    loads = [os.getloadavg()[0]]
    everybody = {name: Ours(*settings) for name, settings in OURS.items()}
    rates: dict[str, list[float]] = {name: [] for name in everybody}
    others: list[float] = []
    for _ in range(ROUNDS):
        for name, each in everybody.items():
            rates[name].append(each.rate())
        others.append(sb3_rate())
        loads.append(os.getloadavg()[0])

    def ratio(one: str, other: str) -> float:
        return float(np.median(np.divide(rates[one], rates[other])))

    rows = [
        [
            name,
            f"`{OURS[name][0]}`",
            f"{OURS[name][1]} × {OURS[name][3]}",
            f"{np.median(each):,.0f}",
            f"{min(each):,.0f} to {max(each):,.0f}",
        ]
        for name, each in rates.items()
    ]
    notes = NOTES.format(
        rounds=ROUNDS,
        load=(min(loads), max(loads)),
        grid=ratio("A2C, LSTM", "UNREAL"),
        pixels=ratio("A2C, LSTM of 256, pixels", "UNREAL, pixels"),
        sb3=np.median(others),
        times=np.median(np.divide(rates["PPO, 10 seeds"], others)),
    )
    columns = ["agent", "environment", "side by side × seeds", "env steps/s", "range"]
    common.write("partial_speed", "Env steps/s with a memory, and of PPO", columns, rows, notes)


if __name__ == "__main__":
    main()

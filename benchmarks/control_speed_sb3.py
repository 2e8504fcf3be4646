"""The other side of control_speed.py: Stable-Baselines3's SAC, in the environment that has it.

Reads lines of JSON and answers each with one line. The first line is the problem: the physics, and
ten steps of explorax's pendulum, which ours must repeat. Each other one is a case: how many
environments, threads, env steps per gradient step and env steps to run.
"""

import json
import math
import sys
import time

import gymnasium
import numpy as np
import torch  # pyright: ignore[reportMissingImports]  (another environment's)
from stable_baselines3 import SAC  # pyright: ignore[reportMissingImports]  (as above)
from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
    make_vec_env,
)
from torch.utils.flop_counter import (  # pyright: ignore[reportMissingImports]
    FlopCounterMode,
)

WARM_UP = 512  # env steps


class Pendulum(gymnasium.Env):
    """explorax's pendulum_swing_up, on Python's floats, which for one pendulum NumPy's do not beat.

    ω' = ω + h (m g l sin θ − c ω + τ) / (I + h c),  θ' = θ + h ω'; 1 within 8° of upright.
    """

    def __init__(self, physics):
        high = np.array([1.0, 1.0, np.inf], np.float32)
        self.observation_space = gymnasium.spaces.Box(-high, high)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
        self.physics = physics
        self.dt, self.damping, self.torque = (physics[k] for k in ("dt", "damping", "torque"))
        self.weight, self.steps = physics["weight"], physics["steps"]
        self.resistance = physics["inertia"] + self.dt * self.damping
        self.upright = math.cos(physics["upright"])
        self.angle = self.omega = 0.0
        self.count = 0

    def place(self, angle, omega):
        self.angle, self.omega, self.count = angle, omega, 0
        return self.observe()

    def observe(self):
        return np.array([math.cos(self.angle), math.sin(self.angle), self.omega], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.place(float(self.np_random.uniform(-math.pi, math.pi)), 0.0), {}

    def step(self, action):
        torque = self.torque * min(max(float(action[0]), -1.0), 1.0) - self.damping * self.omega
        torque += self.weight * math.sin(self.angle)
        self.omega += self.dt * torque / self.resistance
        self.angle += self.dt * self.omega
        self.count += 1
        obs = self.observe()
        reward = float(math.cos(self.angle) >= self.upright)
        return obs, reward, False, self.count >= self.steps, {}


def deviation(physics, trace):
    """Return by how much observations and rewards differ from explorax's, at most."""
    pendulum, worst = Pendulum(physics), 0.0
    pendulum.place(*trace["start"])
    for action, obs, reward in zip(*(trace[k] for k in ("action", "obs", "reward")), strict=True):
        seen, paid, _, _, _ = pendulum.step(action)
        worst = max(worst, float(np.abs(seen - np.asarray(obs)).max()), abs(paid - reward))
    return worst


class Runs:
    """SACs, one for each number of environments and of env steps per gradient step."""

    def __init__(self, problem):
        self.problem, self.made = problem, {}

    def sac(self, envs, every):
        if (envs, every) not in self.made:
            physics = self.problem["physics"]
            sac = SAC(
                "MlpPolicy",
                make_vec_env(lambda: Pendulum(physics), envs, seed=0),
                train_freq=every // envs,  # steps of all environments
                gradient_steps=1,
                batch_size=self.problem["batch_size"],
                policy_kwargs={"net_arch": self.problem["hidden"]},
                buffer_size=self.problem["replay_capacity"],
                learning_starts=self.problem["batch_size"],
                seed=0,
                device="cpu",
            )
            self.made[envs, every] = sac.learn(WARM_UP)
        return self.made[envs, every]

    def run(self, case):
        """Return the seconds on the clock and of the processor that the case's env steps take."""
        torch.set_num_threads(case["threads"])
        sac = self.sac(case["envs"], case["every"])
        before, updates = sac.num_timesteps, sac._n_updates
        clock, begun = time.perf_counter(), time.process_time()
        sac.learn(case["env_steps"], reset_num_timesteps=False)
        return {
            "clock": time.perf_counter() - clock,
            "processor": time.process_time() - begun,
            "env_steps": sac.num_timesteps - before,
            "gradient_steps": sac._n_updates - updates,
        }

    def gradient(self, steps):
        """Return one gradient step's FLOP in products, and its seconds on one thread."""
        torch.set_num_threads(1)
        sac, taken = self.sac(8, 64), []
        with FlopCounterMode(display=False) as counter:
            sac.train(1, self.problem["batch_size"])
        for _ in range(steps):
            begun = time.process_time()
            sac.train(1, self.problem["batch_size"])
            taken.append(time.process_time() - begun)
        return {"flop": counter.get_total_flops(), "seconds": float(np.median(taken))}


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # for whatever else is printed
    problem = json.loads(sys.stdin.readline())
    runs = Runs(problem)
    worst = deviation(problem["physics"], problem["trace"])
    assert worst < 1e-5, f"The pendulum differs from explorax's by {worst}."
    print(json.dumps({"deviation": worst}), file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        answer = runs.gradient(case["gradient"]) if "gradient" in case else runs.run(case)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""Env steps/s of whole training on pendulum_swing_up, 10 seeds, beside Stable-Baselines3's SAC.

`make bench-control` installs Stable-Baselines3 into an environment of its own and runs this.
"""

import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import bonus_cost
import common
import jax
import jax.numpy as jnp
import numpy as np

from explorax import loop
from explorax.agents import MPO, SoftQ
from explorax.bonuses import NoBonus
from explorax.envs import pendulum_swing_up as pendulum
from explorax.envs import suite

HERE = Path(__file__).parent
SB3 = HERE.parent / ".venv-sb3" / "bin" / "python"
SEEDS, ROUNDS = 10, 5
COMMON: dict[str, Any] = dict(
    hidden=(256, 256), activation="relu", batch_size=256, replay_capacity=100_000
)
AGENTS = {"MPO": MPO, "SoftQ": SoftQ}
# Env steps per gradient step: (environments, steps of each between two calls of learn, env steps
# that SAC runs in a round).
RATIOS = {8: (8, 8, 256), 64: (8, 64, 1024), 4096: (64, 64, 8192), 65536: (256, 256, 65536)}
Answer: TypeAlias = dict[str, float]  # clock and processor, in s, env_steps, gradient_steps
NOTES = """\
Medians of {rounds} rounds, in each of which everything has its turn; ratios are taken round by
round. Ours: {seeds} seeds in one compiled program on all cores, compilation apart, env steps of
all seeds. SAC has one seed in a process: {seeds} seeds one after another make as many env steps/s
as one process, and that is the first number. The second is two processes at once, one thread each,
their rates added, which is all that two cores can run of them. Other work was on the machine (load
{load[0]:.1f} to {load[1]:.1f}), so the clock is rough; "by processor time" divides env steps by the
processor's seconds of all threads, one SAC process against ours, which other work changes less.

The target was 20 times one seed of SAC after another, at as many gradient steps per env step:
{verdict}.
One gradient step per 65,536 env steps is no way to train: it shows the loop with next to none.

Everybody has two hidden layers of 256 with ReLU, batches of 256 and a buffer of 100,000; gradient
steps begin at once. What differs is what a gradient step is. SAC's fits two critics, their
targets, a policy and its temperature: {sac_flop:.2f} GFLOP of matrix products. MPO's has one
critic, which is asked for 20 actions in each state: {mpo:.2f}. SoftQ's has one and a sampler, with
16 actions and 16 + 16 particles in each state: {soft:.2f}. SAC's pendulum steps in plain Python, on
floats, which for one pendulum is faster than NumPy; ten steps of it agree with ours within
{deviation:.0e}. SAC's own settings are its defaults, on the processor, with 1 or 8 environments and
1 or 2 threads (`OMP_WAIT_POLICY=PASSIVE`), whichever was faster in a first round (second table).

Where the time goes: the gradient steps' matrix products, in the first two ratios. One core reaches
{rate:.0f} GFLOP/s here in one of [5120, 256] and [256, 256]; "their products alone" is what those
of our gradient steps take at that rate, of all the processor's time. Solved from the first and the
last ratio: {costs}.
One gradient step of SAC's by itself takes {sac_ms:.1f} ms.

Why 20 times is not to be had where gradient steps are frequent: a program that did nothing but
SAC's own products, on {cores} cores at that rate, and acted and stepped for free, would be
{ceilings} times as fast as one process of SAC is on one core.
At one per 65,536 acting and stepping are what is compared."""


class Ours:
    """An agent's whole training, compiled for all seeds, that goes on chunk after chunk."""

    def __init__(self, name: str, every: int) -> None:
        envs, steps, _ = RATIOS[every]
        updates = envs * steps // every
        env = suite.make("pendulum_swing_up", envs)
        agent = AGENTS[name](
            **COMMON, rollout_length=steps, updates_per_learn=updates, warmup_env_steps=0
        )
        keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
        self.training = jax.jit(jax.vmap(partial(loop.start, env, agent, NoBonus())))(keys)
        chunk = jax.vmap(partial(loop.chunk_on_device, env, agent, NoBonus(), 1))
        one = jax.eval_shape(partial(loop.start, env, agent, NoBonus()), keys[0])
        collect = partial(loop.collect_on_device, env, agent)
        _, rollout = jax.eval_shape(collect, one.learner, one.actor)
        learning = jax.make_jaxpr(partial(loop.improve, agent, NoBonus()))(one.learner, rollout)
        self.flop = SEEDS * bonus_cost.products(learning.jaxpr)  # of the gradient steps
        self.chunk = jax.jit(chunk, donate_argnums=0).lower(self.training).compile()
        self.env_steps, self.gradient_steps = SEEDS * envs * steps, SEEDS * updates
        self.run()

    def run(self) -> Answer:
        """Return what one rollout of every seed and its gradient steps took."""
        before = int(self.training.learner.agent.gradient_steps.sum())
        clock, begun = time.perf_counter(), time.process_time()
        self.training, _ = jax.block_until_ready(self.chunk(self.training))
        taken = {
            "clock": time.perf_counter() - clock,
            "processor": time.process_time() - begun,
            "env_steps": self.env_steps,
            "gradient_steps": self.gradient_steps,
        }
        after = int(self.training.learner.agent.gradient_steps.sum())
        assert after - before == self.gradient_steps, "Gradient steps were left out."
        return taken


def problem() -> dict[str, Any]:
    """Return what SAC's side must know, ten steps of our pendulum included."""
    physics = {
        "dt": pendulum.DT_S,
        "damping": pendulum.DAMPING,
        "torque": pendulum.TORQUE_NM,
        "weight": pendulum.MASS_KG * pendulum.GRAVITY * pendulum.LENGTH_M,
        "inertia": pendulum.INERTIA,
        "upright": pendulum.UPRIGHT_RAD,
        "steps": pendulum.EPISODE_STEPS,
    }
    # From near the upper edge of what is paid, so that both rewards occur.
    env, key = pendulum.PendulumSwingUp(), jax.random.key(0)
    state = env.place(jnp.asarray([0.1, 0.3]))
    actions = jax.random.uniform(key, (10, 1), minval=-1.5, maxval=1.5)
    trace: dict[str, list[Any]] = {"action": actions.tolist(), "obs": [], "reward": []}
    for action in actions:
        state, reward, _ = env.step(state, key, action)
        trace["obs"].append(env.observe(state).tolist())
        trace["reward"].append(float(reward))
    assert len(set(trace["reward"])) == 2
    trace["start"] = [0.1, 0.3]
    settings = {name: COMMON[name] for name in ("hidden", "batch_size", "replay_capacity")}
    return {"physics": physics, "trace": trace, **settings}


class SAC:
    """A process that runs Stable-Baselines3's SAC."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [python, HERE / "control_speed_sb3.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Or a second thread spins where it should wait, and on a busy machine that is dear.
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        self.say(problem())
        self.deviation = self.hear()["deviation"]

    def say(self, case: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, float]:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("The process of SAC ended; its last words are above.")
        return json.loads(answer)

    def ask(self, **case: Any) -> dict[str, float]:
        self.say(case)
        return self.hear()

    def run(self, every: int, threads: int, envs: int) -> Answer:
        return self.ask(every=every, threads=threads, envs=envs, env_steps=RATIOS[every][2])


def at_once(sacs: list[SAC], every: int, envs: int) -> float:
    """Return env steps/s of processes that run at the same time, one thread each."""
    for sac in sacs:
        sac.say({"every": every, "threads": 1, "envs": envs, "env_steps": RATIOS[every][2]})
    return sum(rate(sac.hear()) for sac in sacs)


def rate(answer: Answer, by: str = "clock") -> float:
    return answer["env_steps"] / answer[by]


def tried(sac: SAC) -> dict[int, dict[tuple[int, int], Answer]]:
    """Return {ratio: {(threads, environments): a run of SAC after one to warm up}}."""
    answers: dict[int, dict[tuple[int, int], Answer]] = {every: {} for every in RATIOS}
    for every, each in answers.items():
        for threads in (1, 2):
            for envs in (1, 8):
                if envs > 1 or every <= 4096:  # one alone is several times slower there
                    each[threads, envs] = sac.run(every, threads, envs)
    return answers


def measure(
    sacs: list[SAC], best: dict[int, tuple[int, int]]
) -> tuple[dict[tuple[str, int], list[Answer]], dict[int, list[float]], dict[Any, float]]:
    """Return (runs of ours and of one SAC, env steps/s of two at once, FLOP of our gradients)."""
    programs = {(name, every): Ours(name, every) for name in AGENTS for every in RATIOS}
    runs: dict[tuple[str, int], list[Answer]] = {case: [] for case in programs}
    runs |= {("SAC", every): [] for every in RATIOS}
    both: dict[int, list[float]] = {every: [] for every in RATIOS}
    for every, (_, envs) in best.items():
        at_once(sacs, every, envs)  # makes what the second process has not made
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine hits all of them
        for every in RATIOS:
            runs["SAC", every].append(sacs[0].run(every, *best[every]))
            for name in AGENTS:
                runs[name, every].append(programs[name, every].run())
            both[every].append(at_once(sacs, every, best[every][1]))
    return runs, both, {case: program.flop for case, program in programs.items()}


def flop_per_second() -> float:
    """Return what one core reaches in a product of the size that the agents' networks need."""
    x, w = jnp.ones((5120, 256)), jnp.ones((256, 256))
    product, times = jax.jit(jnp.matmul), []
    for _ in range(50):
        begun = time.process_time()
        jax.block_until_ready(product(x, w))
        times.append(time.process_time() - begun)
    return 2 * x.size * 256 / float(np.median(times))


def gradient_step_cost(runs: dict[tuple[str, int], list[Answer]], name: str) -> str:
    """Return the processor's time of a gradient step and of an env step, in words."""
    few, many = max(RATIOS), min(RATIOS)
    each = {every: 1 / np.median([rate(a, "processor") for a in runs[name, every]])
            for every in (few, many)}  # fmt: skip
    gradient = (each[many] - each[few]) / (1 / many - 1 / few)
    return (
        f"{name} spends {1e3 * gradient:.1f} ms of the processor on a gradient step and "
        f"{1e6 * (each[few] - gradient / few):.1f} µs on an env step"
    )


def ratio(ours: list[float], theirs: list[float]) -> float:
    return float(np.median(np.asarray(ours) / np.asarray(theirs)))


def main() -> None:
    python = Path(sys.argv[1]) if len(sys.argv) > 1 else SB3
    if not python.exists():
        sys.exit(f"{python} is not there: `make bench-control` installs what it needs.")
    load = [os.getloadavg()[0]]
    sacs = [SAC(python), SAC(python)]
    first = tried(sacs[0])
    best = {every: max(each, key=lambda case: rate(each[case])) for every, each in first.items()}
    runs, both, flop = measure(sacs, best)
    load.append(os.getloadavg()[0])
    core, step = flop_per_second(), sacs[0].ask(gradient=50)
    clock = {case: [rate(a) for a in each] for case, each in runs.items()}
    processor = {case: [rate(a, "processor") for a in each] for case, each in runs.items()}
    per_step: dict[str, float] = {}
    rows, reached = [], []
    for name, every in flop:
        mine, sac = (name, every), ("SAC", every)
        times = ratio(clock[mine], clock[sac])
        reached += [f"{name} at 1 per {every:,}"] if times >= 20 else []
        spent = np.median([answer["processor"] for answer in runs[mine]])
        rows.append(
            [
                name,
                f"{every:,}",
                f"{np.median(clock[mine]):,.0f}",
                f"{np.median(clock[sac]):,.0f}",
                f"{times:.1f}",
                f"{np.median(both[every]):,.0f}",
                f"{ratio(clock[mine], both[every]):.1f}",
                f"{ratio(processor[mine], processor[sac]):.1f}",
                f"{flop[mine] / core / spent:.0%}",
            ]
        )
        per_step[name] = flop[mine] / runs[mine][0]["gradient_steps"]
    ceilings = [  # where gradient steps are what matters
        f"{every / np.median(processor['SAC', every]) / (step['flop'] / core / cores()):.0f} "
        f"(1 per {every:,})"
        for every in (8, 64)
    ]
    common.write(
        "control_speed",
        f"Training on pendulum_swing_up, {SEEDS} seeds, beside Stable-Baselines3's SAC",
        [
            "agent",
            "env steps per gradient step",
            "env steps/s in all",
            "SAC, one seed after another",
            "times",
            "SAC, two processes at once",
            "times",
            "times, by processor time",
            "their products alone, of the time",
        ],
        rows,
        NOTES.format(
            rounds=ROUNDS,
            seeds=SEEDS,
            load=sorted(load),
            verdict=f"met by {' and '.join(reached)}, missed elsewhere" if reached else "missed",
            sac_flop=step["flop"] / 1e9,
            mpo=per_step["MPO"] / 1e9,
            soft=per_step["SoftQ"] / 1e9,
            deviation=10 ** math.ceil(math.log10(sacs[0].deviation)),
            rate=core / 1e9,
            costs=";\n".join(gradient_step_cost(runs, name) for name in AGENTS),
            sac_ms=1e3 * step["seconds"],
            cores=cores(),
            ceilings=", ".join(ceilings),
        ),
        second=(
            "SAC by itself, in the first round.",
            ["env steps per gradient step", "threads", "environments", "env steps/s", "chosen"],
            [
                [f"{every:,}", str(case[0]), str(case[1]), f"{rate(answer):,.0f}",
                 "yes" if case == best[every] else ""]
                for every, each in first.items()
                for case, answer in each.items()
            ],
        ),
    )  # fmt: skip


def cores() -> int:
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()

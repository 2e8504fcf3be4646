"""What every bonus costs, score and update, µs per transition, beside rllte-core's where it has it.

`make bench-bonuses` installs rllte-core into an environment of its own and runs this.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import common
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

from explorax import bonuses
from explorax.core.protocols import Box, Discrete, Rollout, Spec
from explorax.core.pytree import replace
from explorax.run import expressions

HERE = Path(__file__).parent
RLLTE = HERE.parent / ".venv-rllte" / "bin" / "python"
STEPS, ENVS, ACTIONS, EPISODE = 625, 8, 4, 200
ROWS = STEPS * ENVS
WARM_UP, ROUNDS = 3, 9
Taken: TypeAlias = list[dict[str, Any]]  # {"score": s, "update": s, "share": ...} of each round

# What rllte's networks, their training and its memories are by default, in our words.
NET = "features=128, hidden=(256,)"
FIT = "learning_rate=1e-3, batch_size=256, updates_per_step=0.004"
RANDOM = f"encoder=RandomEncoder({NET})"
INVERSE = f"encoder=InverseEncoder({NET}, {FIT})"
SMALL = "features=32, hidden=(256,)"
EPISODIC = f"encoder=InverseEncoder({SMALL}, {FIT}), k=10, capacity={EPISODE}, epsilon=1e-4"
# Name: (rllte's, our settings that are rllte's defaults, ours).
SHARED = {
    "RND": ("RND", f"RND({NET}, predictor_hidden=(256,), {FIT})", "RND()"),
    "ICM": ("ICM", f"ICM({NET}, {FIT})", "ICM()"),
    "Disagreement": (
        "Disagreement",
        f"Disagreement({RANDOM}, models=4, hidden=(256,), {FIT})",
        "Disagreement()",
    ),
    "RE3": ("RE3", f"RE3({RANDOM}, k=5, memory_size=8000)", "RE3()"),
    "E3B": ("E3B", f"E3B({INVERSE}, ridge=0.1)", "E3B()"),
    "RIDE": (
        "RIDE",
        f"RIDE({NET}, {FIT}, count='kernel', k=10, capacity={EPISODE})",
        "RIDE(count='kernel')",
    ),
    "NGU in the episode": (
        "PseudoCounts",
        f"NGU({EPISODIC}, lifelong=NoBonus())",
        "NGU(lifelong=NoBonus())",
    ),
    "NGU": (
        "NGU mended",
        f"NGU({EPISODIC}, lifelong=RND({SMALL}, predictor_hidden=(256,), {FIT}))",
        "NGU()",
    ),
}
# Each by default, in a world that it can count where it needs one.
OWN = {
    **{name: ("vector", own) for name, (_, _, own) in SHARED.items()},
    "RIDE, exact counts": ("cells", "RIDE()"),
    "VIME": ("vector", "VIME()"),
    "VIME, exact": ("vector", "VIME(model=LastLayer())"),
    "VIME, exact, 64 features": (
        "vector",
        "VIME(model=LastLayer(features=Fourier(features=64)))",
    ),
    "VIME, exact, of codes": ("cells", "VIME(model=LastLayer())"),
    "VIME, exact, given the rollout": ("vector", "VIME(model=LastLayer(given='rollout'))"),
    "PredictionError": ("vector", "PredictionError()"),
    "Surprise": ("vector", "Surprise()"),
    "Surprise, progress": ("vector", "Surprise(form='progress')"),
    "MaxInfo": ("vector", "MaxInfo()"),
    "HashCount": ("vector", "HashCount()"),
    "Count": ("cells", "Count()"),
    "PseudoCount, empirical": ("cells", "PseudoCount(density=Empirical())"),
    "PseudoCount, factored": ("vector", "PseudoCount(density=Factored())"),
    "PseudoCount, CTS": ("frames", "PseudoCount(density=CTS())"),
}
WORLDS = {
    "vector": Box((4,), -np.inf, np.inf),
    "cells": Box((400,), 0.0, 1.0, one_hot=(400,)),
    "frames": Box((42, 42, 1), 0, 255, "uint8"),
}
NOTES = """\
Medians of {rounds} rounds, in each of which all bonuses of both libraries have their turn. Both
run in one thread (`torch.set_num_threads(1)`, `NPROC=1`), and what is timed is the processor's
time, which other work on the machine changes little: {ours} of the time on the clock for ours,
{theirs} for rllte's (rllte-core 1.0.1).

The problem: observations of 4 numbers, 4 actions, episodes of {episode} steps that all begin at
different times, noise throughout; {warm_up} rollouts go before. Score is `score`, and `watch`
for each step and `compute` without its update there. State is donated.

The same networks are rllte's defaults: one hidden layer of 256, 128 features (NGU 32), Adam at
1e-3, 20 minibatches of 256 for a rollout, as many neighbours. What still differs:

- rllte goes once through the shuffled rollout, its last minibatch being one of 136 rows; ours
  draws 20 with replacement.
- rllte divides what it pays by a running deviation; ours leaves that to `RunningStd`, whose
  time is not in these numbers.
- Each minibatch fits one of the four models of rllte's Disagreement; of ours it is shared out
  among them.
- rllte's RE3 compares a row with 1,000 of its own environment, ours with all 8,000.
- rllte's memory of an episode has no end, ours here has room for one of these.
- rllte's NGU is timed after its missing attribute was set from outside: {rllte}.
- Making one of rllte's bonuses that standardise observations resets the environments and steps
  them 2,560 times, which is not counted here.

"Its products alone" are the matrix products of ours at the {rate:.0f} GFLOP/s that one core
reached in this run in one of [5000, 256] and [256, 256]: no program with these networks can
take much less on it."""


def ends() -> np.ndarray:
    """Return where episodes end, [T, E]: all are as long, and begun at different times."""
    phase = np.arange(STEPS)[:, None] + np.arange(ENVS) * EPISODE // ENVS
    return phase % EPISODE == EPISODE - 1


def experience(world: str, seed: int) -> Rollout:
    """Return a rollout of noise."""
    keys, box = jax.random.split(jax.random.key(seed)), WORLDS[world]
    shape = (STEPS + 1, ENVS)
    if box.one_hot:
        cells = jax.random.randint(keys[0], shape, 0, box.one_hot[0])
        obs = jax.nn.one_hot(cells, box.one_hot[0])
    elif box.dtype == "uint8":
        obs = jax.random.randint(keys[0], (*shape, *box.shape), 0, 256).astype(jnp.uint8)
    else:
        obs = jax.random.normal(keys[0], (*shape, *box.shape))
    action = jax.random.randint(keys[1], shape, 0, ACTIONS)[:-1]
    zeros, truncated = jnp.zeros((STEPS, ENVS)), jnp.asarray(ends())
    first = jnp.concatenate([jnp.ones((1, ENVS), bool), truncated[:-1]])
    terminated = jnp.zeros_like(truncated)
    return Rollout(obs[:-1], action, zeros, obs[1:], terminated, truncated, first, zeros)


def products(jaxpr: Any) -> float:
    """Return the FLOP of a program's matrix products, those in a scan as often as it runs."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            sizes = [equation.invars[0].aval.shape[axis] for axis in contracted]
            total += 2.0 * equation.outvars[0].aval.size * math.prod(sizes)
        inner = sum(map(products, jaxprs_in_params(equation.params)))
        total += inner * equation.params.get("length", 1)
    return total


class Ours:
    """A bonus of explorax, compiled, that goes through one rollout after another."""

    def __init__(self, text: str, world: str) -> None:
        self.bonus, self.world = expressions.parse(text, "bonus"), world
        spec = Spec(WORLDS[world], Discrete(ACTIONS), ENVS, EPISODE)
        self.rollouts = [experience(world, seed) for seed in range(2)]
        self.state = jax.jit(lambda key: self.bonus.init(key, spec))(jax.random.key(0))
        arguments = (self.state, jax.random.key(0), self.rollouts[0])
        self.score, self.update = (
            jax.jit(method, donate_argnums=0).lower(*arguments).compile()
            for method in (self.bonus.score, self.bonus.update)
        )
        self.count = 0
        for _ in range(WARM_UP):
            self.rollout()

    def products(self) -> float:
        """Return the FLOP per row of all products in score and update."""
        arguments = (self.state, jax.random.key(0), self.rollouts[0])
        methods = (self.bonus.score, self.bonus.update)
        return sum(products(jax.make_jaxpr(m)(*arguments).jaxpr) for m in methods) / ROWS

    def rollout(self) -> dict[str, float]:
        rollout, key = self.rollouts[self.count % 2], jax.random.key(self.count)
        jax.block_until_ready((rollout, key, self.state))
        self.count += 1
        begun, clock = time.process_time(), time.perf_counter()
        paid, state = jax.block_until_ready(self.score(self.state, key, rollout))
        score, rollout = time.process_time() - begun, replace(rollout, bonus=paid)
        self.state, _ = jax.block_until_ready(self.update(state, key, rollout))
        seconds = time.process_time() - begun
        share = seconds / (time.perf_counter() - clock)
        return {"score": score, "update": seconds - score, "share": share}


class Rllte:
    """The process that runs rllte's bonuses."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            # Its imports warn of each other.
            [python, "-W", "ignore", HERE / "bonus_cost_rllte.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        obs = WORLDS["vector"].shape[0]
        problem = {"steps": STEPS, "envs": ENVS, "obs": obs, "actions": ACTIONS}
        self.say(json.dumps({**problem, "ends": ends().tolist()}))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def rollout(self, name: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        self.say(name)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The process of rllte ended at {name}; its last words are above.")
        return json.loads(answer)


def settings_of(text: str) -> str:
    return text.split("(")[0]


def check_that_all_are_measured() -> None:
    """Exit where the catalogue has a bonus, and no wrapper of bonuses, without a case."""

    def is_wrapper(name: str) -> bool:
        fields = dataclasses.fields(getattr(bonuses, name))
        return any("Bonus" in str(field.type) for field in fields)

    cases = {settings_of(text) for _, text in OWN.values()} | {"NoBonus"}
    if without := [name for name in bonuses.__all__ if name not in cases and not is_wrapper(name)]:
        sys.exit(f"benchmarks/bonus_cost.py has no case for {', '.join(without)}.")


def measure(rllte: Rllte) -> tuple[dict[tuple[str, str], Taken], dict[str, float]]:
    """Return ({(side, case): one answer a round}, {case of "same": its products, FLOP per row})."""
    known, runs, flop = set(bonuses.__all__), {}, {}
    for name, (theirs, text, _) in SHARED.items():
        if settings_of(text) in known:
            ours = Ours(text, "vector")
            flop[name] = ours.products()
            runs["same", name] = ours.rollout
            runs["rllte", name] = partial(rllte.rollout, theirs)
    for name, (world, text) in OWN.items():
        if settings_of(text) in known:
            runs["own", name] = Ours(text, world).rollout
    taken: dict[tuple[str, str], Taken] = {run: [] for run in runs}
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine hits all of them
        for run, rollout in runs.items():
            taken[run].append(rollout())
    return taken, flop


def multiplications_per_second() -> float:
    """Return the FLOP/s of one core in a product of the size that the networks need."""
    x, w = jnp.ones((ROWS, 256)), jnp.ones((256, 256))
    product, times = jax.jit(jnp.matmul), []
    for _ in range(20):
        begun = time.process_time()
        jax.block_until_ready(product(x, w))
        times.append(time.process_time() - begun)
    return 2 * ROWS * 256 * 256 / float(np.median(times))


def number(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 20 else f"{value:.0f}"


def both(answers: Taken) -> np.ndarray:
    return np.asarray([answer["score"] + answer["update"] for answer in answers])


def cost(answers: Taken) -> list[str]:
    """Return the cells score, update, both: medians in µs per transition."""
    columns = [[answer[part] for answer in answers] for part in ("score", "update")]
    return [number(1e6 * np.median(each) / ROWS) for each in (*columns, both(answers))]


def share(taken: dict[tuple[str, str], Taken], rllte: bool) -> str:
    """Return how much of the time on the clock the processor was at work, in words."""
    shares = [a["share"] for (side, _), each in taken.items() for a in each]
    mine = [(side == "rllte") == rllte for (side, _), each in taken.items() for _ in each]
    return f"{np.mean(np.asarray(shares)[mine]):.0%}"


def main() -> None:
    os.environ["NPROC"] = "1"  # the threads of XLA, which are made when it is first used
    python = Path(sys.argv[1]) if len(sys.argv) > 1 else RLLTE
    if not python.exists():
        sys.exit(f"{python} is not there: `make bench-bonuses` installs rllte-core and runs this.")
    check_that_all_are_measured()
    rllte = Rllte(python)
    taken, flop = measure(rllte)
    rate, crash = multiplications_per_second(), rllte.rollout("NGU").get("crash")
    rows = []
    for name in flop:
        theirs, same, own = (taken[side, name] for side in ("rllte", "same", "own"))
        ratios = [number(float(np.median(both(theirs) / both(each)))) for each in (same, own)]
        needed = number(1e6 * flop[name] / rate)
        rows.append([name, *cost(theirs), *cost(same), needed, ratios[0], cost(own)[2], ratios[1]])
    common.write(
        "bonus_cost",
        f"What a bonus costs, µs per transition, {ROWS:,} rows of {ENVS} environments",
        [
            "bonus",
            *(f"rllte: {part}" for part in ("score", "update", "both")),
            *(f"ours, the same networks: {part}" for part in ("score", "update", "both")),
            "its products alone",
            "times cheaper",
            "ours, by default: both",
            "times cheaper",
        ],
        rows,
        NOTES.format(
            rounds=ROUNDS,
            episode=EPISODE,
            warm_up=WARM_UP,
            rllte=f"it crashes as it is with `{crash}`" if crash else "it did not crash",
            rate=rate / 1e9,
            ours=share(taken, rllte=False),
            theirs=share(taken, rllte=True),
        ),
        second=(
            "Every bonus with its defaults.",
            ["bonus", "settings", "observations", "score", "update", "both"],
            [
                [name, f"`{OWN[name][1]}`", OWN[name][0], *cost(answers)]
                for (side, name), answers in taken.items()
                if side == "own"
            ],
        ),
    )


if __name__ == "__main__":
    main()

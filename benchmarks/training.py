"""TRPO on the sparse mountain car, 20 seeds in one program: env steps/s with and without bonus."""

import time
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np

from explorax import loop
from explorax.agents import TRPO
from explorax.bonuses import VIME, MedianRatio, NoBonus, PredictionError, ReturnShare, Scale
from explorax.encoders import Fourier
from explorax.envs import suite
from explorax.posteriors import LastLayer
from explorax.presets.comparison import DEFAULT

SEEDS, ENV_STEPS, NUM_ENVS = 20, 250_000, 10
BONUSES = {
    "none": NoBonus(),
    "prediction error": Scale(MedianRatio(PredictionError()), 1e-4),
    "VIME": Scale(MedianRatio(VIME()), 1e-4),
    "exact gain": DEFAULT,
    "exact gain, 64 features": ReturnShare(VIME(model=LastLayer(Fourier(features=64)))),
}


def main() -> None:
    env, agent = suite.make("mountain_car_sparse(power=0.0008)", NUM_ENVS), TRPO()
    iterations = ENV_STEPS // (NUM_ENVS * agent.rollout_length)
    keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
    programs, compiled = {}, {}
    for name, bonus in BONUSES.items():
        start = jax.jit(jax.vmap(partial(loop.start, env, agent, bonus)))
        chunk = jax.jit(jax.vmap(partial(loop.chunk_on_device, env, agent, bonus, iterations)))
        begun = time.perf_counter()
        programs[name] = (start, chunk.lower(jax.eval_shape(start, keys)).compile())
        compiled[name] = time.perf_counter() - begun
    taken: dict[str, list[float]] = {name: [] for name in BONUSES}
    for _ in range(3):  # in turn, so that a slow minute of the machine hits all of them
        for name, (start, chunk) in programs.items():
            training = jax.block_until_ready(start(keys))
            begun = time.perf_counter()
            jax.block_until_ready(chunk(training))
            taken[name].append(time.perf_counter() - begun)
    none = np.asarray(taken["none"])
    rows = [
        [
            name,
            f"{np.median(times):.1f}",
            f"{SEEDS * ENV_STEPS / np.median(times):,.0f}",
            f"{np.median(np.asarray(times) / none):.2f}",
            f"{compiled[name]:.0f}",
        ]
        for name, times in taken.items()
    ]
    common.write(
        "training",
        f"TRPO on mountain_car_sparse(power=0.0008), {SEEDS} seeds of {ENV_STEPS:,} steps",
        ["bonus", "seconds", "env steps/s in all", "time / none", "compilation, s"],
        rows,
        "All seeds are one program; compilation is apart. Medians of three rounds, the ratio "
        "taken round by round.",
    )


if __name__ == "__main__":
    main()

"""films/: the final policy of a typical seed, as a GIF."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from PIL import Image

from explorax.core.errors import ExploraxError
from explorax.core.keys import key_of
from explorax.core.protocols import Agent, Env
from explorax.envs import suite
from explorax.files import user_path
from explorax.loop import percept_of, row_of
from explorax.run.cache import QUICK
from explorax.run.config import RunConfig
from explorax.run.directory import RunDirectory, write_atomically, write_text
from explorax.run.evaluate import LONGEST, act, longest, opening, restore_learner
from explorax.run.film_strip import Curves, bonus_of

FRAMES = 200  # at most; a longer episode is shown faster
FRAMES_PER_SECOND = 20
LARGEST_BYTES = 1_500_000
_LAST_FRAME_SECONDS = 1.0
_COLOURS = 64
_MOST_NUMBERS = 50_000_000  # in the observations of episodes whose bonus is asked for
_LATE = 0.1  # share of the run whose returns decide which seed is typical


def film(
    run_dir: str | Path,
    seed: int | None = None,
    *,
    env: Any = None,
    extra: tuple[type, ...] = (),
    trust: tuple[str, ...] = (),
) -> Path:
    """Return the GIF of the newest checkpoint's greedy policy, of `seed` or of the typical one.

    The typical seed is the one whose late return is the median. env, extra, trust: as for
    `evaluate`.
    """
    directory = RunDirectory(user_path(run_dir))
    config = directory.read_config(tuple(extra), trust, env)
    environment = suite.make(config.env if env is None else env, config.num_envs)
    learner = restore_learner(directory, config, environment)
    return _shoot(directory, config, environment, learner, seed)


def film_of(directory: RunDirectory, config: RunConfig, env: Env, learner: Any) -> str:
    """Make the typical seed's film of what learned, leaves [S, ...]; return what went wrong, or
    ""."""
    return trouble(_shoot, directory, config, env, learner, None)


def trouble(make: Callable[..., object], *arguments: Any) -> str:
    """Return what went wrong with `make(*arguments)`, or "": a picture is not worth a run."""
    try:
        make(*arguments)
    except OSError:
        raise
    except Exception as error:  # a simulator without a display raises whatever it pleases
        kind = "" if isinstance(error, ExploraxError) else f"{type(error).__name__}: "
        return f"{kind}{error}".splitlines()[0]
    return ""


def typical_seed(metrics: Path) -> int:
    """Return the seed whose mean late return is the (lower) median; the first without episodes."""
    returns: dict[int, list[float]] = {}
    with metrics.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cell = row["return_mean"]
            returns.setdefault(int(row["seed"]), []).append(float(cell) if cell else np.nan)

    def late(values: list[float]) -> float:
        known = [value for value in values if not np.isnan(value)]
        tail = [v for v in values[-max(1, round(len(values) * _LATE)) :] if not np.isnan(v)]
        return float(np.mean(tail or known[-1:] or [-np.inf]))

    ranked = sorted(returns, key=lambda seed: (late(returns[seed]), seed))
    return ranked[(len(ranked) - 1) // 2]


def _shoot(
    directory: RunDirectory, config: RunConfig, env: Env, learner: Any, seed: int | None
) -> Path:
    if seed is None:
        seed = typical_seed(directory.metrics)
    row = config.seed_numbers.index(seed)
    state, bonus_state = (
        jax.tree.map(lambda leaf: leaf[row], tree) for tree in (learner.agent, learner.bonus)
    )
    shoot = _frames_on_device if env.traceable else _frames_on_host
    frames, shown, counted, episode = shoot(env, config.agent, state, key_of(0))
    ret, steps = float(counted.sum()), len(counted)
    paid = None
    if episode is not None:
        paid = bonus_of(config.bonus, bonus_state, episode, config.num_envs)
    path = directory.films / f"seed_{seed}.gif"
    data = encode(frames, Curves(np.cumsum(counted), paid, np.asarray(shown)))
    write_atomically(path, lambda file: file.write(data))
    record = {"file": path.name, "seed": seed, "return": round(ret, 6), "steps": steps}
    write_text(directory.films / "films.json", json.dumps([record], indent=2) + "\n")
    return path


def _frames_on_device(env: Env, agent: Agent, state: Any, key: Any) -> Any:
    """Return (frames, which steps they show, rewards [T], episode [T, ...]) of the environment
    whose first episode's return is median."""
    states, reward, done, rows = _roll(env, agent, _keeps_rows(env), state, key)
    reward, done = np.asarray(reward), np.asarray(done)
    lengths = np.where(done.any(axis=0), done.argmax(axis=0) + 1, len(done))
    before_end = np.arange(len(done))[:, None] < lengths
    returns = (reward * before_end).sum(axis=0)
    index = int(np.argsort(returns, kind="stable")[(len(returns) - 1) // 2])
    steps = int(lengths[index])
    shown = range(0, steps, -(-steps // FRAMES))
    frames = [env.draw(jax.tree.map(lambda leaf, t=t: leaf[t], states), index) for t in shown]
    episode = None if rows is None else jax.tree.map(lambda leaf: leaf[:steps, index], rows)
    return frames, shown, reward[:steps, index], episode


def _keeps_rows(env: Env) -> bool:
    """Return whether all of an episode's observations may be kept, to ask for their bonus."""
    return math.prod(env.spec.obs.shape) * longest(env) * env.spec.num_envs <= _MOST_NUMBERS


@partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=QUICK)
def _roll(env: Env, agent: Agent, keeps: bool, state: Any, key: Any) -> Any:
    """Return (env states before each step [T, E, ...], reward [T, E], done [T, E], rows if any)."""

    def step(loop: Any, t: jax.Array) -> Any:
        env_state, percept, carry = loop
        key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
        action, carry, extras = agent.act(state, carry, key_act, percept, greedy=True)
        after, out = env.step(env_state, key_env, action)
        done = out.terminated | out.truncated
        row = row_of(percept, action, out, extras) if keeps else None
        return (after, percept_of(out), carry), (env_state, out.counted, done, row)

    first = opening(env, agent, key)
    return jax.lax.scan(step, first, jax.numpy.arange(longest(env)))[1]


def _frames_on_host(env: Env, agent: Agent, state: Any, key: Any) -> Any:
    """Return what `_frames_on_device` does of one environment's first episode, or its beginning."""
    settings = cast(Any, env)  # every environment is a dataclass
    if any(field.name == "render" for field in dataclasses.fields(settings)):
        env = dataclasses.replace(settings, render=True, num_envs=1)  # one is filmed
    env_state, percept, carry = opening(env, agent, key)
    frames, shown, counted, rows, skip = [], [], [], [], 1
    limit = _MOST_NUMBERS // math.prod(env.spec.obs.shape)  # of rows that are kept
    for t in range(min(longest(env), LONGEST)):  # a game of Atari may last 27,000 steps
        if t % skip == 0:
            if len(frames) == FRAMES:  # half as many, for twice as long
                frames, shown, skip = frames[::2], shown[::2], 2 * skip
            frames.append(env.draw(env_state))
            shown.append(t)
        key_act, key_env = jax.random.split(jax.random.fold_in(key, t))
        action, carry, extras = act(agent, True, state, carry, key_act, percept)
        env_state, out = env.step(env_state, key_env, np.asarray(action))
        counted.append(float(out.counted[0]))
        if len(rows) <= limit:
            rows.append(jax.tree.map(lambda leaf: leaf[0], row_of(percept, action, out, extras)))
        percept = percept_of(out)
        if bool(out.terminated[0] | out.truncated[0]):
            break
    episode = None
    if len(rows) <= limit:
        episode = jax.tree.map(lambda *leaves: np.stack(list(map(np.asarray, leaves))), *rows)
    return frames, shown, np.array(counted), episode


def encode(frames: list[np.ndarray], curves: Curves | None = None) -> bytes:
    """Return frames [H, W, 3] as an endless GIF, smaller in width until it is at most 1.5 MB.

    curves: drawn below each frame, at a size that can be read whatever the frames' own.
    """
    images = [Image.fromarray(np.asarray(frame, np.uint8)) for frame in frames]
    while True:
        data = _gif(
            images if curves is None else [curves.under(i, n) for n, i in enumerate(images)]
        )
        width, height = images[0].size
        if len(data) <= LARGEST_BYTES or width <= 80:
            return data
        share = max(0.5, min(0.9, (LARGEST_BYTES / len(data)) ** 0.5))
        smaller = (max(1, int(width * share)), max(1, int(height * share)))
        images = [image.resize(smaller, Image.Resampling.BOX) for image in images]


def _gif(images: list[Image.Image]) -> bytes:
    """Return the GIF with one palette for all frames: it flickers not, and packs well."""
    sheet = [images[i] for i in np.linspace(0, len(images) - 1, min(8, len(images))).astype(int)]
    width, height = images[0].size
    together = Image.new("RGB", (width, height * len(sheet)))
    for i, image in enumerate(sheet):
        together.paste(image, (0, i * height))
    palette = together.quantize(_COLOURS, dither=Image.Dither.NONE)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    milliseconds = 1000 // FRAMES_PER_SECOND
    durations = [milliseconds] * (len(indexed) - 1) + [int(_LAST_FRAME_SECONDS * 1000)]
    buffer = io.BytesIO()
    indexed[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=durations,
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()

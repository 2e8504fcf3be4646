"""How all seeds of a run advance: as one program on the device, or one by one from Python."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax import host_loop, loop
from explorax.core.protocols import Env, Rollout
from explorax.core.pytree import replace
from explorax.run import memory
from explorax.run.cache import QUICK
from explorax.run.config import RunConfig

_RESET = 2**31 - 1  # folded in where the loop folds in steps, which never count so far


class DeviceDriver:
    """All seeds in one compiled program. The state is the stacked Training, leaves [S, ...]."""

    restores_everything = True
    compiles_ahead = True

    def __init__(self, config: RunConfig, env: Env) -> None:
        self._config, self._env = config, env
        start = jax.vmap(partial(loop.start, env, config.agent, config.bonus))
        self._start: Any = jax.jit(start, compiler_options=QUICK)
        # a million seeds are refused, not tried
        self._key_shapes = jax.eval_shape(partial(_keys, config))
        self.template = jax.eval_shape(start, self._key_shapes)
        self._programs: dict[int, Any] = {}

    def compile(self) -> float:
        """Compile for every length of chunk; return the seconds. Raises NotEnoughMemory."""
        learner = self.template.learner
        agent, bonus = memory.nbytes(learner.agent), memory.nbytes(learner.bonus)
        rest = memory.nbytes(self.template) - agent - bonus
        memory.check(self._config, agent, bonus, rest)
        begun = time.perf_counter()
        with ThreadPoolExecutor(1) as beside:
            starting = beside.submit(self._start.lower(self._key_shapes).compile)
            for iterations in sorted(set(self._config.chunks)):
                program = self._chunk(iterations).lower(self.template).compile()
                analysis = program.memory_analysis()
                work = 0 if analysis is None else int(analysis.temp_size_in_bytes)
                memory.check(self._config, agent, bonus, rest + work)
                self._programs[iterations] = program
            self._start = starting.result()
        return time.perf_counter() - begun

    def _chunk(self, iterations: int) -> Any:
        config = self._config
        chunk = partial(loop.chunk_on_device, self._env, config.agent, config.bonus, iterations)
        on_cpu = jax.default_backend() == "cpu"
        options = QUICK if on_cpu else None
        return jax.jit(jax.vmap(chunk), donate_argnums=0, compiler_options=options)

    def start(self) -> Any:
        return self._start(_keys(self._config))

    def advance(self, state: Any, iterations: int) -> tuple[Any, dict[str, np.ndarray]]:
        """Return (state, metrics [S]). The state given is used up."""
        state, metrics = self._programs[iterations](state)
        return state, {name: np.asarray(value) for name, value in metrics.items()}

    def take_notes(self, state: Any) -> list[str]:
        """Return what has happened to environments that a person should know: nothing can."""
        return []

    def to_saved(self, state: Any) -> Any:
        return state

    def from_saved(self, saved: Any) -> Any:
        return saved

    def saved_learner(self, saved: Any) -> loop.Learner:
        """Return what learned, leaves [S, ...], of a checkpoint."""
        return saved.learner

    @property
    def agent_shapes(self) -> Any:
        """The shapes of one seed's agent."""
        return jax.eval_shape(lambda agents: _seed(agents, 0), self.template.learner.agent)

    def with_agents(self, state: Any, agents: Any) -> Any:
        """Return the state with these agents [S, ...]."""
        return replace(state, learner=replace(state.learner, agent=agents))

    def learner(self, state: Any) -> loop.Learner:
        """Return what learns, leaves [S, ...]."""
        return state.learner

    def tally(self, state: Any) -> Any:
        return state.tally


class HostDriver:
    """Seeds in turn, their environments stepped from Python. The state is a tuple of Trainings.

    An environment's own state is beyond saving: a restored seed begins fresh episodes.
    """

    restores_everything = False
    compiles_ahead = False

    def __init__(self, config: RunConfig, env: Env) -> None:
        self._config, self._env = config, env
        self.watch: Callable[[int, Rollout], None] | None = None  # is shown each seed's rollouts
        init = partial(loop.start_learner, env.spec, config.agent, config.bonus)
        self._init: Any = jax.jit(init, compiler_options=QUICK)
        learner, _ = jax.eval_shape(init, jax.eval_shape(jax.random.key, 0))
        self._one = learner, jax.eval_shape(partial(loop.tallies.empty, env.spec))

    @property
    def template(self) -> Any:
        return (self._one,) * self._config.seeds

    def compile(self) -> None:
        """Nothing is compiled ahead: the loop's parts are when they are first called."""
        learner, tally = self._one
        parts = learner.agent, learner.bonus, (learner.key, learner.iteration, tally)
        memory.check(self._config, *(self._config.seeds * memory.nbytes(part) for part in parts))

    def start(self) -> Any:
        """Return what `loop.start` gives for each seed."""
        started = map(self._init, _keys(self._config))
        return tuple(
            self._opened(learner, loop.tallies.empty(self._env.spec), key)
            for learner, key in started
        )

    def advance(self, state: Any, iterations: int) -> tuple[Any, dict[str, np.ndarray]]:
        """Return (state, metrics [S]), with the restarts of environments where they may be."""
        config = self._config
        before = _restarts(state)
        results = [
            host_loop.chunk_on_host(
                self._env,
                config.agent,
                config.bonus,
                iterations,
                training,
                watch=None if self.watch is None else partial(self.watch, row),
            )
            for row, training in enumerate(state)
        ]
        names = results[0][1]
        metrics = {name: np.stack([np.asarray(m[name]) for _, m in results]) for name in names}
        if before is not None:
            metrics["env_restarts"] = _restarts(state) - before
        return tuple(training for training, _ in results), metrics

    def take_notes(self, state: Any) -> list[str]:
        """Return what has happened to environments that a person should know, in sentences.

        state: one of those whose environments they are, from before or after `advance`.
        """
        return [
            f"Seed {seed}: {text}"
            for seed, training in zip(self._config.seed_numbers, state, strict=True)
            for text in getattr(_worlds(training), "take_notes", list)()
        ]

    def to_saved(self, state: Any) -> Any:
        return tuple((training.learner, training.tally) for training in state)

    def from_saved(self, saved: Any) -> Any:
        nothing = jnp.zeros(self._env.spec.num_envs)
        return tuple(
            self._opened(
                learner,
                replace(tally, running_return=nothing, running_length=nothing),
                jax.random.fold_in(jax.random.fold_in(learner.key, learner.iteration), _RESET),
            )
            for learner, tally in saved
        )

    def _opened(self, learner: loop.Learner, tally: Any, key: Any) -> loop.Training:
        actor = loop.open_episodes(self._env, self._config.agent, key)
        return loop.Training(learner, actor, tally)

    def saved_learner(self, saved: Any) -> loop.Learner:
        return _stack([learner for learner, _ in saved])

    @property
    def agent_shapes(self) -> Any:
        return self._one[0].agent

    def with_agents(self, state: Any, agents: Any) -> Any:
        return tuple(
            replace(each, learner=replace(each.learner, agent=_seed(agents, row)))
            for row, each in enumerate(state)
        )

    def learner(self, state: Any) -> loop.Learner:
        return _stack([training.learner for training in state])

    def tally(self, state: Any) -> Any:
        return _stack([training.tally for training in state])


def _worlds(training: loop.Training) -> Any:
    return getattr(training.actor.env, "vector", None)


def _restarts(state: Any) -> Any:
    """Return how often environments of each seed were restarted [S]; None where they cannot be."""
    found = [_worlds(training) for training in state]
    if not all(hasattr(worlds, "restarts") for worlds in found):
        return None
    if not any(worlds.supervision.restarts for worlds in found):
        return None
    return np.array([worlds.restarts.sum() for worlds in found])


def make_driver(config: RunConfig, env: Env) -> DeviceDriver | HostDriver:
    """Return what trains `config`: in one program where `env` can be traced, else from the host."""
    return DeviceDriver(config, env) if env.traceable else HostDriver(config, env)


def _keys(config: RunConfig) -> jax.Array:
    """Return jax.random.key(seed) of each seed, [S]."""
    return jax.vmap(jax.random.key)(config.seed + jnp.arange(config.seeds, dtype=jnp.uint32))


def _seed(tree: Any, row: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[row], tree)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

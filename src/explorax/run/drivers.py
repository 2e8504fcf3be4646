"""How all seeds of a run advance: as one program on the device, or one by one from Python.

A chunk is advanced in several calls, so that whoever trains can hear and save between them. Where
the calls part a chunk changes no number: what each iteration told is kept until the chunk is over.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax import host_loop, loop
from explorax.core.arguments import argument
from explorax.core.errors import CheckpointError
from explorax.core.keys import key_of
from explorax.core.protocols import Env, Rollout, View
from explorax.core.pytree import replace
from explorax.ops import nonfinite
from explorax.run import memory
from explorax.run.cache import QUICK
from explorax.run.config import RunConfig

CALL_SECONDS = 2.0  # about as long is one call of a compiled program, if an iteration is not longer
_RESET = 2**31 - 1  # folded in where the loop folds in steps, which never count so far
_RESTARTS = "env_restarts"


@dataclass(frozen=True)
class State:
    """Where all seeds of a run stand."""

    training: Any  # the stacked Training [S], or a tuple of Trainings
    done: int = 0  # iterations of the chunk under way
    history: Any = None  # what these told, as the driver keeps it; None where none was


class _Pace:
    """How many iterations to do in one call so that it takes about CALL_SECONDS."""

    def __init__(self) -> None:
        self.iterations = 1

    def learn(self, done: int, seconds: float) -> None:
        """Note how long a call took. At most twice as many come next: some may take longer."""
        most = 2 * done if done >= self.iterations else self.iterations
        self.iterations = max(1, int(min(CALL_SECONDS * done / max(seconds, 1e-9), most)))


class DeviceDriver:
    """All seeds in one compiled program. A state's training is stacked, leaves [S, ...]."""

    restores_everything = True
    compiles_ahead = True

    def __init__(self, config: RunConfig, env: Env) -> None:
        self._config, self._env = config, env
        start = jax.vmap(partial(loop.start, env, config.agent, config.bonus))
        self._start: Any = jax.jit(start, compiler_options=QUICK)
        # a million seeds are refused, not tried
        self._key_shapes = jax.eval_shape(partial(_keys, config))
        self.template = jax.eval_shape(start, self._key_shapes)
        self._program: Any = None
        self._endings: dict[int, Any] = {}  # by the iterations of a chunk
        self._history: dict[str, Any] = {}  # shapes of a chunk's
        self._pace = _Pace()

    def compile(self) -> float:
        """Compile all that a run needs; return the seconds. Raises NotEnoughMemory."""
        learner = self.template.learner
        agent, bonus = memory.nbytes(learner.agent), memory.nbytes(learner.bonus)
        rest = memory.nbytes(self.template) - agent - bonus
        memory.check(self._config, agent, bonus, rest)
        begun = time.perf_counter()
        with ThreadPoolExecutor(1) as beside:
            starting = beside.submit(self._start.lower(self._key_shapes).compile)
            self._program = self._compiled()
            analysis = self._program.memory_analysis()
            work = 0 if analysis is None else int(analysis.temp_size_in_bytes)
            memory.check(self._config, agent, bonus, rest + work + memory.nbytes(self._history))
            tally = self.template.tally
            for iterations in set(self._config.chunks):
                ending = _ending(self._env.spec.view, iterations)
                self._endings[iterations] = ending.lower(tally, self._history).compile()
            self._start = starting.result()
        return time.perf_counter() - begun

    def _compiled(self) -> Any:
        config, options = self._config, QUICK if jax.default_backend() == "cpu" else None
        one = partial(loop.iterate_on_device, self._env, config.agent, config.bonus)
        iterate = jax.jit(jax.vmap(one), inline=True)  # traced once, for its shapes and in the loop
        sizes = jax.eval_shape(jax.vmap(nonfinite.sizes), self.template.learner.agent)
        told = jax.eval_shape(iterate, self.template, sizes)[2]
        rows = max(config.chunks)
        self._history = {
            name: jax.ShapeDtypeStruct((rows, *leaf.shape), leaf.dtype)
            for name, leaf in told.items()
        }
        advance = jax.jit(
            partial(loop.advance_on_device, iterate),
            donate_argnums=(0, 1),
            compiler_options=options,
        )
        bound = jax.ShapeDtypeStruct((), jnp.int32)
        return advance.lower(self.template, self._history, bound, bound).compile()

    def start(self) -> State:
        return State(self._start(_keys(self._config)))

    def advance(self, state: State, iterations: int) -> tuple[State, dict[str, np.ndarray] | None]:
        """Return (state, metrics [S]) after some iterations of a chunk of so many, None for the
        metrics until all of them are done. The state given is used up."""
        history = state.history
        if history is None:
            history = {n: jnp.zeros(each.shape, each.dtype) for n, each in self._history.items()}
        end = min(iterations, state.done + self._pace.iterations)
        begun = time.perf_counter()
        bounds = np.int32(state.done), np.int32(end)
        training, history = self._program(state.training, history, *bounds)
        jax.block_until_ready(training)
        self._pace.learn(end - state.done, time.perf_counter() - begun)
        if end < iterations:
            return State(training, end, history), None
        tally, metrics = self._endings[iterations](training.tally, history)
        metrics = {name: np.asarray(value) for name, value in metrics.items()}
        return State(replace(training, tally=tally), 0, history), metrics

    def take_notes(self, state: State) -> list[str]:
        """Return what has happened to environments that a person should know: nothing can."""
        return []

    def to_saved(self, state: State) -> Any:
        return state.training

    def history(self, state: State) -> dict[str, Any]:
        """Return what the iterations of the chunk under way told, in the first rows of [n, S, ...],
        by name; {} where none is done."""
        return state.history if state.done else {}

    def from_saved(self, saved: Any, done: int = 0, history: Any = None) -> State:
        """Return the state from `to_saved` and the other fields. Raises CheckpointError."""
        if not done:
            return State(saved)
        _check_history(history, self._history)
        return State(saved, done, history)

    def saved_learner(self, saved: Any) -> loop.Learner:
        """Return what learned, leaves [S, ...], of a checkpoint."""
        return saved.learner

    @property
    def agent_shapes(self) -> Any:
        """The shapes of one seed's agent."""
        return jax.eval_shape(lambda agents: _seed(agents, 0), self.template.learner.agent)

    def with_agents(self, state: State, agents: Any) -> State:
        """Return the state with these agents [S, ...]."""
        learner = replace(state.training.learner, agent=agents)
        return replace(state, training=replace(state.training, learner=learner))

    def learner(self, state: State) -> loop.Learner:
        """Return what learns, leaves [S, ...]."""
        return state.training.learner

    def tally(self, state: State) -> Any:
        return state.training.tally


class HostDriver:
    """Seeds in turn, their environments stepped from Python. A state's training is one of each.

    An environment's own state is beyond saving: a restored seed begins fresh episodes.
    """

    restores_everything = False
    compiles_ahead = False

    def __init__(self, config: RunConfig, env: Env) -> None:
        self._config, self._env = config, env
        self.watch: Callable[[int, Rollout], None] | None = None  # is shown each seed's rollouts
        init = partial(loop.start_learner, env.spec, config.agent, config.bonus)
        self._init: Any = jax.jit(init, compiler_options=QUICK)
        learner, _ = jax.eval_shape(init, jax.eval_shape(key_of, 0))
        self._one = learner, jax.eval_shape(partial(loop.tallies.empty, env.spec))

    @property
    def template(self) -> Any:
        return (self._one,) * self._config.seeds

    def compile(self) -> None:
        """Nothing is compiled ahead: the loop's parts are when they are first called."""
        learner, tally = self._one
        parts = learner.agent, learner.bonus, (learner.key, learner.iteration, tally)
        memory.check(self._config, *(self._config.seeds * memory.nbytes(part) for part in parts))

    def start(self) -> State:
        """Return what `loop.start` gives for each seed."""
        started = map(self._init, _keys(self._config))
        return State(
            tuple(
                self._opened(learner, loop.tallies.empty(self._env.spec), key)
                for learner, key in started
            )
        )

    def advance(self, state: State, iterations: int) -> tuple[State, dict[str, np.ndarray] | None]:
        """Return (state, metrics [S]) after the next iteration of a chunk of so many, None for the
        metrics until all of them are done; with the restarts of environments where they may be."""
        parts = (self._env, self._config.agent, self._config.bonus)
        before = _restarts(state)
        done = [host_loop.iterate_on_host(*parts, training) for training in state.training]
        # of each seed, as it lies on the device: to read it now would be to wait for it
        told = {name: [each[name] for *_, each in done] for name in done[0][2]}
        if before is not None:
            told[_RESTARTS] = list((_restarts(state) - before).astype(np.int32))
        if self.watch is not None:  # not before all seeds are done: a fault leaves none half seen
            for row, (_, rollout, _) in enumerate(done):
                self.watch(row, rollout)
        history = [] if state.history is None else state.history
        if history:
            _check_history(_first_seed(history[-1]), _first_seed(told))
        history.append(told)
        after = State(tuple(training for training, *_ in done), state.done + 1, history)
        return (after, None) if after.done < iterations else self._end(after)

    def _end(self, state: State) -> tuple[State, dict[str, np.ndarray]]:
        """Return (the state at the beginning of the next chunk, metrics [S] of the one done)."""
        history = self.history(state)
        restarts = history.pop(_RESTARTS, None)
        tally, metrics = _ending(self._env.spec.view, state.done)(self.tally(state), history)
        metrics = {name: np.asarray(value) for name, value in metrics.items()}
        if restarts is not None:
            metrics[_RESTARTS] = restarts.sum(0)
        training = tuple(
            replace(each, tally=_seed(tally, row)) for row, each in enumerate(state.training)
        )
        return State(training), metrics

    def take_notes(self, state: State) -> list[str]:
        """Return what has happened to environments that a person should know, in sentences.

        state: one of those whose environments they are, from before or after `advance`.
        """
        return [
            f"Seed {seed}: {text}"
            for seed, training in zip(self._config.seed_numbers, state.training, strict=True)
            for text in getattr(_worlds(training), "take_notes", list)()
        ]

    def to_saved(self, state: State) -> Any:
        return tuple((training.learner, training.tally) for training in state.training)

    def history(self, state: State) -> dict[str, Any]:
        """Return what the iterations of the chunk under way told, [n, S, ...], by name."""
        told: list[dict[str, list[Any]]] = state.history or []
        return {name: np.stack([_rows(row[name]) for row in told]) for name in (told or [{}])[0]}

    def from_saved(self, saved: Any, done: int = 0, history: Any = None) -> State:
        """Return the state from `to_saved` and the other fields, where new episodes begin."""
        nothing = jnp.zeros(self._env.spec.num_envs)
        training = tuple(
            self._opened(
                learner,
                replace(tally, running_return=nothing, running_length=nothing),
                jax.random.fold_in(jax.random.fold_in(learner.key, learner.iteration), _RESET),
            )
            for learner, tally in saved
        )
        told = [{name: list(rows[row]) for name, rows in history.items()} for row in range(done)]
        return State(training, done, told or None)

    def _opened(self, learner: loop.Learner, tally: Any, key: Any) -> loop.Training:
        actor = loop.open_episodes(self._env, self._config.agent, key)
        return loop.Training(learner, actor, tally)

    def saved_learner(self, saved: Any) -> loop.Learner:
        return _stack([learner for learner, _ in saved])

    @property
    def agent_shapes(self) -> Any:
        return self._one[0].agent

    def with_agents(self, state: State, agents: Any) -> State:
        training = tuple(
            replace(each, learner=replace(each.learner, agent=_seed(agents, row)))
            for row, each in enumerate(state.training)
        )
        return replace(state, training=training)

    def learner(self, state: State) -> loop.Learner:
        return _stack([training.learner for training in state.training])

    def tally(self, state: State) -> Any:
        return _stack([training.tally for training in state.training])


@lru_cache(maxsize=64)
def _ending(view: View | None, iterations: int) -> Any:
    """Return `loop.end_of_chunk` of all seeds, compiled for chunks of so many iterations."""

    def end(tally: Any, history: Any) -> Any:
        whole = {name: rows[:iterations] for name, rows in history.items()}
        return jax.vmap(partial(loop.end_of_chunk, view), in_axes=(0, 1))(tally, whole)

    return jax.jit(end, compiler_options=QUICK)


def signs(history: Mapping[str, Any], done: int) -> dict[str, Any]:
    """Return of a chunk under way what `divergence.take` reads of a chunk's metrics."""
    broken = jnp.asarray(history[loop.NONFINITE][:done])
    first = jax.vmap(nonfinite.first, in_axes=1)(broken)
    return {**dict.fromkeys(history), loop.NONFINITE: first}


def _rows(seeds: list[Any]) -> np.ndarray:
    return np.stack([np.asarray(each) for each in seeds])


def _first_seed(told: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {name: seeds[0] for name, seeds in told.items()}


def _check_history(saved: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless what was told before is like what is told here."""

    def shapes(tree: Mapping[str, Any]) -> dict[str, Any]:
        return {name: (leaf.shape, leaf.dtype) for name, leaf in tree.items()}

    if shapes(saved) != shapes(told):
        raise CheckpointError(
            f"The checkpoint's metrics of the chunk under way, {', '.join(sorted(saved))}, are not "
            f"those that are told here, {', '.join(sorted(told))}. It was probably written by "
            f"another version of explorax: use that version (meta.json names it), or start again "
            f"with {argument('overwrite')}."
        )


def _worlds(training: loop.Training) -> Any:
    return getattr(training.actor.env, "vector", None)


def _restarts(state: State) -> Any:
    """Return how often environments of each seed were restarted [S]; None where they cannot be."""
    found = [_worlds(training) for training in state.training]
    if not all(hasattr(worlds, "restarts") for worlds in found):
        return None
    if not any(worlds.supervision.restarts for worlds in found):
        return None
    return np.array([worlds.restarts.sum() for worlds in found])


def make_driver(config: RunConfig, env: Env) -> DeviceDriver | HostDriver:
    """Return what trains `config`: in one program where `env` can be traced, else from the host."""
    return DeviceDriver(config, env) if env.traceable else HostDriver(config, env)


def _keys(config: RunConfig) -> jax.Array:
    """Return the key of each seed, [S]."""
    return jax.vmap(key_of)(config.seed + jnp.arange(config.seeds, dtype=jnp.uint32))


def _seed(tree: Any, row: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[row], tree)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

"""maps.npz: where each seed went, where it was paid, and what the bonus says of the state space."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.keys import key_of
from explorax.core.protocols import Bonus, Discrete, Env, Rollout, View
from explorax.envs.task import Batched
from explorax.run.cache import QUICK
from explorax.run.directory import RunDirectory, write_arrays

PHASES = 4  # of training, of equal length
_PROBES = (-1.0, 0.0, 1.0)  # of a continuous action's first dimension


def phase_ends(chunks: int) -> tuple[int, ...]:
    """Return after how many chunks each phase ends; fewer phases where there are fewer chunks."""
    phases = min(PHASES, chunks)
    return tuple(-(-chunks * (phase + 1) // phases) for phase in range(phases))


class Maps:
    """Collects the maps of a run at the end of each phase. `state` goes into the checkpoint."""

    def __init__(
        self, view: View, seeds: int, ends: Sequence[int], survey: Callable[..., Any] | None
    ) -> None:
        self._ends = tuple(ends)
        self._survey = survey
        shape = (len(ends), seeds, *view.bins)
        names = ("visits", "paid") if survey is None else ("visits", "paid", "gain")
        self.state: dict[str, np.ndarray] = {name: np.zeros(shape, np.float32) for name in names}
        self.state["phase_env_steps"] = np.zeros(len(ends), np.int64)

    def ends_phase(self, chunk: int) -> bool:
        return chunk in self._ends

    def record(self, chunk: int, env_steps: int, tally: Any, bonus: Any, keys: Any) -> None:
        """Note the maps [S, bx, by] of the tally and the bonus at the end of a phase."""
        phase = self._ends.index(chunk)
        self.state["visits"][phase] = np.asarray(tally.visits)
        self.state["paid"][phase] = np.asarray(tally.paid)
        self.state["phase_env_steps"][phase] = env_steps
        if self._survey is not None:
            self.state["gain"][phase] = np.asarray(self._survey(bonus, keys))

    def write(self, directory: RunDirectory, chunk: int) -> None:
        """Write the phases that are over: visits and paid of each phase alone, gain at its end."""
        over = sum(end <= chunk for end in self._ends)
        arrays = {name: value[:over] for name, value in self.state.items()}
        for name in ("visits", "paid"):  # the tally counts from the start
            arrays[name] = np.diff(arrays[name], axis=0, prepend=np.float32(0))
        write_arrays(directory.maps, arrays)


def survey(env: Env, bonus: Bonus) -> Callable[..., Any] | None:
    """Return a function (bonus states [S], keys [S]) -> bonus over the state space [S, bx, by].

    The bonus is that of the transitions from a state placed at the centre of each cell of the view,
    the mean over the discrete actions, or over -1, 0 and 1 in the first dimension of a continuous
    one. NaN in cells where no state can be, such as walls: the task places it elsewhere. None where
    states cannot be placed or the bonus cannot score rows out of order.
    """
    if not (isinstance(env, Batched) and env.spec.view is not None and bonus.replayable):
        return None
    view = env.spec.view

    def of_seed(args: tuple[Any, Any]) -> jax.Array:
        state, key = args
        rows, inside = _probe_rows(env, view)
        # one action at a time: a survey of all at once takes more memory than training does
        paid = jax.lax.map(lambda action_rows: bonus.rescore(state, key, action_rows), rows)
        mean = jnp.where(inside, paid.mean(axis=0), jnp.nan)
        return mean.reshape(view.bins).astype(jnp.float32)

    def of_seeds(states: Any, keys: Any) -> jax.Array:
        return jax.lax.map(of_seed, (states, keys))

    return jax.jit(of_seeds, compiler_options=QUICK)


def working_survey(env: Env, bonus: Bonus, learner: Any) -> tuple[str, Any]:
    """Return (what is wrong with it, the survey); a map is not worth a failed run.

    learner: the shapes of what learns; None where seeds are not in one program.
    """
    found = survey(env, bonus)
    if found is None or learner is None:
        return "", None
    try:
        jax.eval_shape(found, learner.bonus, learner.key)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], None
    return "", found


def _probe_rows(env: Batched, view: View) -> tuple[Rollout, jax.Array]:
    """Return the transitions [actions, cells, ...] to score, and which cells' states are in them,
    bool [cells]."""
    task = env.task
    low, high, bins = np.asarray(view.low), np.asarray(view.high), np.asarray(view.bins)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in view.bins), indexing="ij"), -1)
    points = low + (cells.reshape(-1, 2) + 0.5) / bins * (high - low)
    state = jax.vmap(task.place)(jnp.asarray(points, jnp.float32))
    obs = jax.vmap(task.observe)(state)
    landed = jax.vmap(cast(Any, task).where)(state) if view.hidden else view.project(obs)
    inside = (jnp.stack(view.cell_at(landed), -1) == jnp.asarray(cells.reshape(-1, 2))).all(-1)
    keys = jax.random.split(key_of(0), len(points))
    zeros = jnp.zeros(len(points))
    never = jnp.zeros(len(points), bool)

    def with_action(action: jax.Array) -> Rollout:
        actions = jnp.broadcast_to(action, (len(points), *action.shape))
        after, reward, terminated = jax.vmap(task.step)(state, keys, actions)
        next_obs = jax.vmap(task.observe)(after)
        return Rollout(obs, actions, reward, next_obs, terminated, never, never, zeros)

    return jax.vmap(with_action)(_probe_actions(task.action)), inside


def _probe_actions(space: Any) -> jax.Array:
    if isinstance(space, Discrete):
        return jnp.arange(space.n, dtype=jnp.int32)
    actions = np.zeros((len(_PROBES), *space.shape), np.float32)
    actions.reshape(len(_PROBES), -1)[:, 0] = _PROBES
    return jnp.asarray(actions)

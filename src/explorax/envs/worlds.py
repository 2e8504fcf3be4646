"""Environments side by side, in this process or in others, and what is done when one fails."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from explorax.core.errors import BadEnvironmentData, ExploraxError, in_words
from explorax.envs.supervision import Supervision, close_quietly, is_fault


class World(Protocol):
    """One environment, which changes in place. Raises BadEnvironmentData for what is wrong."""

    action_space: Any  # Gymnasium's
    obs_like: np.ndarray
    place: tuple[float, float]  # after the last step, also where an episode ended

    def reset(self, seed: int | None) -> np.ndarray: ...

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        """Return (obs, reward, terminated, truncated)."""
        ...

    def draw(self) -> np.ndarray: ...

    def close(self) -> None: ...


LARGEST_SEED = 2**31 - 1  # many an environment hands its seed on as an int32

# (environment, the steps that it has made before) -> the environment
Build = Callable[[int, int], World]


@dataclass(frozen=True)
class Fault:
    """What went wrong with one environment."""

    index: int
    told: str  # names the environment and the step
    lost: bool = False  # the process is gone, and with it all environments that it stepped


@dataclass(frozen=True)
class Rows:
    """One step of E environments, in arrays that several processes may see."""

    action: np.ndarray
    obs: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray
    place: np.ndarray  # [E, 2]
    terminated: np.ndarray
    truncated: np.ndarray
    whole: np.ndarray  # whether all of the above but obs is there
    ready: np.ndarray  # whether obs is there too
    begun: np.ndarray  # int64 [E], steps and resets that the environment has begun


def layout(num_envs: int, world: World) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and dtype of each of the Rows."""
    obs = ((num_envs, *world.obs_like.shape), str(world.obs_like.dtype))
    space = world.action_space
    action = ((num_envs, *space.shape), str(space.dtype))
    flag = ((num_envs,), "bool")
    return {
        "begun": ((num_envs,), "int64"),
        "action": action,
        "obs": obs,
        "next_obs": obs,
        "reward": ((num_envs,), "float32"),
        "place": ((num_envs, 2), "float32"),
        **dict.fromkeys(("terminated", "truncated", "whole", "ready"), flag),
    }


class Share:
    """The environments of `indices`, stepped by the process that made it."""

    def __init__(self, build: Build, indices: range, steps: int = 0) -> None:
        self.build, self.indices = build, indices
        self.worlds = {index: build(index, steps) for index in indices}

    def open(self, rows: Rows) -> None:
        self.rows = rows

    def reset(self, seeds: Sequence[int]) -> list[Fault]:
        """Begin an episode in each; return what went wrong."""
        return self._each(lambda index: self._reset(index, seeds[index - self.indices[0]]))

    def begin(self, step: int) -> None:
        """Nothing is begun before it is asked for."""

    def finish(self) -> list[Fault]:
        """Step each with its action in `rows`; return what went wrong."""
        return self._each(self._step)

    def restart(self, index: int, seed: int, steps: int) -> list[Fault]:
        """Replace one environment by a new one in a new episode."""
        close_quietly(self.worlds[index].close, f"environment {index}")
        self.worlds[index] = self.build(index, steps)
        return self._each(lambda index: self._reset(index, seed), (index,))

    def draw(self, index: int) -> np.ndarray:
        return self.worlds[index].draw()

    def close(self) -> None:
        for index, world in self.worlds.items():
            close_quietly(world.close, f"environment {index}")

    def _each(self, do: Callable[[int], None], indices: Sequence[int] = ()) -> list[Fault]:
        faults = []
        for index in indices or self.indices:
            try:
                do(index)
            except BadEnvironmentData as error:
                faults.append(Fault(index, str(error)))
        return faults

    def _reset(self, index: int, seed: int | None) -> None:
        self.rows.begun[index] += 1
        self.rows.obs[index] = self.worlds[index].reset(seed)
        self.rows.ready[index] = True

    def _step(self, index: int) -> None:
        rows, world = self.rows, self.worlds[index]
        rows.begun[index] += 1
        action = rows.action[index]
        obs, reward, terminated, truncated = world.step(action.copy() if action.ndim else action)
        rows.next_obs[index] = rows.obs[index] = obs
        rows.reward[index] = reward
        rows.terminated[index] = terminated
        rows.truncated[index] = truncated and not terminated
        rows.place[index] = world.place
        rows.whole[index] = True
        if terminated or truncated:
            self._reset(index, None)
        else:
            rows.ready[index] = True


class Worlds:
    """E environments that begin a new episode in the step that ends one, and are restarted after a
    fault as often as `supervision` allows.

    The step in which an environment fails has no true successor. Its row stays, since a rollout is
    an array without holes, and says as little as a row can: nothing was paid, nothing moved
    (next_obs = obs), and the episode was cut (truncated), so that the value of obs stands in for
    all that would have followed. Where a process dies, the environments that it stepped beside the
    one that failed lose no row: their episodes are cut behind the last true step.
    """

    def __init__(self, name: str, build: Build, num_envs: int, supervision: Supervision) -> None:
        self.name, self.num_envs, self.supervision = name, num_envs, supervision
        self.restarts = np.zeros(num_envs, np.int64)  # of each environment
        self.notes: list[str] = []  # of restarts, until `take_notes`
        self.steps = 0  # of each environment
        if supervision.workers == 0:
            share = Share(build, range(num_envs))
            self.shares: Sequence[Any] = [share]
            self.rows = Rows(**_arrays(layout(num_envs, share.worlds[0])))
            self.action_space = share.worlds[0].action_space
            share.open(self.rows)
        else:
            from explorax.envs.worker import launch

            self.shares, self.rows, self.action_space = launch(name, build, num_envs, supervision)
        weakref.finalize(self, _close, self.shares)

    def take_notes(self) -> list[str]:
        """Return what has happened since this was last asked, in sentences."""
        taken, self.notes = self.notes, []
        return taken

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Return the first observations [E, ...]. Raises BadEnvironmentData."""
        self.seeds = tuple(int(seed) for seed in seeds)
        self.rows.ready[:] = False
        for share in self.shares:
            for fault in share.reset([self.seeds[index] for index in share.indices]):
                raise BadEnvironmentData(fault.told)
        self.last = self.rows.obs.copy()
        return self.last

    def step(self, action: np.ndarray) -> Rows:
        """Return what one step gives; nobody writes to its obs .. truncated again."""
        rows = self.rows
        rows.whole[:] = rows.ready[:] = False
        rows.action[:] = action
        self.steps += 1
        for share in self.shares:
            share.begin(self.steps)
        found = [(share, fault) for share in self.shares for fault in share.finish()]
        for share, fault in found:
            self._mend(share, fault)
        self.last = rows.obs.copy()
        return replace(
            rows,
            obs=self.last,
            next_obs=rows.next_obs.copy(),
            reward=rows.reward.copy(),
            place=rows.place.copy(),
            terminated=rows.terminated.copy(),
            truncated=rows.truncated.copy(),
        )

    def draw(self, index: int) -> np.ndarray:
        share = next(share for share in self.shares if index in share.indices)
        return share.draw(index)

    def _mend(self, share: Any, fault: Fault) -> None:
        """Restart what failed; raise BadEnvironmentData where that was done often enough."""
        self._cut(fault.index)
        faults = [fault]
        while faults:
            fault, *others = faults
            for index in share.indices if fault.lost else ():
                self._cut(index)
            if self.restarts[fault.index] >= self.supervision.restarts:
                raise BadEnvironmentData(self._given_up(fault))
            self.restarts[fault.index] += 1
            count = int(self.restarts[fault.index])
            self.notes.append(
                f"{fault.told} It was restarted, time {count} of at most "
                f"{self.supervision.restarts}, and its episode was cut."
            )
            try:
                if fault.lost:  # and with it the others that had failed there
                    self.rows.ready[share.indices.start : share.indices.stop] = False
                    share.launch_again(self.steps)
                    faults = share.reset([self._fresh_seed(index) for index in share.indices])
                else:
                    seed = self._fresh_seed(fault.index)
                    # a process that is lost now takes the others with it: that comes first
                    faults = share.restart(fault.index, seed, self.steps) + others
            except BaseException as error:  # that it cannot be made anew is a fault as any other
                if not is_fault(error):
                    raise
                ours = isinstance(error, ExploraxError)
                why = (str(error) if ours else in_words(error)).removesuffix(".")
                told = (
                    f"{self.name}, environment {fault.index}, step {self.steps}: it could not be "
                    f"made anew: {why}."
                )
                faults = [Fault(fault.index, told, fault.lost), *others]

    def _cut(self, index: int) -> None:
        """Make a failed environment's row one that says nothing, or cut behind a true one."""
        rows = self.rows
        if rows.whole[index]:
            rows.truncated[index] = not rows.terminated[index]
            return
        rows.next_obs[index] = self.last[index]
        rows.reward[index] = 0.0
        rows.terminated[index], rows.truncated[index] = False, True

    def _fresh_seed(self, index: int) -> int:
        entropy = (self.seeds[index], self.steps, int(self.restarts[index]))
        return int(np.random.SeedSequence(entropy).generate_state(1)[0]) & LARGEST_SEED

    def _given_up(self, fault: Fault) -> str:
        allowed = self.supervision.restarts
        if not allowed:
            return fault.told
        times = "once" if allowed == 1 else f"{allowed} times"
        return f"{fault.told} It had been restarted {times}, as often as restarts={allowed} allows."


def _arrays(fields: dict[str, tuple[tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, dtype) for name, (shape, dtype) in fields.items()}


def _close(shares: Sequence[Any]) -> None:
    for share in shares:
        share.close()

"""Atari's games through Gymnasium: frames as DQN saw them, stepped from Python.

ale-py and OpenCV are the extra `atari`, and are imported when such a game is made.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from explorax.core.errors import UnknownName, require
from explorax.core.protocols import Key, Spec, Step, View
from explorax.core.pytree import replace
from explorax.core.settings import check_types
from explorax.envs.border import Running, unlisted
from explorax.envs.gymnasium_vector import (
    Recipe,
    advance,
    built,
    frame,
    registered,
    spec_of,
    start,
)
from explorax.envs.supervision import ALONE, Supervision

PREFIX = "ale:"
CURE = "Install it: pip install 'explorax[atari]'"
SIDE = 84  # pixels of a frame
_REGISTERED = "ALE/"  # how the ids begin in Gymnasium's registry
# Montezuma's Revenge: which bytes of the RAM hold the room and Panama Joe's place in it, what his
# place is measured from and against, and in which column of the pyramid each floor begins.
_ROOM, _X, _Y = 3, 42, 43
_WIDTH, _LOWEST, _HEIGHT = 160.0, 128.0, 128.0
_FLOORS = ((0, 3), (3, 2), (8, 1), (15, 0))  # from the top: (first room, its column)
ROOMS = (9, 4)  # columns and floors of the pyramid, which has 24 rooms
_CELLS = 8  # of the map along each side of a room


@dataclass(frozen=True)
class AtariVector:
    """`num_envs` games side by side, preprocessed by Gymnasium's AtariPreprocessing.

    Observations are the last `stack` grey frames, uint8 [84, 84, stack], the newest last; where a
    game begins its first frame is repeated. Every action is held for `frame_skip` frames, of which
    the last two are joined by their maximum, and a game begins after 1 to `noop_max` steps of doing
    nothing. As in ale-py's games of version 5 (Machado et al. 2018, arXiv 1709.06009) the game
    repeats the action of the frame before with probability 0.25, which DQN's authors did not do,
    and is cut off (truncated) after 108,000 frames.

    With `clip_reward` the agent is paid within [-1, 1], and returns are still those of the game.
    With `terminal_on_life_loss` an episode is one life; Gymnasium begins a new game after each.
    Where a game ends within the skipped frames, the last observation shows the joined frames before
    (Gymnasium's way); nobody bootstraps from it unless the time ran out in just that step.

    Montezuma's Revenge has a map, the pyramid of its 24 rooms, read from the console's memory.

    Raises Incompatible where ale-py or OpenCV is not installed, UnknownName for a game that is not
    among ale-py's.
    """

    id: str  # as in MontezumaRevenge-v5
    num_envs: int
    render: bool = False  # whether `draw` will be called
    clip_reward: bool = False  # pay the agent within [-1, 1]; returns stay the game's
    frame_skip: int = 4  # frames for which an action is held
    full_action_space: bool = False  # all 18 actions, also those that the game does not know
    noop_max: int = 30  # steps of doing nothing before a game begins, at most; 0: none
    repeat_action_probability: float = 0.25  # sticky actions; 0: none, as in DQN's paper
    stack: int = 4  # frames in an observation
    terminal_on_life_loss: bool = False  # whether an episode ends with each life
    supervision: Supervision = ALONE  # who steps them, and what if one fails

    def __post_init__(self) -> None:
        check_types(self)
        require(self.num_envs >= 1, self, "num_envs", "at least 1")
        require(self.frame_skip >= 1, self, "frame_skip", "at least 1")
        require(self.noop_max >= 0, self, "noop_max", "at least 0")
        sticky = self.repeat_action_probability
        require(0 <= sticky < 1, self, "repeat_action_probability", "in [0, 1)")
        require(self.stack >= 1, self, "stack", "at least 1")

    @property
    def traceable(self) -> bool:
        return False

    @property
    def spec(self) -> Spec:
        spec = spec_of(self)
        return replace(spec, obs=replace(spec.obs, stack=self.stack))

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            name=PREFIX + self.id,
            id=_REGISTERED + self.id,
            settings={
                "frameskip": 1,  # AtariPreprocessing skips
                "full_action_space": self.full_action_space,
                "obs_type": "grayscale",  # the cheapest; AtariPreprocessing reads the screen itself
                "repeat_action_probability": self.repeat_action_probability,
            },
            cure=lambda _: CURE,
            unknown=lambda: _unknown(self.id),
            prepare=_prepare,
            wrap=self._wrapped,
            locate=_joe if _is_montezuma(self.id) else None,
            facts=self._facts,
        )

    def _wrapped(self, env: Any) -> Any:
        from gymnasium import spaces, wrappers

        env = wrappers.AtariPreprocessing(
            env,
            noop_max=self.noop_max,
            frame_skip=self.frame_skip,
            screen_size=SIDE,
            terminal_on_life_loss=self.terminal_on_life_loss,
        )
        env = wrappers.FrameStackObservation(env, self.stack)
        space = spaces.Box(0, 255, (SIDE, SIDE, self.stack), np.uint8)
        return wrappers.TransformObservation(env, _channels_last, space)

    def _facts(self, env: Any) -> dict[str, Any]:
        frames = env.spec.kwargs["max_num_frames_per_episode"]
        return {
            "max_episode_steps": -(-frames // self.frame_skip),
            "view": _PYRAMID if _is_montezuma(self.id) else None,
        }

    def reset(self, key: Key) -> tuple[Running, np.ndarray]:
        return start(self, key)

    def step(self, state: Running, key: Key, action: Any) -> tuple[Running, Step]:
        out = advance(self.recipe, state, action)
        if self.clip_reward:
            out = replace(out, reward=np.clip(out.reward, -1.0, 1.0), true_reward=out.reward)
        return state, out

    def draw(self, state: Running, index: int = 0) -> np.ndarray:
        return frame(self, state, index)


_PYRAMID = View(
    labels=("room from the left", "room from below"),
    low=(0.0, 0.0),
    high=(float(ROOMS[0]), float(ROOMS[1])),
    bins=(ROOMS[0] * _CELLS, ROOMS[1] * _CELLS),
    hidden=True,
    rooms=ROOMS,
)


def _is_montezuma(id: str) -> bool:
    return id.startswith("MontezumaRevenge-")


def _channels_last(frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, 0, -1)


def _joe(env: Any) -> tuple[float, float]:
    """Return where in the pyramid Panama Joe is: in rooms from the left, and from below."""
    ram = env.unwrapped.ale.getRAM()
    return in_pyramid(int(ram[_ROOM]), int(ram[_X]), int(ram[_Y]))


def in_pyramid(room: int, x: int, y: int) -> tuple[float, float]:
    """Return the point of the map of Montezuma's Revenge for three bytes of the console's memory.

    The rooms are numbered from the top of the pyramid, from left to right; y grows upwards.
    """
    floor = max(index for index, (first, _) in enumerate(_FLOORS) if room >= first)
    first, column = _FLOORS[floor]
    across, up = (min(max(each, 0.0), 0.999) for each in (x / _WIDTH, (y - _LOWEST) / _HEIGHT))
    return column + room - first + across, ROOMS[1] - 1 - floor + up


def _prepare() -> None:
    import ale_py

    # what it says of itself when a game begins is not worth a line on the terminal
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def _unknown(id: str) -> UnknownName:
    return unlisted("game", id, "ale-py", registered(_REGISTERED), f"{PREFIX}MontezumaRevenge-v5")


def task_names() -> tuple[str, ...]:
    """Return the games as they are written after `ale:`. Raises Incompatible without ale-py."""
    nothing = AtariVector("Pong-v5", 1).recipe
    return built(replace(nothing, name="The list"), lambda: registered(_REGISTERED))

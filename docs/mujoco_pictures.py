"""Draws the pictures of docs/envs_mujoco.md: `python docs/mujoco_pictures.py`, from any folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from explorax.envs.mujoco_simulation import Simulation, picture
from explorax.envs.mujoco_vector import MuJoCoVector
from explorax.envs.suite import make

FIGURES = Path(__file__).parent / "figures"
PICTURES = {  # the task, how long it moves before the picture, and how fast its motors swing
    "half-cheetah-sparse": ("mujoco:HalfCheetahSparse", 32, 0.6),
    "walker2d": ("mujoco:Walker2d", 12, 0.2),
    "swimmer-gather": ("mujoco:SwimmerGather", 60, 0.3),
    "swimmer-undirected": ("mujoco:SwimmerUndirected", 60, 0.3),
    "ant-maze": ("mujoco:AntMaze", 30, 0.2),
    "quadruped": ("mujoco:Quadruped", 5, 0.2),
    "quadruped-hallway": ("mujoco:Quadruped(world='narrow_hallway')", 30, 0.2),
    "quadruped-maze": ("mujoco:Quadruped(world='maze')", 30, 0.2),
}


def draw(name: str, steps: int, pace: float) -> Image.Image:
    """Return a picture after so many steps, in which the motors swing one after the other."""
    env = make(name, 1)
    assert isinstance(env, MuJoCoVector)
    worlds = Simulation(name, env.task, [np.random.default_rng(2)])
    phase = np.arange(len(worlds.low)) * 1.5
    for step in range(steps):
        worlds.advance(0.5 * np.sin(pace * step + phase)[None])
    return Image.fromarray(picture(worlds, 0))


def main() -> None:
    for file, (name, steps, pace) in PICTURES.items():
        target = FIGURES / f"mujoco-{file}.png"
        draw(name, steps, pace).quantize(128).save(target, optimize=True)
        print(target)


if __name__ == "__main__":
    main()

"""rllab's ant: its body, and what is observed of it."""

from xml.etree.ElementTree import Element

import numpy as np

from explorax.envs.mujoco_tasks.model import asset, child, set_all, simulated_as
from explorax.envs.mujoco_tasks.task import Moment, Rows, rllab_start

TORQUE = 150.0  # N m
QUATERNION = slice(3, 7)  # of the torso, in qpos
# Where an episode begins: the torso 0.55 m high, the ankles bent.
_STAND = np.array([0.0, 0.0, 0.55, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0])


def rllab_ant() -> Element:
    """Return rllab's ant: Gymnasium's body with rllab's step and contacts."""
    root = asset("ant")
    simulated_as(root, 0.02, "RK4")
    child(root, "default/geom").attrib.update(solref=".02 1", solimp=".8 .8 .01")
    set_all(root, "actuator/motor", gear="1", ctrlrange=f"{-TORQUE} {TORQUE}")
    return root


def ant_start(rng: np.random.Generator, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (qpos, qvel) of an ant that stands, with rllab's noise."""
    qpos, qvel = rllab_start(rng, _STAND, qvel)
    qpos[QUATERNION] /= np.linalg.norm(qpos[QUATERNION])
    return qpos, qvel


def rotation(quaternion: Rows) -> Rows:
    """Return the matrices [E, 3, 3] of unit quaternions [E, 4], (w, x, y, z)."""
    w, x, y, z = quaternion.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def clipped_contacts(now: Moment) -> Rows:
    """Return the forces of contacts on each body, each in [-1, 1]: [E, 84]."""
    return np.clip(now.contacts, -1.0, 1.0).reshape(len(now.contacts), -1)


def ant_observation(now: Moment) -> Rows:
    """Return what rllab observes of the ant, [E, 125].

    Positions (15) and velocities (14), forces of contacts (84), the torso's rotation (9), and the
    centre of mass (3).
    """
    turned = rotation(now.qpos[:, QUATERNION]).reshape(len(now.qpos), 9)
    parts = [now.qpos, now.qvel, clipped_contacts(now), turned, now.com]
    return np.concatenate(parts, axis=1)

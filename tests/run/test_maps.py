"""The survey of the state space, in worlds where not every cell can be stood in."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from explorax.core.protocols import Key, Metrics, Rollout, Spec
from explorax.envs import FourRooms, KeyDoor, NoisyTV
from explorax.envs.task import Batched
from explorax.run.maps import survey


@dataclass(frozen=True)
class Where:
    """Pays `scale` times the number of the 1 among the first `cells` entries of the successor."""

    cells: int

    replayable = True

    def init(self, key: Key, spec: Spec) -> Any:
        return jnp.float32(1.0)

    def score(self, state: Any, key: Key, rollout: Rollout) -> tuple[jax.Array, Any]:
        return self.rescore(state, key, rollout), state

    def update(self, state: Any, key: Key, rollout: Rollout) -> tuple[Any, Metrics]:
        return state, {}

    def rescore(self, state: Any, key: Key, rows: Rollout) -> jax.Array:
        flat = rows.next_obs.reshape(*rows.reward.shape, -1)[..., : self.cells]
        return state * jnp.argmax(flat, -1).astype(jnp.float32)


def test_survey_says_nothing_of_walls():
    rooms, doors = FourRooms(), KeyDoor(6)
    worlds = [(rooms, rooms.walls), (NoisyTV(rooms, 3), rooms.walls), (doors, doors.walls)]
    for task, walls in worlds:
        side = len(walls)
        look = survey(Batched(task, 2), Where(side * side))
        assert look is not None
        scales = jnp.array([1.0, 2.0], jnp.float32)
        found = np.asarray(look(scales, jax.random.split(jax.random.key(0), 2)))
        assert found.shape == (2, side, side)
        np.testing.assert_array_equal(np.isnan(found), np.stack([walls.T, walls.T]))
        np.testing.assert_allclose(found[1], 2 * found[0])
        if isinstance(task, FourRooms):  # in the open, the mean over the four cells around
            assert found[0, 3, 2] == 2 * 13 + 3
            # a corner: two of the four moves stay there
            assert found[0, 1, 1] == np.mean([14, 14, 15, 27])

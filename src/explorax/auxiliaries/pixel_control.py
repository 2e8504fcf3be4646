"""Pixel control: learn how to change what is seen."""

import math
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Shaped

from explorax.auxiliaries.auxiliary import About, Scene
from explorax.auxiliaries.control import control_loss, dueling, number_of_actions
from explorax.core.errors import Incompatible, require
from explorax.core.protocols import Key, Metrics
from explorax.core.settings import check_types
from explorax.nets.conv import ConvTranspose
from explorax.nets.mlp import dense
from explorax.ops.images import unit_range

_FILTERS = 32


class _Head(nn.Module):
    """Q of each action and cell [N, A, rows · columns], by a deconvolution (4×4, stride 2)."""

    actions: int
    cells: tuple[int, int]

    @nn.compact
    def __call__(self, latent: Float[Array, "N H"]) -> Float[Array, "N A K"]:
        rows, columns = self.cells
        # the smallest grid whose deconvolution covers the cells; what it has too much is cut off
        base = [max(1, math.ceil((side - 4) / 2) + 1) for side in self.cells]
        x = jax.nn.relu(dense(base[0] * base[1] * _FILTERS)(latent))
        x = x.reshape(-1, *base, _FILTERS)
        x = ConvTranspose(1 + self.actions, 4, 2)(x)
        x = jnp.moveaxis(x[:, :rows, :columns], -1, 1).reshape(len(x), 1 + self.actions, -1)
        return dueling(x[:, 0], x[:, 1:])


@dataclass(frozen=True)
class PixelControl:
    """Pixel control (Jaderberg et al. 2016, arXiv 1611.05397, section 3.1).

    The image is divided into cells of `cell`² pixels, what does not divide being left out at the
    border. A cell's reward is how much its pixels change in a step, the mean of |x' − x| over them
    and over channels, for x between 0 and 1; of a stack of frames x is the newest. Each cell's Q is
    learned from n-step returns over the replayed window by a dueling deconvolution of the memory's
    output.

    Observations are images, or small grids [H, W, C] such as a maze's: then `cell=1`. The paper
    crops 84×84 to 80×80 and has 20×20 cells of 4×4.
    """

    weight: float = 0.05  # the paper searched 0.01 to 0.1 on Labyrinth
    cell: int = 4  # pixels per side
    discount: float = 0.9

    def __post_init__(self) -> None:
        check_types(self)
        require(0 <= self.weight < math.inf, self, "weight", "0 or more, finite")
        require(self.cell >= 1, self, "cell", "at least 1")
        require(0 <= self.discount <= 1, self, "discount", "between 0 and 1")

    def init(self, key: Key, about: About) -> Any:
        """Return the head's parameters.

        Raises Incompatible where there are no pixels, or one cell of them: nothing to choose from.
        """
        shape = about.obs.shape
        if len(shape) != 3:
            raise Incompatible(
                f"{self!r} needs images [height, width, channels], and these observations have the "
                f"shape {shape}. Leave it out of the auxiliaries, or take FeatureControl(), which "
                f"needs none."
            )
        if max(shape[:2]) < 2 * self.cell or min(shape[:2]) < self.cell:
            raise Incompatible(
                f"{self!r} divides images into cells of {self.cell}×{self.cell} pixels, and these, "
                f"{shape}, have not two of them. For grids of so few cells take "
                f"PixelControl(cell=1)."
            )
        actions = number_of_actions(about.action, self)
        cells = (shape[0] // self.cell, shape[1] // self.cell)
        return _Head(actions, cells).init(key, jnp.zeros((1, about.latent)))

    def loss(self, params: Any, scene: Scene) -> tuple[jax.Array, Metrics]:
        change = self.changes(scene.newest)
        cells = scene.rows.obs.shape[2] // self.cell, scene.rows.obs.shape[3] // self.cell
        actions = params["params"]["ConvTranspose_0"]["bias"].shape[0] - 1
        flat = scene.latent.reshape(-1, scene.latent.shape[-1])
        q = cast(Any, _Head(actions, cells).apply(params, flat))
        q = q.reshape(*scene.latent.shape[:2], actions, -1)
        loss = control_loss(q, change, scene.rows, self.discount)
        return loss, {"change": change.mean()}

    def changes(self, obs: Shaped[Array, "L1 B H W C"]) -> Float[Array, "L B K"]:
        """Return the reward of each cell, in reading order, for each step but the last."""
        side, (height, width) = self.cell, obs.shape[2:4]
        rows, columns = height // side, width // side
        top, left = (height - rows * side) // 2, (width - columns * side) // 2
        seen = unit_range(obs[:, :, top : top + rows * side, left : left + columns * side])
        apart = jnp.abs(seen[1:] - seen[:-1]).mean(-1)
        cells = apart.reshape(*apart.shape[:2], rows, side, columns, side).mean((3, 5))
        return cells.reshape(*apart.shape[:2], rows * columns)

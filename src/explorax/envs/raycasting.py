"""First-person frames of a maze: one ray for each column of pixels, and round things in between.

The world is flat: walls one cell high on the squares of a grid, an eye half a cell above the floor.
Places are (x, y) in cells, x along the columns and y down the rows, so that a heading, in radians,
turns clockwise from east. Everything is arithmetic on whole frames, without a loop over the cells
that a ray passes and without looking anything up: a ray meets each line of the grid in one place,
which is a wall's if the cell behind it is one, and the nearest of those is what is seen.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

FIELD_OF_VIEW = np.deg2rad(85)
EYE = 0.5  # height above the floor, cells
APPLE_RADIUS, APPLE_HEIGHT = 0.17, 0.3
PILLAR_RADIUS, PILLAR_HEIGHT = 0.24, 0.86
_NEAR = 0.05  # things closer than this are not drawn
_MIST = 0.11  # of the light, how much is lost per cell
_FAR = 1e6

# Red, green, blue in 0 .. 255.
CEILING, FLOOR, FLOOR_ODD = (112.0, 146.0, 178.0), (104.0, 96.0, 84.0), (136.0, 126.0, 110.0)
HUES = (
    (196.0, 78.0, 70.0), (90.0, 120.0, 200.0), (214.0, 158.0, 74.0), (104.0, 164.0, 96.0),
    (158.0, 96.0, 178.0), (80.0, 168.0, 176.0), (202.0, 120.0, 150.0), (150.0, 150.0, 150.0),
)  # fmt: skip
APPLE, PILLAR, BAND = (226.0, 32.0, 34.0), (250.0, 222.0, 60.0), (60.0, 190.0, 70.0)


class Hits(NamedTuple):
    """What the rays meet first, [P] each."""

    depth: jax.Array  # float32, along the heading, in cells
    along: jax.Array  # float32 in [0, 1), where on the wall's face
    row: jax.Array  # int32, the wall's cell
    column: jax.Array
    upright: jax.Array  # bool, the face runs north and south


def rays(heading: Float[Array, ""], pixels: int) -> Float[Array, "P 2"]:
    """Return the direction of each column's ray, from left to right; 1 along the heading."""
    forward, right = directions(heading)
    slope = jnp.asarray(_slopes(pixels), jnp.float32)
    return forward[None] + slope[:, None] * right[None]


def directions(heading: Float[Array, ""]) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
    """Return the unit vectors forward and to the right."""
    c, s = jnp.cos(heading), jnp.sin(heading)
    return jnp.stack([c, s]), jnp.stack([-s, c])


@lru_cache
def _slopes(pixels: int) -> np.ndarray:
    """Return how far aside the middles of pixels lie at distance 1, from left to right."""
    return ((2 * np.arange(pixels) + 1) / pixels - 1) * np.tan(FIELD_OF_VIEW / 2)


def cast(walls: Bool[Array, "N N"], place: Float[Array, "2"], ray: Float[Array, "P 2"]) -> Hits:
    """Return the walls that rays from a free place meet first; the maze must have walls around."""
    x, y = place[0], place[1]
    dx, dy = (jnp.where(jnp.abs(d) < 1e-6, 1e-6, d) for d in (ray[:, 0], ray[:, 1]))
    size = walls.shape[0]
    bits = (jnp.uint32(1) << jnp.arange(size, dtype=jnp.uint32))[None]
    by_column = jnp.where(walls.T, bits, jnp.uint32(0)).sum(1, dtype=jnp.uint32)
    by_row = jnp.where(walls, bits, jnp.uint32(0)).sum(1, dtype=jnp.uint32)
    depth_x = _first_crossing(by_column, x, y, dx, dy)
    depth_y = _first_crossing(by_row, y, x, dy, dx)
    upright = depth_x < depth_y
    depth = jnp.minimum(depth_x, depth_y)
    end_x, end_y = x + depth * dx, y + depth * dy
    # the line itself is a whole number up to rounding; the wall's cell lies behind it
    column = jnp.where(
        upright, jnp.round(end_x) - (dx < 0).astype(jnp.float32), jnp.floor(end_x)
    ).astype(jnp.int32)
    row = jnp.where(
        upright, jnp.floor(end_y), jnp.round(end_y) - (dy < 0).astype(jnp.float32)
    ).astype(jnp.int32)
    across = jnp.where(upright, end_y, end_x)
    return Hits(depth, across - jnp.floor(across), row, column, upright)


def _first_crossing(
    masks: jax.Array, x: jax.Array, y: jax.Array, dx: jax.Array, dy: jax.Array
) -> Float[Array, " P"]:
    """Return at what depth rays first enter a wall over one of the lines x = 0 .. N.

    masks: uint32 [N], whose bit r says whether the cell in strip r across is a wall.
    """
    size = masks.shape[0]
    nothing = jnp.zeros(1, jnp.uint32)
    upwards, downwards = jnp.concatenate([masks, nothing]), jnp.concatenate([nothing, masks])
    line = jnp.arange(size + 1, dtype=jnp.float32)[None]
    depth = (line - x) * (1.0 / dx)[:, None]
    strip = jnp.floor(y + depth * dy[:, None])
    inside = (depth > 0) & (strip >= 0) & (strip < size)
    mask = jnp.where((dx > 0)[:, None], upwards[None], downwards[None])
    bit = jnp.where(inside, strip, 0.0).astype(jnp.uint32)
    hit = inside & ((mask >> bit) & 1 == 1)
    return jnp.where(hit, depth, _FAR).min(1)


class Thing(NamedTuple):
    """What stands or lies in front of the walls, for each column: the nearest of its kind, [P]."""

    depth: jax.Array  # float32, _FAR where there is none
    aside: jax.Array  # float32, how far from its middle, cells


def nearest(
    places: Float[Array, "K 2"],
    there: Bool[Array, " K"],
    place: Float[Array, "2"],
    heading: Float[Array, ""],
    radius: float,
    pixels: int,
) -> Thing:
    """Return the nearest of K upright discs, which always face the eye, in each column."""
    forward, right = directions(heading)
    away = places - place[None]
    depth, aside = (away * forward[None]).sum(1), (away * right[None]).sum(1)
    slope = jnp.asarray(_slopes(pixels), jnp.float32)
    apart = slope[:, None] * depth[None] - aside[None]
    hit = there[None] & (depth > _NEAR)[None] & (jnp.abs(apart) < radius)
    depths = jnp.where(hit, depth[None], _FAR)
    closest = depths.min(1, initial=_FAR)
    offset = jnp.where(hit & (depths == closest[:, None]), jnp.abs(apart), _FAR).min(
        1, initial=_FAR
    )
    return Thing(closest, offset)


def paint(
    hits: Hits,
    apple: Thing,
    pillar: Thing,
    place: Float[Array, "2"],
    ray: Float[Array, "P 2"],
    hue: Float[Array, "P 3"],
) -> UInt8[Array, "P P 3"]:
    """Return the frame. hue: the colour of each column's wall in full light."""
    pixels = hits.depth.shape[0]
    up = jnp.asarray(-_slopes(pixels), jnp.float32)[:, None]  # of each line, at distance 1
    light = 1.0 / (1.0 + _MIST * hits.depth)
    light = light * jnp.where(hits.upright, 1.0, 0.8)
    # walls: a dark seam at the ends of a face, and panels of two shades
    seam = (hits.along < 0.04) | (hits.along > 0.96)
    light = jnp.where(seam, 0.72 * light, light)
    height = EYE + up * hits.depth[None]
    panel = (height > 0.5) != (hits.along > 0.5)[None]
    grain = jnp.where(panel, 1.0, 0.88) * jnp.where((height < 0.07) | (height > 0.95), 0.7, 1.0)
    is_wall = (height > 0) & (height < 1)
    # floor and ceiling: a pixel of a line below or above the horizon is always as far away
    reach = EYE / jnp.maximum(jnp.abs(up), 1e-3)
    mist = 1.0 / (1.0 + _MIST * reach)
    x, y = place[0] + reach * ray[None, :, 0], place[1] + reach * ray[None, :, 1]
    odd = (jnp.floor(x) + jnp.floor(y)).astype(jnp.int32) % 2 == 1
    above = up > 0
    in_apple, apple_light = _ball(apple, hits.depth, up)
    pillar_height = EYE + up * pillar.depth[None]
    in_pillar = (pillar_height > 0) & (pillar_height < PILLAR_HEIGHT)
    in_pillar = in_pillar & (pillar.depth < hits.depth)[None]
    band = jnp.floor(pillar_height * 7).astype(jnp.int32) % 2 == 1
    round_light = (1.0 - 0.45 * pillar.aside / PILLAR_RADIUS)[None]
    apple_first = in_apple & ((apple.depth < pillar.depth)[None] | ~in_pillar)
    packed = jnp.zeros((pixels, pixels), jnp.uint32)
    for channel in range(3):
        floor = jnp.where(odd, FLOOR_ODD[channel], FLOOR[channel])
        colour = jnp.where(above, CEILING[channel], floor) * mist
        colour = jnp.where(is_wall, (hue[:, channel] * light)[None] * grain, colour)
        pillar_colour = jnp.where(band, BAND[channel], PILLAR[channel]) * round_light
        colour = jnp.where(in_pillar, pillar_colour, colour)
        colour = jnp.where(apple_first, APPLE[channel] * apple_light, colour)
        packed = packed | (colour.astype(jnp.uint32) << (8 * channel))
    shifts = jnp.asarray([0, 8, 16], jnp.uint32)
    return ((packed[..., None] >> shifts[None, None]) & 255).astype(jnp.uint8)


def _ball(
    ball: Thing, behind: Float[Array, " P"], up: Float[Array, "P 1"]
) -> tuple[Bool[Array, "P P"], Float[Array, "P P"]]:
    """Return (which pixels show an apple, how light they are)."""
    above = (EYE - APPLE_HEIGHT) + up * ball.depth[None]  # of its middle
    square = jnp.square(above) + jnp.square(ball.aside)[None]
    shown = (square < APPLE_RADIUS**2) & (ball.depth < behind)[None]
    return shown, 0.8 + 0.2 * above / APPLE_RADIUS

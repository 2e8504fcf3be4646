"""What is drawn under a film: the return so far and the bonus of each step, as curves."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from explorax.core.keys import key_of
from explorax.core.protocols import Bonus, Rollout
from explorax.core.pytree import replace
from explorax.run.cache import QUICK

_PAPER, _INK, _FAINT, _ZERO = "#FFFFFF", "#3A4653", "#C9D1DA", "#E1E7EE"
_RETURN, _BONUS = "#0072B2", "#D55E00"  # of Okabe and Ito
_LEAST_WIDTH = 240  # pixels; a smaller picture is enlarged, so that words can be read
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Curves:
    """One episode's curves; `steps` says which step each frame shows the state before."""

    returns: np.ndarray  # [T], the sum of rewards through each step
    bonus: np.ndarray | None  # [T], of each step; None where nothing is paid or nothing is known
    steps: np.ndarray  # [frames]

    def under(self, picture: Image.Image, frame: int) -> Image.Image:
        """Return the picture with the curves drawn below it as far as the frame's step."""
        factor = -(-_LEAST_WIDTH // picture.width)
        if factor > 1:
            size = (picture.width * factor, picture.height * factor)
            picture = picture.resize(size, Image.Resampling.NEAREST)
        kinds = [("return", self.returns, _RETURN)]
        if self.bonus is not None:
            kinds.append(("bonus", self.bonus, _BONUS))
        width, height = picture.width, max(44, round(0.16 * picture.width))
        sheet = Image.new("RGB", (width, picture.height + height * len(kinds)), _PAPER)
        sheet.paste(picture, (0, 0))
        for row, (name, values, colour) in enumerate(kinds):
            panel = _panel(name, values, int(self.steps[frame]), colour, (width, height))
            sheet.paste(panel, (0, picture.height + row * height))
        return sheet


def _panel(
    name: str, values: np.ndarray, step: int, colour: str, size: tuple[int, int]
) -> Image.Image:
    """Return a curve over the whole episode, in colour up to `step` and faint behind."""
    width, height = (each * _OVERSAMPLING for each in size)
    font = ImageFont.load_default(12.0 * _OVERSAMPLING)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    left, right = 62 * _OVERSAMPLING, width - 10 * _OVERSAMPLING
    top, bottom = 8 * _OVERSAMPLING, height - 8 * _OVERSAMPLING
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = high - low or 1.0
    across = np.linspace(left, right, len(values)) if len(values) > 1 else np.array([left])
    down = bottom - (values - low) / span * (bottom - top)
    zero = bottom + low / span * (bottom - top)
    draw.line([(left, zero), (right, zero)], fill=_ZERO, width=_OVERSAMPLING)
    points = list(zip(across.tolist(), down.tolist(), strict=True))
    draw.line(points, fill=_FAINT, width=round(1.2 * _OVERSAMPLING))
    draw.line(points[: step + 1], fill=colour, width=round(1.6 * _OVERSAMPLING), joint="curve")
    (x, y), radius = points[min(step, len(points) - 1)], 2.5 * _OVERSAMPLING
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    edge, middle = 8 * _OVERSAMPLING, height / 2
    draw.text((edge, middle - 1 * _OVERSAMPLING), name, fill=_INK, font=font, anchor="ls")
    told = f"{values[min(step, len(values) - 1)]:.3g}"  # the font has no other minus
    draw.text((edge, middle + 2 * _OVERSAMPLING), told, fill=colour, font=font, anchor="lt")
    return image.resize(size, Image.Resampling.LANCZOS)


def bonus_of(bonus: Bonus, state: Any, episode: Rollout, num_envs: int) -> np.ndarray | None:
    """Return what the steps of an episode, leaves [T, ...], would be paid, [T]; None for nothing.

    By what was learned until the film. A bonus that cannot score rows out of order is shown the
    episode as the live stream of as many environments as it was made for, all alike.
    """
    paid = np.asarray(_score(bonus, num_envs, state, episode))
    return paid if np.isfinite(paid).all() and (paid != 0).any() else None


@partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICK)
def _score(bonus: Bonus, num_envs: int, state: Any, episode: Rollout) -> jax.Array:
    key = key_of(0)
    if bonus.replayable:
        return bonus.rescore(state, key, episode)
    alike = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[:, None], (len(leaf), num_envs, *leaf.shape[1:])),
        replace(episode, carry=(), place=(), true_reward=()),
    )
    return bonus.score(state, key, alike)[0][:, 0]

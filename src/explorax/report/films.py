"""Films of final policies, made small enough to travel inside a page."""

import io
from collections.abc import Sequence

from PIL import Image, ImageSequence

from explorax.report.read import Film, Run

BUDGET_BYTES = 2_700_000  # of all films of a page together; base64 adds a third
_FEWEST_BYTES = 60_000  # a film gets at least this much
_SMALLEST_PIXELS = 96  # in width


def fit(gif: bytes, limit_bytes: int) -> bytes:
    """Return the GIF, or one with smaller frames, and then fewer, that meets `limit_bytes`.

    Stops at frames of 96 pixels in width, whatever their size.
    """
    step = 1
    while len(gif) > limit_bytes:
        with Image.open(io.BytesIO(gif)) as film:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(film)]
            pause = int(film.info.get("duration", 50))
        if frames[0].width * 0.75 >= _SMALLEST_PIXELS:
            size = (int(frames[0].width * 0.75), int(frames[0].height * 0.75))
            frames = [frame.resize(size, Image.Resampling.BOX) for frame in frames]
        elif len(frames) > 40 and step < 8:
            frames, pause, step = frames[::2], pause * 2, step * 2
        else:
            return gif
        buffer = io.BytesIO()
        small = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
        small[0].save(
            buffer, "GIF", save_all=True, append_images=small[1:], duration=pause, loop=0,
            optimize=True,
        )  # fmt: skip
        gif = buffer.getvalue()
    return gif


def still(gif: bytes) -> bytes:
    """Return the last frame as PNG, for readers who asked for no motion."""
    with Image.open(io.BytesIO(gif)) as film:
        film.seek(getattr(film, "n_frames", 1) - 1)
        buffer = io.BytesIO()
        film.convert("RGB").quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def choose(runs: Sequence[Run], most_per_run: int = 3) -> dict[int, list[Film]]:
    """Return which films to show of each run (by its place), as many of each as all can afford."""
    films = {i: list(run.films[:most_per_run]) for i, run in enumerate(runs) if run.films}
    while films and max(len(own) for own in films.values()) > 1:
        size = sum(film.file.stat().st_size for own in films.values() for film in own)
        if size <= BUDGET_BYTES:
            break
        longest = max(len(own) for own in films.values())
        films = {i: own[: longest - 1] for i, own in films.items()}
    return films


def share_bytes(count: int) -> int:
    """Return how many bytes one of `count` films may take."""
    return max(_FEWEST_BYTES, BUDGET_BYTES // max(1, count))

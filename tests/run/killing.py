"""A process that is killed between two files, without killing the one that tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Killed(BaseException):
    """As SIGKILL: nobody catches it, and from then on nothing can be written."""


@contextmanager
def killed_after(renames: int) -> Iterator[None]:
    """Let so many files take their places. Fails unless another one wants to."""
    done, real = [], os.replace

    def replace(source: Any, target: Any) -> None:
        done.append(target)
        if len(done) > renames:
            raise Killed
        real(source, target)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", replace)
        yield

"""How many threads decompose matrices."""

import subprocess
import sys

import pytest

ASKED = """
import os
import jax.numpy as jnp
from explorax.ops import bayesian_linear
from threading import active_count
bayesian_linear.condition(bayesian_linear.prior(64), jnp.eye(64))
import ctypes, glob, pathlib, scipy
(library,) = glob.glob(str(pathlib.Path(scipy.__file__).parents[1] / "scipy.libs" / "*openblas*"))
print(ctypes.CDLL(library).scipy_openblas_get_num_threads(), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.parametrize(("before", "threads"), [(None, "1 None"), ("2", "2 2")])
def test_one_thread_unless_the_environment_says_otherwise(before, threads, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if before:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", before)
    asked = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True)
    assert asked.stdout.strip() == threads, asked.stderr

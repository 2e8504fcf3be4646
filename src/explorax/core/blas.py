"""The threads of the BLAS that JAX decomposes matrices with on a CPU."""

import importlib
import os
import sys

_THREADS = "OPENBLAS_NUM_THREADS"


def use_one_thread() -> None:
    """Load SciPy's BLAS, if nobody has, so that it works in one thread.

    Its threads spin while they wait for each other. On two cores that had other work, a Cholesky
    factor of 128 rows took 8 ms of processor time with two threads and 0.5 ms with one; matrices of
    a thousand rows gain little from a second. NumPy has a BLAS of its own, which keeps its threads.
    Where the environment says how many threads there are to be, so be it.
    """
    if "scipy.linalg" in sys.modules or _THREADS in os.environ:
        return
    importlib.import_module("numpy")
    os.environ[_THREADS] = "1"  # is read when the library is loaded
    try:
        importlib.import_module("scipy.linalg")
    finally:
        del os.environ[_THREADS]

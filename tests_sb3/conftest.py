"""What runs beside PyTorch, in an environment of its own (`make test-sb3`)."""

import os
import sys
from pathlib import Path

# Before the first import of JAX and PyTorch, which read them once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"

_tests = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_tests / "adapters"), str(_tests)]  # worlds.py, action_cases.py

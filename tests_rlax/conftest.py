"""What is compared with rlax, in an environment of its own (`make test-rlax`)."""

import os
import warnings

# Before the first import of JAX, which reads it once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Its libraries are older than JAX, and say at import what will be no more; the tests treat what our
# code says as errors all the same.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import rlax  # noqa: F401  # pyright: ignore[reportMissingImports]  (another environment's)

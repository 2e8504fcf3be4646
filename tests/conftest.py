"""What every test runs under: the CPU, strict types, and shapes checked at each call."""

import gc
import os
import tempfile
from pathlib import Path
from typing import Protocol

import pytest

# Before the first import of JAX, which reads them once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# pytest-xdist gives each core a process, so each process keeps to one thread.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    # Tests run small programs once: what counts is how long they take to compile. Without the new
    # fusion emitters it is a third of that (JAX 0.10.2 and 0.11.2), all else being equal.
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
    # One module of LLVM for each program instead of up to 32: a fifth less.
    " --xla_cpu_parallel_codegen_split_count=1"
)
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"
os.environ["MPLBACKEND"] = "Agg"

import beartype
import jax
import jaxtyping

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Lets an argument annotated with one of our protocols be checked: has it all the members?
setattr(Protocol, "_is_runtime_protocol", True)  # noqa: B010  (typeshed hides the attribute)


class _EveryName:
    def __contains__(self, name: object) -> bool:
        return True


# From Python 3.13 on a member that is None counts as lacking unless its name is in here.
setattr(Protocol, "__non_callable_proto_members__", _EveryName())  # noqa: B010  (as above)
# Every function of the library checks the types and shapes in its signature when a test calls it.
# As for type checkers, an int will do where a float is wanted.
checked = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
jaxtyping.install_import_hook("explorax", "conftest.checked")

from explorax.core import pytree as _pytree

_registered = _pytree.pytree


def _unchecked_container(cls: type) -> type:
    """Return `cls` as a pytree whose construction is not checked.

    JAX rebuilds containers with one more axis under `vmap`, and with sentinels for leaves, so the
    shapes in their annotations hold where a person builds them and not where JAX does.
    """
    container = _registered(cls)
    container.__no_type_check__ = True  # read by jaxtyping
    return container


_pytree.pytree = _unchecked_container


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs between runs, and the user's own cache out of them."""
    cache = config.rootpath / ".pytest_cache" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    # A bound also switches on the lock, without which two workers may read half a file.
    jax.config.update("jax_compilation_cache_max_size", 2**30)
    # Tracing makes and drops millions of small objects: where each line of a program stands in
    # Python is of no use here, and collecting them less often is a tenth of the time with it.
    jax.config.update("jax_traceback_in_locations_limit", 0)
    gc.set_threshold(200_000, 50, 100)
    os.environ["EXPLORAX_CACHE"] = tempfile.mkdtemp(prefix="explorax-test-cache-")


MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Drop what was compiled where one process holds tens of thousands of memory maps for it.

    With more than the kernel allows, 65,530, a compilation ends in a segmentation fault. What is
    kept, every small operation of JAX among it, the next module need not compile.
    """
    yield
    if not MAPS.exists() or MAPS.read_bytes().count(b"\n") > 20_000:
        gc.collect()
        jax.clear_caches()


import optax.tree

_bias_correction = optax.tree.bias_correction


def _bias_correction_with_standard_promotion(*args, **kwargs):
    """Let Adam raise a float to an int32: the strictness is for our own arithmetic."""
    with jax.numpy_dtype_promotion("standard"):
        return _bias_correction(*args, **kwargs)


optax.tree.bias_correction = _bias_correction_with_standard_promotion

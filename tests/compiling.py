"""How tests compile what conftest.py's quick compilation is not good enough for."""

# With the fusion emitters that users have: conftest.py leaves them out for the sake of time, and
# without them the same lines are rounded otherwise in one program than in another.
AS_USERS_DO = {"xla_backend_extra_options": ""}

# For what trains for minutes: all of LLVM's optimisations too.
OPTIMISED = AS_USERS_DO | {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}

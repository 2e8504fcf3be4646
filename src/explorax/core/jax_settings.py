"""JAX's own settings: which of them stop a run, and which are part of what it is.

They come from JAX_... in the environment or from jax.config.update. `check` refuses by name those
with which parts of explorax end in a traceback; `deviating` are those that change numbers.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax

from explorax.core.errors import Incompatible, InvalidSetting

# What does not work when it is on, and why.
_REFUSED = {
    "jax_enable_x64": "Networks, tasks and counters are of 32 bits",
    "jax_disable_jit": "Training is compiled ahead",
    "jax_debug_key_reuse": "Keys are split and folded into more than once, by design",
    "jax_debug_nans": "A metric that is NaN says that there is nothing to say yet",
    "jax_debug_infs": "Infinity stands for what is without bounds",
}
_GUARDS = ("", "_host_to_device", "_device_to_host", "_device_to_device")
# Which change numbers, with JAX's defaults. JAX_DEFAULT_PRNG_IMPL is none of them: `core.keys`.
_TELLING = {
    "jax_default_matmul_precision": None,
    "jax_disable_most_optimizations": False,
    "jax_high_dynamic_range_gumbel": False,
    "jax_random_seed_offset": 0,
    "jax_softmax_custom_jvp": False,
    "jax_threefry_partitionable": True,
    "jax_use_direct_linearize": True,
}


def check() -> None:
    """Raise InvalidSetting where JAX is set in a way that cannot work, or lacks the device."""
    for name, reason in _REFUSED.items():
        if value_of(name):
            raise InvalidSetting(
                f"{name.upper()} is set: {reason}, and explorax does not work with it. Unset it in "
                f'the environment, or jax.config.update("{name}", False).'
            )
    for name in (f"jax_transfer_guard{way}" for way in _GUARDS):
        if str(value_of(name)).startswith("disallow"):
            raise InvalidSetting(
                f"{name.upper()} is {value_of(name)}: numbers go to the device and back "
                f"in every use of explorax. Unset it in the environment, or "
                f'jax.config.update("{name}", "allow").'
            )
    promotion = jax.config.values["jax_numpy_dtype_promotion"]
    if getattr(promotion, "value", promotion) == "strict" and not _adam_works():
        raise InvalidSetting(
            "JAX_NUMPY_DTYPE_PROMOTION is strict: optax, which explorax trains with, does not work "
            "with it. Set it to standard."
        )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a bare one where the platform lacks a plugin
        wanted = jax.config.values["jax_platforms"] or ""
        said = str(error).splitlines()[0].rstrip(".") if str(error) else "it finds none"
        raise InvalidSetting(
            f"JAX_PLATFORMS={wanted}: JAX has no such device here ({said}). Unset JAX_PLATFORMS to "
            f"take what there is, set it to cpu, or install JAX for that device."
        ) from error


@cache
def _adam_works() -> bool:
    """Return whether optax's Adam can be traced as JAX is set."""
    import optax

    adam, weights = optax.adam(0.1), jax.ShapeDtypeStruct((), "float32")
    try:
        jax.eval_shape(lambda each: adam.update(each, adam.init(each)), weights)
    except jax.dtypes.TypePromotionError:
        return False
    return True


def value_of(name: str, default: Any = None) -> Any:
    """Return a setting of JAX's as it is here, `default` where this version of JAX has none."""
    if hasattr(jax.config, name):  # also what a context manager has set
        return getattr(jax.config, name)
    return jax.config.values.get(name, default)


def deviating() -> tuple[str, ...]:
    """Return "name=value" of the settings that change numbers and are not at JAX's defaults."""
    here = {name: value_of(name, default) for name, default in _TELLING.items()}
    return tuple(f"{n}={value}" for n, value in here.items() if value != _TELLING[n])


def check_same(recorded: Sequence[str]) -> None:
    """Raise Incompatible where a run of these deviating settings cannot go on under those here."""
    here = deviating()
    if here == tuple(recorded):
        return
    names = sorted({text.partition("=")[0] for text in {*here} ^ {*recorded}})
    raise Incompatible(
        f"JAX is set otherwise than for this run, whose numbers would change: "
        f"{_told(recorded)} there, {_told(here)} here. Set {', '.join(names)} as there."
    )


def _told(settings: Sequence[str]) -> str:
    return ", ".join(settings) or "JAX's defaults"

"""Whether a program trains: which leaves it changes by a gradient that was taken at them.

Seen in the traced program, where JAX names every line of a backward pass "transpose(...)". A price
may be made of gradients, as VIME's is, and a state may average such prices: what counts is the
loop, a leaf whose new value depends on a gradient that depends on the leaf's old value.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

_BACKWARD = "transpose("


class _Origin(NamedTuple):
    """Where a number comes from."""

    leaves: frozenset[int] = frozenset()  # the arguments that it depends on
    fitted: frozenset[int] = frozenset()  # those that a gradient it depends on depends on


def trained(closed: Any, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return the inputs of a closed jaxpr that are trained.

    pairs: (input, output) numbers of the same leaf before and after.
    """
    jaxpr = closed.jaxpr
    given = [_Origin(frozenset({number})) for number in range(len(jaxpr.invars))]
    out = _through(jaxpr, given)
    return [number for number, after in pairs if number in out[after].fitted]


def _joined(origins: Sequence[_Origin]) -> _Origin:
    return _Origin(
        frozenset().union(*(each.leaves for each in origins)),
        frozenset().union(*(each.fitted for each in origins)),
    )


def _through(jaxpr: Any, given: Sequence[_Origin]) -> list[_Origin]:
    """Return the origins of what a jaxpr returns, from those of what it is given."""
    known: dict[Any, _Origin] = dict(zip(jaxpr.invars, given, strict=True))

    def of(variable: Any) -> _Origin:
        return _Origin() if hasattr(variable, "val") else known.get(variable, _Origin())

    for equation in jaxpr.eqns:
        inputs = [of(variable) for variable in equation.invars]
        outputs = _outputs(equation, inputs)
        if _BACKWARD in str(equation.source_info.name_stack):
            outputs = [_Origin(each.leaves, each.fitted | each.leaves) for each in outputs]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [of(variable) for variable in jaxpr.outvars]


def _outputs(equation: Any, inputs: list[_Origin]) -> list[_Origin]:
    name, settings = equation.primitive.name, equation.params
    if name == "scan":
        return _of_scan(settings, inputs)
    if name == "while":
        return _of_while(settings, inputs)
    if name == "cond":
        return _of_branches([_bare(each) for each in settings["branches"]], inputs)
    inner = [_bare(value) for value in settings.values() if hasattr(_bare(value), "eqns")]
    if len(inner) == 1 and len(inner[0].invars) == len(inputs):
        found = _through(inner[0], inputs)
        if len(found) == len(equation.outvars):
            return found
    return [_joined(inputs)] * len(equation.outvars)


def _bare(jaxpr: Any) -> Any:
    return getattr(jaxpr, "jaxpr", jaxpr)


def _of_scan(settings: Any, inputs: list[_Origin]) -> list[_Origin]:
    body, (consts, carried) = settings["jaxpr"], _sizes_of_scan(settings)
    fixed, carry, rows = (
        inputs[:consts],
        inputs[consts : consts + carried],
        inputs[consts + carried :],
    )
    while True:
        out = _through(_bare(body), [*fixed, *carry, *rows])
        grown = [_joined(each) for each in zip(carry, out[:carried], strict=True)]
        if grown == carry:
            return [*carry, *out[carried:]]
        carry = grown


def _sizes_of_scan(settings: Any) -> tuple[int, int]:
    """Return how many inputs of a scan are constants, and how many are carried."""
    if "num_carry" in settings:
        return settings["num_consts"], settings["num_carry"]
    consts, carried, _ = settings["ft_in"].unpack()  # from JAX 0.12 on
    return len(list(consts)), len(list(carried))


def _of_while(settings: Any, inputs: list[_Origin]) -> list[_Origin]:
    asked, consts = settings["cond_nconsts"], settings["body_nconsts"]
    fixed, carry = inputs[asked : asked + consts], inputs[asked + consts :]
    while True:
        out = _through(_bare(settings["body_jaxpr"]), [*fixed, *carry])
        grown = [_joined(each) for each in zip(carry, out, strict=True)]
        if grown == carry:
            return carry
        carry = grown


def _of_branches(branches: list[Any], inputs: list[_Origin]) -> list[_Origin]:
    found = [_through(each, inputs[1:]) for each in branches]
    return [_joined(each) for each in zip(*found, strict=True)]

"""Constructor text such as `Scale(MedianRatio(VIME(hidden=(32,))), 1e-4)`, read and written.

Reading is restricted evaluation of the syntax tree: calls of names from the catalogues (`__all__`
of agents, bonuses and what they are made of), their named constructors (`VIME.paper()`), and
literals. A stranger's text runs no other code.
"""

import ast
import dataclasses
import importlib
import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

from explorax.core.errors import InvalidSetting, unknown_name

KINDS = {
    "agent": "explorax.agents",
    "bonus": "explorax.bonuses",
    "auxiliary": "explorax.auxiliaries",
    "behavior": "explorax.behaviors",
    "encoder": "explorax.encoders",
    "density": "explorax.densities",
}
_ANY = "agent, bonus or part of one"
_LONGEST = 20_000  # characters; deeper nesting than this allows would exhaust Python's stack
_NUMBERS = {"inf": math.inf, "nan": math.nan}  # as repr writes them


def catalogue(kind: str) -> dict[str, type]:
    """Return the settings classes of one of KINDS by name."""
    module = importlib.import_module(KINDS[kind])
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in found.items() if _is_settings(value)}


def expression(value: object) -> str:
    """Return the constructor text of settings: `parse(expression(x)) == x`."""
    return repr(value)


def parse(text: str, kind: str | None = None, extra: Iterable[type] = ()) -> Any:
    """Return the settings object that `text` constructs.

    `kind` says what is wanted, one of KINDS (None: any). A bare name means the call
    without arguments. `extra` adds the caller's own classes. Raises UnknownName, InvalidSetting.
    """
    names = {cls.__name__: cls for cls in extra}
    for each in KINDS:
        names |= catalogue(each)
    wanted = {cls.__name__: cls for cls in extra} | catalogue(kind) if kind else names
    if len(text) > _LONGEST:
        raise InvalidSetting(f"An expression of {len(text):,} characters; at most {_LONGEST:,}.")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidSetting(
            f"{text!r} is no constructor expression ({getattr(error, 'msg', error)}). "
            f"Write it as in Python, for example {_example(wanted)}."
        ) from None
    reader = _Reader(text, names, kind or _ANY, wanted)
    try:
        value = reader.top(node)
    except RecursionError:
        raise InvalidSetting("The expression is nested too deeply.") from None
    if kind and type(value).__name__ not in wanted:
        raise InvalidSetting(
            f"{text!r} is no {kind}. Possible: {', '.join(sorted(wanted))}, "
            f"for example {_example(wanted)}."
        )
    return value


def _is_settings(value: object) -> bool:
    return isinstance(value, type) and dataclasses.is_dataclass(value)


def _example(wanted: Mapping[str, type]) -> str:
    return f"{min(wanted)}()" if wanted else "Name(field=1.0)"


@dataclasses.dataclass(frozen=True)
class _Reader:
    text: str
    names: Mapping[str, type]
    kind: str
    wanted: Mapping[str, type]

    def top(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name | ast.Attribute):
            node = ast.Call(func=node, args=[], keywords=[])
        return self.value(node, top=True)

    def value(self, node: ast.expr, top: bool = False) -> Any:
        if isinstance(node, ast.Constant) and isinstance(
            node.value, bool | int | float | str | None
        ):
            return node.value
        if isinstance(node, ast.Tuple | ast.List):
            return tuple(self.value(item) for item in node.elts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self.value(node.operand)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number
        if isinstance(node, ast.Name):
            if node.id in _NUMBERS:
                return _NUMBERS[node.id]
            return self.construct(ast.Call(func=node, args=[], keywords=[]), top)
        if isinstance(node, ast.Call):
            return self.construct(node, top)
        raise InvalidSetting(
            f"{self.text!r}: {ast.unparse(node)!r} is not allowed here. An expression holds "
            f"constructors, numbers, strings, True, False, None and tuples, and computes nothing."
        )

    def construct(self, node: ast.Call, top: bool) -> Any:
        cls, build = self.callee(node.func, top)
        arguments = [self.value(item) for item in node.args]  # a *starred item is refused there
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise InvalidSetting(f"{self.text!r}: ** is not allowed; name each field.")
            keywords[keyword.arg] = self.value(keyword.value)
        self.check_fields(cls, build, arguments, keywords)
        try:
            return build(*arguments, **keywords)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidSetting(
                f"{ast.unparse(node)}: {error}. Its fields: {_signature(cls)}."
            ) from error

    def callee(self, node: ast.expr, top: bool) -> tuple[type, Any]:
        """Return the class, and what to call: the class or one of its named constructors."""
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                kind = self.kind if top else _ANY
                raise unknown_name(kind, node.id, self.wanted if top else self.names)
            return self.names[node.id], self.names[node.id]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            cls, _ = self.callee(node.value, top)
            named = _named_constructors(cls)
            if node.attr not in named:
                raise unknown_name(f"named constructor of {cls.__name__}", node.attr, named)
            return cls, getattr(cls, node.attr)
        raise InvalidSetting(
            f"{self.text!r}: {ast.unparse(node)!r} cannot be called; only names can."
        )

    def check_fields(self, cls: type, build: Any, arguments: list, keywords: dict) -> None:
        parameters = inspect.signature(build).parameters
        owner = cls.__name__
        for name in keywords:
            if name not in parameters:
                raise unknown_name(f"field of {owner}", name, parameters)
        if len(arguments) > len(parameters):
            raise InvalidSetting(
                f"{owner} takes at most {len(parameters)} values and got {len(arguments)}. "
                f"Its fields: {_signature(cls)}."
            )
        given = set(keywords) | set(list(parameters)[: len(arguments)])
        missing = [
            name
            for name, each in parameters.items()
            if each.default is inspect.Parameter.empty and name not in given
        ]
        if missing:
            raise InvalidSetting(
                f"{owner} needs {', '.join(missing)}. Its fields: {_signature(cls)}."
            )


def _named_constructors(cls: type) -> list[str]:
    members = {name: each for base in reversed(cls.__mro__) for name, each in vars(base).items()}
    return [
        name
        for name, each in members.items()
        if isinstance(each, classmethod) and not name.startswith("_")
    ]


def _signature(cls: type) -> str:
    """Return the fields of `cls` with their defaults, as a person would write them."""
    shown = []
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            shown.append(f"{field.name}={field.default!r}")
        elif field.default_factory is not dataclasses.MISSING:
            shown.append(f"{field.name}={field.default_factory()!r}")
        else:
            shown.append(field.name)
    return ", ".join(shown)

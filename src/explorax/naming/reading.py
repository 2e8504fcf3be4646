"""Constructor text read: restricted evaluation of its syntax tree.

Calls of known names, of their named constructors (`VIME.paper()`) and of classes of the user's own
(`my_bonus:Novelty()`), and literals. A stranger's text runs no other code.
"""

import ast
import dataclasses
import inspect
import math
from collections.abc import Container, Mapping
from typing import Any

from explorax.core.errors import ExploraxError, InvalidSetting, unknown_name
from explorax.naming.grammar import LABELED, dotted, tree
from explorax.naming.own import own_class

ANY = "agent, bonus or part of one"
_LONGEST = 20_000  # characters; deeper nesting than this allows would exhaust Python's stack
_NUMBERS = {"inf": math.inf, "nan": math.nan}  # as repr writes them


def parsed(text: str, example: str) -> ast.expr:
    """Return the syntax tree of constructor text. Raises InvalidSetting, which shows `example`."""
    if len(text) > _LONGEST:
        raise InvalidSetting(f"An expression of {len(text):,} characters; at most {_LONGEST:,}.")
    try:
        return tree(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidSetting(
            f"{text!r} is no constructor expression ({getattr(error, 'msg', error)}). "
            f"Write it as in Python, for example {example}."
        ) from None


@dataclasses.dataclass(frozen=True)
class Reader:
    """Makes what the syntax tree of a constructor text says."""

    text: str  # for messages
    names: Mapping[str, type]  # classes that may be called by these names
    trust: Container[str]  # modules that may be imported for other classes
    kind: str = ANY  # of what stands outermost, in a word
    wanted: Mapping[str, type] = dataclasses.field(default_factory=dict)  # what may stand there

    def top(self, node: ast.expr) -> Any:
        """Return what stands outermost; a bare name is a call without arguments."""
        if isinstance(node, ast.Name | ast.Attribute):
            node = ast.Call(func=node, args=[], keywords=[])
        try:
            return self.value(node, top=True)
        except RecursionError:
            raise InvalidSetting("The expression is nested too deeply.") from None

    def taken(self, call: ast.Call, name: str, default: Any) -> Any:
        """Return the value of the argument `name`, which is taken out of the call."""
        found = [keyword for keyword in call.keywords if keyword.arg == name]
        call.keywords = [keyword for keyword in call.keywords if keyword.arg != name]
        return self.value(found[-1].value) if found else default

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
        if isinstance(node, ast.Name) and node.id in _NUMBERS:
            return _NUMBERS[node.id]
        if isinstance(node, ast.Name) or ":" in (dotted(node) or ""):
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
        except ExploraxError:
            raise
        except Exception as error:  # of a constructor of the user's own, whatever it pleases
            raise InvalidSetting(
                f"{ast.unparse(node)}: {error}. Its fields: {_signature(cls)}."
            ) from error

    def callee(self, node: ast.expr, top: bool) -> tuple[type, Any]:
        """Return the class, and what to call: the class or one of its named constructors."""
        name = dotted(node) or ""
        if name == LABELED:
            raise InvalidSetting(
                f"{self.text!r} holds an object that is known by its label alone and cannot be "
                f"made from text. Go on in Python, where the object is: ex.train(..., resume=True)."
            )
        if name in self.names:
            return self.names[name], self.names[name]
        if ":" in name:
            return self.own(name)
        if isinstance(node, ast.Name):
            kind = self.kind if top else ANY
            known = [each for each in self.names if ":" not in each]
            raise unknown_name(kind, name, self.wanted if top else known)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            cls, _ = self.callee(node.value, top)
            return cls, _constructor(cls, node.attr)
        raise InvalidSetting(
            f"{self.text!r}: {ast.unparse(node)!r} cannot be called; only names can."
        )

    def own(self, name: str) -> tuple[type, Any]:
        """Return the class `module:Class` of the user's own and what to call, as `callee` does."""
        known = [given for given in self.names if ":" in given and name.startswith(f"{given}.")]
        if known:
            cls, rest = self.names[known[0]], name.removeprefix(f"{known[0]}.")
        else:
            cls, rest = own_class(name, self.trust)
        return cls, _constructor(cls, rest) if rest else cls

    def check_fields(self, cls: type, build: Any, arguments: list, keywords: dict) -> None:
        parameters = inspect.signature(build).parameters
        owner = cls.__name__
        if keywords and not parameters:
            raise InvalidSetting(f"{owner} has no settings, and was given {', '.join(keywords)}.")
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


def _constructor(cls: type, name: str) -> Any:
    named = _named_constructors(cls)
    if name not in named:
        raise unknown_name(f"named constructor of {cls.__name__}", name, named)
    return getattr(cls, name)


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

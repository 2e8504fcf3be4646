"""Constructor text as Python's syntax tree, with the names of own classes, `my_bonus:Novelty()`.

Python has no colon in an expression, so that of a name becomes a letter before Python parses the
text, and a colon again in the tree. `ast.unparse` of such a tree gives constructor text back.
"""

import ast
import re

_LETTER = "ː"  # U+02D0, which may stand in Python's names and which nobody writes
_STRING = (
    r"""'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
)
_COLON = re.compile(rf"(?P<string>{_STRING})|(?<=\w):(?=[^\W\d])", re.DOTALL)
_NAME = re.compile(rf"{_STRING}|(?<![\w.:])(?P<name>[^\W\d][\w.]*:[^\W\d][\w.]*)", re.DOTALL)
# Not modules of the user's: what stands before the names of others' environments.
_PREFIXES = frozenset({"gymnasium", "dm_control", "ale", "minigrid", "mujoco"})
LABELED = "labeled"  # labeled('long'): what stands for a value that cannot be written
MAIN, LOCALS = "__main__", "locals"  # of classes that no other process can import


def tree(text: str) -> ast.expr:
    """Return the syntax tree of constructor text, `module:Name` being names in it.

    Raises SyntaxError, ValueError, RecursionError and MemoryError as `ast.parse` does.
    """
    if _LETTER in re.sub(_STRING, "", text, flags=re.DOTALL):
        raise SyntaxError(f"{_LETTER!r} is no colon")
    named = _COLON.sub(lambda found: found["string"] or _LETTER, text.strip())
    node = ast.parse(named, mode="eval").body
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            each.id = each.id.replace(_LETTER, ":")
        elif isinstance(each, ast.Attribute):
            each.attr = each.attr.replace(_LETTER, ":")
    return node


def dotted(node: ast.expr) -> str | None:
    """Return `pkg.mod:Name.paper` of a name and its attributes, None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def own_names(text: str) -> tuple[str, ...]:
    """Return each `module:Name` outside explorax in constructor text or an environment's name."""
    found = (match["name"] for match in _NAME.finditer(text) if match["name"])
    others = {*_PREFIXES, "explorax"}
    return tuple(dict.fromkeys(name for name in found if re.split("[.:]", name)[0] not in others))


def modules(text: str) -> tuple[str, ...]:
    """Return the modules of the user's own that constructor text or an environment's name names."""
    return tuple(dict.fromkeys(name.partition(":")[0] for name in own_names(text)))


def bare(name: str) -> str:
    """Return the name of a class without its module: `Novelty` of `my_bonus:Novelty`."""
    return name.rpartition(":")[2]


def not_importable(name: str) -> str:
    """Return where `module:Class` was defined if no other process can import it, else ""."""
    module, _, path = name.partition(":")
    if module == MAIN:
        return "in a script or a notebook"
    function, inside, _ = path.partition(f".{LOCALS}.")
    return f"within the function {function}" if inside else ""


def remade_by_hand(text: str) -> str | None:
    """Return why constructor text cannot be made from text again, None where it can."""
    for name in own_names(text):
        where = not_importable(name)
        if where:
            return f"{name} was defined {where}, from where it cannot be imported again"
    if f"{LABELED}(" in re.sub(_STRING, "''", text, flags=re.DOTALL):
        return "it holds an object that is known by its label alone"
    return None

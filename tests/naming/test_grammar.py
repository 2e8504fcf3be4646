"""Constructor text with names of own classes: its tree, its modules, and what is in strings."""

import ast

import pytest

from explorax.naming.grammar import dotted, modules, own_names, remade_by_hand, tree


@pytest.mark.parametrize(
    "text",
    [
        "Scale(my_bonus:Novelty(), 0.1)",
        "VIME(latent=pkg.my_enc:Mine(size=3))",
        "pkg.mod:Outer.Inner.paper(width=2)",
        "my_bonus:Novelty",
        "Some(name='a:b', other=my:Part(note='it\\'s c:d'))",
        "Some(name='ː')",
    ],
)
def test_a_tree_unparses_to_the_same_text(text: str) -> None:
    assert ast.unparse(tree(text)) == ast.unparse(tree(ast.unparse(tree(text))))
    assert ast.unparse(tree(text)).replace('"', "'").replace("\\", "") == text.replace("\\", "")


def test_a_colon_in_a_string_stays_there() -> None:
    node = tree("""Part(a='x:y', b="it's m:N", c='''x 'o:p' ''', d=r'q:r', e=my:Part())""")
    assert isinstance(node, ast.Call)
    values = [k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)]
    assert values == ["x:y", "it's m:N", "x 'o:p' ", "q:r"]
    last = node.keywords[-1].value
    assert isinstance(last, ast.Call) and dotted(last.func) == "my:Part"


@pytest.mark.parametrize("text", ["a :B", "a: B", "{1:2}[a:b", "1:B", "a:1", "my:", "aːB", "a:B:"])
def test_other_colons_are_no_names(text: str) -> None:
    with pytest.raises(SyntaxError):
        tree(text)


def test_modules_are_those_of_the_users_own() -> None:
    text = "Sum((my:A(), pkg.mod:B.paper(), explorax.x:C(), VIME(name='not:this')), my:A)"
    assert own_names(text) == ("my:A", "pkg.mod:B.paper")
    assert modules(text) == ("my", "pkg.mod")
    assert modules("my_worlds:Corridor-v0(size=8)") == ("my_worlds",)
    for name in ("gymnasium:CartPole-v1", "dm_control:cheetah-run", "ale:Pong-v5", "deep_sea/20"):
        assert modules(name) == ()
    assert modules("gymnasium:my_worlds:Corridor-v0") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Scale(__main__:Novelty(), 0.1)", "__main__:Novelty was defined in a script or a noteb"),
        ("my:make.locals.Novelty()", "was defined within the function make"),
        ("my:Part(kernel=labeled('rbf'))", "known by its label alone"),
    ],
)
def test_what_no_command_can_make_again(text: str, why: str) -> None:
    assert why in (remade_by_hand(text) or "")
    assert remade_by_hand("my:Part(note='labeled(1) __main__:X')") is None

"""The meaning of code: what a formatter, a comment or a docstring changes is nothing;
what runs otherwise is something.
"""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

import autollm
from autollm.core.identity import dump, identity_of, meaning_of

SOURCES = sorted(Path(autollm.__file__).parent.rglob("*.py"))
SAMPLE = random.Random(0).sample(SOURCES, 25)


def meaning(text):
    return dump(ast.parse(text))


@pytest.mark.parametrize("path", SAMPLE, ids=lambda p: p.stem)
def test_dump__module_written_again_by_python__means_the_same(path):
    """`ast.unparse` drops comments and lays out every line anew."""
    text = path.read_text()
    assert meaning(ast.unparse(ast.parse(text))) == meaning_of(path)
    commented = "\n".join(f"{line}  # note" for line in text.splitlines()[:0])
    assert meaning(f"# a comment\n{commented}\n{text}\n\n") == meaning_of(path)


@pytest.mark.parametrize("path", SAMPLE[:8], ids=lambda p: p.stem)
def test_dump__one_constant_changed__means_something_else(path):
    tree = ast.parse(path.read_text())
    changed = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            node.value = node.value + 1
            changed += 1
            break
    assert (dump(tree) != meaning_of(path)) == bool(changed)


EQUAL = [
    ("x = 1", "x=1"),
    ("x = 1", "# why\nx = 1  # because"),
    ("def f():\n    '''Doc.'''\n    return 1", "def f():\n    return 1"),
    ("class A:\n    '''Doc.'''\n    x = 1", "class A:\n    x = 1"),
    ("'''Doc.'''\nx = 1", "x = 1"),
    ("x = 'a'", 'x = "a"'),
    ("x = (1,\n     2)", "x = (1, 2)"),
    ("x = 10", "x = 0xA"),
    ("x = 1_000", "x = 1000"),
    ("import a\nimport b", "import b\nimport a"),
    ("if x:\n    pass\n    y = 1", "if x:\n    y = 1"),
    ("x = 'a' 'b'", "x = 'ab'"),
    (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import z",
        "from typing import TYPE_CHECKING",
    ),
    ("x = f'{a}b'", "x = f'{a}' 'b'"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_dump__same_when_it_runs__is_equal(one, other):
    assert meaning(one) == meaning(other)


DIFFERENT = [
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = True"),
    ("x = 'a'", "x = b'a'"),
    ("x = 'a'", "y = 'a'"),
    ("x = a + b", "x = b + a"),
    ("x = a < b", "x = a <= b"),
    ("def f(a): pass", "def f(a=1): pass"),
    ("def f(a): pass", "def f(*, a): pass"),
    ("def f(a): pass", "async def f(a): pass"),
    ("x: int = 1", "x: float = 1"),
    ("class A(B): pass", "class A(C): pass"),
    ("@d\ndef f(): pass", "def f(): pass"),
    ("a()\nb()", "b()\na()"),
    ("from a import b", "from a import b as c"),
    ("from a import b", "from .a import b"),
    ("if x:\n    y()\nelse:\n    z()", "if x:\n    z()\nelse:\n    y()"),
    ("x = '''Doc.'''", "x = '''Other.'''"),
    ("x = f'{a}'", "x = f'{a!r}'"),
    ("x = f'{a:.2f}'", "x = f'{a:.3f}'"),
    ("return_ = lambda: 1", "return_ = lambda: 2"),
    ("try:\n    a()\nexcept A:\n    b()", "try:\n    a()\nexcept B:\n    b()"),
    ("x = [i for i in y]", "x = (i for i in y)"),
    ("del x", "del y"),
    ("global x", "nonlocal_x = x"),
    ("x = -1", "x = 1"),
    ("x = 1e-3", "x = 1e-4"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_dump__runs_otherwise__differs(one, other):
    assert meaning(one) != meaning(other)


def test_identity_of__parts__are_by_value_to_nine_digits_in_any_order():
    here = identity_of({"a": 0.1 + 0.2, "b": [1, {"c": None}]})
    assert here == identity_of({"b": [1.0, {"c": None}], "a": 0.3})
    assert here != identity_of({"a": 0.300001, "b": [1, {"c": None}]})
    assert here != identity_of({"a": 0.3, "b": [1, {"c": 0}]})
    assert len(here) == 16

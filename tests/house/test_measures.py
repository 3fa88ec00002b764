"""What scripts/measure_house.py counts, held where it is done; and the counting itself."""

import ast
import importlib.util
import sys

import pytest

from autollm.core.places import PROJECT

DONE = (
    "autollm/agent",
    "autollm/cli",
    "autollm/lab",
    "autollm/testing",
    "scripts",
)
"""Folders whose every line keeps the rules; the others follow."""
NESTED_LEFT = 0
CROWDED_LEFT = 0
"""Of all folders: they may fall, never rise."""


@pytest.fixture(scope="module")
def house():
    """The script, which is no module of a package."""
    path = PROJECT / "scripts" / "measure_house.py"
    spec = importlib.util.spec_from_file_location("measure_house", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", DONE)
def test_house__done_folder__keeps_the_rules(house, folder):
    found = house.measure(house.files_of(folder))
    assert found.n_lines
    assert not found.nested and not found.crowded
    assert found.n_long == 0


def test_house__all_folders__grow_no_worse(house):
    found = house.measure(house.files_of(*house.SOURCE))
    assert len(found.nested) <= NESTED_LEFT, found.nested
    assert len(found.crowded) <= CROWDED_LEFT, found.crowded


def test_measure__one_of_each__is_counted(house, tmp_path, monkeypatch):
    monkeypatch.setattr(house, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text(
        '"""Doc\nstring."""\n'
        "x = 1 if a else 2 if b else 3\n"
        "y = [i for i in [j for j in z]]\n"
        f"w = '{'w' * 100}'\n"
        "if x:\n    v = [i for i in y]\n"
    )
    found = house.measure([tmp_path / "a.py"])
    assert (found.n_lines, found.n_long, found.n_docstring_lines) == (7, 1, 2)
    assert found.nested == ("a.py:3",) and found.crowded == ("a.py:4",)
    assert found.n_comprehensions == 3 and found.n_long_docstring == 0


def test_unreached__a_module_that_no_line_of_ran__is_named(house, tmp_path):
    def entry(n, covered):
        return {
            "summary": {
                "num_statements": n,
                "missing_lines": n - covered,
                "covered_lines": covered,
            }
        }

    path = tmp_path / "coverage.json"
    path.write_text(
        '{"files": '
        + str({"a.py": entry(10, 9), "b.py": entry(10, 0)}).replace("'", '"')
        + "}"
    )
    assert house.unreached(path) == (0.55, ["b.py (10)"])


def test_nested_ternaries__ternary_in_an_argument__is_not_nested(house):
    tree = ast.parse("x = f(1 if a else 2) if b else 3")
    assert list(house.nested_ternaries(tree)) == []
